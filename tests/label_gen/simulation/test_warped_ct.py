"""A real CT broken: bone keeps its values, gaps hold blood, the rest stays as it was."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from label_gen._sampling import SampleGrid
from label_gen._shapes import Body, Pose, ellipsoid, rotation_matrix
from label_gen.simulation.breaking import break_solid
from label_gen.simulation.drawing import draw_broken_solid
from label_gen.simulation.settings import FractureKinds, SimulationSettings
from label_gen.simulation.warped_ct import break_ct

SETTINGS = SimulationSettings()
GRID = SampleGrid.around((0.0, 0.0, 0.0), (96.0, 96.0, 96.0), (1.5, 1.5, 1.5))
EVERYWHERE = tuple(slice(0, n) for n in GRID.shape)
BALL = Body([ellipsoid((0.0, 0.0, 0.0), (25.0,) * 3)], Pose())
NOISE_HU = 15.0


@dataclass
class Halves:
    """A bone in two halves, left (x > 0) and right."""

    poses: tuple[Pose, Pose]

    def fragments_at(self, points):
        return np.where(points[0] > 0, 1, 2).astype(np.uint8)


def place(halves):
    owner = np.zeros(GRID.shape, np.uint16)
    for number, pose in enumerate(halves.poses, start=1):
        rest = pose.backward(GRID.points(EVERYWHERE))
        owner[(BALL.depth(rest) > 0) & (halves.fragments_at(rest) == number) & (owner == 0)] = number
    return owner


def ramp(points):
    """Values inside the bone, which say where a voxel comes from."""
    return 500.0 + 6.0 * points[0] - 4.0 * points[2]


@pytest.fixture(scope="module")
def ct():
    points = GRID.points(EVERYWHERE)
    hu = np.where(BALL.depth(points) > 0, ramp(points), 48.0).astype(np.float32)
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(GRID.shape), 0.6)
    return np.rint(gaussian_filter(hu, 0.4) + NOISE_HU / noise.std() * noise).astype(np.int16)


def run(ct, halves, owner=None, damage=None, seed=0, grid=GRID, spacing=GRID.spacing_mm, origin=GRID.origin_mm):
    owner = place(halves) if owner is None else owner
    damage = np.zeros(owner.shape, np.float32) if damage is None else damage
    rng = np.random.default_rng(seed)
    return break_ct(rng, ct, spacing, origin, [halves], [BALL], owner, [range(1, 3)], damage, grid, SETTINGS), owner


STILL = Halves((Pose(), Pose()))
APART = Halves((Pose(shift=np.array([7.0, 0.0, 0.0])), Pose()))


def test_nothing_moved_nothing_changed(ct):
    out, _ = run(ct, STILL)
    assert out.dtype == np.int16
    assert np.array_equal(out, ct)


def test_a_fragment_keeps_its_values(ct):
    pose = Pose(rotation_matrix((0, 1, 0), 0.1), np.array([12.0, 0.0, 0.0]), np.array([6.0, 1.0, 0.7]))
    halves = Halves((pose, Pose()))
    out, owner = run(ct, halves)
    rest = pose.backward(GRID.points(EVERYWHERE))
    inside = (owner == 1) & (BALL.depth(rest) > 4) & (rest[0] > 4)
    difference = (out - ramp(rest))[inside]
    assert inside.sum() > 3000
    assert abs(float(difference.mean())) < 2
    assert float(difference.std()) < 1.6 * NOISE_HU
    other = (owner == 2) & (GRID.points(EVERYWHERE)[0] < -6)
    assert np.array_equal(out[other], ct[other])


def test_the_gap_holds_blood_and_the_faces_no_cortex(ct):
    out, owner = run(ct, APART)
    x, y, z = GRID.points(EVERYWHERE)
    gap = (owner == 0) & (x > 1.6) & (x < 5.4) & (y**2 + z**2 < 20**2)
    assert gap.sum() > 500
    assert 45 < out[gap].mean() < 75
    assert out[gap].std() < 2 * NOISE_HU
    line = out[abs(z[:, 0, 0]) < 5][:, abs(y[0, :, 0]) < 5].mean(axis=(0, 1))
    assert np.abs(np.diff(line)).max() < 460  # the step is 500


def test_soft_tissue_far_away_stays_and_nearby_has_the_same_noise(ct):
    out, owner = run(ct, APART)
    x, y, z = GRID.points(EVERYWHERE)
    far = np.sqrt((x - 3.5) ** 2 + y**2 + z**2) > 68
    assert np.array_equal(out[far], ct[far])
    changed = (owner == 0) & (out != ct) & (BALL.depth((x - 7, y, z)) < -4) & (BALL.depth((x, y, z)) < -4)
    assert changed.sum() > 3000
    assert out[changed].mean() == pytest.approx(48, abs=3)
    assert out[changed].std() == pytest.approx(NOISE_HU, rel=0.2)


def test_damage_darkens_and_impaction_brightens(ct):
    damage = np.zeros(GRID.shape, np.float32)
    owner = place(STILL)
    x, y, z = GRID.points(EVERYWHERE)
    inside = BALL.depth((x, y, z)) > 3
    damage[inside & (z > 0)] = 1.0
    damage[inside & (z < 0)] = -0.5
    out, _ = run(ct, STILL, owner, damage)
    assert set(np.unique(out[damage == 1.0])) == {55}
    assert np.allclose((out - ct)[damage < 0], 200, atol=1)
    assert np.array_equal(out[damage == 0], ct[damage == 0])


def test_same_seed_same_bytes(ct):
    one, two, other = (run(ct, APART, seed=seed)[0] for seed in (1, 1, 2))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_ct_on_another_grid_is_interpolated_and_air_outside():
    fine = SampleGrid.around((4.0, 0.0, 0.0), (60.0, 60.0, 60.0), (1.0, 0.8, 0.7))
    points = fine.points(tuple(slice(0, n) for n in fine.shape))
    ct = np.rint(ramp(points)).astype(np.int16)
    out, _ = run(ct, STILL, spacing=fine.spacing_mm, origin=fine.origin_mm)
    x, y, z = GRID.points(EVERYWHERE)
    covered = (np.abs(x - 4) < 29) & (np.abs(y) < 29) & (np.abs(z) < 29)
    assert np.abs(out - ramp((x, y, z)))[covered].max() <= 1
    assert (out[(np.abs(x - 4) > 32) | (np.abs(z) > 32)] == -1000).all()


@pytest.mark.parametrize("kind", ["closed", "opened", "displaced"])
def test_with_the_fractures_of_the_simulator(ct, kind):
    kinds = FractureKinds(**{name: float(name == kind) for name in ("closed", "opened", "displaced", "impacted")})
    settings = SimulationSettings(kinds=kinds, crack_rate=0.0)
    bone = break_solid(BALL, "sacrum", 3, np.random.default_rng(4), settings)
    owner = np.zeros(GRID.shape, np.uint16)
    depth, damage = np.zeros(GRID.shape, np.float32), np.zeros(GRID.shape, np.float32)
    draw_broken_solid(bone, 1, GRID, owner, depth, damage)
    numbers = [range(1, 1 + len(bone.poses))]
    rng = np.random.default_rng(0)
    out = break_ct(rng, ct, GRID.spacing_mm, GRID.origin_mm, [bone], [BALL], owner, numbers, damage, GRID, settings)
    assert out[(owner > 0) & (depth > 3) & (damage < 0.1)].mean() == pytest.approx(500, abs=40)
    assert out[owner == 0].mean() == pytest.approx(48, abs=12)
