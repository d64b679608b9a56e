"""Surfaces of fragments: closed, of the right volume, beside each other, a clearance apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_gen import DataError, UsageError
from postproc.surfaces import decimate, fragment_surfaces
from postproc.surfaces.overlaps import measure_overlaps
from postproc.surfaces.solids import check_surface, to_solid
from tests.volumes import MILLIMETRE, SPACINGS, ball, bar, fixed, fragment_volumes


def broken_ball(radius=9, tilt=0.3, numbers=(3, 8)):
    size = 2 * radius + 3
    labels = ball((size, size, size), (radius + 1,) * 3, radius)
    z, _, x = np.indices(labels.shape)
    return np.where(labels == 0, 0, np.where(x + tilt * z < (1 + tilt) * (radius + 1), *numbers)).astype(np.uint8)


def check(fragments, labels, spacing):
    assert [fragment.label for fragment in fragments] == np.unique(labels[labels > 0]).tolist()
    for fragment in fragments:
        assert fragment.is_watertight
        assert fragment.is_manifold
        assert fragment.is_outward
        assert fragment.voxel_volume_mm3 == pytest.approx((labels == fragment.label).sum() * np.prod(spacing))
        assert fragment.volume_mm3 == fragment.surface.volume_mm3
        assert fragment.volume_error == pytest.approx(fragment.volume_mm3 / fragment.voxel_volume_mm3 - 1)
        assert fragment.mean_deviation_mm <= fragment.largest_deviation_mm


@pytest.mark.parametrize("spacing", [MILLIMETRE, (3.0, 0.8, 0.8)])
def test_two_halves_touch_and_do_not_overlap(spacing):
    labels = broken_ball()
    fragments = fragment_surfaces(labels, spacing)
    check(fragments, labels, spacing)
    for fragment in fragments:
        assert abs(fragment.volume_error) < 0.001
        assert fragment.parts == 1
        assert fragment.overlap_mm3 < 1e-5
        assert fragment.clearance_mm is None
        assert fragment.largest_deviation_mm < np.linalg.norm(spacing)
    first, second = (to_solid(fragment.surface) for fragment in fragments)
    assert first.min_gap(second, 1.0) == 0.0
    assert max(measure_overlaps([first, second])) < 1e-5
    places = [{tuple(vertex) for vertex in fragment.surface.vertices} for fragment in fragments]
    assert len(places[0] & places[1]) > 50


def test_without_smoothing_the_voxels_come_out():
    labels = bar((1, (2, 9)), (2, (9, 14)), across=4)
    for fragment in fragment_surfaces(labels, (2.0, 1.0, 0.5), smoothing=0, tolerance_mm=0.01):
        assert fragment.volume_error == pytest.approx(0.0, abs=1e-12)
        assert fragment.largest_deviation_mm == pytest.approx(0.0, abs=1e-12)
        assert len(fragment.surface.faces) < 200


@pytest.mark.parametrize(("clearance", "spacing"), [(0.2, MILLIMETRE), (1.0, (2.0, 1.0, 1.0))])
def test_clearance_is_kept(clearance, spacing):
    labels = broken_ball(6)
    fragments = fragment_surfaces(labels, spacing, clearance_mm=clearance)
    check(fragments, labels, spacing)
    first, second = (to_solid(fragment.surface) for fragment in fragments)
    gap = first.min_gap(second, 3 * clearance)
    assert clearance <= gap < 1.3 * clearance + 0.1
    assert fragments[0].clearance_mm == fragments[1].clearance_mm == pytest.approx(gap)
    lost = [-fragment.volume_error for fragment in fragments]
    assert min(lost) > 0.5 * max(lost) > 0  # each gives half


def test_clearance_leaves_fragments_alone_that_are_apart():
    labels = np.concatenate([bar((1, (2, 10)), across=6), bar((2, (6, 14)), across=6)], axis=2)
    with_, without = (fragment_surfaces(labels, MILLIMETRE, clearance_mm=c) for c in (0.5, 0.0))
    for one, other in zip(with_, without, strict=True):
        np.testing.assert_array_equal(one.surface.vertices, other.surface.vertices)
        assert one.clearance_mm is None


def test_a_fragment_at_the_edge_of_the_volume_is_closed():
    labels = np.ones((6, 6, 6), np.uint8)
    (fragment,) = fragment_surfaces(labels, MILLIMETRE)
    check((fragment,), labels, MILLIMETRE)
    assert abs(fragment.volume_error) < 0.001


def test_tiny_fragments_and_several_bodies():
    labels = np.zeros((10, 10, 20), np.uint16)
    labels[1, 1, 1] = 900
    labels[4:6, 4:6, 4:6] = 5
    labels[4:8, 4:8, 12:18] = 5
    labels[8, 8, 18] = 5  # touches the body at a corner only
    small, single = fragment_surfaces(labels, (3.0, 0.8, 0.8))
    check((small, single), labels, (3.0, 0.8, 0.8))
    assert (small.label, small.parts) == (5, 3)
    assert (single.label, single.parts) == (900, 1)
    assert abs(small.volume_error) < 0.01
    assert abs(single.volume_error) < 0.01


def test_a_fragment_inside_another():
    labels = ball((25, 25, 25), (12, 12, 12), 11)
    labels[ball((25, 25, 25), (12, 12, 12), 4) > 0] = 2
    outer, inner = fragment_surfaces(labels, MILLIMETRE)
    check((outer, inner), labels, MILLIMETRE)
    assert outer.parts == inner.parts == 1
    assert abs(inner.volume_error) < 0.01
    assert outer.overlap_mm3 < 1e-5


def test_no_labels_no_surfaces():
    assert fragment_surfaces(np.zeros((3, 3, 3), np.uint8), MILLIMETRE) == ()


def test_same_labels_same_surfaces():
    labels = broken_ball(8)
    for one, other in zip(*(fragment_surfaces(labels, MILLIMETRE) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(one.surface.vertices, other.surface.vertices)
        np.testing.assert_array_equal(one.surface.faces, other.surface.faces)


def test_few_faces_for_display():
    labels = broken_ball()
    for fragment in fragment_surfaces(labels, MILLIMETRE, max_faces=300):
        assert len(fragment.surface.faces) <= 300
        assert fragment.is_manifold
        assert abs(fragment.volume_error) < 0.05
    full = fragment_surfaces(labels, MILLIMETRE)[0].surface
    few = decimate(full, 100)
    assert len(few.faces) <= 100
    assert check_surface(few).is_manifold
    assert decimate(few, 100) is few


@pytest.mark.parametrize(
    ("labels", "spacing", "options", "error", "message"),
    [
        (np.zeros((3, 3)), MILLIMETRE, {}, DataError, "three axes"),
        (np.zeros((3, 3, 3)), MILLIMETRE, {}, DataError, "whole numbers"),
        (np.zeros((3, 3, 3), int), (1, 1), {}, UsageError, "three positive numbers"),
        (np.zeros((3, 3, 3), int), MILLIMETRE, {"smoothing": -1}, UsageError, "smoothing must be 0 or more. Got: -1"),
        (np.zeros((3, 3, 3), int), MILLIMETRE, {"clearance_mm": np.nan}, UsageError, "clearance_mm must be"),
        (np.zeros((3, 3, 3), int), MILLIMETRE, {"max_faces": 3}, UsageError, "max_faces must be 4 or more"),
    ],
)
def test_wrong_arguments(labels, spacing, options, error, message):
    with pytest.raises(error, match=message):
        fragment_surfaces(labels, spacing, **options)


@fixed(6)
@given(fragment_volumes(), st.sampled_from(SPACINGS))
def test_any_fragments_are_sound(labels, spacing):
    fragments = fragment_surfaces(labels, spacing)
    check(fragments, labels, spacing)
    voxel = np.prod(spacing)
    assert max(fragment.overlap_mm3 for fragment in fragments) < 0.02 * voxel
