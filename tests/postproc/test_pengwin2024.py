"""The figures of the PENGWIN 2024 evaluator against a slow whole-volume version written from its description."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation as dilate
from scipy.ndimage import binary_erosion as erode
from scipy.ndimage import gaussian_filter, generate_binary_structure
from scipy.spatial.distance import cdist

from label_gen.errors import DataError, GridError, UsageError
from label_gen.scheme import Bone, LabelScheme
from postproc import pengwin2024
from postproc.pengwin2024 import pengwin2024_figures, sampled_surface

PELVIS = LabelScheme(
    "pelvis",
    (Bone("sacrum", 1, 10), Bone("left_hip", 11, 20), Bone("right_hip", 21, 30)),
    {"sacrum": 1, "left_hip": 2, "right_hip": 3},
)
FACES = generate_binary_structure(3, 1)


def slow_points(mask, spacing, sample):
    points = np.argwhere(dilate(mask, FACES) & ~erode(mask, FACES, border_value=0))
    if len(points) > sample:
        points = points[np.random.RandomState(2024).randint(0, len(points), size=(sample,))]
    return points * np.asarray(spacing)


def slow_distances(first, second, spacing, sample):
    a, b = slow_points(first, spacing, sample), slow_points(second, spacing, sample)
    if not len(a) or not len(b):
        return np.inf, np.inf
    table = cdist(a, b).astype(np.float32)
    rows, columns = table.min(axis=1), table.min(axis=0)
    return max(np.percentile(rows, 95), np.percentile(columns, 95)), (rows.mean() + columns.mean()) / 2


def slow_iou(first, second):
    return (first & second).sum() / (first | second).sum() if (first | second).any() else 0.0


def slow_figures(prediction, reference, spacing, scheme, sample=10_000):
    fragments, bones = {}, {}
    for bone in scheme.bones:
        candidates = [p for p in bone.band if (prediction == p).any()]
        for r in (r for r in bone.band if (reference == r).any() and candidates):
            true = reference == r
            best = candidates[0]
            for p in candidates[1:]:
                if slow_iou(true, prediction == p) > slow_iou(true, prediction == best):
                    best = p
            iou = slow_iou(true, prediction == best)
            if iou > 0:
                fragments[r] = (iou, *slow_distances(true, prediction == best, spacing, sample))
            else:
                where = np.argwhere(true)
                radius = np.linalg.norm(where - where.mean(axis=0), axis=1).max()
                fragments[r] = (0.0, 2 * radius, radius)
        first, second = np.isin(reference, bone.band), np.isin(prediction, bone.band)
        bones[bone.name] = (slow_iou(first, second), *slow_distances(first, second, spacing, sample))
    return fragments, bones


def blobs(seed, ids, shape=(20, 18, 22), threshold=0.35):
    """Smooth blobs, several of which touch the edge of the volume."""
    rng = np.random.default_rng(seed)
    fields = np.stack([gaussian_filter(rng.normal(size=shape), 2.5, mode="wrap") for _ in ids])
    fields /= fields.std()
    return np.where(fields.max(axis=0) > threshold, np.asarray(ids)[fields.argmax(axis=0)], 0).astype(np.uint8)


def check_case(prediction, reference, spacing, sample=10_000):
    figures = pengwin2024_figures(prediction, reference, spacing, scheme=PELVIS)
    fragments, bones = slow_figures(prediction, reference, spacing, PELVIS, sample)
    assert [f.reference_id for f in figures.fragments] == list(fragments)
    for fragment in figures.fragments:
        assert fragment.agreement == pytest.approx(fragments[fragment.reference_id], abs=1e-5)
    for name, agreement in figures.bones.items():
        assert agreement == pytest.approx(bones[name], abs=1e-5)
    if fragments:
        assert figures.fragment_mean == pytest.approx(np.mean(list(fragments.values()), axis=0), abs=1e-5)
    else:
        assert figures.fragment_mean is None
    assert figures.anatomy_mean == pytest.approx(np.mean(list(bones.values()), axis=0), abs=1e-5)
    return figures


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.75, 0.75), (2.5, 0.7, 0.9)])
@pytest.mark.parametrize("seed", range(4))
def test_random_blobs(seed, spacing):
    check_case(blobs(seed + 50, (2, 11, 12, 15, 22)), blobs(seed, (1, 2, 11, 13, 21, 22)), spacing)


@pytest.mark.parametrize("seed", range(3))
def test_slightly_wrong_prediction(seed):
    reference = blobs(seed, (1, 2, 11, 13, 21, 22))
    check_case(np.roll(reference, (1, -1), (0, 2)), reference, (0.8, 0.75, 0.75))


@pytest.mark.parametrize("seed", range(3))
def test_thinned_surfaces(seed, monkeypatch):
    monkeypatch.setattr(pengwin2024, "SAMPLE_SIZE", 300)
    check_case(blobs(seed + 50, (2, 11, 22)), blobs(seed, (1, 11, 21)), (0.8, 0.75, 0.75), sample=300)


def test_draw_is_that_of_sklearn():
    utils = pytest.importorskip("sklearn.utils")
    mask = np.zeros((50, 52, 54), bool)
    mask[2:48, 0:50, 3:50] = True
    points = np.argwhere(dilate(mask, FACES) & ~erode(mask, FACES, border_value=0))
    assert len(points) > 10_000
    expected = utils.resample(points, n_samples=10_000, random_state=2024)
    np.testing.assert_array_equal(sampled_surface(mask), expected)
    np.testing.assert_array_equal(sampled_surface(mask[1:49, 0:51, 2:51], (1, 0, 2)), expected)


def test_bone_without_prediction_drops_out_of_the_fragment_figures():
    reference = blobs(1, (1, 11, 12, 21))
    prediction = np.where(reference > 20, 0, reference).astype(np.uint8)
    figures = check_case(prediction, reference, (1, 1, 1))
    assert [f.reference_id for f in figures.fragments] == [1, 11, 12]
    assert figures.fragment_mean == (1, 0, 0)
    assert figures.anatomy_mean == (pytest.approx(2 / 3), np.inf, np.inf)


def test_missed_fragment_costs_its_radius_in_voxels():
    reference = np.zeros((4, 4, 40), np.uint8)
    reference[1, 1, 0:11], reference[1, 1, 20:25] = 1, 2
    prediction = np.where(reference == 2, 2, 0).astype(np.uint8)
    figures = check_case(prediction, reference, (3.0, 3.0, 3.0))
    assert figures.fragments[0] == (1, 2, (0.0, 10.0, 5.0))


def test_one_prediction_serves_several_fragments_and_surplus_is_free():
    reference = np.zeros((6, 6, 20), np.uint8)
    reference[:, :, 2:10], reference[:, :, 10:18] = 1, 2
    prediction = np.where(reference > 0, 5, 0).astype(np.uint8)
    prediction[0, 0, 0] = 7
    figures = check_case(prediction, reference, (1, 1, 1))
    assert [(f.reference_id, f.prediction_id) for f in figures.fragments] == [(1, 5), (2, 5)]


def test_ties_go_to_the_smallest_number():
    reference = np.zeros((4, 4, 8), np.uint8)
    reference[:, :, :] = 1
    prediction = np.where(np.arange(8) < 4, 9, 3) * reference
    assert check_case(prediction, reference, (1, 1, 1)).fragments[0].prediction_id == 3


@pytest.mark.parametrize("is_reference_empty", [True, False])
@pytest.mark.parametrize("is_prediction_empty", [True, False])
def test_empty_volumes(is_reference_empty, is_prediction_empty):
    nothing, something = np.zeros((20, 18, 22), np.uint8), blobs(3, (1, 11, 21))
    reference = nothing if is_reference_empty else something
    prediction = nothing if is_prediction_empty else something
    figures = check_case(prediction, reference, (1, 1, 1))
    assert (figures.fragment_mean is None) == (is_reference_empty or is_prediction_empty)
    if is_reference_empty or is_prediction_empty:
        assert figures.anatomy_mean == (0, np.inf, np.inf)


def test_bone_only_in_the_prediction():
    prediction = blobs(4, (1, 11, 21))
    check_case(prediction, np.where(prediction == 1, 0, prediction), (1, 1, 1))


def test_volume_full_of_bone():
    reference = np.ones((5, 6, 7), np.uint8)
    assert check_case(reference, reference, (1, 1, 1)).fragment_mean == (1, 0, 0)


def test_bad_input():
    labels = np.ones((3, 3, 3), np.uint8)
    with pytest.raises(DataError, match="float64"):
        pengwin2024_figures(labels * 1.0, labels, (1, 1, 1), scheme=PELVIS)
    with pytest.raises(GridError):
        pengwin2024_figures(labels[1:], labels, (1, 1, 1), scheme=PELVIS)
    with pytest.raises(UsageError):
        pengwin2024_figures(labels, labels, (1, 1), scheme=PELVIS)
