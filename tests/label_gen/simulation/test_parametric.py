"""The parametric pelvis: whole bones that do not overlap, of two sexes and many sizes, the same on any grid."""

import cc3d
import numpy as np
import pytest

from label_gen._pelvis_shape import PelvisShape, flat_rod
from label_gen._sampling import SampleGrid
from label_gen.phantom import BONE_NAMES
from label_gen.simulation.parametric import PelvisTraits, _shape, draw_parametric_pelvis

GRID = SampleGrid.around((0.0, 23.0, 35.0), (260.0, 210.0, 320.0), (2.5, 2.5, 2.5))


def draw(solids, grid=GRID):
    owner, twice = np.zeros(grid.shape, np.uint8), 0
    for number, solid in enumerate(solids.values(), start=1):
        for block, points in grid.blocks(grid.box(*solid.bounds())):
            inside = solid.depth(points) > 0
            twice += np.count_nonzero(inside & (owner[block] > 0))
            owner[block][inside] = number
    return owner, twice


@pytest.fixture(scope="module", params=[2, 7])
def drawn(request):
    pelvis = draw_parametric_pelvis(np.random.default_rng(request.param))
    return pelvis, *draw(pelvis.solids)


def test_bones_are_whole_and_of_usual_size(drawn):
    pelvis, owner, twice = drawn
    assert tuple(pelvis.solids) == BONE_NAMES
    assert twice <= 3
    for number, (low, high) in enumerate([(120, 420), (180, 600), (180, 600), (80, 400), (80, 400)], start=1):
        mask = owner == number
        assert low < np.count_nonzero(mask) * 2.5**3 / 1000 < high
        pieces = np.bincount(cc3d.connected_components(mask, connectivity=26).ravel())[1:]
        assert pieces.sum() - pieces.max() < 20


def test_the_spine_stands_above_the_sacrum(drawn):
    pelvis, owner, _ = drawn
    (spine,) = pelvis.extra
    inside = np.zeros(GRID.shape, bool)
    for block, points in GRID.blocks(GRID.box(*spine.bounds())):
        inside[block] = spine.depth(points) > 0
    assert inside.sum() > 1000
    assert not (inside & (owner > 0)).any()
    middles = [np.argwhere(mask)[:, 0].mean() for mask in (inside, owner == 1)]
    assert middles[0] > middles[1] + 15


def test_sides_differ_a_little(drawn):
    _, owner, _ = drawn
    sizes = np.bincount(owner.ravel(), minlength=6)
    for left, right in ((2, 3), (4, 5)):
        assert sizes[left] != sizes[right]
        assert sizes[left] == pytest.approx(sizes[right], rel=0.2)


def test_same_seed_same_pelvis_at_any_spacing():
    solid = draw_parametric_pelvis(np.random.default_rng(5)).solids["sacrum"]
    again = draw_parametric_pelvis(np.random.default_rng(5)).solids["sacrum"]
    one, two = ({"sacrum": s} for s in (solid, again))
    assert draw(one)[0].tobytes() == draw(two)[0].tobytes()
    fine = SampleGrid.around((0.0, 23.0, 35.0), (260.0, 210.0, 320.0), (1.8, 1.8, 1.8))
    volumes = [np.count_nonzero(draw(one, grid)[0]) * grid.spacing_mm[0] ** 3 for grid in (GRID, fine)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.015)


def test_people_differ():
    traits = [draw_parametric_pelvis(np.random.default_rng(seed)).traits for seed in range(5)]
    assert {person.sex for person in traits} == {"female", "male"}
    assert all(0.9 <= person.size <= 1.1 and 18 <= person.age_years <= 95 for person in traits)
    assert len({person.size for person in traits}) == 5


def mean_shape(sex, age=30.0):
    """Mean of some proportions over many people of a sex."""
    shapes = [_shape(np.random.default_rng(seed), PelvisTraits(sex, age, 1.0)) for seed in range(40)]
    points = [dict(shape.hip.points) for shape in shapes]
    return {
        "head": np.mean([shape.head_radius_mm for shape in shapes]),
        "ischia": np.mean([p["seat"][0] + shape.aside_mm for p, shape in zip(points, shapes, strict=True)]),
        "symphysis": np.mean([p["pubis"][2] - p["pubis_low"][2] for p in points]),
        "sacrum": np.mean([60.0 * shape.sacrum.breadth + shape.sacrum.half_width_mm for shape in shapes]),
        "sheet": np.mean([shape.hip.wing.sheet_mm for shape in shapes]),
    }


def test_sexes_differ_as_textbooks_say():
    female, male = mean_shape("female"), mean_shape("male")
    assert female["head"] < male["head"] - 1.5
    assert female["ischia"] > male["ischia"] + 8
    assert female["symphysis"] < male["symphysis"] - 1.5
    assert female["sacrum"] > male["sacrum"] + 3


def test_bone_thins_with_age():
    assert mean_shape("female", 90.0)["sheet"] < mean_shape("female", 30.0)["sheet"] - 0.5


def test_a_flat_rod_is_flat():
    part = flat_rod((0, 0, -20), (0, 0, 20), (12.0, 12.0), (1, 0, 0), 2.0)
    line = np.arange(0.0, 20.0, 0.1)
    zero = np.zeros_like(line)
    for points, width in (((line, zero, zero), 6.0), ((zero, line, zero), 12.0)):
        depth = part.depth(points)
        assert line[np.flatnonzero(depth > 0)[-1]] == pytest.approx(width, abs=0.15)
        near = np.abs(line - width) < 2
        assert np.allclose(depth[near], (width - line)[near], atol=0.3)
    assert PelvisShape().hip.lower[0].normal is None
