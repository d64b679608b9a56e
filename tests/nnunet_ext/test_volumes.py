import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.volumes import Volume, naming, read_grid, read_labels, read_volume, write_volume

SUFFIXES = [".nii.gz", ".nii", ".mha", ".nrrd"]


def noise(shape=(8, 9, 10)):
    return np.random.default_rng(1).integers(0, 200, shape).astype(np.uint8)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_read_gives_zyx_and_geometry(save, tmp_path, oblique, suffix):
    array = noise()
    path = save(array, tmp_path / f"a{suffix}")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.spacing_mm == pytest.approx((1.5, 0.8, 0.9))
    assert volume.origin == pytest.approx((-101.5, 20.25, 7.125))
    assert volume.direction == pytest.approx(oblique, abs=1e-6)
    assert read_grid(path) == volume.grid


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_written_volume_has_the_same_geometry(save, tmp_path, suffix):
    source = save(noise(), tmp_path / f"a{suffix}")
    volume = read_volume(source)
    target = tmp_path / "new" / "folder" / f"b{suffix}"
    write_volume(volume.like(volume.array + np.uint16(1000)), target)
    before, after = SimpleITK.ReadImage(str(source)), SimpleITK.ReadImage(str(target))
    tolerance = {"abs": 1e-6} if ".nii" in suffix else {"abs": 1e-12}
    assert after.GetSpacing() == pytest.approx(before.GetSpacing(), **tolerance)
    assert after.GetOrigin() == pytest.approx(before.GetOrigin(), **tolerance)
    assert after.GetDirection() == pytest.approx(before.GetDirection(), **tolerance)
    assert after.GetPixelID() == SimpleITK.sitkUInt16
    assert os.listdir(target.parent) == [target.name]


def test_like_refuses_another_shape():
    with pytest.raises(DataError, match=r"array of shape \(2, 2, 2\) on a grid of shape \(3, 3, 3\)"):
        Volume(np.zeros((3, 3, 3)), (1, 1, 1)).like(np.zeros((2, 2, 2)))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([0, 255], np.uint8), ([0, 256], np.uint16), ([0, 70000], np.uint32), ([0, 0], np.uint8)],
)
@pytest.mark.parametrize("stored", [np.int32, np.int64, np.float32, np.float64])
def test_labels_come_in_the_smallest_type(save, tmp_path, values, dtype, stored):
    array = np.resize(values, (4, 4, 4)).astype(stored)
    volume = read_labels(save(array, tmp_path / "a.nii.gz"))
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, r"a\.nii\.gz' holds values that are not whole numbers \(0\.5, say\).*nearest neighbour"),
        (np.nan, r"a\.nii\.gz' holds NaN or infinite values"),
        (np.inf, r"a\.nii\.gz' holds NaN or infinite values"),
        (-1.0, r"a\.nii\.gz' holds the negative label -1"),
    ],
)
def test_bad_labels(save, tmp_path, value, message):
    array = np.ones((4, 5, 6), np.float32)
    array[2, 3, 4] = value
    with pytest.raises(DataError, match=message):
        read_labels(save(array, tmp_path / "a.nii.gz"))


def test_negative_integer_label(save, tmp_path):
    with pytest.raises(DataError, match=r"negative label -7"):
        read_labels(save(np.full((3, 3, 3), -7, np.int16), tmp_path / "a.mha"))


def test_no_label_at_all(save, tmp_path):
    path = save(np.zeros((3, 3, 3), np.uint8), tmp_path / "a.mha")
    assert read_labels(path).array.max() == 0
    with pytest.raises(DataError, match=r"a\.mha' holds no fragment: every voxel is 0"):
        read_labels(path, allow_empty=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("length", [1, 2])
def test_four_axes(save, tmp_path, suffix, length):
    path = save(np.zeros((length, 3, 4, 5), np.uint8), tmp_path / f"a{suffix}")
    if ".nii" in suffix and length == 1:  # ITK leaves out an axis of one voxel at writing; other programs do not
        path = with_four_axes(save(np.zeros((3, 4, 5), np.uint8), tmp_path / "b.nii"))
    with pytest.raises(DataError, match=rf"has 4 axes \(5 x 4 x 3 x {length}\); a volume of 3 axes is expected"):
        read_volume(path)


def with_four_axes(path):
    data = bytearray(path.read_bytes())
    struct.pack_into("<h", data, 40, 4)
    path.write_bytes(data)
    return path


def test_two_axes(save, tmp_path):
    with pytest.raises(DataError, match=r"has 2 axes \(5 x 4\)"):
        read_volume(save(np.zeros((4, 5), np.uint8), tmp_path / "a.mha"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colour(save, tmp_path, suffix):
    path = save(np.zeros((3, 4, 5, 3), np.uint8), tmp_path / f"a{suffix}", vector=True)
    with pytest.raises(DataError, match=r"has 3 numbers per voxel"):
        read_volume(path)


def test_no_voxels(save, tmp_path):
    path = save(np.zeros((3, 4, 5), np.uint8), tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"DimSize = 5 4 3", b"DimSize = 0 4 3"))
    with pytest.raises(DataError, match=r"is empty: its size is 0 x 4 x 3 voxels"):
        read_volume(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_truncated(save, tmp_path, capfd, suffix, kept):
    path = save(noise((20, 20, 20)), tmp_path / f"a{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(VolumeFileError, match=rf"a{suffix}' is truncated or damaged|cannot read '.*a{suffix}'"):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


def test_truncated_gz_says_so(save, tmp_path):
    path = save(noise((20, 20, 20)), tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(VolumeFileError, match=r"its gzip stream ends before its end mark; copy or export it again"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_flipped_bit(save, tmp_path, capfd, suffix):
    path = save(noise((20, 20, 20)), tmp_path / f"a{suffix}")
    data = bytearray(path.read_bytes())
    data[-500] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(VolumeFileError, match=r"damaged|cannot read"):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


def test_several_gzip_members_are_fine(save, tmp_path):
    import gzip

    array = noise()
    data = save(array, tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(data[:500]) + gzip.compress(data[500:]))
    np.testing.assert_array_equal(read_volume(path).array, array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_content(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"no volume at all " * 100)
    with pytest.raises(VolumeFileError, match=rf"a{suffix}'"):
        read_volume(path)


def test_axes_not_at_right_angles(save, tmp_path, capfd):
    path = save(noise(), tmp_path / "a.nii")
    data = bytearray(path.read_bytes())
    struct.pack_into("<hh", data, 252, 0, 1)
    struct.pack_into("<4f", data, 280, 1.0, 0.5, 0.0, 0.0)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"axes that are not at right angles; resample"):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_no_valid_spacing(save, tmp_path, value):
    path = save(noise(), tmp_path / "a.nii")
    data = bytearray(path.read_bytes())
    struct.pack_into("<f", data, 80, value)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"has the voxel spacing"):
        read_volume(path)


def test_missing_folder_and_unknown_type(tmp_path):
    with pytest.raises(VolumeFileError, match=r"cannot read '.*a\.nii\.gz': No such file or directory; check the path"):
        read_volume(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii").mkdir()
    with pytest.raises(VolumeFileError, match=r"b\.nii' is a folder"):
        read_volume(tmp_path / "b.nii")
    with pytest.raises(VolumeFileError, match=r"unknown file type; expected one of \.nii\.gz, \.nii"):
        read_volume(tmp_path / "c.dcm")
    with pytest.raises(UsageError, match=r"unknown file type; write one of"):
        write_volume(Volume(noise(), (1, 1, 1)), tmp_path / "c.dcm")


def test_naming_puts_the_file_first():
    with pytest.raises(DataError, match=r"^'a\.mha': labels hold nothing"), naming("a.mha"):
        raise DataError("labels hold nothing")
    with pytest.raises(DataError, match=r"^'a\.mha' is bad"), naming("a.mha"):
        raise DataError("'a.mha' is bad")


FILE_LIMIT = """
import resource, signal, sys
import numpy as np
from label_gen.errors import VolumeFileError
from nnunet_ext.volumes import Volume, write_volume
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
array = np.random.default_rng(0).integers(0, 255, (30, 30, 30)).astype(np.uint8)
try:
    write_volume(Volume(array, (1.0, 1.0, 1.0)), sys.argv[1])
except VolumeFileError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_that_cannot_grow_is_reported_and_removed(tmp_path, environment, suffix):
    target = tmp_path / f"a{suffix}"
    command = [sys.executable, "-c", FILE_LIMIT, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert f"cannot write '{target}'" in done.stdout
    assert "MB are free there. Make space or choose another output (-o)" in done.stdout
    assert os.listdir(tmp_path) == []
