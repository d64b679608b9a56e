"""Measures of fragments: exact ones of boxes in every orientation, neighbours, and what must hold of any volume."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_gen.errors import DataError, GridError, UsageError
from postproc.fragment_table import FragmentTable, measure_fragments
from postproc.surface_area import DIRECTIONS, crossing_areas
from tests.volumes import DTYPES, SPACINGS, box, fixed, fragment_volumes

TURNED = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_C, _S = math.cos(0.3), math.sin(0.3)
OBLIQUE = (_C, -_S * _C, _S * _S, _S, _C * _C, -_C * _S, 0.0, _S, _C)
AREAS = dict(zip(DIRECTIONS, crossing_areas((1, 1, 1)), strict=True))


def two_blocks(dtype=np.uint8):
    return box((12, 14, 30), (7, (2, 10), (3, 11), (2, 12)), (3, (2, 10), (3, 11), (12, 20)), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_touching_blocks(dtype):
    table = measure_fragments(two_blocks(dtype), (1, 1, 1))
    assert [f.label for f in table.fragments] == [3, 7]
    assert [f.voxels for f in table.fragments] == [512, 640]
    assert [f.volume_mm3 for f in table.fragments] == [512, 640]
    assert table.fragments[0].centroid_mm == (15.5, 6.5, 5.5)
    assert table.fragments[0].box_mm == ((11.5, 2.5, 1.5), (19.5, 10.5, 9.5))
    assert table.fragments[0].box == (slice(2, 10), slice(3, 11), slice(12, 20))
    assert table.fragments[0].mean_value is None
    (pair,) = table.pairs
    assert (pair.first, pair.second, pair.smallest_gap_mm) == (3, 7, 0)
    # a face of 8 x 8 voxels: 64 pairs across it, 8 x 7 along the diagonals of faces, 7 x 7 along those of voxels
    straight, flat, steep = (AREAS[step] for step in ((0, 0, 1), (0, 1, 1), (1, 1, 1)))
    assert pair.contact_mm2 == pytest.approx(64 * straight + 4 * 56 * flat + 4 * 49 * steep, rel=2e-3)
    assert pair.contact_mm2 == pytest.approx((8 - 0.5) ** 2, rel=0.1)  # a rim of a quarter of a voxel is lost


def test_volumes_in_millimetres():
    (first, second), spacing = measure_fragments(two_blocks(), (2.0, 0.5, 0.5)).fragments, (0.5, 0.5, 2.0)
    assert (first.volume_mm3, second.volume_mm3) == (256, 320)
    assert np.subtract(*first.box_mm[::-1]) == pytest.approx(np.multiply((8, 8, 8), spacing))


def test_mean_of_the_image():
    labels = two_blocks()
    image = np.where(labels == 3, -100, 1000).astype(np.int16)
    image[2, 3, 12] = 412
    first, second = measure_fragments(labels, (1, 1, 1), image=image).fragments
    assert first.mean_value == pytest.approx(-99)
    assert second.mean_value == 1000


@pytest.mark.parametrize("direction", [TURNED, OBLIQUE, tuple(-v for v in OBLIQUE)])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_places_in_the_world(direction, spacing):
    labels = box((9, 10, 11), (1, (1, 8), (1, 9), (1, 10)))
    labels[np.random.default_rng(3).random(labels.shape) < 0.5] = 0
    labels[0, 9, 10] = 2
    origin = (-101.5, 20.25, 7.125)
    axes = np.reshape(direction, (3, 3)) * spacing[::-1]
    table = measure_fragments(labels, spacing, origin=origin, direction=direction)
    for fragment in table.fragments:
        index = np.argwhere(labels == fragment.label)[:, ::-1]
        assert fragment.centroid_mm == pytest.approx(tuple(axes @ index.mean(0) + origin), abs=1e-4)
        offsets = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
        corners = (index[:, None] + offsets[None]).reshape(-1, 3) @ axes.T + origin
        assert fragment.box_mm[0] == pytest.approx(tuple(corners.min(0)), abs=1e-9)
        assert fragment.box_mm[1] == pytest.approx(tuple(corners.max(0)), abs=1e-9)


def test_touching_at_an_edge_only_is_touching():
    labels = box((4, 8, 8), (1, (1, 3), (1, 4), (1, 4)), (2, (1, 3), (4, 7), (4, 7)))
    (pair,) = measure_fragments(labels, (1, 1, 1)).pairs
    assert pair.smallest_gap_mm == 0
    assert 0 < pair.contact_mm2 < 2


def test_near_fragments_of_three():
    labels = box((8, 8, 40), (1, (2, 6), (2, 6), (1, 10)), (2, (2, 6), (2, 6), (12, 20)), (3, (2, 6), (2, 6), (30, 38)))
    (pair,) = measure_fragments(labels, (0.8, 0.8, 0.8)).pairs
    assert (pair.first, pair.second, pair.contact_mm2) == (1, 2, 0)
    assert pair.smallest_gap_mm == pytest.approx(1.6)


def test_a_fragment_that_fills_the_volume():
    (fragment,) = measure_fragments(np.ones((5, 6, 7), np.uint16), (1, 1, 1)).fragments
    assert fragment.voxels == 210
    assert fragment.surface_mm2 == pytest.approx(214, rel=0.17)  # faces along the axes, and edges, are the worst case


def test_empty_volume():
    assert measure_fragments(np.zeros((3, 4, 5), np.uint8), (1, 1, 1)) == FragmentTable((), ())


@fixed(20)
@given(fragment_volumes(), st.sampled_from(SPACINGS))
def test_any_volume(labels, spacing):
    table = measure_fragments(labels, spacing, reach_mm=3.0)
    numbers = np.unique(labels[labels != 0]).tolist()
    assert [f.label for f in table.fragments] == numbers
    for fragment in table.fragments:
        assert fragment.voxels == (labels == fragment.label).sum()
        assert (labels[fragment.box] == fragment.label).sum() == fragment.voxels
        contacts = sum(p.contact_mm2 for p in table.pairs if fragment.label in (p.first, p.second))
        assert 0 <= contacts <= fragment.surface_mm2 + 1e-6
        assert fragment.surface_mm2**3 > 36 * math.pi * fragment.volume_mm3**2 * 0.3  # no body beats a ball
    for pair in table.pairs:
        assert pair.first < pair.second
        assert (pair.contact_mm2 > 0) == (pair.smallest_gap_mm == 0)


@fixed(10)
@given(fragment_volumes())
def test_mirrored_volumes_measure_alike(labels):
    one = measure_fragments(labels, (1.5, 0.8, 0.8))
    other = measure_fragments(np.ascontiguousarray(labels[::-1, :, ::-1]), (1.5, 0.8, 0.8))
    for a, b in zip(one.fragments, other.fragments, strict=True):
        assert (a.label, a.voxels) == (b.label, b.voxels)
        assert a.surface_mm2 == pytest.approx(b.surface_mm2, rel=3e-3)
    assert [(p.first, p.second) for p in one.pairs] == [(p.first, p.second) for p in other.pairs]


def test_wrong_input():
    labels = two_blocks()
    with pytest.raises(DataError, match="labels must be whole numbers"):
        measure_fragments(labels.astype(float), (1, 1, 1))
    with pytest.raises(GridError, match="labels and image must have the same grid"):
        measure_fragments(labels, (1, 1, 1), image=labels[1:])
    with pytest.raises(UsageError, match="spacing_mm must be three positive"):
        measure_fragments(labels, (1, 1))
    with pytest.raises(UsageError, match="reach_mm must be a distance"):
        measure_fragments(labels, (1, 1, 1), reach_mm=-1)
