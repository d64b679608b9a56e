"""Gaps between fragments: exact ones along the axes, and against all pairs of voxels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_gen.grid import bounding_box
from postproc.fragment_table import measure_fragments
from postproc.gaps import smallest_gap
from tests.volumes import box, fixed


def gap(first, second, spacing=(1, 1, 1), reach=6.0):
    boxes = (bounding_box(first), bounding_box(second))
    return smallest_gap(np.argwhere(first), np.argwhere(second), boxes, spacing, reach)


@pytest.mark.parametrize(("between", "axis"), [(1, 0), (3, 1), (6, 2), (5, 2)])
def test_gaps_along_an_axis_are_counted_between_faces(between, axis):
    spacing = (1.0, 0.5, 0.8)
    labels = np.zeros((20, 20, 20), np.uint8)
    view = np.moveaxis(labels, axis, 0)
    view[2:5], view[5 + between : 9 + between] = 1, 2
    expected = between * spacing[axis]
    assert gap(labels == 1, labels == 2, spacing) == pytest.approx(expected)
    assert gap(labels == 2, labels == 1, spacing) == pytest.approx(expected)


def test_diagonal_gap():
    labels = box((12, 12, 12), (1, (0, 2), (0, 2), (0, 2)), (2, (4, 6), (4, 6), (2, 6)))
    assert gap(labels == 1, labels == 2) == pytest.approx(np.sqrt(8))


def test_nothing_beyond_the_reach():
    labels = box((4, 4, 20), (1, (0, 4), (0, 4), (0, 3)), (2, (0, 4), (0, 4), (10, 12)))
    assert gap(labels == 1, labels == 2, reach=6.9) == np.inf
    assert gap(labels == 1, labels == 2, reach=7.0) == 7
    assert measure_fragments(labels, (1, 1, 1)).pairs == ()
    (pair,) = measure_fragments(labels, (1, 1, 1), reach_mm=7).pairs
    assert (pair.first, pair.second, pair.contact_mm2, pair.smallest_gap_mm) == (1, 2, 0, 7)


@fixed(25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1.0, 1.0, 1.0), (2.0, 0.7, 0.7)]))
def test_against_all_pairs(seed, spacing):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 12, (40, 3)), rng.integers(0, 12, (1500, 3)) + rng.integers(0, 14, 3)
    boxes = tuple(tuple(slice(a, b + 1) for a, b in zip(p.min(0), p.max(0), strict=True)) for p in (one, other))
    steps = np.abs(one[:, None] - other[None])
    exact = np.linalg.norm(np.maximum(steps - 1, 0) * spacing, axis=-1).min()
    found = smallest_gap(one, other, boxes, spacing, 6.0)
    if np.isinf(found):
        assert exact > 6.0 - np.linalg.norm(spacing)
    else:
        assert exact <= found + 1e-9 <= exact + np.linalg.norm(spacing)
