import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from nnunet_ext.commands import mesh as command
from postproc.surfaces.fragments import TOLERANCE_MM
from postproc.surfaces.smoothing import ROUNDS


@pytest.fixture
def run(capfd):
    """Run the command in this process; return its exit status, stdout and stderr."""

    def call(*arguments):
        try:
            status = command.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return call


def test_folder_in_folder_out(run, save, labels, tmp_path):
    save(labels, tmp_path / "in" / "a.nii.gz")
    save(np.zeros_like(labels), tmp_path / "in" / "b.mha")
    save(labels * 3, tmp_path / "in" / "c.nii.gz")
    status, out, err = run("-i", tmp_path / "in", "-o", tmp_path / "out")
    assert status == 1
    assert "abbc-mesh: 1 done, 2 failed" in err
    assert "holds no fragment" in err
    assert "'" + str(tmp_path / "in" / "c.nii.gz") + "': label 33 is in no band of scheme 'pengwin2024'" in err
    assert [line.split()[0] for line in out.splitlines()] == [
        *("a", "surface", "sacrum_frag01", "hip_left_frag01", "hip_left_frag02")
    ]
    assert out.count("yes") == 3
    text = (tmp_path / "out" / "abbc-mesh.json").read_text()
    assert str(tmp_path) not in text
    manifest = json.loads(text)
    assert manifest["settings"] == {"scheme": "pengwin2024", "clearance_mm": 0, "smoothing": 20, "tolerance_mm": 0.1}
    assert manifest["cases"]["a"]["details"]["doubts"] == []
    assert len(manifest["cases"]["a"]["details"]["fragments"]) == 3
    for path in (tmp_path / "out" / "a" / "meshes").glob("*.stl"):
        assert trimesh.load(path).is_watertight
    status, _, err = run("-i", tmp_path / "in" / "a.nii.gz", "-o", tmp_path / "out")
    assert (status, err.splitlines()[-1]) == (0, "abbc-mesh: 1 skipped")


def test_clearance_and_few_faces(run, save, labels, tmp_path):
    path = save(labels, tmp_path / "a.nii.gz")
    status, out, _ = run("-i", path, "-o", tmp_path / "gap", "--clearance", "0.3", "--smoothing", "0")
    assert status == 0
    rows = json.loads((tmp_path / "gap" / "a" / "meshes" / "meshes.json").read_text())["fragments"]
    gaps = [row["clearance_mm"] for row in rows]
    assert gaps[0] is None
    assert 0.3 <= gaps[1] == gaps[2] < 0.5
    assert f"{gaps[1]:.3f}" in out
    status, _, _ = run("-i", path, "-o", tmp_path / "few", "--max_faces", "200", "--tolerance", "0.05")
    assert status == 0
    rows = json.loads((tmp_path / "few" / "a" / "meshes" / "meshes.json").read_text())["fragments"]
    assert max(row["triangles"] for row in rows) <= 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clearance", "-1"), "'-1' is no number from 0 upward"),
        (("--clearance", "x"), "'x' is no number from 0 upward"),
        (("--smoothing", "2.5"), "'2.5' is no whole number from 0 upward"),
        (("--max_faces", "3"), "--max_faces is 3; a closed surface has 4 or more"),
        (("--scheme", "x"), "unknown scheme 'x'"),
        (("-o", "out.stl"), "the output 'out.stl' names a file; give a folder"),
        (("-i", "no/such"), "there is no file or folder 'no/such'"),
    ],
)
def test_wrong_usage(run, save, labels, tmp_path, arguments, message):
    path = save(labels, tmp_path / "a.nii.gz")
    status, _, err = run("-i", path, "-o", tmp_path / "out", *arguments)
    assert status == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_defaults_are_those_of_the_library():
    defaults = {name: value.default for name, value in inspect.signature(command.mesh).parameters.items()}
    assert (defaults["smoothing"], defaults["tolerance_mm"]) == (ROUNDS, TOLERANCE_MM)


def test_help_imports_nothing_heavy(environment):
    code = "import sys, nnunet_ext.commands.mesh; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not set(done.stdout.split()) & {"numpy", "scipy", "SimpleITK", "torch", "label_gen", "postproc", "tqdm"}
