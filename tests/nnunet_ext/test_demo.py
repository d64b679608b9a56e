"""The demonstration: the real command with the models that ship, on a coarse CT."""

import json
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from label_gen.errors import UsageError
from nnunet_ext.commands import demo, prepare_dataset
from nnunet_ext.demo import OUTPUTS, format_fragments, run_demo

COMMAND = (sys.executable, "-m", "nnunet_ext.commands.demo")


@pytest.mark.slow
def test_demo_goes_from_a_ct_to_everything(tmp_path):
    folder = tmp_path / "demo"
    command = [*COMMAND, "-o", str(folder), "--spacing", "2"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    for name in ("abbc-simulate-fractures --phantom", "abbc-segment -i", "abbc-evaluate -p"):
        assert f"$ {name}" in run.stdout
    assert "Left hip bone" in run.stdout
    assert "abbc-segment -i MY_CT" in run.stdout
    case = folder / "found" / "phantom_00014"
    for name in (*OUTPUTS, "segmentation.nii.gz", "assembly.glb", "statistics.json", "run.json"):
        assert (case / name).stat().st_size > 0
        assert name not in OUTPUTS or f"{case / name}\n" in run.stdout
    assert len(list((case / "meshes").glob("*.stl"))) == len(
        json.loads((case / "statistics.json").read_text())["fragments"]
    )
    rows = json.loads((folder / "scores.json").read_text())["cases"]["phantom_00014"]["fragments"]
    found = [row["iou"] or 0.0 for row in rows if row["reference_id"]]
    assert len(found) >= 6
    assert np.mean(found) > 0.6
    image = imread(folder / "demo.png")[..., :3]
    assert min(image.shape[:2]) > 600
    assert image.std() > 0.1

    # A second run uses what is there; other settings are refused.
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "1 skipped" in again.stderr
    with pytest.raises(UsageError, match="other settings; add --overwrite"):
        run_demo(folder, seed=2, spacing_mm=2.0, say=lambda text: None)


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, nnunet_ext.commands.demo as demo\n"
        "try: demo.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'scipy', 'SimpleITK', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "abbc-demo" in run.stdout


def test_table_of_fragments():
    rows = [
        {"bone": "left_hip", "reference_id": 52, "prediction_id": None, "iou": None, "reference_mm3": 2500.0},
        {"bone": "left_hip", "reference_id": 51, "prediction_id": 51, "iou": 0.99, "reference_mm3": 250_000.0},
        {"bone": "sacrum", "reference_id": None, "prediction_id": 1, "iou": None, "reference_mm3": 0.0},
    ]
    lines = format_fragments(rows).splitlines()
    assert lines[2].split() == ["Left", "hip", "bone", "51", "250.0", "0.9900"]
    assert lines[3].split() == ["Left", "hip", "bone", "52", "2.5", "0.0000"]
    assert lines[-1].split()[-1] == "0.4950"
    assert len(lines) == 6


@pytest.mark.slow
def test_patients_to_train_on(tmp_path, monkeypatch, capsys):
    assert demo.main(["--patients", "2", "-o", str(tmp_path / "set"), "--spacing", "3"]) == 0
    for folder in ("images", "labels"):
        assert sorted(path.name for path in (tmp_path / "set" / folder).iterdir()) == ["001.mha", "002.mha"]
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert prepare_dataset.main(["pengwin2024", str(tmp_path / "set"), "-d", "7"]) == 0
    assert len(list((tmp_path / "Dataset007_PENGWIN2024_ABBC" / "fragmentsTr").iterdir())) == 2
    assert demo.main(["--patients", "0", "-o", str(tmp_path / "none")]) == 2
    assert "has to be 1 or more (--patients)" in capsys.readouterr().err
