"""Bones break into the fragments wanted, in one piece each, and lie to each other as the kind says."""

from dataclasses import dataclass

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from label_gen._fractures import PLAN_SPACING_MM, Cut
from label_gen._pelvis import draw_pelvis
from label_gen._sampling import SampleGrid
from label_gen._shapes import Pose, Waves
from label_gen.errors import DataError, UsageError
from label_gen.simulation.breaking import BrokenSolid, Crack, Fracture, break_solid
from label_gen.simulation.drawing import draw_broken_solid
from label_gen.simulation.settings import FractureKinds, SimulationSettings
from label_gen.simulation.surfaces import Ball, Plane, Rough

NO_WAVES = Waves(np.zeros((1, 3)), np.zeros(1), np.zeros(1))
QUIET = {"crack_rate": 0.0, "chip_rate": 0.0}
KINDS = ("closed", "opened", "displaced", "impacted")


@dataclass(frozen=True)
class Rod:
    """A rod along z with flat ends."""

    radius: float = 11.0
    length: float = 120.0
    x: float = 0.0

    def bounds(self):
        low = np.array([self.x - self.radius, -self.radius, -self.length / 2])
        return low - 2.0, -low + np.array([2.0 * self.x, 0.0, 0.0]) + 2.0

    def depth(self, points):
        x, y, z = points
        inside = np.minimum(self.radius - np.hypot(x - self.x, y), self.length / 2 - np.abs(z))
        return inside.astype(np.float32)


@dataclass(frozen=True)
class Round:
    """A ball."""

    radius: float = 26.0

    def bounds(self):
        return np.full(3, -self.radius - 2.0), np.full(3, self.radius + 2.0)

    def depth(self, points):
        return (self.radius - np.sqrt(sum(p**2 for p in points))).astype(np.float32)


def draw(bone, spacing=1.0, size=(150.0, 90.0, 90.0), first=1):
    grid = SampleGrid.around((0.0, 0.0, 0.0), size, (spacing,) * 3)
    owner = np.zeros(grid.shape, np.uint16)
    depth, damage = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    draw_broken_solid(bone, first, grid, owner, depth, damage)
    return owner, depth, damage


def only(kind):
    return SimulationSettings(kinds=FractureKinds(**{name: float(name == kind) for name in KINDS}), **QUIET)


def touching(owner, one, two):
    return int(np.count_nonzero(binary_dilation(owner == one) & (owner == two)))


def volumes(owner, spacing):
    return np.bincount(owner.ravel())[1:] * spacing**3


def cut_rod(kind="closed", gap=0.0, pose=None, frame=None):
    """Return a rod cut flat at z = 0, its upper half being fragment 2."""
    rod = Rod()
    n = np.ceil(np.array(rod.bounds()[1] - rod.bounds()[0]) / PLAN_SPACING_MM).astype(int) + 1
    low = rod.bounds()[0]
    grid = SampleGrid((int(n[2]), int(n[1]), int(n[0])), (PLAN_SPACING_MM,) * 3, tuple(low))
    points = grid.points(tuple(slice(0, size) for size in grid.shape))
    plan = (rod.depth(points) > 0).astype(np.uint8)
    plan[(plan > 0) & (points[2] > 0)] = 2
    bone = BrokenSolid(rod, low, plan, name="rod")
    bone.cuts.append(Cut(1, Rough(Plane(np.array([0.0, 0.0, 1.0]), 0.0), NO_WAVES)))
    bone.poses.append(pose or bone.poses[0])
    bone.frames.append(frame or bone.frames[0])
    bone.fractures = (Fracture("rod", "flat", kind, 1, 2, gap),)
    return bone


def test_gap_takes_its_share_of_the_voxels():
    owner, depth, damage = draw(cut_rod(gap=0.6))
    inside = depth > 5.0
    column = damage[:, 45, 45]
    assert column.sum() == pytest.approx(0.6, abs=0.02)  # mm of gap in voxels of 1 mm, whatever voxels they fall in
    assert np.count_nonzero(column) <= 2
    assert owner[inside].all()
    fine = draw(cut_rod(gap=0.6), 0.5, (30.0, 30.0, 30.0))[2]
    assert fine[:, 30, 30].sum() * 0.5 == pytest.approx(0.6, abs=0.02)


def test_cortex_gap_opens_the_surface_only():
    bone = cut_rod()
    bone.cortex_gaps_mm[2] = 0.8
    _, depth, damage = draw(bone)
    middle = damage[depth.shape[0] // 2 - 1]
    level = depth[depth.shape[0] // 2 - 1]
    assert middle[(level > 0) & (level < 1)].min() > 0.15
    assert not middle[level > 4.0].any()


def test_closed_step_shifts_the_surface_and_leaves_no_gap():
    step = Pose(shift=np.array([3.0, 0.0, 0.0]))
    owner, _, damage = draw(cut_rod(pose=step))
    whole = draw(cut_rod())[0]
    upper, lower = owner[110], owner[40]
    assert np.array_equal(upper[:, 3:] > 0, whole[110][:, :-3] > 0)
    assert np.array_equal(lower, whole[40])
    z = int(np.argmax((owner == 2).any(axis=(1, 2))))
    both = (owner[z] == 2) & (whole[z] == 2)
    assert (owner[z - 1][both] == 1).all()
    assert not damage.any()


def test_impaction_is_dense_and_the_fragments_touch():
    pose = Pose(shift=np.array([0.0, 0.0, -3.0]))
    bone = cut_rod("impacted", pose=pose)
    bone.impactions_mm[2] = 3.0
    owner, depth, damage = draw(bone)
    assert damage.max() == 0
    assert damage[depth > 5].min() < -0.8
    column = damage[:, 45, 45]
    assert 4 <= np.count_nonzero(column) <= 6  # the overlap and 1.5 mm on both sides
    assert touching(owner, 1, 2) > 300
    sizes = volumes(owner, 1.0)
    assert sizes[0] - sizes[1] == pytest.approx(np.pi * 11**2 * 3, rel=0.05)


def test_opened_leaves_free_voxels():
    pose = Pose(shift=np.array([0.0, 0.0, 3.0]))
    owner, _, damage = draw(cut_rod("opened", pose=pose, frame=pose))
    assert owner[:, 45, 45].tolist().count(0) == 150 - 120
    assert touching(owner, 1, 2) == 0
    assert not damage.any()


def test_crack_damages_and_parts_nothing():
    bone = cut_rod()
    bone.cracks = (Crack(1, Plane(np.array([0.0, 0.0, 1.0]), -30.0), Ball(np.array([11.0, 0, -30.0]), 14.0), 0.5),)
    owner, _, damage = draw(bone)
    assert np.unique(owner).tolist() == [0, 1, 2]
    where = np.argwhere(damage > 0)
    assert len(where) > 50
    assert set(where[:, 0]) <= {44, 45}  # z = -30 lies between these
    assert where[:, 2].min() >= 40  # the ball ends 3 mm before the middle, 44.5


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("solid", [Rod(), Round()])
def test_bone_breaks_into_as_many_whole_fragments_as_wanted(solid, count):
    bone = break_solid(solid, "bone", count, np.random.default_rng(3), SimulationSettings())
    assert (len(bone.poses), bone.count_wanted) == (count, count)
    assert [f.child for f in bone.fractures if f.kind != "crack"] == list(range(2, count + 1))
    owner, depth, damage = draw(bone, first=7)
    assert np.unique(owner).tolist() == [0, *range(7, 7 + count)]
    assert cc3d.connected_components(owner, connectivity=26).max() == count
    assert np.array_equal(depth > 0, owner > 0)
    assert not damage[owner == 0].any()
    assert -1 <= damage.min() <= damage.max() <= 1


def test_same_seed_same_bytes_and_another_seed_another_break():
    one, two, other = (
        draw(break_solid(Rod(), "bone", 4, np.random.default_rng(seed), SimulationSettings())) for seed in (5, 5, 6)
    )
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()
    assert not np.array_equal(one[0], other[0])


def test_another_spacing_is_the_same_patient():
    bone = break_solid(Rod(14.0), "bone", 4, np.random.default_rng(8), SimulationSettings())
    coarse, fine = volumes(draw(bone, 1.5)[0], 1.5), volumes(draw(bone, 0.75)[0], 0.75)
    np.testing.assert_allclose(coarse, fine, rtol=0.04)
    assert np.array_equal(np.argsort(coarse), np.argsort(fine))


@pytest.mark.parametrize("seed", range(3))
def test_closed_fragments_touch(seed):
    bone = break_solid(Rod(), "bone", 3, np.random.default_rng(seed), only("closed"))
    owner, _, damage = draw(bone)
    for fracture in bone.fractures:
        assert touching(owner, fracture.parent, fracture.child) > 100
        assert fracture.kind == "closed"
    assert damage.min() >= 0
    assert all(frame is bone.frames[0] for frame in bone.frames)


@pytest.mark.parametrize("kind", ["opened", "displaced"])
def test_opened_fragments_hardly_touch(kind):
    shares = []
    for seed in range(7):
        bone = break_solid(Rod(), "bone", 2, np.random.default_rng(seed), only(kind))
        closed = break_solid(Rod(), "bone", 2, np.random.default_rng(seed), only("closed"))
        assert bone.fractures[0].kind == kind
        shares.append(touching(draw(bone)[0], 1, 2) / touching(draw(closed)[0], 1, 2))
    # Some opened fractures are hinged at one edge.
    assert max(shares) < 0.5
    assert np.median(shares) < 0.25
    assert min(shares) == 0.0


def test_motion_of_a_chain_is_that_of_the_parent_and_its_own():
    bone = break_solid(Rod(), "bone", 4, np.random.default_rng(12), only("opened"))
    assert len({id(pose) for pose in bone.poses}) == 4
    np.testing.assert_array_equal(bone.poses[0].rotation, np.eye(3))
    for pose, frame in zip(bone.poses, bone.frames, strict=True):
        np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-9)
        assert pose is frame


def test_fragments_keep_out_of_other_bones():
    wall = Rod(11.0, 200.0, x=23.5)
    settings_ = only("displaced")
    lost = {True: 0.0, False: 0.0}
    for seed in range(4):
        for others in ((), (wall,)):
            bone = break_solid(Rod(), "bone", 3, np.random.default_rng(seed), settings_, others=others)
            for number, pose in enumerate(bone.poses, start=1):
                points = pose.forward(bone.plan_points(bone.plan == number))
                share = (wall.depth((points[:, 0], points[:, 1], points[:, 2])) > 0).mean()
                lost[bool(others)] = max(lost[bool(others)], float(share))
    assert lost[True] < 0.06 < lost[False]


def test_labelled_cracks_are_cuts_without_motion():
    loud = SimulationSettings(crack_rate=4.0, chip_rate=0.0, label_cracks=True)
    bone = break_solid(Rod(), "bone", 2, np.random.default_rng(5), loud)
    cracks = [f for f in bone.fractures if f.kind == "crack"]
    assert cracks
    assert not bone.cracks
    for crack in cracks:
        assert bone.poses[crack.child - 1] is bone.poses[crack.parent - 1]
    assert len(np.unique(draw(bone)[0])) == len(bone.poses) + 1
    quiet = SimulationSettings(crack_rate=4.0, chip_rate=0.0)
    bone = break_solid(Rod(), "bone", 2, np.random.default_rng(5), quiet)
    assert (len(bone.poses), len(bone.cracks) > 0) == (2, True)
    assert sum(f.kind == "crack" for f in bone.fractures) == len(bone.cracks)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 1000), st.integers(2, 7))
def test_any_break_is_whole(seed, count):
    bone = break_solid(Round(), "bone", count, np.random.default_rng(seed), SimulationSettings())
    owner, _, _ = draw(bone, 1.5)
    present = [number for number in np.unique(owner) if number]
    assert cc3d.connected_components(owner, connectivity=26).max() == len(present)
    sizes = np.bincount(bone.plan.ravel())[1:] * PLAN_SPACING_MM**3
    assert sizes.min() >= SimulationSettings().min_fragment_mm3
    assert len(sizes) == len(bone.poses) == len(bone.frames) <= bone.count_wanted


def test_more_than_fits_gives_fewer_and_says_so():
    picky = SimulationSettings(min_fragment_mm3=20_000.0, **QUIET)
    bone = break_solid(Round(), "bone", 9, np.random.default_rng(0), picky)
    assert 1 < len(bone.poses) < 9 == bone.count_wanted


def test_heights_bound_the_fractures():
    for seed in range(4):
        bone = break_solid(
            Rod(), "bone", 2, np.random.default_rng(seed), only("closed"), lowest_mm=10.0, highest_mm=40.0
        )
        faces = np.argwhere(
            np.diff((bone.plan == 2).astype(np.int8), axis=0) * (bone.plan[1:] > 0) * (bone.plan[:-1] > 0)
        )
        if len(faces):
            z = bone.low[2] + PLAN_SPACING_MM * faces[:, 0].mean()
            assert 5.0 < z < 45.0


def test_wrong_arguments():
    with pytest.raises(UsageError, match="0 fragments are wanted of 'bone'"):
        break_solid(Round(), "bone", 0, np.random.default_rng(0), SimulationSettings())
    with pytest.raises(DataError, match="'bone' is thinner than"):
        break_solid(Round(-1.0), "bone", 2, np.random.default_rng(0), SimulationSettings())


@pytest.mark.parametrize(("name", "count"), [("left_hip", 23), ("sacrum", 5), ("right_femur", 4)])
def test_bones_of_the_pelvis_break_and_are_drawn(name, count):
    solid = draw_pelvis(np.random.default_rng([2, 1]))[name]
    bone = break_solid(solid, name, count, np.random.default_rng(4), SimulationSettings())
    assert len(bone.poses) == count
    grid = SampleGrid.around((0.0, 23.0, 0.0), (400.0, 250.0, 360.0), (2.0,) * 3)
    owner = np.zeros(grid.shape, np.uint16)
    depth, damage = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    box = draw_broken_solid(bone, 300, grid, owner, depth, damage)
    assert np.count_nonzero(owner[box]) == np.count_nonzero(owner)
    assert set(np.unique(owner)) <= {0, *range(300, 300 + count)}
    assert len(np.unique(owner)) > 0.9 * count
    assert cc3d.connected_components(owner, connectivity=26).max() == len(np.unique(owner)) - 1
