import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_gen import ABBC, FREE_SCHEME, generate_abbc
from label_gen.pieces import find_pieces
from label_gen.walls import build_walls
from postproc import recover_fragments
from tests.volumes import (
    MILLIMETRE,
    PELVIS,
    SPACINGS,
    ball,
    bar,
    best_ious,
    box,
    cells,
    check_border,
    fixed,
    fragment_volumes,
)


def dumbbell():
    """Return fragment 1, two blocks joined by a neck of 2 voxels, inside fragment 2."""
    return box(
        (30, 30, 50),
        (2, (1, 29), (1, 29), (1, 49)),
        (1, (9, 21), (9, 21), (5, 18)),
        (1, (14, 16), (14, 16), (18, 30)),
        (1, (9, 21), (9, 21), (30, 44)),
    )


def test_walls_of_two_blocks_are_one_layer_on_each_side():
    abbc = generate_abbc(bar((1, (2, 18)), (2, (18, 34))), MILLIMETRE).abbc
    assert set(np.argwhere(abbc == ABBC.BORDER)[:, 2].tolist()) == {17, 18}
    assert (abbc[2:14, 2:14, 17:19] == ABBC.BORDER).all()


def test_one_fragment_alone_has_no_border():
    assert not (generate_abbc(bar((4, (2, 30))), MILLIMETRE).abbc == ABBC.BORDER).any()


@pytest.mark.parametrize(("second", "has_border"), [(12, True), (21, False)])
def test_border_stands_between_fragments_of_one_bone_only(second, has_border):
    labels = bar((11, (2, 18)), (second, (18, 34)))
    abbc = generate_abbc(labels, MILLIMETRE, scheme=PELVIS).abbc
    assert (abbc == ABBC.BORDER).any() == has_border
    check_border(labels, MILLIMETRE, abbc, PELVIS)


def test_core_is_never_border():
    labels = bar((1, (2, 18)), (2, (18, 34)))
    pieces = find_pieces(labels)
    is_core = np.zeros(labels.shape, bool)
    is_core[2:14, 2:14, 17] = True
    is_border = build_walls(pieces, ["bone", "bone"], is_core, labels > 0, MILLIMETRE, 25.6)
    assert not (is_border & is_core).any()
    assert is_border[2:14, 2:14, 18].all()


def test_a_neck_of_border_is_opened():
    labels = dumbbell()
    abbc = generate_abbc(labels, MILLIMETRE).abbc
    inside = cc3d.connected_components((labels == 1) & (abbc != ABBC.BORDER), connectivity=6)
    ends = {int(inside[15, 15, 11]), int(inside[15, 15, 37])}
    assert len(ends) == 1
    assert 0 not in ends
    check_border(labels, MILLIMETRE, abbc, FREE_SCHEME)
    recovered = recover_fragments(abbc, MILLIMETRE, anatomy=(labels > 0).astype(np.uint8))
    assert len(recovered.fragments) == 2
    assert min(best_ious(labels, recovered.labels).values()) > 0.95  # half of the neck goes to the other side


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("thickness", [1, 2, 3, 4])
def test_a_sheet_between_two_blocks_comes_back(axis, thickness):
    labels = box(
        (40, 40, 40),
        (1, (2, 38), (2, 38), (2, 18)),
        (2, (2, 38), (2, 38), (18, 18 + thickness)),
        (3, (2, 38), (2, 38), (18 + thickness, 38)),
    )
    labels = np.ascontiguousarray(np.moveaxis(labels, 2, axis))
    abbc = generate_abbc(labels, MILLIMETRE).abbc
    recovered = recover_fragments(abbc, MILLIMETRE, anatomy=(labels > 0).astype(np.uint8))
    assert len(recovered.fragments) == 3
    assert min(best_ious(labels, recovered.labels).values()) == 1.0


@fixed(40)
@given(fragment_volumes(steps=(1,)), st.sampled_from(SPACINGS))
def test_walls_part_the_bones_of_a_scheme(labels, spacing):
    result = generate_abbc(labels, spacing, scheme=PELVIS)
    is_apart = all(piece.fallback != "touching" for piece in result.pieces)
    check_border(labels, spacing, result.abbc, PELVIS, is_apart)


@fixed(15)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_blobs_come_back_whole(seed, count):
    labels = cells(np.random.default_rng(seed), ball((34, 34, 34), (17, 17, 17), 16) > 0, count).astype(np.uint8)
    sizes = np.bincount(labels.ravel())[1:]
    abbc = generate_abbc(labels, MILLIMETRE).abbc
    recovered = recover_fragments(abbc, MILLIMETRE, anatomy=(labels > 0).astype(np.uint8))
    found = best_ious(labels, recovered.labels)
    assert all(found[number] > 0.95 for number, size in enumerate(sizes, 1) if size > 1000)


@pytest.mark.parametrize(("spacing", "layers"), [(0.8, 1), (0.4, 2), (0.25, 3)])
def test_border_keeps_its_width_in_millimetres(spacing, layers):
    n = int(24 / spacing)
    labels = np.zeros((n, n, 2 * n), np.uint8)
    labels[2:-2, 2:-2, 2:n] = 1
    labels[2:-2, 2:-2, n:-2] = 2
    row = generate_abbc(labels, (spacing,) * 3).abbc[n // 2, n // 2]
    assert np.flatnonzero(row == ABBC.BORDER).tolist() == list(range(n - layers, n + layers))
