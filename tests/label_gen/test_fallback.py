from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from label_gen import ABBC, generate_abbc
from label_gen.contacts import CLEARANCE, TOUCHING
from label_gen.fallback import core_in_crowd, core_of_thin_piece
from label_gen.grid import bounding_box
from tests.volumes import MILLIMETRE, ball, box, cells, check_guarantees, fixed, touching_cores

VOXEL_CM = (8.0, 8.0, 8.0)
"""One voxel is 512 mm3: each connected piece has to have a core."""


def can_stay_apart(labels):
    """Try every choice of one voxel per fragment for one without 26-neighbours."""
    voxels = [np.argwhere(labels == number) for number in np.unique(labels[labels > 0])]
    return any(all(np.abs(a - b).max() > 1 for a, b in combinations(choice, 2)) for choice in product(*voxels))


def test_a_sheet_without_contact_is_thin():
    is_piece = box((3, 9, 9), (1, (1, 2), (0, 9), (0, 9))) == 1
    core, name = core_of_thin_piece(is_piece, np.zeros(is_piece.shape, np.uint8), MILLIMETRE, 20)
    assert name == "thin"
    np.testing.assert_array_equal(core, is_piece)


def test_a_thin_core_is_the_deepest_part_that_is_large_enough():
    is_piece = box((7, 7, 20), (1, (3, 4), (3, 4), (0, 20)), (1, (1, 6), (1, 6), (2, 7))) == 1
    core, name = core_of_thin_piece(is_piece, np.zeros(is_piece.shape, np.uint8), MILLIMETRE, 1)
    assert name == "thin"
    assert np.argwhere(core).tolist() == [[3, 3, 4]]
    core, _ = core_of_thin_piece(is_piece, np.zeros(is_piece.shape, np.uint8), MILLIMETRE, 20)
    assert core.sum() == 27


def test_all_within_the_clearance_is_close():
    is_piece = np.ones((1, 5, 5), bool)
    zones = np.full(is_piece.shape, CLEARANCE, np.uint8)
    zones[:, :, 0] |= TOUCHING
    core, name = core_of_thin_piece(is_piece, zones, MILLIMETRE, 20)
    assert name == "close"
    np.testing.assert_array_equal(core, zones == CLEARANCE)


def test_all_touching_is_crowded():
    is_piece = np.ones((1, 2, 2), bool)
    core, name = core_of_thin_piece(is_piece, np.full(is_piece.shape, TOUCHING, np.uint8), MILLIMETRE, 20)
    assert core is None
    assert name == "crowded"


def crowd(labels, is_core=None):
    is_core = np.zeros(labels.shape, bool) if is_core is None else is_core
    pieces = [(int(n), bounding_box(labels == n)) for n in np.unique(labels[labels > 0])]
    return core_in_crowd(pieces, labels, is_core, 50.0), is_core


@pytest.mark.parametrize("step", [(0, 0, 1), (0, 1, 1), (1, 1, 1)])
def test_two_voxels_side_by_side_are_the_unavoidable_case(step):
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1] = 1
    labels[tuple(np.add(1, step))] = 2
    outcome, is_core = crowd(labels)
    assert sorted(outcome.values()) == ["crowded", "touching"]
    np.testing.assert_array_equal(is_core, labels > 0)
    result = generate_abbc(labels, MILLIMETRE)
    assert sorted(piece.fallback for piece in result.pieces) == ["crowded", "touching"]
    assert (result.abbc[labels > 0] == ABBC.CORE).all()
    check_guarantees(labels, MILLIMETRE, result)


def test_the_search_goes_back_on_a_first_choice():
    # 1 is one voxel; 2 has to leave its voxel next to 1 for the far end, and 3 has to make room for that.
    labels = np.array([[[2, 1, 2, 2, 3, 3, 3]]], np.uint8)
    outcome, is_core = crowd(labels)
    assert set(outcome.values()) == {"crowded"}
    assert not touching_cores(labels, is_core)
    assert sorted(np.unique(labels[is_core])) == [1, 2, 3]


@fixed(60)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(2, 3)] * 3), st.integers(2, 5))
def test_cores_touch_only_where_no_choice_of_cores_exists(seed, shape, count):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.8
    assume(mask.sum() > 1)
    labels = cells(rng, mask, count).astype(np.uint8)
    numbers = np.unique(labels[labels > 0])
    assume(np.prod([float((labels == n).sum()) for n in numbers]) < 50_000)
    result = generate_abbc(labels, VOXEL_CM)
    assume(all(piece.piece == 1 for piece in result.pieces))
    check_guarantees(labels, VOXEL_CM, result)
    is_apart = all(piece.fallback != "touching" for piece in result.pieces)
    assert is_apart == can_stay_apart(labels)


def test_23_fragments_in_one_bone():
    labels = cells(np.random.default_rng(23), ball((40, 40, 40), (20, 20, 20), 18) > 0, 23).astype(np.uint8)
    result = generate_abbc(labels, (0.8, 0.8, 0.8))
    check_guarantees(labels, (0.8, 0.8, 0.8), result)
    assert sum(piece.piece == 1 for piece in result.pieces) == 23
    assert "touching" not in {piece.fallback for piece in result.pieces}
