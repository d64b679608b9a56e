"""Every bad input of the project's list, through the commands as users call them."""

import os
import shutil
import struct
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest


def check(result, status, message):
    assert result[0] == status, result[2]
    assert message in result[2]


@pytest.mark.parametrize("command", ["generate", "recover", "evaluate"])
def test_labels(call, save, labels, tmp_path, command):
    with_nan = np.where(labels == 1, np.nan, labels).astype(np.float32)
    truncated = save(labels, tmp_path / "truncated.nii.gz")
    truncated.write_bytes(truncated.read_bytes()[:-20])
    series = bytearray(save(labels, tmp_path / "series.nii").read_bytes())
    struct.pack_into("<h", series, 40, 4)
    (tmp_path / "series.nii").write_bytes(series)
    bad = {
        save(labels + 0.5, tmp_path / "float.nii.gz"): "holds values that are not whole numbers (0.5, say)",
        save(np.stack([labels] * 2), tmp_path / "four.mha"): "has 4 axes (30 x 16 x 14 x 2); a volume of 3 axes",
        tmp_path / "series.nii": "has 4 axes (30 x 16 x 14 x 1); a volume of 3 axes",
        save(with_nan, tmp_path / "nan.nii.gz"): "holds NaN or infinite values",
        save(with_nan, tmp_path / "nan.nrrd"): "holds NaN or infinite values",
        truncated: "is truncated or damaged: its gzip stream ends before its end mark; copy or export it again",
        save(
            labels.astype(np.int16) - 5, tmp_path / "negative.mha"
        ): "holds the negative label -5; labels are whole numbers from 0 upward: is it a CT?",
    }
    for path, message in bad.items():
        arguments = {
            "generate": ("-i", path, "-o", tmp_path / "out"),
            "recover": ("-i", path, "-o", tmp_path / "out"),
            "evaluate": ("-p", path, "-r", path, "-o", tmp_path / "out.json"),
        }[command]
        check(call(command, *arguments), 1, f"error: case {path.name.split('.')[0]}: '{path}' {message}")
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_empty_volume(call, save, labels, tmp_path):
    path = save(labels * 0, tmp_path / "a.nii.gz")
    check(call("generate", "-i", path, "-o", tmp_path / "out"), 1, f"'{path}' holds no fragment: every voxel is 0")
    check(call("evaluate", "-p", path, "-r", path, "-o", tmp_path / "s.json"), 1, "holds no fragment")
    path = save(labels, tmp_path / "b.mha")
    path.write_bytes(path.read_bytes().replace(b"DimSize = 30", b"DimSize = 0"))
    check(call("generate", "-i", path, "-o", tmp_path / "out"), 1, f"'{path}' is empty: its size is 0 x 16 x 14 voxels")


def test_different_grids(call, save, labels, classes, anatomy, tmp_path):
    one, other = save(classes, tmp_path / "a.mha"), save(anatomy, tmp_path / "b.mha", spacing=(0.9, 0.8, 1.4))
    message = f"'{one}' and '{other}' are on different grids: spacing (0.9, 0.8, 1.5) against (0.9, 0.8, 1.4) mm"
    check(call("recover", "-i", one, "-a", other, "-o", tmp_path / "out"), 1, message)
    one, other = save(labels, tmp_path / "p.mha"), save(labels[1:], tmp_path / "r.mha")
    message = f"'{one}' and '{other}' are on different grids: size (30, 16, 14) against (30, 16, 13) voxels"
    check(call("evaluate", "-p", one, "-r", other, "-o", tmp_path / "s.json"), 1, message)


def test_numbers_outside_the_scheme(call, save, labels, classes, anatomy, tmp_path):
    labels[labels == 12] = 44
    path = save(labels, tmp_path / "a.mha")
    message = "labels 44 are in no band of scheme 'pengwin2024' (sacrum 1-10, left_hip 11-20, right_hip 21-30); choose"
    check(call("generate", "-i", path, "-o", tmp_path / "out"), 1, f"error: case a: '{path}': {message}")
    check(call("evaluate", "-p", path, "-r", path, "-o", tmp_path / "s.json"), 1, message)
    check(call("generate", "-i", path, "-o", tmp_path / "out", "--scheme", "free"), 0, "1 done")
    back = tmp_path / "back"
    check(call("recover", "-i", path, "-o", back), 1, f"'{path}' holds the label 44; ABBC classes are 0 to 3")
    bones = save(anatomy + 7, tmp_path / "bones.mha")
    path = save(classes, tmp_path / "c.mha")
    check(
        call("recover", "-i", path, "-a", bones, "-o", back),
        1,
        f"'{path} with anatomy {bones}': the anatomy has the numbers",
    )


def test_output_of_another_command(call, save, labels, classes, tmp_path):
    path, out = save(labels, tmp_path / "a.mha"), tmp_path / "out"
    check(call("generate", "-i", path, "-o", out), 0, "1 done")
    message = f"'{out}/a.nii.gz' is there already, made by abbc-generate-labels; choose another output (-o)"
    check(call("recover", "-i", save(classes, tmp_path / "in" / "a.mha"), "-o", out), 1, message)


def test_unknown_file_type(call, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(b"DICM")
    message = (
        f"nothing usable in '{path}': the file is of an unknown file type; accepted are .nii.gz, .nii, .mha, .nrrd"
    )
    check(call("generate", "-i", path, "-o", tmp_path / "out"), 2, message)
    check(call("generate", "-i", tmp_path, "-o", tmp_path.parent / "out"), 2, "the folder holds no such file")


def test_name_collision(call, save, labels, tmp_path):
    for name in ("a.mha", "a_0000.nii.gz"):
        save(labels, tmp_path / "in" / name)
    message = f"'a.mha' and 'a_0000.nii.gz' in '{tmp_path}/in' both give the case name 'a'; rename or move one of them"
    check(call("generate", "-i", tmp_path / "in", "-o", tmp_path / "out"), 2, message)


def test_output_inside_input(call, save, labels, tmp_path):
    path = save(labels, tmp_path / "a.nii.gz")
    for source, output in ((tmp_path, tmp_path), (tmp_path, tmp_path / "out"), (path, path), (path, tmp_path)):
        check(call("generate", "-i", source, "-o", output), 2, "is inside the input")
    assert os.listdir(tmp_path) == ["a.nii.gz"]


@contextmanager
def without_root():
    """Give up the rights of root, which may read everything, if there are any."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


def test_unreadable_folder(call, save, labels, tmp_path):
    source = tmp_path / "in"
    save(labels, source / "a.mha")
    source.chmod(0)
    with without_root():
        result = call("generate", "-i", source, "-o", tmp_path / "out")
    source.chmod(0o700)
    check(result, 1, f"cannot read '{source}': Permission denied; check your permission to read it")


def test_output_folder_is_a_file(call, save, labels, tmp_path):
    (tmp_path / "out").write_text("")
    path = save(labels, tmp_path / "a.mha")
    check(call("generate", "-i", path, "-o", tmp_path / "out"), 1, "a file stands where a folder was expected; choose")


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 64 kB without any room left; None where it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root; the limit on file sizes is tested below")
    with (folder / "filler").open("wb", buffering=0) as stream:
        while shutil.disk_usage(folder).free:
            stream.write(bytes(4096))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_no_space_left(call, save, labels, tmp_path, full_disk):
    for name in "ab":
        save(labels, tmp_path / "in" / f"{name}.mha")
    result = call("generate", "-i", tmp_path / "in", "-o", full_disk)
    for name in "ab":
        check(result, 1, f"error: case {name}: cannot write '{full_disk}/{name}.nii.gz': ")
    check(result, 1, "0.0 MB are free there. Make space or choose another output (-o), then run the same command again")
    assert os.listdir(full_disk) == ["filler"]
    (full_disk / "filler").unlink()
    check(call("generate", "-i", tmp_path / "in", "-o", full_disk), 0, "2 done")


LIMITED = """
import resource, signal, sys
from nnunet_ext.commands.generate_labels import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
sys.exit(main())
"""


def test_files_cannot_grow(save, labels, tmp_path, environment):
    path = save(labels, tmp_path / "a.mha")
    command = [sys.executable, "-c", LIMITED, "-i", str(path), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert f"case a: cannot write '{tmp_path}/out/a.nii.gz'" in done.stderr
    assert "MB are free there. Make space" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "out") == []
