"""The contingency table against counting voxel by voxel, and against SimpleITK."""

import itertools

import numpy as np
import pytest
import SimpleITK

from label_gen.errors import DataError, GridError
from postproc import overlap as overlap_module
from postproc.overlap import LabelOverlap, label_overlap


def random_labels(seed, shape=(9, 7, 8), ids=(0, 0, 0, 1, 2, 13), dtype=np.uint8):
    coarse = np.random.default_rng(seed).choice(ids, size=tuple(n // 2 + 1 for n in shape))
    return np.kron(coarse, np.ones((2, 2, 2), int))[: shape[0], : shape[1], : shape[2]].astype(dtype)


def check_against_counting(result: LabelOverlap, prediction, reference):
    assert list(result.reference) == [i for i in np.unique(reference).tolist() if i]
    assert list(result.prediction) == [i for i in np.unique(prediction).tolist() if i]
    for places, labels in ((result.reference, reference), (result.prediction, prediction)):
        for label, place in places.items():
            mask = labels == label
            where = np.argwhere(mask)
            assert place.voxels == mask.sum()
            assert place.low == tuple(where.min(axis=0))
            assert place.high == tuple(where.max(axis=0) + 1)
            assert place.first_voxel == np.flatnonzero(mask.ravel())[0]
            assert labels[place.box].shape == tuple(np.subtract(place.high, place.low))
    for r, p in itertools.product(result.reference, result.prediction):
        both, either = ((reference == r) & (prediction == p)).sum(), ((reference == r) | (prediction == p)).sum()
        assert result.shared(r, p) == both
        assert result.iou(r, p) == both / either
        assert result.dice(r, p) == 2 * both / (both + either)
    assert 0 not in result.shared_voxels.values()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint64, np.int64])
def test_every_integer_type(dtype):
    prediction, reference = random_labels(1, dtype=dtype), random_labels(2, dtype=np.int16)
    check_against_counting(label_overlap(prediction, reference), prediction, reference)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("slab", [1, 100, 1 << 21])
def test_every_memory_layout_and_slab(axes, slab, monkeypatch):
    monkeypatch.setattr(overlap_module, "SLAB_VOXELS", slab)
    prediction, reference = random_labels(3).transpose(axes), random_labels(4).transpose(axes)
    check_against_counting(label_overlap(prediction, reference), prediction, reference)
    check_against_counting(label_overlap(prediction.copy(), reference), prediction, reference)


def test_reversed_and_strided_views():
    prediction, reference = random_labels(5)[::-1, :, ::2], random_labels(6)[::-1, :, ::-2]
    check_against_counting(label_overlap(prediction, reference), prediction, reference)


def test_labels_far_apart():
    ids = (0, 0, 3, 70_000, 2**40, 2**62)
    prediction, reference = random_labels(7, ids=ids, dtype=np.int64), random_labels(8, ids=ids, dtype=np.uint64)
    check_against_counting(label_overlap(prediction, reference), prediction, reference)


def test_noise():
    prediction, reference = np.random.default_rng(0).integers(0, 40, (2, 6, 5, 7), dtype=np.uint8)
    check_against_counting(label_overlap(prediction, reference), prediction, reference)


def test_empty_volumes():
    nothing = np.zeros((3, 4, 5), np.uint8)
    result = label_overlap(nothing, nothing)
    assert (result.reference, result.prediction, result.shared_voxels) == ({}, {}, {})
    assert result.merged(range(1, 11)) == (None, None, 0)
    assert result.iou_table([], []).shape == (0, 0)


def test_tables():
    prediction, reference = random_labels(9), random_labels(10)
    result = label_overlap(prediction, reference)
    rows, columns = [13, 1], [2, 13, 1]
    iou, dice = result.iou_table(rows, columns), result.dice_table(rows, columns)
    for (i, r), (j, p) in itertools.product(enumerate(rows), enumerate(columns)):
        assert iou[i, j] == result.iou(r, p)
        assert dice[i, j] == result.dice(r, p)


def test_merged_band_is_the_union_of_its_labels():
    prediction, reference = random_labels(11), random_labels(12)
    band = range(1, 3)
    true, predicted, shared = label_overlap(prediction, reference).merged(band)
    one = label_overlap(np.isin(prediction, band).astype(np.uint8), np.isin(reference, band).astype(np.uint8))
    assert (true, predicted, shared) == (one.reference[1], one.prediction[1], one.shared(1, 1))


def test_simpleitk_finds_the_same_overlap():
    prediction, reference = random_labels(13), random_labels(14)
    result = label_overlap(prediction, reference)
    oracle = SimpleITK.LabelOverlapMeasuresImageFilter()
    oracle.Execute(SimpleITK.GetImageFromArray(reference), SimpleITK.GetImageFromArray(prediction))
    for label in (1, 2, 13):
        assert result.iou(label, label) == pytest.approx(oracle.GetJaccardCoefficient(label), abs=1e-12)
        assert result.dice(label, label) == pytest.approx(oracle.GetDiceCoefficient(label), abs=1e-12)


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 2), np.float32), np.zeros((2, 2), int), np.full((2, 2, 2), -1)])
def test_bad_volumes(bad):
    good = np.zeros(bad.shape, np.uint8)
    with pytest.raises(DataError, match="prediction"):
        label_overlap(bad, good)
    with pytest.raises(DataError, match=r"reference|prediction"):
        label_overlap(good, bad)


def test_shapes_that_differ():
    with pytest.raises(GridError, match=r"\(2, 2, 3\).*\(2, 3, 2\)"):
        label_overlap(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 2), np.uint8))
