import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_gen import ABBC, Bone, DataError, GridError, LabelScheme, SchemeError, UsageError, generate_abbc
from postproc import Thresholds, recover_fragments
from tests.volumes import (
    AXIS_ORDERS,
    MILLIMETRE,
    PELVIS,
    SPACINGS,
    ball,
    bar,
    bar_classes,
    best_ious,
    box,
    cells,
    fixed,
    fragment_volumes,
    one_hot,
)

TWO = bar_classes((2, 42), cores=[(5, 18), (26, 39)], borders=[(21, 23)])
"""Two fragments parted by a border."""


def whole(classes, number=1):
    """Return an anatomy of one bone that is just the bone of the classes."""
    return np.where(classes > 0, number, 0).astype(np.uint8)


def kinds(recovered):
    return [event.kind for event in recovered.events]


def volumes(recovered):
    return [(fragment.fragment_id, fragment.bone, fragment.volume_mm3) for fragment in recovered.fragments]


@pytest.mark.parametrize("engine", ["fmm", "watershed"])
@pytest.mark.parametrize("probabilities", [False, True])
def test_two_fragments(engine, probabilities):
    classes = one_hot(TWO) if probabilities else TWO
    found = recover_fragments(classes, MILLIMETRE, anatomy=whole(TWO, 2), scheme=PELVIS, engine=engine)
    np.testing.assert_array_equal(found.labels, bar((11, (2, 22)), (12, (22, 42))))
    assert found.labels.dtype == np.uint16
    assert volumes(found) == [(11, "left_hip", 2880.0), (12, "left_hip", 2880.0)]
    assert found.engine == engine
    assert found.events == ()
    assert json.loads(json.dumps(found.to_dict()))["fragments"][0]["fragment_id"] == 11


def test_the_engines_agree_on_three_blocks():
    classes = bar_classes((2, 70), cores=[(5, 18), (28, 40), (50, 66)], borders=[(22, 24), (44, 46)])
    fmm, watershed = (recover_fragments(classes, MILLIMETRE, engine=engine) for engine in ("fmm", "watershed"))
    assert len(fmm.fragments) == 3
    np.testing.assert_array_equal(fmm.labels, watershed.labels)


@fixed(30)
@given(fragment_volumes(), st.sampled_from(SPACINGS), st.sampled_from(AXIS_ORDERS))
def test_every_bone_voxel_has_an_owner_in_every_axis_order(labels, spacing, order):
    abbc = generate_abbc(labels, spacing).abbc
    found = recover_fragments(abbc, spacing, anatomy=whole(labels))
    np.testing.assert_array_equal(found.labels > 0, labels > 0)
    again = recover_fragments(
        abbc.transpose(order), [spacing[axis] for axis in order], anatomy=whole(labels).transpose(order)
    )
    np.testing.assert_array_equal(again.labels, found.labels.transpose(order))
    assert again.fragments == found.fragments


@fixed(10)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_one_hot_probabilities_equal_classes(seed, count):
    labels = cells(np.random.default_rng(seed), ball((24, 26, 28), (12, 13, 14), 11) > 0, count)
    abbc = generate_abbc(labels, MILLIMETRE).abbc
    hard = recover_fragments(abbc, MILLIMETRE, anatomy=whole(labels))
    for dtype in (np.float16, np.float32, np.float64):
        soft = recover_fragments(one_hot(abbc, dtype), MILLIMETRE, anatomy=whole(labels))
        np.testing.assert_array_equal(soft.labels, hard.labels)
        assert soft.events == hard.events


# What is missing


def test_no_core_at_all_is_one_fragment():
    classes = bar_classes((2, 22))
    found = recover_fragments(classes, MILLIMETRE)
    assert volumes(found) == [(1, "bone", 2880.0)]
    assert kinds(found) == ["no core"]
    assert "had no core and became a fragment" in found.warnings[0]


@pytest.mark.parametrize(("length", "n"), [(4, 2), (1, 1)])
def test_a_coreless_compartment_is_a_fragment_from_500_mm3(length, n):
    classes = bar_classes((2, 24 + length), cores=[(5, 18)], borders=[(22, 24)])
    found = recover_fragments(classes, MILLIMETRE, anatomy=whole(classes))
    assert len(found.fragments) == n
    assert kinds(found) == (["no core"] if n == 2 else [])
    assert ((found.labels > 0) == (classes > 0)).all()


def test_one_fragment_only():
    classes = bar_classes((2, 22), cores=[(5, 18)])
    found = recover_fragments(classes, MILLIMETRE, anatomy=whole(classes, 3), scheme=PELVIS)
    assert volumes(found) == [(21, "right_hip", 2880.0)]
    assert found.events == ()


def test_an_empty_volume():
    classes = np.zeros((5, 6, 7), np.uint8)
    found = recover_fragments(classes, MILLIMETRE)
    assert (found.labels.shape, found.labels.dtype, found.labels.any()) == ((5, 6, 7), np.uint16, False)
    assert found.fragments == found.events == ()
    found = recover_fragments(classes, MILLIMETRE, anatomy=np.full_like(classes, 2), scheme=PELVIS)
    assert [(event.kind, event.bone) for event in found.events] == [("empty bone", "left_hip")]


def test_a_bone_of_the_anatomy_without_any_classes():
    anatomy = whole(TWO, 2)
    anatomy[0, 0, 0] = 1
    found = recover_fragments(TWO, MILLIMETRE, anatomy=anatomy, scheme=PELVIS)
    assert len(found.fragments) == 2
    assert [(event.kind, event.bone, event.volume_mm3) for event in found.events] == [("empty bone", "sacrum", 0.0)]


def test_small_seeds_are_dropped_unless_they_are_the_only_ones():
    classes = bar_classes((2, 42), cores=[(5, 18)], borders=[(21, 23)])
    classes[4, 4:9, 10] = ABBC.BOUNDARY
    classes[4, 4:9, 32] = ABBC.CORE  # five voxels, the only core beyond the border
    classes[4, 4, 20] = ABBC.CORE
    found = recover_fragments(classes, MILLIMETRE, anatomy=whole(classes))
    assert len(found.fragments) == 2
    assert [(event.kind, event.volume_mm3) for event in found.events] == [
        ("small seed kept", 5.0),
        ("seeds dropped", 1.0),
    ]


# Anatomy


def test_without_anatomy_fragments_are_numbered_by_size():
    classes = bar_classes((2, 60), cores=[(5, 18), (26, 55)], borders=[(21, 23)])
    found = recover_fragments(classes, MILLIMETRE, scheme=PELVIS)
    assert volumes(found) == [(1, "bone", 5472.0), (2, "bone", 2880.0)]


def test_two_bones_that_touch_without_border():
    classes = bar_classes((2, 42), cores=[(5, 18), (26, 39)])
    anatomy = bar((2, (2, 22)), (3, (22, 42)))
    found = recover_fragments(classes, MILLIMETRE, anatomy=anatomy, scheme=PELVIS)
    np.testing.assert_array_equal(found.labels, bar((11, (2, 22)), (21, (22, 42))))


@pytest.mark.parametrize(("margin", "dropped"), [(3, 0), (8, 3)])
def test_bone_outside_the_anatomy_belongs_to_it_up_to_5_mm(margin, dropped):
    classes = bar_classes((2, 22), cores=[(5, 18)])
    anatomy = whole(classes)
    anatomy[:, :, 22 - margin :] = 0
    found = recover_fragments(classes, MILLIMETRE, anatomy=anatomy)
    assert volumes(found) == [(1, "bone", 2880.0 - 144 * dropped)]
    assert kinds(found) == ["outside anatomy"] + ["outside dropped"] * (dropped > 0)


def test_holes_and_a_shift_of_the_anatomy_do_no_harm():
    labels = bar((11, (2, 22)), (12, (22, 42)))
    anatomy = np.roll(np.where(labels > 0, 2, 0), (1, 2, -2), (0, 1, 2)).astype(np.uint8)
    anatomy[6:9, 6:9, 10:14] = 0
    found = recover_fragments(TWO, MILLIMETRE, anatomy=anatomy, scheme=PELVIS)
    np.testing.assert_array_equal(found.labels, labels)
    assert kinds(found) == ["outside anatomy"]


def test_anatomy_elsewhere():
    anatomy = np.zeros_like(TWO)
    anatomy[0, 0, 0] = 1
    with pytest.raises(DataError, match="no bone voxel of the ABBC classes lies in the anatomy"):
        recover_fragments(TWO, MILLIMETRE, anatomy=anatomy, scheme=PELVIS)


def test_a_femur_without_band_is_left_out_and_reported():
    labels = bar((1, (2, 22)), (2, (26, 46)))
    classes = bar_classes((2, 46), cores=[(5, 18), (29, 42)])
    classes[:, :, 22:26] = 0
    anatomy = np.choose(labels, [0, 2, 4]).astype(np.uint8)
    found = recover_fragments(classes, MILLIMETRE, anatomy=anatomy, scheme=PELVIS)
    np.testing.assert_array_equal(found.labels, np.where(labels == 1, 11, 0))
    assert [(e.kind, e.bone, e.volume_mm3) for e in found.events] == [("bone dropped", "left_femur", 2880.0)]


def test_a_small_patch_of_another_bone_follows_its_neighbours():
    labels = bar((11, (2, 22)), (12, (22, 42)), (21, (46, 66)))
    classes = bar_classes((2, 66), cores=[(5, 18), (26, 39), (49, 62)], borders=[(21, 23)])
    classes[:, :, 42:46] = 0
    anatomy = np.where(labels > 20, 3, np.where(labels > 0, 2, 0)).astype(np.uint8)
    anatomy[2:6, 2:6, 8:12] = 3
    found = recover_fragments(classes, MILLIMETRE, anatomy=anatomy, scheme=PELVIS)
    np.testing.assert_array_equal(found.labels, labels)
    assert [(e.kind, e.bone, e.volume_mm3) for e in found.events] == [("anatomy vote", "right_hip", 64.0)]


# Policies


def test_beyond_the_band_the_largest_are_kept_and_the_rest_reported():
    lengths = range(10, 34, 2)  # twelve fragments, the last the largest
    classes = np.zeros((16, 16, 1), np.uint8)
    for length in lengths:
        part = bar_classes((2, 2 + length), cores=[(4, length)])
        classes = np.concatenate([classes, part], axis=2)
    classes = np.ascontiguousarray(classes)
    found = recover_fragments(classes, MILLIMETRE, anatomy=whole(classes, 2), scheme=PELVIS)
    assert [f.fragment_id for f in found.fragments] == list(range(11, 21))
    assert [f.volume_mm3 for f in found.fragments] == [144.0 * n for n in sorted(lengths)[:1:-1]]
    assert [(e.kind, e.bone, e.volume_mm3, e.count) for e in found.events] == [
        ("beyond band", "left_hip", 144.0 * (10 + 12), 2)
    ]


def test_fragments_cut_by_the_field_of_view_are_flagged():
    found = recover_fragments(np.ascontiguousarray(TWO[:, :, 4:]), MILLIMETRE)
    assert sorted(f.is_cut for f in found.fragments) == [False, True]
    assert kinds(found) == ["cut"]
    assert "cut by the field of view" in found.warnings[0]


def test_satellites_join_the_nearest_fragment():
    classes = np.pad(TWO, ((0, 0), (0, 0), (0, 20)))
    classes[6:9, 6:9, 46:49] = ABBC.BOUNDARY
    found = recover_fragments(classes, MILLIMETRE, anatomy=whole(classes), scheme=PELVIS)
    assert len(found.fragments) == 2
    assert found.labels[7, 7, 47] == found.labels[7, 7, 40] != found.labels[7, 7, 10]
    assert [(e.kind, e.volume_mm3) for e in found.events] == [("island joined", 27.0)]


def leaky():
    """Return two fragments whose cores are one component, through a hole of 2 x 2 voxels in the border."""
    classes = bar_classes((2, 42), cores=[(5, 39)], borders=[(21, 23)])
    classes[7:9, 7:9, 21:23] = ABBC.CORE
    return classes


@pytest.mark.parametrize("probabilities", [False, True])
def test_cores_that_touch_through_a_hole_in_the_border_are_split(probabilities):
    classes = leaky()
    given = 0.7 * one_hot(classes) + 0.1 if probabilities else classes
    found = recover_fragments(given, MILLIMETRE, anatomy=whole(classes), thresholds={"": Thresholds(split_mm3=100.0)})
    assert kinds(found) == ["split"]
    assert min(best_ious(bar((1, (2, 22)), (2, (22, 42))), found.labels).values()) > 0.99


def test_a_core_broken_without_border_is_merged_only_with_anatomy():
    classes = bar_classes((2, 42), cores=[(5, 20), (24, 39)])
    found = recover_fragments(classes, MILLIMETRE, anatomy=whole(classes))
    assert (len(found.fragments), kinds(found)) == (1, ["merged"])
    assert len(recover_fragments(classes, MILLIMETRE).fragments) == 2


def test_faint_border_merges_and_sure_border_parts():
    for sure, n in [(0.1, 1), (0.45, 2)]:
        maps = one_hot(bar_classes((2, 42), cores=[(5, 20), (24, 39)]))
        maps[:, 2:14, 2:14, 21:23] = np.array([0.0, 1 - sure, 0.0, sure])[:, None, None, None]
        found = recover_fragments(maps, MILLIMETRE, anatomy=whole(maps.argmax(0)))
        assert len(found.fragments) == n


def test_a_small_fragment_goes_to_its_neighbour_in_the_same_bone():
    classes = bar_classes((2, 40), cores=[(5, 13), (24, 36)], borders=[(15, 17), (18, 20)])
    classes[5:11, 5:11, 17] = ABBC.CORE
    anatomy = bar((2, (2, 19)), (3, (19, 40)))
    rules = {"": Thresholds(fragment_mm3=500.0)}
    found = recover_fragments(classes, MILLIMETRE, anatomy=anatomy, scheme=PELVIS, thresholds=rules)
    np.testing.assert_array_equal(found.labels, bar((11, (2, 19)), (21, (19, 40))))
    assert "small merged" in kinds(found)


def test_thresholds_go_by_the_ending_of_the_bones_name():
    classes = bar_classes((2, 26), cores=[(5, 18)], borders=[(22, 23)])
    classes[5:11, 5:11, 24] = ABBC.CORE
    scheme = LabelScheme("legs", (Bone("left_femur", 1, 9),), {"left_femur": 1})
    for limit, n in [(400.0, 2), (700.0, 1)]:
        rules = {"femur": Thresholds(fragment_mm3=limit), "": Thresholds(fragment_mm3=1e6)}
        found = recover_fragments(classes, MILLIMETRE, anatomy=whole(classes), scheme=scheme, thresholds=rules)
        assert len(found.fragments) == n


# What is refused


@pytest.mark.parametrize(
    ("abbc", "options", "error", "message"),
    [
        (one_hot(TWO) * 8 - 4, {}, DataError, r"between 0 and 1\. Got: -4.0 to 4.0 .* not logits"),
        (one_hot(TWO) * np.nan, {}, DataError, r"between 0 and 1\. Got: nan"),
        (one_hot(TWO)[:3], {}, DataError, r"shape \(4, z, y, x\). Got: shape \(3, "),
        (TWO.astype(float), {}, DataError, r"shape \(4, z, y, x\). Got: shape \(16, 16, 44\); give classes as int"),
        (np.full((2, 2, 2), 4), {}, DataError, r"from 0 to 3\. Got: 4; are these fragment labels"),
        (np.full((2, 2, 2), -1), {}, DataError, "ABBC classes must not be negative"),
        (TWO, {"anatomy": TWO[1:]}, GridError, r"shapes \(16, 16, 44\) and \(15, 16, 44\)"),
        (TWO, {"anatomy": TWO.astype(float)}, DataError, "anatomy must be whole numbers"),
        (TWO, {"anatomy": whole(TWO, 9)}, SchemeError, r"numbers \[9\], which scheme 'free' does not name; it has 1 b"),
        (TWO, {"engine": "march"}, UsageError, "engine must be 'fmm' or 'watershed'. Got: 'march'"),
    ],
)
def test_what_is_refused(abbc, options, error, message):
    with pytest.raises(error, match=message):
        recover_fragments(abbc, MILLIMETRE, **options)


def test_a_bad_spacing():
    with pytest.raises(UsageError, match="three positive numbers"):
        recover_fragments(TWO, (1.0, 1.0))


def test_the_input_stays_as_it_was():
    classes, anatomy = TWO.copy(), box(TWO.shape, (1, (0, 16), (0, 16), (0, 44)))
    classes.flags.writeable = anatomy.flags.writeable = False
    recover_fragments(classes, MILLIMETRE, anatomy=anatomy)
    np.testing.assert_array_equal(classes, TWO)
