"""Grids in the patient: exact on small grids that are turned, flipped, shifted."""

import numpy as np
import pytest

from label_gen.errors import DataError
from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.frames import box_in, crop, crop_grid, index_map, model_grid, resampled
from nnunet_ext.volumes import Volume

TURNED = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
"""x of the grid runs to the back, y downward, z to the right."""


def test_the_same_voxels_in_another_order_are_moved_not_interpolated():
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    source = Grid((2, 3, 4), (2.0, 1.0, 1.0), (10.0, 20.0, 30.0))
    flipped = Grid((2, 3, 4), (2.0, 1.0, 1.0), (13.0, 22.0, 30.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    for order in (0, 1, 3):
        assert (resampled(array, source, flipped, order=order) == array[:, ::-1, ::-1]).all()
    # array axes of the turned grid: 0 runs to the right, 1 downward, 2 to the back
    turned = Grid((4, 2, 3), (1.0, 2.0, 1.0), (13.0, 20.0, 32.0), TURNED)
    assert (resampled(array, source, turned, order=3) == array.transpose(2, 0, 1)[::-1, ::-1]).all()


def test_linear_functions_are_interpolated_exactly():
    z, y, x = np.indices((8, 9, 10)).astype(np.float32)
    source = Grid((8, 9, 10), (1.0, 1.0, 1.0))
    target = Grid((3, 4, 5), (1.5, 1.25, 1.75), (1.0, 2.0, 1.5))
    want = lambda c: c[0] + 10 * c[1] + 100 * c[2]  # noqa: E731
    places = [np.add.outer(np.add.outer(1.5 * np.arange(3), 0 * np.arange(4)), 0 * np.arange(5)) + 1.5]
    places.append(np.zeros((3, 4, 5)) + 1.25 * np.arange(4)[:, None] + 2.0)
    places.append(np.zeros((3, 4, 5)) + 1.75 * np.arange(5) + 1.0)
    assert np.allclose(resampled(want((z, y, x)), source, target, order=1), want(places), atol=1e-3)


def test_outside_of_an_oblique_grid_is_what_was_asked_for():
    c, s = np.cos(0.5), np.sin(0.5)
    source = Grid((4, 4, 4), (1.0, 1.0, 1.0))
    target = Grid((4, 4, 4), (5.0, 5.0, 5.0), direction=(c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))
    found = resampled(np.full((4, 4, 4), 7, np.float32), source, target, order=1, outside=-1000.0)
    assert found[0, 0, 0] == 7
    assert found[3, 3, 3] == -1000


def test_model_grid_lies_at_multiples_of_its_spacing_in_the_patient():
    ct = Grid((50, 50, 50), (1.0, 0.7, 0.7), (3.3, -4.1, 10.2))
    box = (slice(20, 30), slice(20, 30), slice(20, 30))
    found = model_grid(ct, box, (2.0, 2.0, 2.0), 4.0)
    assert found.direction == (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
    assert all(abs(value / 2 - round(value / 2)) < 1e-9 for value in found.origin)
    low = np.array(ct.origin) + np.array([0.7, 0.7, 1.0]) * 19.5 - 4
    high = np.array(ct.origin) + np.array([0.7, 0.7, 1.0]) * 29.5 + 4
    last = np.array(found.origin) + 2 * (np.array(found.shape[::-1]) - 1)
    assert ((found.origin - low >= 0) & (found.origin - low < 2)).all()
    assert ((high - last >= 0) & (high - last < 2)).all()


def test_model_grid_uses_the_voxels_of_a_ct_of_its_own_spacing():
    ct = Grid((40, 40, 40), (1.3, 0.8, 0.8), (3.3, -4.1, 10.2), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    found = model_grid(ct, (slice(10, 20), slice(0, 5), slice(30, 40)), (1.3, 0.8, 2.0), 2.6)
    to_ct = index_map(ct, found)
    assert np.allclose((np.array(ct.origin) - found.origin)[1] / 0.8 % 1, 0) or np.allclose(
        (np.array(ct.origin) - found.origin)[1] / 0.8 % 1, 1
    )
    assert to_ct.axes(found.shape) == (0, 1, 2)
    assert to_ct.offset[0] == pytest.approx(8)  # 2 voxels of margin below the box
    assert found.origin[1] == pytest.approx(-4.1 - 4 * 0.8 - 2.4)  # 3 whole voxels of margin; y runs backward


def test_model_grid_stays_within_the_ct():
    ct = Grid((10, 20, 20), (1.0, 1.0, 1.0))
    found = model_grid(ct, (slice(0, 10), slice(0, 20), slice(0, 20)), (2.0, 2.0, 2.0), 50.0)
    assert (found.shape, found.origin) == ((5, 10, 10), (0.0, 0.0, 0.0))
    with pytest.raises(DataError, match="less than a voxel of the model"):
        model_grid(
            Grid((1, 20, 20), (1.0, 1.0, 1.0), (0, 0, 0.5)), (slice(0, 1), slice(0, 20), slice(0, 20)), (9, 9, 9), 0.0
        )


def test_boxes_and_crops_keep_their_place():
    array = np.arange(60).reshape(3, 4, 5)
    volume = Volume(array, (2.0, 1.0, 0.5), (1.0, 2.0, 3.0), TURNED)
    box = (slice(1, 3), slice(0, 2), slice(2, 4))
    part = crop(volume, box)
    assert (part.array == array[box]).all()
    assert box_in(volume.grid, part.grid, 0) == box
    assert np.allclose(index_map(volume.grid, part.grid).offset, [1, 0, 2])
    with pytest.raises(DataError, match="do not overlap"):
        box_in(volume.grid, crop_grid(volume.grid, (slice(50, 51),) * 3))
