import json

import numpy as np
import pytest

from label_gen.errors import DataError, GridError, SchemeError, UsageError, VolumeFileError
from nnunet_ext.predictions import DatasetClasses, find_classes, read_prediction

SHAPE = (4, 5, 6)
CLASSES = DatasetClasses({"background": 0, "a": 1, "b": 2}, 3)


def describe(folder, labels):
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


@pytest.mark.parametrize("above", [False, True])
def test_classes_from_dataset_json(tmp_path, above):
    folder = tmp_path / "in"
    folder.mkdir()
    describe(tmp_path if above else folder, {"background": 0, "b": 2, "a": 1, "ignore": 3})
    assert find_classes(folder / "case.nii.gz") == CLASSES


def test_regions(tmp_path):
    describe(tmp_path, {"background": 0, "whole": [1, 2], "core": 2})
    found = find_classes(tmp_path / "case.npz")
    assert found == DatasetClasses({"background": 0, "core": 2}, 3, has_regions=True)
    with pytest.raises(
        DataError, match=r"holds probabilities of regions .* pass the segmentations \(--segmentations\)"
    ):
        read_prediction(tmp_path / "case.npz", found)


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": []}', '{"labels": {}}', '{"labels": {"a": "1"}}', "{}"])
def test_dataset_json_without_labels(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(SchemeError, match=r'has no valid "labels" table .*; mend it or give --labels NAME=NUMBER'):
        find_classes(tmp_path / "case.nii.gz")


def test_no_dataset_json(tmp_path):
    with pytest.raises(
        UsageError, match=r"no dataset.json beside 'case.nii.gz' or in the folder above.*--labels NAME="
    ):
        find_classes(tmp_path / "case.nii.gz")
    (tmp_path / "dataset.json").write_bytes(b"\xff")
    with pytest.raises(VolumeFileError, match=r"cannot read '.*dataset.json'"):
        find_classes(tmp_path / "case.nii.gz")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_probabilities_as_stored_on_the_grid_of_the_segmentation(save, tmp_path, dtype):
    array = np.random.default_rng(0).random((3, *SHAPE)).astype(dtype)
    np.savez_compressed(tmp_path / "a.npz", probabilities=array)
    with pytest.raises(DataError, match=r"'.*a\.npz' has no geometry: put the segmentation .* \('a\.nii\.gz'\)"):
        read_prediction(tmp_path / "a.npz", CLASSES)
    save(np.zeros(SHAPE, np.uint8), tmp_path / "a.nrrd")
    read = read_prediction(tmp_path / "a.npz", CLASSES)
    assert read.array.dtype == dtype
    np.testing.assert_array_equal(read.array, array)
    assert read.grid.spacing_mm == pytest.approx((1.5, 0.8, 0.9))
    save(np.zeros((5, 5, 6), np.uint8), tmp_path / "a.nrrd")
    with pytest.raises(GridError, match=r"size \(6, 5, 4\) but 'a.nrrd' beside it has \(6, 5, 5\) voxels \(x, y, z\)"):
        read_prediction(tmp_path / "a.npz", CLASSES)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((4, *SHAPE)),
            r"float64 values of shape \(4, 4, 5, 6\); .* shape \(3, z, y, x\) are expected, one map",
        ),
        (np.zeros(SHAPE), r"float64 values of shape \(4, 5, 6\)"),
        (np.zeros((3, *SHAPE), int), r"int64 values of shape"),
    ],
)
def test_other_arrays(tmp_path, array, message):
    np.savez_compressed(tmp_path / "a.npz", probabilities=array)
    with pytest.raises(DataError, match=message):
        read_prediction(tmp_path / "a.npz", CLASSES)


def test_labels_that_the_data_set_does_not_have(save, tmp_path):
    path = save(np.full(SHAPE, 3, np.uint8), tmp_path / "a.mha")
    with pytest.raises(DataError, match=r"holds the label 3, but the classes in its dataset.json end at 2; pass what"):
        read_prediction(path, CLASSES)
    assert read_prediction(path, DatasetClasses({"a": 1})).array.max() == 3
