import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from label_gen import ABBC
from postproc import Thresholds
from postproc.healing import RIM_EVIDENCE, _gap, _join, merge_unseparated, split_along_border
from postproc.interfaces import find_face_voxels
from tests.volumes import MILLIMETRE, bar, bar_classes


def split(classes, owners=None, evidence=None, spacing=MILLIMETRE, **rules):
    owners = np.where(classes > 0, 1, 0).astype(np.int32) if owners is None else owners
    is_border = classes == ABBC.BORDER
    evidence = is_border if evidence is None else evidence
    events = split_along_border(owners, is_border, evidence, spacing, Thresholds(**rules), "hip")
    return owners, [(event.kind, event.volume_mm3) for event in events]


def merge(owners, evidence, **rules):
    owners = owners.astype(np.int32)
    events = merge_unseparated(owners, evidence, MILLIMETRE, Thresholds(**rules), "hip")
    return owners, [(event.kind, event.volume_mm3) for event in events]


@pytest.mark.parametrize("hole", [0, 2, 4])
def test_a_cut_runs_along_border_even_with_a_hole_in_it(hole):
    classes = bar_classes((2, 42), borders=[(21, 23)])
    classes[6 : 6 + hole, 6 : 6 + hole, 21:23] = ABBC.CORE
    owners, events = split(classes)
    assert [kind for kind, _ in events] == ["split"]
    np.testing.assert_array_equal(owners > 0, classes > 0)
    assert len(np.unique(owners[:, :, :20])) == len(np.unique(owners[:, :, 24:])) == 2
    assert owners[8, 8, 10] != owners[8, 8, 30]


def test_half_a_border_is_no_cut():
    classes = bar_classes((2, 42), borders=[(21, 23)])
    classes[8:, :, 21:23] = np.minimum(classes[8:, :, 21:23], ABBC.BOUNDARY)
    owners, events = split(classes)
    assert events == []
    np.testing.assert_array_equal(owners, classes > 0)


def test_a_cut_needs_border_on_all_sides_and_not_only_on_enough_of_them():
    classes = bar_classes((2, 62), borders=[(31, 33)], across=20)
    scattered = classes.copy()
    scattered[2:-2:2, :, 31:33] = np.minimum(scattered[2:-2:2, :, 31:33], ABBC.BOUNDARY)  # every other layer whole
    assert [kind for kind, _ in split(scattered)[1]] == ["split"]
    whole = np.count_nonzero(scattered != classes) // (20 * 2)
    classes[2 : 2 + whole, :, 31:33] = np.minimum(classes[2 : 2 + whole, :, 31:33], ABBC.BOUNDARY)  # one side whole
    assert split(classes)[1] == []


def test_a_cut_follows_a_ring_of_border_round_a_thick_bone():
    classes = bar_classes((2, 62), borders=[(31, 33)], across=30)
    classes[8:-8, 8:-8, 31:33] = ABBC.CORE  # 6 mm of border below the surface, nothing in the 18 mm inside
    owners, events = split(classes)
    assert [kind for kind, _ in events] == ["split"]
    assert len(np.unique(owners[2:-2, 2:-2, 2:30])) == len(np.unique(owners[2:-2, 2:-2, 34:62])) == 1
    assert owners[17, 17, 10] != owners[17, 17, 50]


def test_a_crack_across_more_than_half_of_a_bone_is_no_cut():
    classes = bar_classes((2, 62), borders=[(31, 33)], across=20)
    classes[13:, :, 31:33] = np.minimum(classes[13:, :, 31:33], ABBC.BOUNDARY)  # 11 of 20 mm broken
    assert split(classes)[1] == []


def test_what_a_cut_leaves_is_looked_at_again():
    classes = bar_classes((2, 62), borders=[(21, 23), (41, 43)])
    classes[5:11, 5:11, 41:43] = ABBC.CORE  # found only after a hole is closed
    owners, events = split(classes)
    assert [kind for kind, _ in events] == ["split"] * 2
    assert len({int(owners[8, 8, x]) for x in (10, 30, 50)}) == 3


def test_parts_too_small_for_a_fragment_are_not_cut_off():
    thin = bar_classes((2, 30), borders=[(24, 26)], across=6)  # 180 mm3 behind the border, half of it included
    assert split(thin, split_mm3=50.0)[1] == []
    assert split(thin, split_mm3=50.0, fragment_mm3=150.0)[1] != []


def test_specks_that_touch_nothing_are_not_cut_off():
    classes = np.pad(bar_classes((2, 42), borders=[(21, 23)]), ((0, 0), (0, 0), (0, 10)))
    classes[6:11, 6:11, 46:51] = ABBC.CORE  # deep enough for a basin of its own
    owners, events = split(classes)
    assert [kind for kind, _ in events] == ["split"]
    assert sorted(np.unique(owners)) == [0, *sorted({int(owners[8, 8, x]) for x in (10, 30)})]


def test_little_border_is_no_ground_to_look():
    assert split(bar_classes((2, 42), borders=[(21, 23)]), split_mm3=300.0)[1] == []


def test_border_that_a_neighbour_explains_is_left_alone():
    classes = bar_classes((2, 42), borders=[(21, 23)])
    owners, events = split(classes, bar((1, (2, 22)), (2, (22, 42))).astype(np.int32))
    assert events == []
    assert owners.max() == 2


def test_probabilities_decide_whether_a_cut_holds():
    classes = bar_classes((2, 42), borders=[(21, 23)])
    is_border = classes == ABBC.BORDER
    assert split(classes, evidence=np.where(is_border, 0.25, 0.0))[1] == []
    assert split(classes, evidence=np.where(is_border, 0.35, 0.0))[1] != []


@pytest.mark.parametrize(("seen", "joined"), [(0.0, True), (0.15, True), (0.25, False), (1.0, False)])
def test_an_interface_without_border_joins(seen, joined):
    labels = bar((1, (2, 22)), (2, (22, 40)))
    evidence = np.zeros(labels.shape)
    evidence[:, :, 21] = seen
    owners, events = merge(labels, evidence)
    assert events == ([("merged", 144.0 * 18)] if joined else [])
    np.testing.assert_array_equal(owners, labels > 0 if joined else labels)


def test_a_small_contact_is_no_ground_to_join():
    labels = bar((1, (2, 22)), (2, (23, 42)))
    labels[5:8, 5:8, 22] = 1
    assert merge(labels, np.zeros(labels.shape))[1] == []
    labels[5:9, 5:8, 22] = 1
    assert merge(labels, np.zeros(labels.shape))[1] != []


def test_joins_in_a_row_end_in_one_fragment():
    labels = bar((1, (2, 12)), (2, (12, 22)), (3, (22, 32)), (4, (32, 42)))
    evidence = np.zeros(labels.shape)
    evidence[:, :, 32] = 1.0
    owners, events = merge(labels, evidence)
    assert len(events) == 2
    np.testing.assert_array_equal(owners, np.where(labels == 4, 4, labels > 0))


PAIRS = st.tuples(st.integers(1, 9), st.integers(10, 14)) | st.tuples(st.integers(1, 4), st.integers(5, 9))
INTERFACES = st.dictionaries(PAIRS, st.tuples(st.sampled_from([1.0, 4.0, 9.0]), st.sampled_from([0.1, 0.2, 0.3, 0.6])))


@given(INTERFACES)
@settings(deadline=None)
def test_the_weakest_interface_goes_first_and_others_are_measured_anew(interfaces):
    table, expected = dict(interfaces), {}
    while weak := {pair: seen for pair, (area, seen) in table.items() if seen < 0.25 and area >= 4}:
        keep, gone = min(weak, key=lambda pair: (weak[pair], pair))
        expected = {number: keep if target == gone else target for number, target in expected.items()} | {gone: keep}
        renamed = {}
        for (first, second), found in table.items():
            pair = tuple(sorted({keep if number == gone else number for number in (first, second)}))
            renamed.setdefault(pair, []).append(found)
        table = {
            pair: (sum(area for area, _ in found), sum(area * seen for area, seen in found) / sum(a for a, _ in found))
            for pair, found in renamed.items()
            if len(pair) == 2
        }
    found = _join(interfaces, 0.25, 4)
    assert list(found.items()) == list(expected.items())


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_the_largest_gap_is_that_of_the_whole_volume(seed):
    rng = np.random.default_rng(seed)
    parts = np.pad(rng.integers(0, 4, (6, 7, 8)), 1).astype(np.int32)
    likely = (rng.random(parts.shape) * (parts > 0)).astype(np.float32)
    faces = find_face_voxels(parts)
    for pair in ((1, 2), (1, 3), (2, 3)):
        first, second = (parts == number for number in pair)
        rim = (ndimage.binary_dilation(first) & second) | (ndimage.binary_dilation(second) & first)
        assert faces[pair].tolist() == np.flatnonzero(rim).tolist()
        seen = ndimage.maximum_filter(rim * likely, footprint=ndimage.generate_binary_structure(3, 1))
        gaps = cc3d.connected_components(rim & (seen < RIM_EVIDENCE), connectivity=26)
        largest = np.bincount(gaps[gaps > 0], minlength=1).max()
        assert _gap(faces[pair], likely) == pytest.approx(largest / rim.sum())


def test_without_healing_nothing_is_cut_or_joined():
    from label_gen import ABBC
    from postproc import recover_fragments
    from postproc.thresholds import DEFAULT_THRESHOLDS, WITHOUT_HEALING

    broken = np.full((12, 12, 40), ABBC.BOUNDARY, np.uint8)  # two cores and no border between them
    broken[2:10, 2:10, 2:18] = broken[2:10, 2:10, 22:38] = ABBC.CORE
    merged = np.full((12, 12, 40), ABBC.CORE, np.uint8)  # border through one core, but for a thread
    merged[:, :, 19:21] = ABBC.BORDER
    merged[0, 0, 19:21] = ABBC.CORE
    bone = np.ones(broken.shape, np.uint8)
    counts = {}
    for name, thresholds in (("healed", DEFAULT_THRESHOLDS), ("bare", WITHOUT_HEALING)):
        for what, classes in (("broken", broken), ("merged", merged)):
            found = recover_fragments(classes, (1.0, 1.0, 1.0), anatomy=bone, thresholds=thresholds)
            counts[name, what] = len(found.fragments)
    assert counts == {("healed", "broken"): 1, ("healed", "merged"): 2, ("bare", "broken"): 2, ("bare", "merged"): 1}
