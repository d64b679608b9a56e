"""What smoothing, volumes, deviations, checks and rounding do to shapes whose truth is known."""

import numpy as np
import pytest

from postproc.surfaces.deviation import voxel_surface_distances
from postproc.surfaces.distances import sample_faces, signed_distances
from postproc.surfaces.net import find_net
from postproc.surfaces.smoothing import REACH, smooth_net
from postproc.surfaces.solids import check_surface, shells_of, simplify, to_solid
from postproc.surfaces.stored import round_to_float32
from postproc.surfaces.surface import Surface, vertex_normals
from postproc.surfaces.volumes import restore_volumes
from tests.volumes import ball, box


def surface_of(labels, spacing=(1.0, 1.0, 1.0), rounds=0, place=0):
    net = find_net(labels)
    positions = smooth_net(net, spacing, rounds)
    return net, net.surface(place, positions, spacing, np.ones(len(net.quads), bool))[0]


CUBE = box((4, 4, 4), (1, (1, 3), (1, 3), (1, 3)))


def test_no_rounds_keep_the_voxels():
    net, surface = surface_of(CUBE)
    assert surface.volume_mm3 == pytest.approx(8.0)
    np.testing.assert_array_equal(voxel_surface_distances(surface, net, 0, (1, 1, 1)), 0.0)


def test_a_ball_comes_out_round():
    _, surface = surface_of(ball((45, 45, 45), (22, 22, 22), 20), rounds=20)
    radius = np.linalg.norm(surface.vertices - 22, axis=1)
    assert np.sqrt(((radius - 20) ** 2).mean()) < 0.07
    assert abs(surface.volume_mm3 / (4 / 3 * np.pi * 8000) - 1) < 0.005


def test_corners_stay_in_their_cells():
    labels = np.random.default_rng(0).integers(0, 3, (8, 8, 8)).astype(np.uint8)
    net = find_net(labels)
    spacing = np.array([3.0, 0.8, 0.8])
    moved = np.abs(smooth_net(net, spacing, 20) - net.positions(spacing)) / spacing
    assert moved.max() <= REACH + 1e-9


def test_a_fracture_leaves_no_groove():
    whole = ball((45, 45, 45), (22, 22, 22), 20)
    broken = whole.copy()
    broken[:, :, 22:] *= 2
    one, two = (find_net(labels) for labels in (whole, broken))
    smooth = {tuple(c): p for c, p in zip(one.corners.tolist(), smooth_net(one, (1, 1, 1), 20), strict=True)}
    for corner, point in zip(two.corners.tolist(), smooth_net(two, (1, 1, 1), 20), strict=True):
        if tuple(corner) in smooth:
            np.testing.assert_allclose(point, smooth[tuple(corner)], atol=1e-9)


def test_deviation_is_the_distance_from_the_faces_of_the_voxels():
    net, surface = surface_of(CUBE, (2.0, 1.0, 1.0))
    moved = Surface(surface.vertices + np.array([0.0, 0.0, 0.25]), surface.faces)
    found = voxel_surface_distances(moved, net, 0, (2.0, 1.0, 1.0))
    assert found.max() == pytest.approx(0.25)
    assert len(found) == len(surface.vertices) + len(surface.faces)


def test_vertex_normals_are_the_derivative_of_the_volume():
    _, surface = surface_of(ball((9, 9, 9), (4, 4, 4), 3), rounds=5)
    growth = vertex_normals(surface.vertices, surface.faces)
    step = np.zeros(surface.vertices.shape)
    step[5] = [1e-4, -2e-4, 5e-5]
    gained = Surface(surface.vertices + step, surface.faces).volume_mm3 - surface.volume_mm3
    assert gained == pytest.approx((growth[5] * step[5]).sum(), rel=1e-3)


def test_volume_is_restored_and_fixed_vertices_stay():
    _, surface = surface_of(ball((19, 19, 19), (9, 9, 9), 7), rounds=20)
    wanted = surface.volume_mm3 * 1.03
    is_fixed = surface.vertices[:, 0] < 9
    found = restore_volumes(surface, np.zeros(len(surface.vertices), int), np.array([wanted]), 1.0, is_fixed)
    assert found.volume_mm3 == pytest.approx(wanted, rel=1e-4)
    np.testing.assert_array_equal(found.vertices[is_fixed], surface.vertices[is_fixed])
    stuck = restore_volumes(
        surface, np.zeros(len(surface.vertices), int), np.array([wanted]), 1.0, ~is_fixed | is_fixed
    )
    np.testing.assert_array_equal(stuck.vertices, surface.vertices)


def test_kept_faces_survive_simplification():
    _, surface = surface_of(ball((25, 25, 25), (12, 12, 12), 10), rounds=20)
    kept = (surface.vertices[surface.faces][:, :, 0] < 10).all(axis=1)
    simple, numbers = simplify(surface, 0.2, kept)
    assert len(simple.faces) < 0.7 * len(surface.faces)
    np.testing.assert_array_equal(simple.vertices, surface.vertices[numbers])
    assert np.isin(np.unique(surface.faces[kept]), numbers).all()
    assert check_surface(simple).is_manifold


def test_what_is_wrong_with_a_surface_is_found():
    _, surface = surface_of(CUBE)
    assert check_surface(surface).parts == 1
    hole = Surface(surface.vertices, surface.faces[1:])
    assert not check_surface(hole).is_watertight
    assert not check_surface(hole).is_manifold
    inward = Surface(surface.vertices, surface.faces[:, ::-1])
    found = check_surface(inward)
    assert (found.is_watertight, found.is_manifold, found.is_outward) == (True, True, False)
    flipped = surface.faces.copy()
    flipped[3] = flipped[3, ::-1]
    assert not check_surface(Surface(surface.vertices, flipped)).is_watertight
    assert check_surface(Surface(surface.vertices[:0], surface.faces[:0])).parts == 0


def test_a_cavity_looks_inward_and_that_is_right():
    labels = box((7, 7, 7), (1, (1, 6), (1, 6), (1, 6)))
    labels[3, 3, 3] = 0
    _, surface = surface_of(labels)
    found = check_surface(surface)
    assert found.is_outward
    assert found.parts == 1
    assert surface.volume_mm3 == pytest.approx(124.0)
    assert shells_of(surface).max() == 1
    alone = Surface(surface.vertices + 100.0 * (shells_of(surface)[0] == 0), surface.faces)
    assert check_surface(alone).is_outward


def test_an_inward_body_beside_another_is_not_outward():
    _, surface = surface_of(box((4, 4, 12), (1, (1, 3), (1, 3), (1, 3)), (1, (1, 3), (1, 3), (6, 8))))
    faces = surface.faces.copy()
    second = shells_of(surface) == 1
    faces[second] = faces[second, ::-1]
    assert not check_surface(Surface(surface.vertices * (1 + 0.01 * (surface.vertices[:, :1] > 4)), faces)).is_outward


def test_rounding_makes_near_vertices_one():
    _, surface = surface_of(CUBE)
    vertices = np.concatenate([surface.vertices, surface.vertices[:1] + 1e-12]) + 1000
    split = Surface(vertices, surface.faces.copy())
    split.faces[tuple(np.argwhere(split.faces == 0)[0])] = len(surface.vertices)
    assert not check_surface(split).is_watertight
    found = round_to_float32(split)
    assert len(found.vertices) == len(surface.vertices)
    assert check_surface(found).is_manifold


def test_rounding_drops_faces_back_to_back():
    _, surface = surface_of(CUBE)
    vertices = np.concatenate([surface.vertices, surface.vertices[surface.faces[0]]])
    flap = np.array([[0, 1, 2], [0, 2, 1]]) + len(surface.vertices)
    folded = Surface(vertices, np.concatenate([surface.faces, flap]).astype(np.int32))
    found = round_to_float32(folded)
    assert len(found.faces) == len(surface.faces)
    assert check_surface(found).is_manifold


def test_signed_distances_of_a_cube():
    _, surface = surface_of(CUBE)
    samples = sample_faces(surface, 0.3)
    points = np.array([[1.5, 1.5, 1.5], [1.5, 1.5, 3.5], [3.5, 3.5, 3.5], [0.6, 1.5, 1.5], [3.0, 3.0, 1.5]])
    found = signed_distances(points, surface, *samples)
    np.testing.assert_allclose(found, [-1.0, 1.0, np.sqrt(3), -0.1, np.sqrt(0.5)], atol=1e-9)


def test_manifold3d_agrees_on_the_volume():
    _, surface = surface_of(ball((19, 19, 19), (9, 9, 9), 7), (3.0, 0.8, 0.8), rounds=20)
    assert to_solid(surface).volume() == pytest.approx(surface.volume_mm3)
