import dataclasses
import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from label_gen.errors import DataError, GridError, UsageError
from postproc import paired_surfaces as pairs
from postproc.slice_scores import SLICE_FIGURES, score_slices, slices_of
from postproc.structure_overlaps import OVERLAP_FIGURES
from postproc.structure_scores import StructurePair, end_slices, score_structure
from tests.volumes import AXIS_ORDERS, MILLIMETRE, SPACINGS, ball, box, fixed

DISTANCE_MM = 1e-4
"""Tolerance against distance maps of SimpleITK, which are float32."""


@st.composite
def mask_pairs(draw):
    """Draw two masks of a volume that overlap, touch, miss each other, or are empty; and a spacing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.integers(2, 14)) for _ in range(3))
    centre = [n / 2 for n in shape]
    kind = draw(st.sampled_from(["noise", "balls", "balls", "apart", "empty", "equal"]))
    if kind == "noise":
        masks = rng.random((2, *shape)) < 0.3
    else:
        shift = 4.0 if kind == "apart" else draw(st.floats(0, 2))
        masks = np.stack(
            [
                ball(shape, centre, draw(st.floats(1, 5))),
                ball(shape, [c - shift for c in centre], draw(st.floats(1, 5))),
            ]
        ).astype(bool)
    if kind == "empty":
        masks[draw(st.integers(0, 1))] = False
    if kind == "equal":
        masks[1] = masks[0]
    return masks[0], masks[1], draw(st.sampled_from(SPACINGS))


def image_of(mask, spacing_mm):
    """Return a mask as an image with two voxels of background round it."""
    image = SimpleITK.GetImageFromArray(np.pad(mask, 2).astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    return image


def contour_distances(first, second):
    """Return by SimpleITK how far the contour voxels of one image are from those of another, in mm."""
    contours = [SimpleITK.LabelContour(image, fullyConnected=False) for image in (first, second)]
    away = SimpleITK.SignedMaurerDistanceMap(contours[1], squaredDistance=False, useImageSpacing=True)
    is_own, is_other = (SimpleITK.GetArrayFromImage(contour) > 0 for contour in contours)
    return np.where(is_other, 0.0, np.abs(SimpleITK.GetArrayFromImage(away)))[is_own]


def check_distances(found, first, second):
    """Compare ASD and HD95 with SimpleITK's distance maps."""
    sides = [contour_distances(first, second), contour_distances(second, first)]
    assert found["asd_mm"] == pytest.approx(np.concatenate(sides).mean(), abs=DISTANCE_MM)
    assert found["hd95_mm"] == pytest.approx(max(np.percentile(side, 95) for side in sides), abs=DISTANCE_MM)


def equal(first, second, tolerance=0.0):
    return all(
        a == pytest.approx(b, rel=0, abs=tolerance, nan_ok=True)
        for a, b in zip(dataclasses.astuple(first), dataclasses.astuple(second), strict=True)
    )


def test_two_boxes_by_hand():
    reference = box((8, 6, 6), (1, (1, 5), (1, 5), (1, 5))) > 0
    prediction = box((8, 6, 6), (1, (3, 7), (1, 5), (1, 5))) > 0
    scores = score_structure(prediction, reference, (2.0, 1.0, 1.0))
    assert (scores.reference_mm3, scores.prediction_mm3) == (128, 128)
    assert scores.dice == 0.5
    assert scores.jaccard == pytest.approx(32 / 96)
    assert scores.sensitivity == 0.5
    assert scores.specificity == pytest.approx((288 - 96) / (288 - 64))
    assert (scores.volume_similarity, scores.signed_volume_similarity) == (1, 1)
    # Of 56 surface voxels, the 16 of the far slice lie 4 mm and the 12 round the next one 2 mm from the other end; the
    # 4 in the middle of the near slice, which lie inside the other box, 1 mm from its sides.
    assert scores.asd_mm == pytest.approx((16 * 4 + 12 * 2 + 4 * 1) / 56)
    assert scores.hd95_mm == 4
    assert scores.abs_surface_p95_mm == 4
    assert 0 < scores.signed_surface_p95_mm < 2


def test_volume_similarity_is_signed():
    small, large = ball((9, 9, 9), (4, 4, 4), 2) > 0, ball((9, 9, 9), (4, 4, 4), 3) > 0
    too_large, too_small = score_structure(large, small, MILLIMETRE), score_structure(small, large, MILLIMETRE)
    share = (large.sum() - small.sum()) / (large.sum() + small.sum())
    assert too_large.volume_similarity == too_small.volume_similarity == pytest.approx(1 - share)
    assert too_large.signed_volume_similarity == pytest.approx(1 + share)
    assert too_small.signed_volume_similarity == pytest.approx(1 - share)
    assert too_large.signed_surface_median_mm > 0.5
    assert too_small.signed_surface_median_mm < -0.5


@pytest.mark.parametrize("given_mask", ["prediction", "reference"])
def test_one_mask_empty(given_mask):
    mask = ball((7, 7, 7), (3, 3, 3), 2) > 0
    masks = {"prediction": np.zeros_like(mask), "reference": np.zeros_like(mask), given_mask: mask}
    scores = score_structure(**masks, spacing_mm=MILLIMETRE)
    assert (scores.dice, scores.jaccard, scores.volume_similarity) == (0, 0, 0)
    assert math.isinf(scores.asd_mm)
    assert math.isinf(scores.hd95_mm)
    assert math.isnan(scores.signed_surface_p95_mm)
    if given_mask == "reference":
        assert scores.sensitivity == 0
        assert scores.signed_volume_similarity == 0
        assert math.isinf(scores.abs_surface_p95_mm)
    else:
        assert math.isnan(scores.sensitivity)
        assert scores.signed_volume_similarity == 2
        assert math.isnan(scores.abs_surface_p95_mm)
    slices = score_slices(**masks, spacing_mm=MILLIMETRE)
    assert slices.index.tolist() == [1, 2, 3, 4, 5]
    assert np.isinf(slices.figures["asd_mm"]).all()
    assert math.isnan(slices.means()["hd95_mm"])
    assert slices.means()["dice"] == 0


def test_both_masks_empty():
    empty = np.zeros((3, 4, 5), bool)
    scores = dataclasses.asdict(score_structure(empty, empty, MILLIMETRE))
    assert scores.pop("specificity") == 1
    assert scores.pop("reference_mm3") == scores.pop("prediction_mm3") == 0
    assert all(math.isnan(value) for value in scores.values())
    slices = score_slices(empty, empty, MILLIMETRE)
    assert len(slices.index) == 0
    assert set(slices.figures) == set(SLICE_FIGURES)
    assert not end_slices(empty).any()


@given(mask_pairs())
@fixed(25)
def test_overlaps_are_those_of_simpleitk(drawn):
    prediction, reference, spacing = drawn
    scores = score_structure(prediction, reference, spacing)
    if not (prediction.any() and reference.any()):
        return
    measures = SimpleITK.LabelOverlapMeasuresImageFilter()
    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, reference)]
    measures.Execute(*images)
    assert scores.dice == pytest.approx(measures.GetDiceCoefficient(), abs=1e-6)
    assert scores.jaccard == pytest.approx(measures.GetJaccardCoefficient(), abs=1e-6)
    assert scores.signed_volume_similarity == pytest.approx(1 + measures.GetVolumeSimilarity() / 2, abs=1e-6)
    assert scores.volume_similarity == pytest.approx(1 - abs(measures.GetVolumeSimilarity()) / 2, abs=1e-6)
    if not reference.all():
        shared = (~prediction & ~reference).sum()
        assert scores.specificity == pytest.approx(shared / (~reference).sum(), abs=1e-6)
    assert scores.sensitivity == pytest.approx((prediction & reference).sum() / reference.sum(), abs=1e-6)


@given(mask_pairs())
@fixed(25)
def test_surface_distances_are_those_of_simpleitk(drawn):
    prediction, reference, spacing = drawn
    if prediction.any() and reference.any():
        found = dataclasses.asdict(score_structure(prediction, reference, spacing))
        check_distances(found, image_of(prediction, spacing), image_of(reference, spacing))


def test_largest_and_mean_distances_are_those_of_simpleitks_filter():
    prediction, reference = ball((14, 15, 16), (6, 7, 8), 4) > 0, ball((14, 15, 16), (7, 8, 7), 5) > 0
    spacing = (1.5, 0.8, 0.9)
    images = [SimpleITK.LabelContour(image_of(mask, spacing), fullyConnected=False) for mask in (prediction, reference)]
    oracle = SimpleITK.HausdorffDistanceImageFilter()
    oracle.Execute(*images)
    surfaces = StructurePair(prediction, reference, spacing).surfaces
    sides = surfaces.from_prediction, surfaces.from_reference
    assert max(side.max() for side in sides) == pytest.approx(oracle.GetHausdorffDistance(), abs=DISTANCE_MM)
    mean = sum(float(side.mean()) for side in sides) / 2
    assert mean == pytest.approx(oracle.GetAverageHausdorffDistance(), abs=DISTANCE_MM)


@given(mask_pairs(), st.integers(0, 2))
@fixed(12)
def test_slices_are_those_of_simpleitk(drawn, axis):
    prediction, reference, spacing = drawn
    slices = score_slices(prediction, reference, spacing, axis=axis)
    filled = [i for i in range(reference.shape[axis]) if (prediction | reference).take(i, axis).any()]
    assert slices.index.tolist() == filled
    in_plane = [spacing[i] for i in range(3) if i != axis]
    for number, place in enumerate(filled):
        p, r = prediction.take(place, axis), reference.take(place, axis)
        found = {name: values[number] for name, values in slices.figures.items()}
        assert found["dice"] == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()), abs=1e-6)
        assert found["jaccard"] == pytest.approx((p & r).sum() / (p | r).sum(), abs=1e-6)
        if p.any() and r.any():
            assert found["sensitivity"] == pytest.approx((p & r).sum() / r.sum(), abs=1e-6)
            check_distances(found, image_of(p, in_plane), image_of(r, in_plane))
        else:
            assert found["hd95_mm"] == found["asd_mm"] == np.inf
        if not r.all():
            assert found["specificity"] == pytest.approx((~p & ~r).sum() / (~r).sum(), abs=1e-6)


@given(mask_pairs(), st.sampled_from(AXIS_ORDERS[1:]))
@fixed(12)
def test_roles_and_axes(drawn, axes):
    prediction, reference, spacing = drawn
    scores = score_structure(prediction, reference, spacing)
    swapped = score_structure(reference, prediction, spacing)
    for name in ("dice", "jaccard", "volume_similarity", "asd_mm", "hd95_mm"):
        assert getattr(scores, name) == pytest.approx(getattr(swapped, name), nan_ok=True)
    assert scores.signed_volume_similarity == pytest.approx(2 - swapped.signed_volume_similarity, nan_ok=True)
    turned = score_structure(prediction.transpose(axes), reference.transpose(axes), [spacing[i] for i in axes])
    for name in (*OVERLAP_FIGURES, "asd_mm", "hd95_mm"):
        assert getattr(scores, name) == pytest.approx(getattr(turned, name), abs=1e-5, nan_ok=True)


@given(mask_pairs())
@fixed(10)
def test_both_ways_of_measuring_agree(drawn):
    prediction, reference, spacing = drawn
    found = []
    for cost in (0.0, np.inf):  # of a voxel of the distance transform
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pairs, "VOXEL_NS", cost)
            found.append(
                (score_structure(prediction, reference, spacing), score_slices(prediction, reference, spacing))
            )
    assert equal(found[0][0], found[1][0], DISTANCE_MM)
    for name in SLICE_FIGURES:
        assert found[0][1].figures[name] == pytest.approx(found[1][1].figures[name], abs=DISTANCE_MM, nan_ok=True)


@given(mask_pairs(), st.integers(0, 2))
@fixed(10)
def test_regions(drawn, axis):
    prediction, reference, spacing = drawn
    whole = score_structure(prediction, reference, spacing)
    everything = np.ones(reference.shape, bool)
    assert equal(score_structure(prediction, reference, spacing, region=everything), whole, 1e-9)
    halves = np.zeros(reference.shape, bool)
    np.moveaxis(halves, axis, 0)[: reference.shape[axis] // 2] = True
    pair = StructurePair(prediction, reference, spacing)
    parts = [pair.score(halves), pair.score(~halves)]
    assert sum(part.reference_mm3 for part in parts) == pytest.approx(whole.reference_mm3)
    assert sum(part.prediction_mm3 for part in parts) == pytest.approx(whole.prediction_mm3)
    sizes = [part.reference_mm3 + part.prediction_mm3 for part in parts]
    if sum(sizes):
        shares = [part.dice * size for part, size in zip(parts, sizes, strict=True) if size]
        assert sum(shares) / sum(sizes) == pytest.approx(whole.dice)
    for name in SLICE_FIGURES:  # slices that the region holds wholly are as they were
        inside = slices_of(pair, axis=axis, region=halves).figures[name]
        assert inside == pytest.approx(slices_of(pair, axis=axis).figures[name][: len(inside)], nan_ok=True)


def test_limits_of_a_region_are_no_surface():
    mask = box((20, 8, 8), (1, (2, 18), (2, 6), (2, 6))) > 0
    moved = np.roll(mask, 1, 0)
    region = np.zeros_like(mask)
    region[5:15] = True
    scores = score_structure(moved, mask, MILLIMETRE, region=region)
    assert (scores.dice, scores.asd_mm, scores.hd95_mm, scores.abs_surface_p95_mm) == (1, 0, 0, 0)
    assert score_structure(moved, mask, MILLIMETRE).asd_mm > 0


@given(mask_pairs(), st.integers(1, 4), st.integers(0, 2), st.sampled_from(["first", "last", "both"]))
@fixed(10)
def test_a_part_of_a_volume_scores_as_the_volume(drawn, count, axis, end):
    prediction, reference, spacing = drawn
    shape = tuple(n + 5 for n in reference.shape)
    place = tuple(slice(k, k + n) for k, n in zip((0, 2, 5), reference.shape, strict=True))
    large = []
    for mask in (prediction, reference):
        volume = np.zeros(shape, bool)
        volume[place] = mask
        large.append(volume)
    part = StructurePair(prediction, reference, spacing, place=(place, shape))
    whole = StructurePair(*large, spacing)
    region = end_slices(large[1], count, axis, end)
    assert (part.end_slices(count, axis, end) == region).all()
    for chosen in (None, region):
        assert equal(part.score(chosen), whole.score(chosen))
        found, expected = slices_of(part, axis=axis, region=chosen), slices_of(whole, axis=axis, region=chosen)
        assert (found.index == expected.index).all()
        for name in SLICE_FIGURES:
            np.testing.assert_array_equal(found.figures[name], expected.figures[name])


def test_end_slices():
    mask = box((9, 3, 3), (1, (1, 3), (0, 3), (0, 3)), (1, (4, 8), (1, 2), (1, 2))) > 0
    filled = {end: np.flatnonzero(end_slices(mask, 3, 0, end).all(axis=(1, 2))).tolist() for end in ("first", "last")}
    assert filled == {"first": [1, 2, 4], "last": [5, 6, 7]}
    both = end_slices(mask, 1, 0, "both")
    assert np.flatnonzero(both.any(axis=(1, 2))).tolist() == [1, 7]
    assert both.shape == mask.shape
    assert end_slices(mask, 99, 2, "last").all()
    assert end_slices(mask, 20, 0).sum() == 6 * 9


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prediction": np.zeros((3, 3, 3), int)}, DataError, r"the prediction must be boolean.*Got: dtype int64"),
        ({"reference": np.zeros((3, 3), bool)}, DataError, r"the reference must be boolean.*shape \(3, 3\)"),
        ({"prediction": np.zeros((3, 3, 4), bool)}, GridError, r"Got: shapes \(3, 3, 4\) and \(3, 3, 3\)"),
        ({"spacing_mm": (1, 0, 1)}, UsageError, r"spacing_mm must be three positive"),
        ({"region": np.zeros((3, 3, 3))}, DataError, r"the region must be boolean. Got: dtype float64"),
        ({"region": np.zeros((3, 3, 2), bool)}, GridError, r"Got: shapes \(3, 3, 2\) and \(3, 3, 3\)"),
    ],
)
def test_bad_arguments(change, error, message):
    mask = np.zeros((3, 3, 3), bool)
    for function in (score_structure, score_slices):
        with pytest.raises(error, match=message):
            function(**{"prediction": mask, "reference": mask, "spacing_mm": MILLIMETRE, **change})


def test_bad_slices():
    mask = np.zeros((3, 3, 3), bool)
    with pytest.raises(UsageError, match=r"number of end slices must be 1 or more. Got: 0"):
        end_slices(mask, 0)
    with pytest.raises(UsageError, match=r"slice axis must be 0, 1 or 2.*Got: 3"):
        end_slices(mask, axis=3)
    with pytest.raises(UsageError, match=r"end must be one of first, last, both. Got: 'top'"):
        end_slices(mask, end="top")
    with pytest.raises(UsageError, match=r"slice axis must be 0, 1 or 2.*Got: -1"):
        score_slices(mask, mask, MILLIMETRE, axis=-1)
