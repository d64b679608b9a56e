import json

import numpy as np
import pytest

from label_gen import ABBC
from label_gen.errors import DataError, GridError, SchemeError, VolumeFileError
from nnunet_ext.grids import Grid
from nnunet_ext.probabilities import read_abbc
from nnunet_ext.schemes import load_scheme

SCHEME = load_scheme("pengwin2024")
SHAPE = (4, 5, 6)
OTHER_ORDER = {"background": 0, "core": 1, "border": 2, "boundary": 3}
"""Number of each class in a made-up data set."""


def maps(dtype=np.float32):
    values = np.random.default_rng(0).random((4, *SHAPE))
    return (values / values.sum(0)).astype(dtype)


@pytest.fixture
def predicted(save, tmp_path):
    """What nnU-Net writes for a case."""

    def write(array, key="probabilities", labels=None, segmentation=True):
        np.savez_compressed(tmp_path / "a.npz", **{key: array})
        if segmentation:
            save(np.zeros(SHAPE, np.uint8), tmp_path / "a.nii.gz")
        if labels:
            (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
        return tmp_path / "a.npz"

    return write


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("key", ["probabilities", "softmax"])
def test_geometry_from_the_segmentation_and_type_as_stored(predicted, dtype, key):
    array = maps(dtype)
    read = read_abbc(predicted(array, key), SCHEME)
    assert read.array.dtype == dtype
    np.testing.assert_array_equal(read.array, array)
    assert read.grid.shape == SHAPE
    assert read.grid.spacing_mm == pytest.approx((1.5, 0.8, 0.9))


def test_geometry_from_the_anatomy(predicted):
    path = predicted(maps(), segmentation=False)
    grid = Grid(SHAPE, (3.0, 2.0, 1.0))
    assert read_abbc(path, SCHEME, anatomy=grid).grid == grid
    with pytest.raises(DataError, match=r"a\.npz' has no geometry: put the segmentation .* \('a\.nii\.gz'\), or pass"):
        read_abbc(path, SCHEME)
    with pytest.raises(GridError, match=r"size \(6, 5, 4\) but the volume that gives their geometry has \(6, 5, 5\)"):
        read_abbc(path, SCHEME, anatomy=Grid((5, 5, 6), (3.0, 2.0, 1.0)))


def test_classes_are_found_by_name(predicted):
    array = maps()
    read = read_abbc(predicted(array, labels={**OTHER_ORDER, "ignore": 4}), SCHEME).array
    np.testing.assert_array_equal(read[ABBC.CORE], array[1])
    np.testing.assert_array_equal(read[ABBC.BOUNDARY], array[3])


@pytest.mark.parametrize("above", [False, True])
def test_classes_of_label_volumes_are_found_by_name(save, tmp_path, above):
    array = np.resize(np.arange(4, dtype=np.uint8), SHAPE)
    path = save(array, tmp_path / "labelsTr" / "a.mha")
    assert read_abbc(path, SCHEME).array.tolist() == array.tolist()
    folder = tmp_path if above else tmp_path / "labelsTr"
    (folder / "dataset.json").write_text(json.dumps({"labels": OTHER_ORDER}))
    read = read_abbc(path, SCHEME)
    for name, number in OTHER_ORDER.items():
        np.testing.assert_array_equal(read.array == ABBC[name.upper()], array == number)
    assert read.array.dtype == np.uint8


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {"background": 0, "bone": 1},
            r"dataset\.json' does not name the class 'boundary' \(it names background, bone\)",
        ),
        ({**OTHER_ORDER, "core": 7}, "numbers its classes .*; four ABBC classes numbered 0 to 3 are expected"),
        ({**OTHER_ORDER, "core": [1, 2]}, "four ABBC classes numbered 0 to 3 are expected"),
        ({**OTHER_ORDER, "femur": 4}, "four ABBC classes numbered 0 to 3 are expected"),
    ],
)
def test_bad_dataset_json(predicted, labels, message):
    with pytest.raises(SchemeError, match=message):
        read_abbc(predicted(maps(), labels=labels), SCHEME)


def test_dataset_json_without_labels(predicted):
    path = predicted(maps())
    (path.parent / "dataset.json").write_text("{")
    with pytest.raises(SchemeError, match='has no valid "labels" table'):
        read_abbc(path, SCHEME)


def changed(value):
    array = maps()
    array[2, 1, 1, 1] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (maps()[:3], r"shape \(3, 4, 5, 6\); \(4, z, y, x\) is expected"),
        (maps()[0], r"shape \(4, 5, 6\); \(4, z, y, x\) is expected"),
        (maps()[:, :0], r"is empty: its shape is \(4, 0, 5, 6\)"),
        (changed(np.nan), "holds NaN or infinite values in class 2"),
        (changed(1.5), "holds values from .* to 1.5 in class 2; .*are these logits"),
        (changed(-0.1), "holds values from -0.1 to"),
        (maps().astype(np.int32), "holds int32 values"),
    ],
)
def test_bad_maps(predicted, array, message):
    with pytest.raises(DataError, match=rf"a\.npz'.*{message}"):
        read_abbc(predicted(array), SCHEME)


def test_bad_archives(predicted, tmp_path):
    path = predicted(maps(), key="seg")
    with pytest.raises(DataError, match=r"holds seg but no 'probabilities'"):
        read_abbc(path, SCHEME)
    path = predicted(maps())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VolumeFileError, match=r"a\.npz' is truncated or damaged"):
        read_abbc(path, SCHEME)
    path.write_text("no archive")
    with pytest.raises(VolumeFileError, match=r"damaged \(it is no .npz archive, or has no end\); copy it again"):
        read_abbc(path, SCHEME)
    path = predicted(np.array([{}], object))
    with pytest.raises(VolumeFileError, match=r"Object arrays cannot be loaded"):
        read_abbc(path, SCHEME)
    with pytest.raises(VolumeFileError, match=r"cannot read '.*b.npz': No such file or directory"):
        read_abbc(tmp_path / "b.npz", SCHEME)


def test_fragments_are_no_classes(save, tmp_path):
    with pytest.raises(DataError, match=r"a\.mha' holds the label 12; ABBC classes are 0 to 3"):
        read_abbc(save(np.full(SHAPE, 12, np.uint8), tmp_path / "a.mha"), SCHEME)
