import numpy as np
import pytest

from label_gen import ABBC, DataError, SchemeError
from postproc import Thresholds
from postproc.events import Event
from postproc.regions import find_regions
from tests.volumes import MILLIMETRE, PELVIS, bar


def regions_of(classes, anatomy, spacing=MILLIMETRE, rules=None):
    present = [int(n) for n in np.unique(anatomy) if n]
    found, events = find_regions(classes, anatomy, present, spacing, PELVIS, rules)
    return found, [(event.kind, event.bone, event.volume_mm3) for event in events]


def test_the_anatomy_decides_where_it_names_a_bone():
    anatomy = bar((2, (2, 20)), (3, (20, 40)))
    found, events = regions_of(anatomy > 0, anatomy)
    np.testing.assert_array_equal(found, anatomy)
    assert events == []


def test_anatomy_without_bone_adds_none():
    anatomy = bar((2, (2, 20)))
    is_bone = (anatomy > 0) & (np.arange(anatomy.shape[2]) < 15)
    found, events = regions_of(is_bone, anatomy)
    np.testing.assert_array_equal(found, np.where(is_bone, 2, 0))
    assert events == []


@pytest.mark.parametrize(("step", "reach"), [(1.0, 5), (2.0, 2), (0.5, 10)])
def test_bone_belongs_to_the_bone_5_mm_away(step, reach):
    whole = bar((2, (2, 40)))
    anatomy = np.where(np.arange(whole.shape[2]) < 20, whole, 0)
    found, events = regions_of(whole > 0, anatomy, (step,) * 3)
    np.testing.assert_array_equal(found, np.where(np.arange(whole.shape[2]) < 20 + reach, whole, 0))
    layer = 144 * step**3
    assert events == [("outside anatomy", "", reach * layer), ("outside dropped", "", (20 - reach) * layer)]


def test_bone_between_two_bones_is_shared():
    whole = bar((1, (2, 30)))
    anatomy = bar((2, (2, 13)), (3, (19, 30)))
    found, _ = regions_of(whole > 0, anatomy)
    np.testing.assert_array_equal(found, bar((2, (2, 16)), (3, (16, 30))))


def test_a_small_patch_follows_the_majority_of_its_faces():
    anatomy = bar((2, (2, 20)), (3, (24, 40)), length=40)
    expected = anatomy.copy()
    anatomy[4:9, 4:9, 6:11] = 3
    found, events = regions_of(anatomy > 0, anatomy)
    np.testing.assert_array_equal(found, expected)
    assert events == [("anatomy vote", "right_hip", 125.0)]
    found, events = regions_of(anatomy > 0, anatomy, rules={"": Thresholds(fragment_mm3=100.0)})
    np.testing.assert_array_equal(found, anatomy)
    assert events == []


def test_small_patches_of_a_bone_are_told_together():
    anatomy = bar((2, (2, 20)), (3, (24, 40)), length=40)
    anatomy[4:9, 4:9, 6:11] = anatomy[4:6, 4:6, 15:17] = 3
    _, events = find_regions(anatomy > 0, anatomy, [2, 3], MILLIMETRE, PELVIS, None)
    assert events == [Event("anatomy vote", "right_hip", 125.0 + 8, 2)]


@pytest.mark.parametrize(("core", "moves"), [(12, True), (7, True), (6, False), (0, False)])
def test_a_large_patch_follows_its_core_into_another_bone(core, moves):
    """The anatomy gives the end of the left hip bone (2) to the right one (3), which lies beyond a gap."""
    anatomy = bar((2, (2, 14)), (3, (14, 20)), (3, (22, 40)), length=40)
    classes = np.where(anatomy > 0, ABBC.BOUNDARY, ABBC.BACKGROUND).astype(np.uint8)
    classes[2 : 2 + core, 2 : 2 + core, 3:19] = ABBC.CORE  # of the 144 mm2 of the contact
    found, events = regions_of(classes, anatomy)
    moved = np.where(np.arange(anatomy.shape[2]) < 21, np.where(anatomy > 0, 2, 0), anatomy)
    np.testing.assert_array_equal(found, moved if moves else anatomy)
    assert events == ([("anatomy vote", "right_hip", 144.0 * 6)] if moves else [])


def test_a_femur_without_band_is_left_out():
    anatomy = bar((2, (2, 20)), (5, (20, 40)))
    found, events = regions_of(anatomy > 0, anatomy)
    np.testing.assert_array_equal(found, np.where(anatomy == 2, 2, 0))
    assert events == [("bone dropped", "right_femur", 2880.0)]


def test_numbers_that_the_scheme_does_not_name():
    anatomy = bar((2, (2, 20)), (8, (20, 40)))
    with pytest.raises(
        SchemeError, match=r"numbers \[8\], which scheme 'pelvis' does not name; it has 1 sacrum, 2 left"
    ):
        regions_of(anatomy > 0, anatomy)


def test_nothing_in_common():
    anatomy = bar((2, (2, 20)), length=40)
    with pytest.raises(DataError, match="different cases, or one is flipped"):
        regions_of(np.roll(anatomy > 0, 20, 2), anatomy)
