"""`abbc-segment-bones`: folders of cases, files of bones, a model; messages, exit status, manifest."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nnunet_ext.commands.segment_bones import main
from nnunet_ext.volumes import Volume, read_labels, read_volume, write_volume
from tests.nnunet_ext.stage1.networks import HU, NUMBERS, pelvis, save_model

PROG = "abbc-segment-bones"
CT, BONES = pelvis(spacing=3.0)


@pytest.fixture
def call(capfd):
    """Run the command in this process; return its exit status, stdout and stderr."""

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run


@pytest.fixture
def cts(tmp_path):
    for name in ("a", "b"):
        write_volume(CT, tmp_path / "cts" / f"{name}.nii.gz")
    return tmp_path / "cts"


def test_a_model_on_a_folder(call, cts, tmp_path):
    labels = {"background": 0, **NUMBERS}
    model = save_model(tmp_path / "model", labels, HU, dims=2, spacing=4, trainer="nnUNetTrainer", patch=80)
    write_volume(Volume(np.full((20, 20, 20), 40, np.int16), (4.0, 4.0, 4.0)), cts / "c.mha")
    (cts / "d.nii.gz").write_bytes(b"nothing")
    options = ("-i", cts, "-o", tmp_path / "out", "--bones", model, "--device", "cpu", "--fast")
    status, _, err = call(*options)
    assert status == 1
    assert f"{PROG}: error: case c: " in err
    assert f"{PROG}: error: case d: " in err
    assert err.endswith(f"{PROG}: 2 done, 2 failed\n")
    for name in ("a", "b"):
        found = read_labels(tmp_path / "out" / f"{name}.nii.gz")
        assert found.grid == read_volume(cts / f"{name}.nii.gz").grid
        assert (BONES[found.array > 0] == found.array[found.array > 0]).mean() > 0.99
        assert np.unique(found.array).tolist() == [0, 1, 2, 3, 4, 5]
    text = (tmp_path / "out" / f"{PROG}.json").read_text()
    manifest = json.loads(text)
    assert manifest["settings"]["bones"] == "model"
    assert manifest["cases"]["a"]["details"]["source"] == "model"
    assert set(manifest["cases"]["a"]["details"]["volumes_mm3"]) == set(NUMBERS)
    assert str(tmp_path) not in text
    assert call(*options)[2].endswith(f"{PROG}: 2 skipped, 2 failed\n")


def test_a_file_of_bones(call, tmp_path, cts):
    write_volume(CT.like(np.where(BONES == 1, 0, BONES)), tmp_path / "bones.nrrd")
    target = tmp_path / "out" / "anatomy.mha"
    status, _, err = call("-i", cts / "a.nii.gz", "-o", target, "--bones", tmp_path / "bones.nrrd")
    assert status == 0
    assert f"{PROG}: case a: warning: the sacrum is missing: it was not found" in err
    assert (read_labels(target).array == np.where(BONES == 1, 0, BONES)).all()
    assert (tmp_path / "out" / f"{PROG}.json").is_file()


def test_bones_of_each_case_and_parts(call, tmp_path, cts):
    write_volume(CT.like(BONES), tmp_path / "bones" / "a.nii.gz")
    write_volume(Volume(BONES, (2.0, 2.0, 2.0)), tmp_path / "bones" / "b.nii.gz")
    options = ("-i", cts, "-o", tmp_path / "out", "--bones", tmp_path / "bones", "-num_parts", 2)
    assert call(*options, "-part_id", 0)[0] == 0
    status, _, err = call(*options, "-part_id", 1)
    assert status == 1
    assert "'the CT' and 'b.nii.gz' are on different grids: spacing (3, 3, 3) against (2, 2, 2) mm" in err
    (tmp_path / "bones" / "b.nii.gz").unlink()
    assert "holds no bones for case 'b'" in call(*options, "-part_id", 1)[2]


def test_wrong_usage(call, tmp_path, cts):
    def message(*arguments, status=2):
        got, _, err = call("-i", cts, *arguments)
        assert got == status
        return err

    out = ("-o", tmp_path / "out")
    assert "there is no file or folder 'none'" in message(*out, "--bones", "none")
    assert "names a file; give a folder (-o)" in message("-o", tmp_path / "x.nii.gz", "--bones", "none")
    assert "the part must be one of 0 to 0" in message(*out, "-part_id", 1)
    assert "is inside the input" in message("-o", cts)
    shutil.copy(cts / "a.nii.gz", tmp_path / "bones.nii.gz")
    assert "negative label" in message(*out, "--bones", tmp_path / "bones.nii.gz", status=1)
    write_volume(CT.like(BONES), tmp_path / "bones.nii.gz")
    options = (*out, "--bones", tmp_path / "bones.nii.gz")
    assert "unknown numbering 'x'" in message(*options, "--numbering", "x", status=1)
    assert "--download-weights is for" in message(*options, "--download-weights")
    status, _, err = call("-i", tmp_path / "none", *out)
    assert (status, "there is no file or folder" in err) == (2, True)


DICOM = Path(__file__).resolve().parents[4] / "shared" / "data" / "dicom"


@pytest.mark.skipif(not DICOM.is_dir(), reason="the DICOM files of ../shared/data/dicom are not here")
def test_dicom(call, tmp_path):
    source = DICOM / "sts_003_ct_with_rtstruct.zip"
    with zipfile.ZipFile(source) as archive:
        archive.extractall(tmp_path / "in" / "case")
    from nnunet_ext.ct import read_ct

    ct = read_ct(tmp_path / "in").volume
    bones = np.where(ct.array > 250, 5, 0).astype(np.uint8)
    write_volume(ct.like(bones), tmp_path / "bones.nii.gz")
    status, _, err = call("-i", source, "-o", tmp_path / "out", "--bones", tmp_path / "bones.nii.gz")
    assert status == 0
    assert "the left femur is missing" in err
    (path,) = (tmp_path / "out").glob("*.nii.gz")
    assert (read_labels(path).array == bones).all()


def test_help_imports_nothing_heavy(environment):
    code = "import sys; from nnunet_ext.commands.segment_bones import main\nsys.argv[1:] = ['--help']\n"
    code += "try:\n    main()\nfinally:\n    heavy = {'numpy', 'torch', 'SimpleITK', 'nnunetv2'} & set(sys.modules)\n"
    command = [sys.executable, "-c", code + "    print('heavy', sorted(heavy))"]
    text = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    assert "--download-weights" in text
    assert text.rstrip().endswith("heavy []")
