import numpy as np
import pytest

from label_gen import ABBC, UsageError
from postproc import DEFAULT_THRESHOLDS, Thresholds
from postproc.seeds import claim_coreless, find_seeds
from postproc.thresholds import thresholds_of
from tests.volumes import bar_classes, box

RULES = Thresholds(seed_mm3=20.0, fragment_mm3=250.0, coreless_mm3=500.0)


def seeds_of(classes, rules=RULES, voxel_mm3=1.0):
    inner = (classes != ABBC.BACKGROUND) & (classes != ABBC.BORDER)
    owners, events = find_seeds(inner, classes == ABBC.CORE, voxel_mm3, rules, "hip")
    return owners, [(event.kind, event.volume_mm3, event.count) for event in events]


def claim(classes, owners, rules=RULES):
    bone = classes != ABBC.BACKGROUND
    events = claim_coreless(owners, bone, bone & (classes != ABBC.BORDER), 1.0, rules, "hip")
    return [(event.kind, event.volume_mm3) for event in events]


def speck(classes, x, n):
    """Turn n voxels in a row along y at x into core."""
    classes[4, 4 : 4 + n, x] = ABBC.CORE
    return classes


def test_each_core_is_a_seed():
    classes = bar_classes((2, 40), cores=[(5, 15), (20, 35)])
    owners, events = seeds_of(classes)
    assert sorted(np.unique(owners)) == [0, 1, 2]
    np.testing.assert_array_equal(owners > 0, classes == ABBC.CORE)
    assert events == []


def test_cores_that_touch_by_a_corner_are_one_seed():
    classes = np.full((8, 8, 8), ABBC.BOUNDARY, np.uint8)
    classes[1:4, 1:4, 1:4] = classes[4:7, 4:7, 4:7] = ABBC.CORE
    assert seeds_of(classes)[0].max() == 1


def test_a_small_core_beside_a_large_one_is_dropped():
    classes = speck(bar_classes((2, 40), cores=[(5, 15)]), 30, 3)
    owners, events = seeds_of(classes)
    assert owners.max() == 1
    assert events == [("seeds dropped", 3.0, 1)]


@pytest.mark.parametrize("n", [19, 20])
def test_the_smallest_seed_has_exactly_the_threshold(n):
    classes = bar_classes((2, 40), cores=[(5, 15)], across=24)
    classes = speck(classes, 30, n)
    owners, events = seeds_of(classes)
    assert owners.max() == 1 + (n == 20)
    assert len(events) == (n < 20)


def test_the_largest_small_core_of_a_compartment_without_seed_is_kept():
    classes = speck(speck(bar_classes((2, 40), cores=[(4, 14)], borders=[(19, 21)]), 30, 5), 35, 3)
    owners, events = seeds_of(classes)
    assert owners.max() == 2
    assert (owners[:, :, 30] > 0).sum() == 5
    assert not owners[:, :, 35].any()
    assert events == [("small seed kept", 5.0, 1), ("seeds dropped", 3.0, 1)]


def test_no_small_core_is_kept_in_a_compartment_too_small_for_a_fragment():
    classes = speck(bar_classes((2, 22), cores=[(4, 14)], borders=[(18, 21)]), 21, 5)  # 12 * 12 * 1 beyond the border
    owners, events = seeds_of(classes)
    assert owners.max() == 1
    assert events == [("seeds dropped", 5.0, 1)]


def test_thresholds_are_in_mm3():
    classes = speck(bar_classes((2, 40), cores=[(5, 15)]), 30, 3)
    assert seeds_of(classes, voxel_mm3=8.0)[0].max() == 2


def test_bone_without_any_core_is_one_owner():
    classes = bar_classes((2, 20))
    owners, events = seeds_of(classes)
    assert not owners.any()
    assert events == []
    assert claim(classes, owners) == [("no core", 12.0 * 12 * 18)]
    np.testing.assert_array_equal(owners, classes > 0)


def test_small_bone_without_core_becomes_its_largest_piece():
    classes = box((9, 9, 20), (1, (1, 4), (1, 4), (1, 4)), (1, (1, 4), (1, 4), (8, 15)))
    owners = np.zeros(classes.shape, np.int32)
    assert claim(classes, owners) == [("no core", 63.0)]
    np.testing.assert_array_equal(owners == 1, (classes > 0) & (np.arange(20) >= 8))


@pytest.mark.parametrize(("length", "claimed"), [(3, False), (4, True)])
def test_a_compartment_without_core_counts_from_500_mm3(length, claimed):
    classes = bar_classes((2, 20 + length), cores=[(4, 14)], borders=[(18, 20)])
    owners = np.where((classes > 0) & (np.arange(classes.shape[2]) < 18), 1, 0).astype(np.int32)
    events = claim(classes, owners)
    assert events == ([("no core", 144.0 * length)] if claimed else [])
    assert (owners[:, :, 20:].max() == 2) == claimed


def test_a_compartment_that_touches_by_an_edge_belongs_to_its_neighbour():
    classes = box((12, 12, 12), (1, (1, 6), (1, 11), (1, 6)), (1, (6, 11), (1, 11), (6, 11)))
    owners = np.zeros(classes.shape, np.int32)
    owners[1:6, 1:11, 1:6] = 3
    assert claim(classes, owners, Thresholds(coreless_mm3=10.0)) == []
    np.testing.assert_array_equal(owners, np.where(classes > 0, 3, 0))


@pytest.mark.parametrize("name", list(Thresholds.__dataclass_fields__))
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_thresholds_must_not_be_negative(name, value):
    with pytest.raises(UsageError, match=f"{name} must not be negative. Got: {value}"):
        Thresholds(**{name: value})


def test_thresholds_of_a_bone_go_by_the_ending_of_its_name():
    assert thresholds_of("sacrum") == DEFAULT_THRESHOLDS[""] == Thresholds()
    assert thresholds_of("left_femur").fragment_mm3 == thresholds_of("femur").fragment_mm3 == 150.0
    assert thresholds_of("femur_head") == Thresholds()
    table = {"": Thresholds(seed_mm3=1), "hip": Thresholds(seed_mm3=2), "left_hip": Thresholds(seed_mm3=3)}
    seeds = {
        bone: thresholds_of(bone, table).seed_mm3 for bone in ("sacrum", "right_hip", "left_hip", "hip", "right_femur")
    }
    assert seeds == {"sacrum": 1, "right_hip": 2, "left_hip": 3, "hip": 2, "right_femur": 25.6}
