import numpy as np
import pytest

from postproc import Thresholds
from postproc.specks import join_islands, merge_small
from tests.volumes import MILLIMETRE, bar, box

RULES = Thresholds(fragment_mm3=250.0, coreless_mm3=500.0)


def merged(labels, spacing=MILLIMETRE):
    owners = labels.astype(np.int32)
    events = merge_small(owners, spacing, RULES, "hip")
    return owners, [(event.kind, event.volume_mm3) for event in events]


def joined(labels, is_bone, spacing=MILLIMETRE):
    owners = labels.astype(np.int32)
    events = join_islands(owners, is_bone, spacing, RULES, "hip")
    return owners, [(event.kind, event.volume_mm3, event.count) for event in events]


def test_a_speck_goes_to_the_neighbour_with_the_larger_interface():
    labels = bar((1, (2, 20)), (2, (20, 40)))
    labels[6:10, 6:10, 18:21] = 3  # inside 1 but for one layer
    owners, events = merged(labels)
    assert events == [("small merged", 48.0)]
    assert (owners[6:10, 6:10, 18:21] == 1).all()


def test_fragments_of_the_threshold_stay():
    labels = box((14, 14, 20), (1, (1, 11), (1, 11), (1, 11)), (2, (1, 11), (1, 6), (11, 16)))
    assert (labels == 2).sum() == 250
    assert merged(labels)[1] == []
    labels[1, 1, 15] = 0
    assert merged(labels)[1] == [("small merged", 249.0)]
    assert merged(labels, (2.0, 1.0, 1.0))[1] == []


def test_specks_may_grow_together_to_a_fragment():
    labels = box((10, 10, 30), (1, (1, 9), (1, 9), (1, 3)), (2, (1, 9), (1, 9), (3, 6)), (3, (1, 9), (1, 9), (9, 29)))
    owners, events = merged(labels)
    assert events == [("small merged", 128.0)]
    assert sorted(np.unique(owners)) == [0, 2, 3]


def test_a_speck_apart_is_freed_for_the_nearest_fragment():
    labels = bar((1, (2, 20)), (2, (23, 40)))
    labels[6:8, 6:8, 21] = 3
    owners, events = merged(labels)
    assert events == []
    assert sorted(np.unique(owners)) == [0, 1, 2]


def test_the_largest_of_a_bone_stays_whatever_its_size():
    labels = box((5, 5, 9), (4, (1, 3), (1, 3), (1, 3)), (2, (1, 2), (1, 2), (6, 8)))
    owners, _ = merged(labels)
    assert sorted(np.unique(owners)) == [0, 4]
    assert merged(np.zeros((3, 3, 3), np.uint8))[1] == []


@pytest.mark.parametrize(("gap", "owner"), [(2, 1), (8, 2)])
def test_islands_join_the_nearest(gap, owner):
    labels = bar((1, (2, 20)), (2, (33, 50)))
    is_bone = labels > 0
    island = (slice(7, 9), slice(7, 9), slice(20 + gap, 22 + gap))
    is_bone[island] = True
    owners, events = joined(labels, is_bone)
    assert (owners[island] == owner).all()
    assert events == [("island joined", 8.0, 1)]


def test_nearest_is_in_millimetres():
    labels = box((30, 12, 12), (1, (0, 5), (0, 12), (0, 12)), (2, (20, 25), (0, 5), (0, 12)))
    is_bone = labels > 0
    is_bone[8, 11, 6] = True
    assert joined(labels, is_bone)[0][8, 11, 6] == 1
    is_bone[8, 11, 6] = False
    is_bone[19, 9, 6] = True  # one slice or five rows from 2, fifteen slices from 1
    assert joined(labels, is_bone, (5.0, 1.0, 1.0))[0][19, 9, 6] == 2


def test_a_large_island_becomes_a_fragment():
    labels = bar((1, (2, 20)), length=40)
    is_bone = labels > 0
    is_bone[2:12, 2:12, 25:30] = True
    owners, events = joined(labels, is_bone)
    assert events == [("no core", 500.0, 1)]
    assert (owners[2:12, 2:12, 25:30] == 2).all()


def test_bone_all_owned_needs_nothing():
    labels = bar((1, (2, 20)))
    owners, events = joined(labels, labels > 0)
    assert events == []
    np.testing.assert_array_equal(owners, labels)
