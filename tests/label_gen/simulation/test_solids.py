import numpy as np
import pytest

from label_gen.errors import DataError
from label_gen.simulation.solids import SampledSolid, solids_of_labels

NAMES = {"sacrum": 1, "left_hip": 2}


def ball(spacing=(1.0, 1.0, 1.0), radius=12.0, size=40.0, centre=(20.0, 18.0, 22.0), origin=(5.0, -3.0, 100.0)):
    """A ball on a grid: mask and origin; `centre` is x, y, z from the first voxel in mm."""
    z, y, x = (np.arange(int(size / step)) * step for step in spacing)
    mask = (z[:, None, None] - centre[2]) ** 2 + (y[:, None] - centre[1]) ** 2 + (x - centre[0]) ** 2 < radius**2
    return mask, origin


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.8)])
def test_depth_of_a_ball(spacing):
    mask, origin = ball(spacing)
    solid = SampledSolid.from_mask(mask, spacing, origin)
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(300, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = rng.uniform(4, 17, 300)
    points = np.add(origin, (20.0, 18.0, 22.0)) + directions * radii[:, None]
    depth = solid.depth(tuple(points.T.astype(np.float32)))
    assert np.abs(depth - (12.0 - radii)).mean() < 0.35 * max(spacing)
    assert np.abs(depth - (12.0 - radii)).max() < 1.1 * max(spacing)
    low, high = solid.bounds()
    assert (low <= np.add(origin, (8, 6, 10))).all()
    assert (high >= np.add(origin, (32, 30, 34))).all()


def test_far_away_is_outside():
    mask, origin = ball()
    solid = SampledSolid.from_mask(mask, (1.0,) * 3, origin)
    far = np.full((2, 3, 4), 500.0, np.float32)
    assert (solid.depth((far, far, far)) < 0).all()
    assert solid.depth((far[:0], far[:0], far[:0])).shape == (0, 3, 4)


def test_bone_goes_on_beyond_the_field_of_view():
    mask = np.zeros((20, 20, 20), bool)
    mask[:12, 5:15, 5:15] = True  # leaves the volume below
    solid = SampledSolid.from_mask(mask, (1.0,) * 3, (0.0, 0.0, 0.0))
    z = np.array([-5.0, 0.0, 3.0, 14.0], np.float32)
    below, edge, inside, above = solid.depth((np.full_like(z, 7.5), np.full_like(z, 9.5), z))
    assert below == pytest.approx(3.0, abs=0.3)
    assert edge == pytest.approx(3.0, abs=0.3)
    assert inside == pytest.approx(3.0, abs=0.3)
    assert above == pytest.approx(-2.5, abs=0.3)


def test_redrawn_bone_is_the_bone():
    mask, origin = ball((1.0, 1.0, 1.0))
    solid = SampledSolid.from_mask(mask, (1.0,) * 3, origin)
    z, y, x = np.meshgrid(*(np.arange(40.0) for _ in range(3)), indexing="ij")
    drawn = solid.depth(tuple((p + o).astype(np.float32) for p, o in zip((x, y, z), origin, strict=True))) > 0
    assert (drawn & mask).sum() * 2 / (drawn.sum() + mask.sum()) > 0.99


def test_bones_of_labels():
    mask, origin = ball()
    labels = mask.astype(np.uint8) * 2
    assert list(solids_of_labels(labels, (1.0,) * 3, origin, NAMES)) == ["left_hip"]
    labels[0, 0, 0] = 1  # a speck is no sacrum
    assert list(solids_of_labels(labels, (1.0,) * 3, origin, NAMES)) == ["left_hip"]
    labels[5, 5, 5] = 9
    with pytest.raises(DataError, match=r"label 9 is no bone; bones are numbered 1 sacrum, 2 left_hip"):
        solids_of_labels(labels, (1.0,) * 3, origin, NAMES)
    with pytest.raises(DataError, match="no bone in the labels"):
        solids_of_labels(np.zeros((5, 5, 5), np.uint8), (1.0,) * 3, origin, NAMES)
    with pytest.raises(DataError, match="empty or below 0"):
        solids_of_labels(np.full((5, 5, 5), -1), (1.0,) * 3, origin, NAMES)
