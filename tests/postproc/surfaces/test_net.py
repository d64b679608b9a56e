"""The net: exact on a few voxels, and closed and manifold on any labels."""

import manifold3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postproc.surfaces.net import APART, find_net
from postproc.surfaces.sheets import face_code, sheet_table, voxel_code
from postproc.surfaces.solids import check_surface, shells_of, to_solid
from postproc.surfaces.stored import round_to_float32
from tests.volumes import SPACINGS, fixed


def surfaces_of(labels, spacing=(1.0, 1.0, 1.0)):
    net = find_net(labels)
    positions = net.positions(spacing)
    is_even = np.ones(len(net.quads), bool)
    return {label: net.surface(k, positions, spacing, is_even) for k, label in enumerate(net.labels)}


def ways(*voxels):
    return sum(1 << voxel_code(voxel) for voxel in voxels)


def test_sheets_of_a_corner():
    sheets, counts = sheet_table()
    assert counts[0] == counts[255] == 0
    assert counts[ways((0, 0, 0))] == counts[ways((0, 0, 0), (0, 0, 1))] == 1
    assert counts[ways((0, 0, 0), (0, 1, 1))] == 2  # an edge in common
    assert counts[ways((0, 0, 0), (1, 1, 1))] == 2  # the corner in common
    assert counts[255 - ways((0, 0, 0), (1, 1, 1))] == 2
    assert counts[ways((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0))] == 4
    only = sheets[ways((0, 0, 0))]
    assert sorted(np.flatnonzero(only == 0)) == [face_code(axis, 0, 0) for axis in range(3)]


def test_a_voxel_is_a_box():
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 2, 3] = 7
    ((label, (surface, owners, is_corner)),) = surfaces_of(labels, (2.0, 1.0, 0.5)).items()
    assert label == 7
    assert surface.vertices.shape == (8, 3)
    assert surface.faces.shape == (12, 3)
    np.testing.assert_array_equal(surface.vertices.min(axis=0), [1.25, 1.5, 1.0])  # x, y, z
    np.testing.assert_array_equal(surface.vertices.max(axis=0), [1.75, 2.5, 3.0])
    assert surface.volume_mm3 == pytest.approx(1.0)
    assert surface.area_mm2 == pytest.approx(2 * (2 * 1 + 2 * 0.5 + 1 * 0.5))
    assert sorted(owners) == list(range(8))
    assert is_corner.all()


def test_touching_voxels_share_their_corners():
    labels = np.array([[[1, 2]]], np.uint8)
    found = surfaces_of(labels)
    shared = [{tuple(v) for v in surface.vertices} for surface, *_ in found.values()]
    assert len(shared[0] & shared[1]) == 4
    assert len(find_net(labels).corners) == 12
    net = find_net(labels)
    assert sorted(zip(net.back.tolist(), net.front.tolist(), strict=True)).count((0, 1)) == 1


def test_a_volume_without_labels_has_an_empty_net():
    net = find_net(np.zeros((2, 2, 2), np.uint8))
    assert net.labels == ()
    assert len(net.quads) == len(net.corners) == 0


@pytest.mark.parametrize("other", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)])
def test_voxels_with_an_edge_or_corner_in_common_are_apart(other):
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0, 0, 0] = labels[other] = 1
    surface, _, is_corner = surfaces_of(labels)[1]
    assert not is_corner.all()
    assert check_surface(surface).parts == 2
    halves = [surface.vertices[np.unique(surface.faces[shells_of(surface) == k])] for k in (0, 1)]
    gap = min(np.linalg.norm(a - b) for a in halves[0] for b in halves[1])
    assert gap == pytest.approx(2 * APART * 0.5 * np.sqrt(2 if sum(other) == 2 else 3))


def test_a_ring_that_touches_itself_along_an_edge():
    labels = np.zeros((2, 2, 3), np.uint8)
    labels[1] = 1
    labels[0, 0, 0] = labels[0, 1, 1] = labels[0, 0, 2] = 1
    surface, *_ = surfaces_of(labels)[1]
    assert check_surface(surface) == check_surface(round_to_float32(surface))
    assert check_surface(surface).is_manifold


@st.composite
def any_labels(draw):
    shape = tuple(draw(st.integers(1, 6)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(0, draw(st.integers(2, 5)), shape).astype(np.uint8)


@fixed(60)
@given(any_labels(), st.sampled_from(SPACINGS))
def test_any_labels_give_closed_manifold_surfaces(labels, spacing):
    for label, (surface, *_) in surfaces_of(labels, spacing).items():
        for form in (surface, round_to_float32(surface)):
            found = check_surface(form)
            assert found.is_watertight
            assert found.is_manifold
            assert form.volume_mm3 == pytest.approx((labels == label).sum() * np.prod(spacing), rel=0.3)
        assert to_solid(surface).status() == manifold3d.Error.NoError


def test_no_label_is_inside_another_before_smoothing():
    labels = np.random.default_rng(3).integers(0, 3, (5, 5, 5)).astype(np.uint8)
    first, second = (to_solid(surface) for surface, *_ in surfaces_of(labels).values())
    assert (first ^ second).volume() < 0.01 * first.volume()
