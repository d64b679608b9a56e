"""The CT as a whole: the body in air, fractures in bone, the same patient on every grid."""

import functools

import numpy as np
import pytest

from label_gen._pelvis import draw_pelvis
from label_gen._sampling import SampleGrid
from label_gen.simulation.body_landmarks import find_landmarks
from label_gen.simulation.fields import FieldReader, shrink_numbers
from label_gen.simulation.rendering import render_ct
from label_gen.simulation.settings import SimulationSettings

QUIET = SimulationSettings(noise_hu=0.0, kernel="soft")
BLOCK = (slice(4, 26), slice(14, 34), slice(14, 34))


def block_case(damage=0.0, gap=slice(23, 25)):
    """Return a block of bone 20 mm wide, two fragments, with damage in a sheet between them."""
    grid = SampleGrid((30, 48, 48), (1.0, 1.0, 1.0), (-24.0, -24.0, 0.0))
    owner, depth = np.zeros(grid.shape, np.uint16), np.zeros(grid.shape, np.float32)
    owner[BLOCK] = 1
    owner[:, :, 24:][owner[:, :, 24:] > 0] = 2
    z, y, x = np.indices(grid.shape)
    depth[BLOCK] = np.minimum.reduce([y - 13.5, 33.5 - y, x - 13.5, 33.5 - x, z - 3.5, 25.5 - z])[BLOCK]
    broken = np.zeros(grid.shape, np.float32)
    broken[BLOCK[0], BLOCK[1], gap] = damage
    return owner, [range(1, 3)], depth, broken, grid


@functools.lru_cache(maxsize=4)
def pelvis(spacing, size=(240.0, 230.0, 400.0), without=()):
    grid = SampleGrid.around((0.0, 23.0, 30.0), size, (spacing,) * 3)
    owner, depth = np.zeros(grid.shape, np.uint16), np.zeros(grid.shape, np.float32)
    for number, (name, body) in enumerate(draw_pelvis(np.random.default_rng(5)).items(), start=1):
        if name in without:
            continue
        for block, points in grid.blocks(grid.box(*body.bounds())):
            value = body.depth(points)
            new = (value > 0) & (owner[block] == 0)
            owner[block][new], depth[block][new] = number, value[new]
    return owner, [range(k, k + 1) for k in range(1, 6)], depth, np.zeros_like(depth), grid


@pytest.fixture(scope="module")
def coarse_pelvis():
    case = pelvis(4.0)
    return case, render_ct(np.random.default_rng(1), *case, QUIET)


def test_type_range_and_repeatability():
    case = block_case()
    settings = SimulationSettings(noise_hu=30.0)
    first, again, other = (render_ct(np.random.default_rng(seed), *case, settings) for seed in (1, 1, 2))
    assert first.dtype == np.int16
    assert first.shape == case[0].shape
    assert first.min() >= -1024
    assert first.max() <= 3071
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_full_gap_is_blood_and_compressed_bone_is_denser():
    middle = (slice(10, 20), slice(20, 28), slice(23, 25))
    whole = render_ct(np.random.default_rng(1), *block_case(), QUIET)[middle].mean()
    blood = render_ct(np.random.default_rng(1), *block_case(1.0, slice(20, 28)), QUIET)[middle]
    dense = render_ct(np.random.default_rng(1), *block_case(-1.0), QUIET)[middle].mean()
    assert 50 <= blood.mean() <= 72
    assert blood.std() < 3
    assert dense > whole + 60


def test_bone_ends_where_the_labels_end():
    owner, *rest = block_case()
    ct = render_ct(np.random.default_rng(1), owner, *rest, QUIET)
    assert np.median(ct[8:22, 18:30, 15]) > 450  # the second voxel below the side
    assert np.median(ct[8:22, 18:30, 11]) < 150


def test_inputs_stay_as_they_were():
    case = block_case(0.4)
    copies = [a.copy() for a in (case[0], case[2], case[3])]
    render_ct(np.random.default_rng(1), *case, QUIET)
    for array, copy in zip((case[0], case[2], case[3]), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_pelvis_lies_in_a_body_in_air(coarse_pelvis):
    (owner, *_), ct = coarse_pelvis
    assert (ct[:, :3, :3] < -900).all()  # in front of the right side
    body = ct > -300
    assert body[:, 22:38, 15:82].mean() > 0.8
    assert (ct[owner > 0] > -150).mean() > 0.99
    assert np.median(ct[owner > 0]) > 150
    soft = ct[(owner == 0) & body]
    assert (np.abs(soft + 104) < 15).mean() > 0.15  # fat
    assert (np.abs(soft - 48) < 25).mean() > 0.2  # muscle


def test_a_spine_is_set_on_a_sacrum_that_has_none(coarse_pelvis):
    (owner, _, _, _, grid), ct = coarse_pelvis
    sacrum = np.argwhere(owner == 1)
    above = slice(int(sacrum[:, 0].max()) + 4, owner.shape[0])
    middle = round((0.0 - grid.origin_mm[0]) / grid.spacing_mm[2])
    assert (ct[above, :, middle - 3 : middle + 4] > 150).sum() > 100


def test_the_patient_does_not_depend_on_the_grid():
    images = [render_ct(np.random.default_rng(1), *pelvis(s, (72.0, 180.0, 328.0)), QUIET) for s in (2.0, 4.0)]
    fine = images[0].reshape(images[1].shape[0], 2, images[1].shape[1], 2, images[1].shape[2], 2).mean(axis=(1, 3, 5))
    low, high = np.clip(fine, -200, 200), np.clip(images[1], -200, 200)
    assert np.corrcoef(low.ravel(), high.ravel())[0, 1] > 0.93


@pytest.mark.parametrize("without", [("sacrum",), ("left_hip", "left_femur"), ("left_femur", "right_femur")])
def test_missing_bones_are_no_obstacle(without):
    case = pelvis(4.0, (160.0, 160.0, 240.0), without)
    ct = render_ct(np.random.default_rng(1), *case, QUIET)
    assert np.median(ct[case[0] > 0]) > 120


def test_a_volume_without_bone_is_rendered():
    grid = SampleGrid((4, 5, 6), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    empty = np.zeros(grid.shape, np.float32)
    ct = render_ct(np.random.default_rng(0), empty.astype(np.uint16), [range(1, 2)], empty, empty, grid, QUIET)
    assert ct.max() < 200


def test_bones_are_told_apart_by_where_they_lie():
    owner, bones, _, _, grid = pelvis(4.0)
    reader = FieldReader(grid)
    marks = find_landmarks(shrink_numbers(owner.astype(np.uint8), grid, reader.coarse), reader.coarse, len(bones), 0)
    assert marks.kinds == ("sacrum", "hip", "hip", "femur", "femur")
    assert abs(marks.middle_x) < 8
    assert np.linalg.norm(marks.heads[0] - [89, 0, 3]) < 22


def test_shrinking_keeps_thin_sheets_and_reading_keeps_linear_fields():
    grid = SampleGrid((7, 9, 20), (1.0, 1.0, 1.0), (3.0, -5.0, 11.0))
    reader = FieldReader(grid)
    numbers = np.zeros(grid.shape, np.uint8)
    numbers[:, :, 6] = 4
    small = shrink_numbers(numbers, grid, reader.coarse)
    assert (small == 4).sum() == (small == 4).any(axis=2).sum() > 0
    shape = reader.coarse.shape
    x, y, z = reader.coarse.points((slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])))
    read = reader.slab(2 * x - y + 0.5 * z, 2, 5)
    fx, fy, fz = grid.points((slice(2, 5), slice(0, 9), slice(0, 20)))
    np.testing.assert_allclose(read, 2 * fx - fy + 0.5 * fz, atol=1e-3)
