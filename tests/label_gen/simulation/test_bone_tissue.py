"""Bone by depth, density and damage."""

from dataclasses import replace

import numpy as np
import pytest

from label_gen._sampling import SampleGrid
from label_gen.simulation.body_landmarks import find_landmarks
from label_gen.simulation.bone_tissue import BLOOD_HU, BoneMaps, BoneTissue
from label_gen.simulation.fields import FieldReader
from label_gen.simulation.texture import Tile

N = 3000


@pytest.fixture(scope="module")
def bone():
    return BoneTissue.draw(np.random.default_rng(3), (0.8, 0.8, 0.8))


def flat(bone, depth, cortex=1.2, trabeculae=1.0, joint=50.0):
    """Return bone at one depth at many places."""
    rng = np.random.default_rng(0)
    points = tuple(rng.uniform(-100, 100, N).astype(np.float32) for _ in range(3))
    maps = [np.full(N, value, np.float32) for value in (cortex, trabeculae, joint)]
    return bone.hu(np.full(N, depth, np.float32), points, maps)


def test_cortex_is_bright_and_marrow_is_not(bone):
    medians = [float(np.median(flat(bone, depth))) for depth in (0.8, 2.0, 4.0, 10.0)]
    assert medians == sorted(medians, reverse=True)
    assert medians[0] > 900
    assert 0 < medians[3] < 350
    assert flat(bone, 1.0).dtype == np.float32


def test_thick_cortex_and_dense_trabeculae_are_seen(bone):
    assert np.median(flat(bone, 3.0, cortex=5.0)) > 2 * np.median(flat(bone, 3.0, cortex=1.0))
    assert np.median(flat(bone, 8.0, trabeculae=1.5)) > np.median(flat(bone, 8.0)) + 30
    assert np.median(flat(bone, 3.0, joint=1.0)) > np.median(flat(bone, 3.0)) + 30


def test_density_is_monotone(bone):
    found = [np.median(flat(replace(bone, density=d), 6.0)) for d in (0.5, 0.8, 1.1, 1.4)]
    assert found == sorted(found)


def test_damage_mixes_blood_and_compression_adds_bone(bone):
    hu = np.array([150.0, 1200.0, 150.0, 150.0], np.float32)
    found = bone.broken_hu(hu, np.array([1.0, 1.0, 0.5, 0.0], np.float32), BLOOD_HU)
    np.testing.assert_allclose(found, [BLOOD_HU, BLOOD_HU, 0.5 * (150 + BLOOD_HU), 150], rtol=1e-5)
    pressed = bone.broken_hu(hu, np.array([-1.0, -1.0, -0.5, 0.0], np.float32), BLOOD_HU)
    assert pressed[0] > pressed[2] > pressed[3] == 150
    assert pressed[1] < 1.1 * 1200


def test_coverage_counts_a_voxel_at_the_surface_by_halves(bone):
    edge = replace(bone, rim_mm=0.0)
    found = edge.coverage(np.array([-0.4, 0.0, 0.2, 0.4, 3.0], np.float32), (0.8, 0.8, 0.8))
    np.testing.assert_allclose(found, [0.0, 0.5, 0.75, 1.0, 1.0], atol=1e-6)


def test_tile_repeats_and_is_normal():
    tile = Tile.draw(np.random.default_rng(0), (1.0, 1.0, 1.0), 0.5)
    assert abs(float(tile.values.mean())) < 1e-5
    assert tile.values.std() == pytest.approx(1.0, rel=1e-4)
    here = tuple(np.array([1.0, -7.5, 30.0], np.float32) for _ in range(3))
    there = tuple(p + np.float32(0.5 * len(tile.values)) for p in here)
    np.testing.assert_array_equal(tile.at(here), tile.at(there))
    grid = SampleGrid((3, 4, 5), (0.5, 0.5, 0.5), (2.0, -3.0, 9.0))
    every = (slice(0, 3), slice(0, 4), slice(0, 5))
    np.testing.assert_array_equal(tile.slab(grid, 0, 3), tile.at(grid.points(every)))


def test_a_femur_has_a_thick_cortex_in_its_shaft_only():
    grid = SampleGrid((50, 20, 20), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    numbers = np.zeros(grid.shape, np.uint8)
    numbers[:, 8:12, 8:12] = 1
    coarse = FieldReader(grid).coarse
    marks = find_landmarks(numbers, coarse, 1, 0)
    assert marks.kinds == ("femur",)
    cortex = BoneMaps.of(marks, coarse).cortex_mm[:, 9, 9]
    assert cortex[-1] < 1.2
    assert cortex[5] > 4.0
