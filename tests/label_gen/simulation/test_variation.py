"""Variation of an anatomy: as large as said, the same on any grid, with joints that stay joints."""

import numpy as np
import pytest

from label_gen._pelvis import draw_pelvis
from label_gen._sampling import SampleGrid
from label_gen._shapes import Body, Pose, ellipsoid
from label_gen.simulation.solids import SampledSolid
from label_gen.simulation.variation import vary_solids

GRID = SampleGrid.around((0.0, 23.0, 27.0), (250.0, 190.0, 330.0), (4.0, 4.0, 4.0))


@pytest.fixture(scope="module")
def pelvis():
    return draw_pelvis(np.random.default_rng(2))


def depths(solids, grid=GRID):
    found = {}
    for name, solid in solids.items():
        depth = np.full(grid.shape, -12.0, np.float32)
        for block, points in grid.blocks(grid.box(*solid.bounds())):
            depth[block] = solid.depth(points)
        found[name] = depth
    return found


def gap(one, other, centre):
    """Distance between two bones near a joint: twice that of the point in the middle."""
    grid = SampleGrid.around(centre, (70.0, 70.0, 70.0), (1.5, 1.5, 1.5))
    points = grid.points(tuple(slice(0, n) for n in grid.shape))
    return float(-2 * np.minimum(one.depth(points), other.depth(points)).max())


@pytest.fixture(scope="module")
def before(pelvis):
    return depths(pelvis)


def ball(centre, radius):
    return Body([ellipsoid(centre, (radius,) * 3)], Pose())


def volume(solid, step):
    grid = SampleGrid.around((0.0, 0.0, 0.0), (90.0,) * 3, (step,) * 3)
    return sum(np.count_nonzero(solid.depth(points) > 0) for _, points in grid.blocks(grid.box(*solid.bounds()))) * (
        step**3
    )


def test_without_strength_nothing_changes(pelvis, before):
    after = depths(vary_solids(pelvis, np.random.default_rng(0), strength=0.0, mirror=False))
    assert list(after) == list(before)
    for name, depth in after.items():
        near = before[name] > -2.5
        assert np.abs(depth - before[name])[near].max() < 1e-3


def test_volumes_change_and_stay_possible(pelvis, before):
    ratios = []
    for seed in range(3):
        hips = {name: pelvis[name] for name in ("left_hip", "right_hip")}
        after = depths(vary_solids(hips, np.random.default_rng(seed), mirror=False))
        ratios += [np.count_nonzero(after[name] > 0) / np.count_nonzero(before[name] > 0) for name in after]
    assert all(0.7 < ratio < 1.4 for ratio in ratios)
    assert np.std(ratios) > 0.02


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_joints_stay_joints(pelvis, seed):
    varied = vary_solids(pelvis, np.random.default_rng(seed), mirror=False)
    for side, sign in (("left", 1), ("right", -1)):
        for a, b, place in ((f"{side}_hip", f"{side}_femur", (89, 0, 3)), ("sacrum", f"{side}_hip", (52, 60, 60))):
            place = (place[0] * sign, *place[1:])
            assert gap(varied[a], varied[b], place) == pytest.approx(gap(pelvis[a], pelvis[b], place), abs=0.5)


def test_bounds_hold_the_bone(pelvis):
    for seed in range(3):
        for solid in vary_solids(pelvis, np.random.default_rng(seed)).values():
            low, high = solid.bounds()
            grid = SampleGrid.around((low + high) / 2, (high - low)[::-1] + 40.0, (5.0,) * 3)
            points = grid.points(grid.box(low - 20, high + 20))
            inside = np.argwhere(solid.depth(points) > 0)[:, ::-1] * 5.0 + np.array(grid.origin_mm)
            assert len(inside)
            assert (inside >= low).all()
            assert (inside <= high).all()


def test_depth_is_nearly_a_distance():
    varied = vary_solids({"sacrum": ball((0, 0, 0), 30.0)}, np.random.default_rng(5), mirror=False)["sacrum"]
    x = np.arange(10.0, 40.0, 0.5, np.float32)
    depth = varied.depth((x, np.zeros_like(x), np.zeros_like(x)))
    assert np.allclose(np.diff(depth), -0.5, atol=0.07)


def test_same_patient_at_two_spacings():
    solid = vary_solids({"sacrum": ball((0, 0, 0), 30.0)}, np.random.default_rng(1))["sacrum"]
    assert volume(solid, 1.0) == pytest.approx(volume(solid, 1.5), rel=0.01)
    one = SampleGrid.around((0, 0, 0), (60, 60, 60), (2.0, 2.0, 2.0))
    whole = solid.depth(one.points(tuple(slice(0, n) for n in one.shape)))
    for block, points in one.blocks(tuple(slice(0, n) for n in one.shape)):
        assert np.allclose(solid.depth(points), whole[block], atol=1e-4)


def test_same_seed_same_bytes(pelvis):
    bones = {name: pelvis[name] for name in ("sacrum", "left_femur")}
    one, two, other = (depths(vary_solids(bones, np.random.default_rng(seed), mirror=False)) for seed in (9, 9, 10))
    assert all(one[name].tobytes() == two[name].tobytes() for name in bones)
    assert any(one[name].tobytes() != other[name].tobytes() for name in one)


def test_mirror_image_swaps_names(pelvis, before):
    after = depths(vary_solids(pelvis, np.random.default_rng(0), strength=0.0, mirror=True))
    assert list(after) == list(before)
    for name, partner in (("left_hip", "right_hip"), ("right_femur", "left_femur"), ("sacrum", "sacrum")):
        profiles = [np.count_nonzero(d > 0, axis=(1, 2)) for d in (after[name], before[partner])]
        assert np.abs(profiles[0] - profiles[1]).max() <= 0.1 * profiles[1].max() + 5
        sizes = [np.count_nonzero(d > 0) for d in (after[name], before[partner])]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.03)


def test_half_are_mirrored_and_lonely_bones_change_names():
    bone = {"left_hip": ball((60, 0, 0), 30.0)}
    names = [next(iter(vary_solids(bone, np.random.default_rng(seed)))) for seed in range(40)]
    assert 10 < names.count("right_hip") < 30
    assert set(names) == {"left_hip", "right_hip"}


def test_bones_of_labels_are_varied_too():
    mask = np.zeros((30, 30, 30), bool)
    mask[5:25, 5:25, 5:25] = True
    bone = SampledSolid.from_mask(mask, (1.5,) * 3, (-22.0,) * 3)
    varied = vary_solids({"sacrum": bone}, np.random.default_rng(3))["sacrum"]
    assert volume(varied, 1.5) == pytest.approx(30.0**3, rel=0.3)
    assert varied.depth((np.array([200.0]),) * 3)[0] < -5
    assert varied.depth((np.zeros(0),) * 3).shape == (0,)
