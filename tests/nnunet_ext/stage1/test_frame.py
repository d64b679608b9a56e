"""The patient's own grid, and class probabilities from there onto any CT's."""

import itertools

import numpy as np
import pytest

from nnunet_ext.grids import Grid
from nnunet_ext.preparation.orientation import turned
from nnunet_ext.stage1.frame import AIR_HU, labels_on, patient_grid, resampled_ct
from nnunet_ext.volumes import Volume
from tests.volumes import ball, one_hot

ORIENTATIONS = [
    "".join(o) for letters in itertools.permutations(("LR", "PA", "SI")) for o in itertools.product(*letters)
]


def test_the_grid_of_a_ct_at_its_own_spacing_is_its_own():
    grid = Grid((4, 5, 6), (2.0, 1.5, 1.0), (10.0, -3.0, 7.0))
    assert patient_grid(grid, (2.0, 1.5, 1.0)) == grid


def test_the_grid_covers_the_ct_and_has_its_middle():
    assert patient_grid(Grid((4, 4, 5), (1.0, 1.0, 1.0)), (2.0, 2.0, 2.0)) == Grid(
        (2, 2, 3), (2.0, 2.0, 2.0), (0.0, 0.5, 0.5)
    )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_order_and_sense_of_the_axes_change_nothing(orientation):
    random = np.random.default_rng(0)
    array = random.integers(-1000, 1000, (9, 7, 8), dtype=np.int16)
    ct = Volume(array, (1.5, 0.7, 0.8), (3.0, -4.0, 5.0))
    other = turned(ct, orientation)
    frame = patient_grid(ct.grid, (2.0, 2.0, 2.0))
    found = patient_grid(other.grid, (2.0, 2.0, 2.0))
    assert found.shape == frame.shape
    assert found.origin == pytest.approx(frame.origin)
    one, two = (resampled_ct(volume, frame, averaging=True).array for volume in (ct, other))
    assert np.abs(one.astype(int) - two).max() <= 1  # rounding
    labels = ball((5, 3, 3), (2, 1, 1), 1.4)
    small = one_hot(labels)[:2]
    frame = Grid((5, 3, 3), (2.5, 2.0, 2.0), (3.0, -4.0, 5.0))
    expected = labels_on(ct.grid, small, frame)
    got = other.like(labels_on(other.grid, small, frame))
    assert expected.any()
    assert (turned(got, "LPS").array == expected).all()


def test_outside_an_oblique_ct_is_air(oblique):
    ct = Volume(np.full((10, 10, 10), 70, np.int16), (2.0, 2.0, 2.0), direction=oblique)
    frame = patient_grid(ct.grid, (2.0, 2.0, 2.0))
    array = resampled_ct(ct, frame, averaging=False).array
    assert array[0, 0, 0] == AIR_HU
    assert array[tuple(n // 2 for n in array.shape)] == 70
    assert (array == 70).sum() == pytest.approx(1000, rel=0.25)


def test_fine_voxels_are_averaged_before():
    checks = np.indices((12, 12, 12)).sum(0) % 2 * 200 - 100
    ct = Volume(checks.astype(np.int16), (0.5, 0.5, 0.5))
    frame = patient_grid(ct.grid, (1.0, 1.0, 1.0))
    assert not resampled_ct(ct, frame, averaging=True).array.any()


def test_labels_on_the_same_grid_are_the_likeliest_classes():
    random = np.random.default_rng(1)
    probabilities = random.random((6, 7, 8, 9)).astype(np.float32)
    grid = Grid((7, 8, 9), (2.0, 2.0, 2.0), (1.0, 2.0, 3.0))
    assert (labels_on(grid, probabilities, grid) == probabilities.argmax(0)).all()


def test_labels_on_a_finer_grid_are_smooth_and_in_slabs(monkeypatch):
    labels = ball((16, 16, 16), (8, 8, 8), 5)
    frame = Grid((16, 16, 16), (2.0, 2.0, 2.0))
    fine = Grid((60, 64, 62), (0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    found = labels_on(fine, one_hot(labels)[:2], frame)
    monkeypatch.setattr("nnunet_ext.stage1.frame.SLAB_VOXELS", 5000)
    assert (labels_on(fine, one_hot(labels)[:2], frame) == found).all()
    true = ball(fine.shape, ((16 - 0.3) / 0.5, (16 - 0.2) / 0.5, (16 - 0.1) / 0.5), 10 / 0.5)
    shifts = zip(fine.shape, (0.3, 0.2, 0.1), strict=True)
    index = [np.minimum(np.rint((np.arange(n) * 0.5 + shift) / 2).astype(int), 15) for n, shift in shifts]
    blocks = labels[np.ix_(*index)]
    wrong = [(other != true).sum() / true.sum() for other in (found, blocks)]
    assert wrong[0] < 0.75 * wrong[1]


def test_nothing_where_nothing_is():
    grid = Grid((4, 4, 4), (1.0, 1.0, 1.0))
    nothing = np.zeros((3, 2, 2, 2), np.float32)
    nothing[0] = 1
    assert not labels_on(grid, nothing, Grid((2, 2, 2), (2.0, 2.0, 2.0))).any()
    one = 1 - nothing
    assert not labels_on(grid, one, Grid((2, 2, 2), (2.0, 2.0, 2.0), (100.0, 0.0, 0.0))).any()
