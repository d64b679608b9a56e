import cc3d
import numpy as np
import pytest
from scipy import ndimage

from label_gen import GenerationSettings
from label_gen.contacts import CLEARANCE, NEAR, TOUCHING, dilate_6, dilate_26, find_contacts, is_touching_other
from tests.volumes import DTYPES, MILLIMETRE, box

UNSIGNED = [dtype for dtype in DTYPES if np.dtype(dtype).kind == "u"]


def zones_of(labels, spacing, bones):
    boxes = cc3d.statistics(labels)["bounding_boxes"][1:]
    return find_contacts(labels, boxes, bones, spacing, GenerationSettings())


def has(zones, bit):
    return np.flatnonzero(zones & bit).tolist()


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_touching_is_what_a_loop_over_neighbours_finds(dtype):
    labels = np.random.default_rng(1).choice([0, 0, 0, 0, 0, 1, 2, 9], (6, 7, 8)).astype(dtype)
    padded = np.pad(labels, 1)
    expected = np.zeros(labels.shape, bool)
    for z, y, x in np.argwhere(labels):
        around = padded[z : z + 3, y : y + 3, x : x + 3]
        expected[z, y, x] = ((around != 0) & (around != labels[z, y, x])).any()
    assert expected.any()
    np.testing.assert_array_equal(is_touching_other(labels), expected)


@pytest.mark.parametrize(("dilate", "rank"), [(dilate_6, 1), (dilate_26, 3)])
def test_dilations_equal_scipy(dilate, rank):
    mask = np.random.default_rng(2).random((6, 7, 8)) > 0.95
    expected = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, rank))
    before = mask.copy()
    np.testing.assert_array_equal(dilate(mask), expected)
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize(
    ("spacing", "axis", "n_near", "n_clear"),
    [
        (0.8, 2, 1, 3),  # 0.7 + 0.4 and 2.3 + 0.4 mm from the centres on the other side
        (0.5, 2, 1, 5),
        (0.4, 0, 2, 6),
        (1.0, 1, 1, 2),
        (3.0, 2, 1, 1),
        ((3.0, 1.0, 0.7), 0, 1, 1),  # 3 mm to the next slice: border on it all the same
        ((3.0, 1.0, 0.7), 2, 1, 4),
    ],
)
def test_zones_have_the_same_width_on_every_grid(spacing, axis, n_near, n_clear):
    labels = np.moveaxis(box((3, 3, 24), (1, (0, 3), (0, 3), (0, 12)), (2, (0, 3), (0, 3), (12, 24))), 2, axis)
    spacing = spacing if isinstance(spacing, tuple) else (spacing,) * 3
    zones = np.moveaxis(zones_of(np.ascontiguousarray(labels), spacing, ["a", "a"]), axis, 2)
    assert (zones == zones[0, 0]).all()
    assert has(zones[0, 0], TOUCHING) == [11, 12]
    assert has(zones[0, 0], NEAR) == list(range(12 - n_near, 12 + n_near))
    assert has(zones[0, 0], CLEARANCE) == list(range(12 - n_clear, 12 + n_clear))


def test_two_bones_touch_but_have_no_border():
    labels = box((3, 3, 24), (1, (0, 3), (0, 3), (0, 12)), (2, (0, 3), (0, 3), (12, 24)))
    zones = zones_of(labels, MILLIMETRE, ["left", "right"])
    assert has(zones[1, 1], TOUCHING) == [11, 12]
    assert not (zones & (NEAR | CLEARANCE)).any()


@pytest.mark.parametrize(("gap", "near", "clear"), [(0, True, True), (1, False, True), (2, False, False)])
def test_zones_reach_across_a_gap(gap, near, clear):
    labels = box((3, 3, 24), (1, (0, 3), (0, 3), (0, 12)), (2, (0, 3), (0, 3), (12 + gap, 24)))
    zones = zones_of(labels, MILLIMETRE, ["a", "a"])
    assert bool((zones & NEAR).any()) == near
    assert bool((zones & CLEARANCE).any()) == clear


def test_three_fragments_of_two_bones():
    labels = box((1, 1, 30), (1, (0, 1), (0, 1), (0, 10)), (2, (0, 1), (0, 1), (10, 20)), (3, (0, 1), (0, 1), (20, 30)))
    zones = zones_of(labels, MILLIMETRE, ["a", "b", "b"])[0, 0]
    assert has(zones, TOUCHING) == [9, 10, 19, 20]
    assert has(zones, NEAR) == [19, 20]
