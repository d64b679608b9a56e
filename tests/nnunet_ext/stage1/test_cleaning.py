"""What is kept of a network's bones: exact on boxes of voxels of 2 mm (8 mm3)."""

import numpy as np
import pytest

from nnunet_ext.stage1.cleaning import clean_bones, follow
from tests.volumes import box

SPACING = (2.0, 2.0, 2.0)


def cleaned(labels):
    array = labels.copy()
    return array, clean_bones(array, SPACING)


def test_a_bone_in_one_piece_stays():
    labels = box((12, 12, 12), (2, (2, 10), (2, 10), (2, 10)))
    array, changes = cleaned(labels)
    assert (array == labels).all()
    assert changes == []


@pytest.mark.parametrize(("length", "is_kept"), [(31, False), (32, True)])  # 248 and 256 mm3
def test_specks_go(length, is_kept):
    labels = box((40, 12, 14), (1, (2, 38), (2, 8), (2, 8)), (1, (2, 2 + length), (2, 3), (10, 11)))
    array, changes = cleaned(labels)
    assert array[2, 2, 10] == is_kept
    assert [str(change) for change in changes] == ([] if is_kept else ["sacrum: specks dropped (1, 0.25 cm3)"])


@pytest.mark.parametrize(("gap", "is_kept"), [(19, True), (20, False)])  # 40 and 42 mm from centre to centre
def test_pieces_far_away_go(gap, is_kept):
    labels = box((8, 8, 50), (3, (1, 7), (1, 7), (1, 10)), (3, (1, 5), (1, 5), (10 + gap, 14 + gap)))
    array, changes = cleaned(labels)
    assert (array == (labels if is_kept else np.where(np.arange(50) < 10, labels, 0))).all()
    assert [change.what for change in changes] == ([] if is_kept else ["strays dropped"])


def test_a_far_piece_at_the_twin_is_the_twins():
    labels = box(
        (10, 10, 70),
        (2, (1, 9), (1, 9), (50, 68)),
        (3, (1, 9), (1, 9), (1, 15)),
        (2, (2, 8), (2, 8), (15, 19)),
    )
    array, changes = cleaned(labels)
    assert (array[2:8, 2:8, 15:19] == 3).all()
    assert [str(change) for change in changes] == ["left hip bone: given to twin (1, 1.15 cm3)"]


def test_a_fragment_at_the_midline_keeps_its_side():
    labels = box(
        (10, 10, 50),
        (2, (1, 9), (1, 9), (30, 48)),
        (3, (1, 9), (1, 9), (1, 20)),
        (2, (2, 8), (2, 8), (20, 24)),
    )
    assert (cleaned(labels)[0] == labels).all()


def test_holes_are_filled():
    labels = box((10, 10, 10), (5, (1, 9), (1, 9), (1, 9)), (0, (4, 5), (4, 5), (4, 5)))
    array, changes = cleaned(labels)
    assert array[4, 4, 4] == 5
    assert [str(change) for change in changes] == ["right femur: holes filled (1, 0.01 cm3)"]


def test_no_bone_at_all():
    assert clean_bones(np.zeros((3, 3, 3), np.uint8), SPACING) == []


def test_probabilities_follow():
    before = np.array([[[1, 2, 0]]], np.uint8)
    after = np.array([[[1, 0, 2]]], np.uint8)
    probabilities = np.zeros((3, 1, 1, 3), np.float32)
    probabilities[:, 0, 0] = [[0.2, 0.1, 0.5], [0.7, 0.3, 0.2], [0.1, 0.6, 0.3]]
    follow(probabilities, before, after)
    assert (probabilities.argmax(0) == after).all()
    assert probabilities[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.7, 0.1])
    assert probabilities[:, 0, 0, 1].tolist() == [1, 0, 0]
