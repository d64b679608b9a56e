"""The literal mode equals the published listing, written out naively, voxel for voxel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_gen import ABBC, generate_abbc
from label_gen.phantom import make_phantom
from tests.benchmarks.literal_recipe import BACKGROUND, BORDER, BOUNDARY, CORE, listing_classes
from tests.benchmarks.measure import ROOT
from tests.volumes import ball, box, cells, fragment_volumes

SPACINGS = [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 1.0, 2.0), (0.8, 0.8, 0.8), (1.5, 0.8, 0.7), (0.75, 1.25, 6.0)]
REAL = ROOT.parent / "shared" / "data" / "fracsegnet"


def check_equal(labels, spacing):
    expected = listing_classes(labels, spacing)
    found = generate_abbc(labels, spacing, mode="literal")
    assert found.mode == "literal"
    assert found.abbc.dtype == np.uint8
    np.testing.assert_array_equal(found.abbc, expected)
    assert ((expected != BACKGROUND) == (labels != 0)).all()
    for number in np.unique(labels[labels != 0]):
        assert (expected[labels == number] == CORE).any()
    return found, expected


def broken_ball(n_fragments, shape=(30, 34, 38), radius=13, seed=0):
    mask = ball(shape, [n / 2 for n in shape], radius) > 0
    return cells(np.random.default_rng(seed), mask, n_fragments)


def test_classes_have_the_same_numbers():
    assert (ABBC.BACKGROUND, ABBC.BOUNDARY, ABBC.CORE, ABBC.BORDER) == (BACKGROUND, BOUNDARY, CORE, BORDER)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_broken_ball(spacing):
    found, expected = check_equal(broken_ball(5), spacing)
    assert set(np.unique(expected)) == {BACKGROUND, BOUNDARY, CORE, BORDER}
    assert len(found.pieces) >= 5


@pytest.mark.parametrize("spacing", SPACINGS)
def test_thick_ball_has_core_by_depth(spacing):
    labels = ball((46, 46, 46), (23, 23, 23), 21)
    _, expected = check_equal(labels, spacing)
    assert expected[23, 23, 23] == CORE
    assert not (expected == BORDER).any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 1.0, 2.0), (0.75, 1.25, 6.0)])
def test_contact_at_exactly_six_millimetres_is_outside(spacing):
    steps = round(6.0 / spacing[2])
    labels = np.zeros((14, 14, 40), np.uint8)
    labels[2:12, 2:12, 2:16] = 1
    gap = 15 + steps
    labels[2:12, 2:12, gap : gap + 14] = 2
    _, expected = check_equal(labels, spacing)
    assert not (expected == BORDER).any()
    if steps > 1:
        labels[2:12, 2:12, gap - 1] = 2
        _, expected = check_equal(labels, spacing)
        assert (expected == BORDER).any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.8, 0.8, 0.8)])
def test_depth_of_exactly_six_millimetres_is_no_core_by_depth(spacing):
    for thickness in range(2, 17):
        labels = np.zeros((thickness + 2, 20, 22), np.uint8)
        labels[1:-1] = 1
        check_equal(labels, spacing)


@pytest.mark.parametrize("cut", range(3))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.8, 0.7)])
def test_bone_at_the_edge_of_the_volume(cut, spacing):
    labels = broken_ball(4, seed=cut)
    middle = labels.shape[cut] // 2
    check_equal(np.ascontiguousarray(np.moveaxis(np.moveaxis(labels, cut, 0)[middle:], 0, cut)), spacing)
    check_equal(np.ascontiguousarray(np.moveaxis(np.moveaxis(labels, cut, 0)[:middle], 0, cut)), spacing)


def test_bone_fills_the_volume():
    rng = np.random.default_rng(3)
    check_equal(cells(rng, np.ones((18, 20, 22), bool), 3), (0.8, 0.8, 0.8))
    check_equal(cells(rng, np.ones((9, 10, 11), bool), 7), (2.0, 1.0, 1.0))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("thickness", [1, 2, 3, 6])
def test_sheets(axis, thickness, spacing):
    labels = np.zeros((24, 24, 24), np.uint8)
    view = np.moveaxis(labels, axis, 0)
    view[4 : 4 + thickness, 2:-2, 2:-2] = 1
    view[14 : 14 + thickness, 2:-2, 2:11] = 2
    view[14 : 14 + thickness, 2:-2, 11:-2] = 3
    check_equal(labels, spacing)


def test_single_voxels_keep_themselves_as_core():
    labels = box((16, 16, 30), (1, (2, 14), (2, 14), (2, 14)))
    labels[8, 8, 14], labels[0, 0, 0], labels[15, 15, 29], labels[3, 3, 25:27] = 2, 3, 4, 5
    found, expected = check_equal(labels, (1.0, 1.0, 1.0))
    for number in (2, 3, 4):
        assert (expected[labels == number] == CORE).all()
    assert expected[3, 3, 25] == CORE
    assert expected[3, 3, 26] != CORE
    fallback = {piece.fragment_id: piece.fallback for piece in found.pieces}
    assert {number for number, name in fallback.items() if name == "deepest"} >= {2, 3, 4, 5}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64])
def test_numbers_with_gaps(dtype):
    labels = broken_ball(6)
    numbers = np.array([0, 3, 117, 40, 41, 9, 100])
    expected = listing_classes(labels, (1.0, 0.9, 0.9))
    renumbered, _ = check_equal(numbers[labels].astype(dtype), (1.0, 0.9, 0.9))
    np.testing.assert_array_equal(renumbered.abbc, expected)


def test_fragment_in_two_pieces_and_many_fragments():
    labels = broken_ball(23, seed=5)
    labels[labels == 4] = 5
    labels[labels == 20] = 1
    check_equal(labels, (0.8, 0.8, 0.8))


def test_coarse_pelvis():
    phantom = make_phantom(2, (3.0, 3.0, 3.0), with_ct=False)
    check_equal(phantom.labels, phantom.spacing_mm)


@settings(max_examples=40, deadline=None)
@given(fragment_volumes(), st.sampled_from(SPACINGS))
def test_any_volume(labels, spacing):
    check_equal(labels, spacing)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real pelves of ../shared/data/fracsegnet are not here")
def test_real_pelvis():
    import SimpleITK

    image = SimpleITK.ReadImage(str(REAL / "fracsegnet_001_labels.nii.gz"))
    labels = SimpleITK.GetArrayFromImage(image)
    # The corner of the volume round the first contact of two fragments: small, and cut through bone.
    side_by_side = (labels[:, :, 1:] != labels[:, :, :-1]) & (labels[:, :, 1:] != 0) & (labels[:, :, :-1] != 0)
    middle = np.argwhere(side_by_side)[np.count_nonzero(side_by_side) // 2]
    part = labels[tuple(slice(max(0, m - 40), m + 40) for m in middle)].astype(np.uint8)
    assert len(np.unique(part)) > 2
    _, expected = check_equal(np.ascontiguousarray(part), image.GetSpacing()[::-1])
    assert (expected == BORDER).any()
