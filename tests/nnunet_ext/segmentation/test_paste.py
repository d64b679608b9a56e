"""Fragments from a coarse grid to a fine one: exact where grids agree, smooth where they do not."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.frames import resampled
from nnunet_ext.segmentation.paste import bone_margin, labels_on


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


def test_margin_has_the_sign_of_the_classes():
    p = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.7, 0.0], [0.2, 0.5, 0.3, 0.0]]).T.reshape(4, 1, 1, 3)
    margin = bone_margin(p.astype(np.float16), np.array([[[0, 5, 0]]], np.uint8))
    assert np.allclose(margin[0, 0], [-0.1, 0.6, -0.3], atol=1e-3)  # the last is bone that has no fragment


def test_the_same_grid_keeps_the_surface_and_straight_interfaces():
    labels = np.zeros((12, 12, 16), np.uint8)
    labels[2:10, 2:10, 2:8], labels[2:10, 2:10, 8:14] = 3, 7
    grid = Grid(labels.shape, (1.0, 1.0, 1.0))
    assert (labels_on(labels, np.where(labels > 0, 0.5, -0.5), grid, grid) == labels).all()
    flipped = Grid(labels.shape, (1.0, 1.0, 1.0), (15.0, 0, 11.0), (-1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0))
    assert (labels_on(labels, np.where(labels > 0, 0.5, -0.5), grid, flipped) == labels[::-1, :, ::-1]).all()


@pytest.mark.parametrize("thick", [1, 2])
def test_a_sheet_between_two_fragments_is_kept(thick):
    labels = np.full((9, 9, 13), 1, np.uint8)
    labels[:, :, 6 : 6 + thick], labels[:, :, 6 + thick :] = 2, 3
    labels[[0, -1]], labels[:, [0, -1]], labels[:, :, [0, -1]] = 0, 0, 0
    grid = Grid(labels.shape, (1.0, 1.0, 1.0))
    found = labels_on(labels, np.where(labels > 0, 1.0, -1.0), grid, grid)
    assert (found[2:-2, 2:-2, 2:-2] == labels[2:-2, 2:-2, 2:-2]).all()


def test_a_ball_is_round_and_its_cut_is_flat():
    fine = Grid((60, 60, 60), (0.5, 0.5, 0.5))
    z, y, x = np.indices(fine.shape) * 0.5 - 14.75
    radius = np.sqrt(z**2 + y**2 + x**2)
    truth = np.where(radius < 11, np.where(x + 0.4 * y > 0.3, 2, 1), 0).astype(np.uint8)
    coarse = Grid((15, 15, 15), (2.0, 2.0, 2.0), (0.75, 0.75, 0.75))
    share = ndimage.gaussian_filter((truth > 0).astype(np.float32), 2.0)
    margin = 2 * resampled(share, fine, coarse, order=1) - 1
    nearest = resampled(truth, fine, coarse, order=0)
    labels = np.where(margin > 0, np.where(nearest > 0, nearest, 1), 0).astype(np.uint8)
    smooth, blocks = labels_on(labels, margin, coarse, fine), resampled(labels, coarse, fine, order=0)
    for number in (1, 2):
        assert iou(smooth == number, truth == number) > 0.9
        assert iou(smooth == number, truth == number) > iou(blocks == number, truth == number) + 0.08


def test_oblique_grids_and_empty_ones():
    labels = np.zeros((10, 10, 10), np.uint8)
    grid = Grid(labels.shape, (2.0, 2.0, 2.0))
    c, s = np.cos(0.4), np.sin(0.4)
    target = Grid((40, 40, 40), (0.7, 0.7, 0.7), (-4.0, -4.0, -4.0), (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))
    assert not labels_on(labels, np.full(labels.shape, -1.0), grid, target).any()
    labels[3:7, 3:7, 3:7] = 9
    found = labels_on(labels, np.where(labels > 0, 1.0, -1.0), grid, target)
    assert set(np.unique(found)) == {0, 9}
    assert found.sum() / 9 * 0.7**3 == pytest.approx(8.0**3, rel=0.12)  # corners are rounded
