import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postproc.mesh_distance import MeshDistances, mask_mesh, mesh_distances, nearest_on_mesh
from postproc.structure_scores import score_structure
from postproc.surfaces.solids import check_surface
from postproc.surfaces.surface import Surface
from tests.volumes import MILLIMETRE, SPACINGS, ball, box, fixed


def triangle_points(surface, steps=12):
    """Return many points on every triangle."""
    first, second = (grid.ravel() / steps for grid in np.indices((steps + 1, steps + 1)))
    first, second = first[first + second <= 1], second[first + second <= 1]
    a, b, c = (surface.vertices[surface.faces[:, k]][:, None] for k in range(3))
    points = a + (b - a) * first[None, :, None] + (c - a) * second[None, :, None]
    return points.reshape(-1, 3)


@st.composite
def masks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.integers(1, 7)) for _ in range(3))
    mask = rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 0.8]))
    mask[tuple(rng.integers(0, n) for n in shape)] = True
    return mask


def test_one_voxel():
    mesh = mask_mesh(np.ones((1, 1, 1), bool), (2.0, 1.0, 1.0))
    assert (len(mesh.surface.vertices), len(mesh.surface.faces)) == (6, 8)
    assert mesh.surface.volume_mm3 == pytest.approx(2 / 6)  # an octahedron
    assert np.abs(mesh.surface.vertices).max(axis=0).tolist() == [0.5, 0.5, 1.0]
    assert (mesh.places == 0).all()
    assert len(set(mesh.steps.tolist())) == 6


def test_an_empty_mask_has_no_mesh():
    mesh = mask_mesh(np.zeros((3, 3, 3), bool), MILLIMETRE)
    assert len(mesh.surface.vertices) == len(mesh.surface.faces) == 0
    other = mask_mesh(np.ones((3, 3, 3), bool), MILLIMETRE)
    assert np.isinf(mesh_distances(other, mesh).signed_mm).all()
    assert len(mesh_distances(mesh, other).signed_mm) == 0
    assert np.isnan(mesh_distances(mesh, other).percentile(95, signed=True))


@given(masks(), st.sampled_from(SPACINGS))
@fixed(15)
def test_meshes_are_closed_and_look_outward(mask, spacing):
    mesh = mask_mesh(mask, spacing)
    faces = mesh.surface.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert {tuple(edge) for edge in edges.tolist()} == {tuple(edge[::-1]) for edge in edges.tolist()}
    assert len(np.unique(edges, axis=0)) == len(edges)
    assert mesh.surface.volume_mm3 > 0
    assert mask[tuple(mesh.places.T)].all()
    # The voxel that a vertex lies next to is half a step away.
    away = np.abs(mesh.surface.vertices[:, ::-1] / spacing - mesh.places)
    np.testing.assert_allclose(np.sort(away, axis=1), [[0, 0, 0.5]] * len(away), atol=1e-9)


def test_cavities_have_no_surface():
    solid = ball((15, 15, 15), (7, 7, 7), 6) > 0
    hollow = solid & ~(ball((15, 15, 15), (7, 7, 7), 3) > 0)
    first, second = mask_mesh(solid, MILLIMETRE), mask_mesh(hollow, MILLIMETRE)
    assert check_surface(second.surface).is_watertight
    assert second.surface.volume_mm3 == pytest.approx(first.surface.volume_mm3)
    assert sorted(first.steps.tolist()) == sorted(second.steps.tolist())
    assert score_structure(hollow, solid, MILLIMETRE).abs_surface_p95_mm == 0
    open_ = hollow.copy()
    open_[7, 7, :8] = False  # a canal from outside makes its wall a part of the outer surface
    assert score_structure(solid, open_, MILLIMETRE).abs_surface_p95_mm > 2


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("grown", [1, 3])
def test_a_box_that_grows_on_one_side(spacing, grown):
    small = box((19, 19, 20), (1, (2, 17), (2, 17), (3, 12))) > 0
    large = box((19, 19, 20), (1, (2, 17), (2, 17), (3, 12 + grown))) > 0
    for prediction, reference, sign in ((large, small, 1), (small, large, -1)):
        found = mesh_distances(mask_mesh(reference, spacing), mask_mesh(prediction, spacing))
        assert np.abs(found.signed_mm).max() == pytest.approx(grown * spacing[2])
        assert (sign * found.signed_mm >= 0).all()
        # Only what lies at the end is away; vertices at its rim stand for a part of the sides too.
        is_away = np.abs(found.signed_mm) > 0
        if sign > 0:
            area = 15 * 15 * spacing[0] * spacing[1]
            assert found.areas_mm2[is_away].sum() == pytest.approx(area, rel=0.1)
        assert found.percentile(50, signed=False) == 0


@pytest.mark.parametrize("gap", [2, 5])
def test_balls_one_in_the_other(gap):
    shape, centre = (41, 41, 41), (20, 20, 20)
    inner, outer = ball(shape, centre, 13) > 0, ball(shape, centre, 13 + gap) > 0
    scores = score_structure(outer, inner, (0.5, 0.5, 0.5))
    # Surfaces of voxels lie within half a voxel's diagonal of the sphere, 0.43 mm here; medians nearer.
    assert scores.abs_surface_median_mm == pytest.approx(gap / 2, abs=0.2)
    assert scores.abs_surface_p95_mm == pytest.approx(gap / 2, abs=0.43)
    assert scores.signed_surface_median_mm == scores.abs_surface_median_mm
    inward = score_structure(inner, outer, (0.5, 0.5, 0.5))
    assert inward.signed_surface_median_mm == pytest.approx(-gap / 2, abs=0.2)
    assert inward.signed_surface_p95_mm < 0 < inward.abs_surface_p95_mm


def test_a_shifted_ball_is_outside_on_one_side_and_inside_on_the_other():
    reference = ball((25, 25, 25), (12, 12, 10), 8) > 0
    prediction = np.roll(reference, 3, 2)
    mesh = mask_mesh(reference, MILLIMETRE)
    found = mesh_distances(mesh, mask_mesh(prediction, MILLIMETRE))
    x = mesh.surface.vertices[:, 0] - 10
    assert (found.signed_mm[x > 3] > 0).all()
    assert (found.signed_mm[x < -3] < 0).all()
    # The pole is 3 mm off; elsewhere the distance is about 3 mm times the cosine.
    assert np.abs(found.signed_mm).max() == pytest.approx(3, abs=0.1)
    assert found.signed_mm == pytest.approx(
        3 * x / np.linalg.norm(mesh.surface.vertices - [10, 12, 12], axis=1), abs=1.2
    )


@given(masks(), st.integers(0, 2**32 - 1), st.sampled_from(SPACINGS))
@fixed(12)
def test_nearest_points_are_the_nearest(mask, seed, spacing):
    surface = mask_mesh(mask, spacing).surface
    points = np.random.default_rng(seed).normal(0, 6, (20, 3)) + surface.vertices.mean(axis=0)
    found = nearest_on_mesh(points, surface)
    distances = np.linalg.norm(found - points, axis=1)
    samples = triangle_points(surface)
    best = np.linalg.norm(points[:, None] - samples[None], axis=2).min(axis=1)
    assert (distances <= best + 1e-9).all()
    # Samples are at most a step apart, so that none is much nearer than the nearest of all.
    step = max(spacing) * 1.3 / 12
    assert (best <= np.sqrt(distances**2 + step**2) + 1e-9).all()
    # What was found lies on the surface.
    assert np.linalg.norm(nearest_on_mesh(found, surface) - found, axis=1) == pytest.approx(0, abs=1e-9)


def test_many_equally_near_corners_stay_within_the_bound():
    surface = mask_mesh(ball((31, 31, 31), (15, 15, 15), 14) > 0, MILLIMETRE).surface
    centre = np.full((1, 3), 15.0)
    found = np.linalg.norm(nearest_on_mesh(centre, surface) - centre)
    best = np.linalg.norm(triangle_points(surface) - centre, axis=1).min()
    edges = surface.vertices[surface.faces] - surface.vertices[np.roll(surface.faces, 1, axis=1)]
    bound = np.linalg.norm(edges, axis=2).max() ** 2 / (6 * best)
    assert best - 1e-9 <= found + 0.02
    assert found <= best + bound


def test_percentiles_are_of_the_area():
    found = MeshDistances(np.array([1.0, -3.0, 0.0]), np.array([5.0, 4.0, 91.0]))
    assert found.percentile(50, signed=False) == 0
    assert found.percentile(96, signed=False) == 1
    assert found.percentile(97, signed=False) == 3
    assert found.percentile(100, signed=True) == 1
    assert found.percentile(4, signed=True) == -3
    assert found.percentile(4.5, signed=True) == 0


def test_a_far_surface_of_few_triangles():
    triangle = Surface(np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]]), np.array([[0, 1, 2]], np.int32))
    points = np.array([[1.0, 1, 5], [-3, 0, 4], [4, 4, 0], [100, 0, 0]])
    expected = np.array([[1.0, 1, 0], [0, 0, 0], [2, 2, 0], [4, 0, 0]])
    np.testing.assert_allclose(nearest_on_mesh(points, triangle), expected)
