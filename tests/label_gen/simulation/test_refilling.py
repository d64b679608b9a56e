"""Soft tissue where bones were: like what is around, as noisy, and moved along with bone."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from label_gen._sampling import SampleGrid
from label_gen._shapes import Pose
from label_gen.simulation.refilling import fill_bones, grain_like, pull_along

GRID = SampleGrid.around((0.0, 0.0, 0.0), (80.0, 80.0, 80.0), (2.0, 2.0, 2.0))
X, Y, Z = GRID.points(tuple(slice(0, n) for n in GRID.shape))
DEPTH = (12.0 - np.sqrt(X**2 + Y**2 + Z**2)).astype(np.float32)
NONE = np.zeros(GRID.shape, np.float32)


def test_noise_is_as_strong_as_that_of_the_image():
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(GRID.shape), 0.6)
    image = (40.0 + np.where(X > 0, 30.0, 0.0) + 20.0 / noise.std() * noise).astype(np.float32)
    grain = grain_like(np.random.default_rng(1), image, np.ones(GRID.shape, bool))
    assert grain.std() == pytest.approx(20.0, rel=0.1)


@pytest.mark.parametrize("image", [np.full(GRID.shape, -1000, np.float32), np.full(GRID.shape, 50, np.float32)])
def test_no_noise_where_there_is_none_or_no_tissue(image):
    assert not grain_like(np.random.default_rng(1), image, np.ones(GRID.shape, bool)).any()


def test_bone_becomes_what_is_around_it_and_blood_deep_inside():
    around = np.where(X > 0, 50.0, -100.0)
    image = np.where(DEPTH > -1.0, 900.0, around).astype(np.float32)
    filled = fill_bones(image, DEPTH, 1.6, 55.0, NONE, GRID)
    assert np.array_equal(filled[DEPTH < -1.6], image[DEPTH < -1.6])
    assert np.allclose(filled[DEPTH > 3.0], 55.0)
    rim = (DEPTH > -1.6) & (DEPTH < 0)
    assert filled[rim & (X > 6)].mean() == pytest.approx(50, abs=15)
    assert filled[rim & (X < -6)].mean() == pytest.approx(-100, abs=15)


def test_gas_and_metal_fill_nothing():
    image = np.where(DEPTH > -1.6, 900.0, np.where(X > 0, 40.0, -900.0)).astype(np.float32)
    filled = fill_bones(image, DEPTH, 1.6, 55.0, NONE, GRID)
    assert filled[DEPTH > -1.6].min() > 35
    empty = fill_bones(np.full(GRID.shape, -900.0, np.float32), DEPTH, 1.6, 55.0, NONE, GRID)
    assert np.isfinite(empty).all()


def test_tissue_follows_its_bone_and_stays_beyond():
    owner = (DEPTH > 0).astype(np.uint16)
    pulled = pull_along(X.astype(np.float32), owner, {1: Pose(shift=np.array([6.0, 0.0, 0.0]))}, NONE, GRID)
    moved = X - pulled  # the values are places
    assert moved[DEPTH > 0].mean() == pytest.approx(6.0, abs=1.0)
    ring = (DEPTH < -6) & (DEPTH > -8) & (np.abs(X) < 6)
    assert 1.0 < moved[ring].mean() < 5.0
    corner = DEPTH < -50
    assert corner.any()
    assert np.abs(moved[corner]).max() < 0.1
