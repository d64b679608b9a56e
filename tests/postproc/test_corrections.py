"""Corrections by hand, exact on a bar."""

import numpy as np
import pytest

from label_gen import ABBC
from label_gen.errors import DataError, SchemeError, UsageError
from postproc.corrections import Split, correct_fragments, regrow
from tests.volumes import MILLIMETRE, PELVIS, bar

BONES = {11: "left_hip", 12: "left_hip", 21: "right_hip"}


@pytest.fixture
def labels():
    """Two touching fragments of one bone, and one of another."""
    return bar((11, (2, 12)), (12, (12, 20)), (21, (24, 44)))


def none(labels):
    return np.zeros(labels.shape, bool)


def test_join(labels):
    made = correct_fragments(labels, BONES, MILLIMETRE, is_border=none(labels), scheme=PELVIS, merge=[(12, 11)])
    assert (made.labels == np.where(labels == 12, 11, labels)).all()
    assert made.bones == {11: "left_hip", 21: "right_hip"}
    assert made.decisions == ("joined by hand: 11, 12 became 11",)


def test_cut_half_way_between_points(labels):
    points = ((8.0, 8.0, 28.0), (8.0, 8.0, 37.0))
    made = correct_fragments(
        labels, BONES, MILLIMETRE, is_border=none(labels), scheme=PELVIS, split=[Split(21, points)]
    )
    middle = made.labels[8, 8]
    assert (middle[24:33] == 22).all()  # the smaller part gets the next free number
    assert (middle[33:44] == 21).all()
    assert ((made.labels > 20) == (labels > 20)).all()
    assert made.bones[22] == "right_hip"
    assert made.decisions == ("cut by hand: 21 became 21, 22",)


def test_cuts_follow_border(labels):
    border = none(labels)
    border[:, :, 30] = True
    points = ((8.0, 8.0, 27.0), (8.0, 8.0, 40.0))
    made = correct_fragments(labels, BONES, MILLIMETRE, is_border=border, scheme=PELVIS, split=[Split(21, points)])
    assert (made.labels[2:14, 2:14, 24:30] == 22).all()
    assert (made.labels[2:14, 2:14, 31:44] == 21).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"merge": [(11, 13)]}, "no fragment 13; there are 11, 12, 21"),
        ({"merge": [(11, 21)]}, "of left_hip, right_hip"),
        ({"merge": [(11, 11)]}, "two or more"),
        ({"split": [Split(11, ((8, 8, 4),))]}, "two or more"),
        ({"split": [Split(11, ((8, 8, 4), (8, 8, 30)))]}, "point 2 is 19.0 mm away from fragment 11"),
        ({"split": [Split(11, ((8, 8, 4), (8, 8, 4)))]}, "same place"),
    ],
)
def test_corrections_that_make_no_sense(labels, options, match):
    with pytest.raises(UsageError, match=match):
        correct_fragments(labels, BONES, MILLIMETRE, is_border=none(labels), scheme=PELVIS, **options)


def test_a_band_may_be_full(labels):
    bones = dict.fromkeys(range(21, 31), "right_hip")
    points = ((8.0, 8.0, 28.0), (8.0, 8.0, 37.0))
    with pytest.raises(DataError, match="no number for 1 more"):
        correct_fragments(labels, bones, MILLIMETRE, is_border=none(labels), scheme=PELVIS, split=[Split(21, points)])


def grown(seeds, labels, border=None):
    classes = np.where(labels > 0, ABBC.CORE, 0).astype(np.uint8)
    if border is not None:
        classes[:, :, border] = np.where(labels[:, :, border] > 0, ABBC.BORDER, 0)
    anatomy = np.select([labels > 20, labels > 0], [3, 2], 0)
    return regrow(seeds, labels, BONES, MILLIMETRE, classes=classes, anatomy=anatomy, scheme=PELVIS)


def test_painted_seeds_grow_through_their_bone_only(labels):
    seeds = np.zeros_like(labels)
    seeds[8, 8, 4], seeds[8, 8, 17] = 12, 14
    made = grown(seeds, labels, border=9)
    assert (made.labels[8, 8, 2:9] == 12).all()
    assert (made.labels[8, 8, 10:20] == 14).all()
    assert ((made.labels == 21) == (labels == 21)).all()
    assert made.bones == {12: "left_hip", 14: "left_hip", 21: "right_hip"}


def test_paint_outside_of_bone_is_kept(labels):
    seeds = labels.copy()
    seeds[8, 8, 20:22] = 12
    made = grown(seeds, labels)
    assert (made.labels == seeds).all()


def test_painted_numbers_have_to_be_of_the_scheme(labels):
    with pytest.raises(SchemeError, match="99"):
        grown(np.where(labels == 21, 99, 0), labels)
    with pytest.raises(DataError, match="paint at least one"):
        grown(np.zeros_like(labels), labels)
