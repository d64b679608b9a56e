"""Surface distances against closed forms, against measuring all pairs, and against SimpleITK."""

import itertools

import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from label_gen.errors import DataError, GridError, UsageError
from postproc.surface_distance import directed_distances, mask_radius, surface_distances, surface_voxels

SPACINGS = [(1.0, 1.0, 1.0), (0.8, 0.8, 0.8), (1.5, 0.8, 0.8), (2.0, 0.7, 1.1)]


def box_mask(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def ball_mask(shape, centre, radius, spacing=(1, 1, 1)):
    grid = np.indices(shape).reshape(3, -1).T
    return (np.linalg.norm((grid - centre) * spacing, axis=1) <= radius).reshape(shape)


def blob_mask(seed, shape=(14, 16, 18)):
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5) > 0.1


def slow_surface(mask):
    """Surface voxels by asking every voxel for its six neighbours."""
    padded = np.pad(mask, 1)
    points = []
    for z, y, x in np.argwhere(padded):
        around = [(z - 1, y, x), (z + 1, y, x), (z, y - 1, x), (z, y + 1, x), (z, y, x - 1), (z, y, x + 1)]
        if not all(padded[neighbour] for neighbour in around):
            points.append((z - 1, y - 1, x - 1))
    return np.array(points)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_all_pairs(seed, spacing):
    first, second = blob_mask(seed), blob_mask(seed + 100)
    result = surface_distances(first, second, spacing)
    table = cdist(slow_surface(first) * spacing, slow_surface(second) * spacing)
    forward, backward = table.min(axis=1), table.min(axis=0)
    np.testing.assert_allclose(result.forward, forward, atol=1e-5)
    np.testing.assert_allclose(result.backward, backward, atol=1e-5)
    assert result.hd95 == pytest.approx(max(np.percentile(forward, 95), np.percentile(backward, 95)), abs=1e-5)
    assert result.assd == pytest.approx((forward.mean() + backward.mean()) / 2, abs=1e-5)
    assert result.hausdorff == pytest.approx(max(forward.max(), backward.max()), abs=1e-5)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_simpleitk_measures_the_same_surfaces(spacing):
    images, surfaces = [], []
    masks = blob_mask(7), blob_mask(8)
    for mask in masks:
        surface = np.zeros(mask.shape, np.uint8)
        surface[tuple(surface_voxels(mask).T)] = 1
        image = SimpleITK.GetImageFromArray(surface)
        image.SetSpacing(spacing[::-1])
        images.append(image)
        surfaces.append(surface.astype(bool))
    result = surface_distances(*masks, spacing)
    oracle = SimpleITK.HausdorffDistanceImageFilter()
    oracle.Execute(*images)
    assert result.hausdorff == pytest.approx(oracle.GetHausdorffDistance(), abs=1e-4)
    for side, target, source in ((result.forward, 1, 0), (result.backward, 0, 1)):
        far = SimpleITK.SignedMaurerDistanceMap(images[target], squaredDistance=False, useImageSpacing=True)
        at_surface = np.maximum(SimpleITK.GetArrayFromImage(far), 0)[surfaces[source]]
        np.testing.assert_allclose(np.sort(side), np.sort(at_surface), atol=1e-4)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_slabs_that_face_each_other(spacing):
    shape = (20, 6, 6)
    first, second = box_mask(shape, (2, 0, 0), (4, 6, 6)), box_mask(shape, (9, 0, 0), (11, 6, 6))
    result = surface_distances(first, second, spacing)
    # The two layers of each slab are 6 and 7 voxels from the near layer of the other slab.
    assert result.hausdorff == pytest.approx(7 * spacing[0])
    assert result.hd95 == pytest.approx(7 * spacing[0])
    assert result.assd == pytest.approx(6.5 * spacing[0])


def test_box_in_a_box():
    shape = (30, 30, 30)
    inner, outer = box_mask(shape, (10, 10, 10), (20, 20, 20)), box_mask(shape, (7, 7, 7), (23, 23, 23))
    result = surface_distances(inner, outer, (1, 1, 1))
    assert np.all(result.forward == 3)
    assert result.hausdorff == pytest.approx(np.sqrt(27))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.8, 0.8)])
def test_ball_in_a_ball(spacing):
    shape = tuple(int(2 * 14 / s) + 3 for s in spacing)
    centre = (np.array(shape) - 1) / 2
    small, large = ball_mask(shape, centre, 8, spacing), ball_mask(shape, centre, 12, spacing)
    result = surface_distances(small, large, spacing)
    assert result.assd == pytest.approx(4, abs=0.3)
    assert result.hd95 == pytest.approx(4, abs=1.0)


def test_equal_masks_are_at_distance_zero():
    mask = blob_mask(3)
    result = surface_distances(mask, mask.copy(), (0.8, 0.7, 0.7))
    assert (result.hd95, result.assd, result.hausdorff) == (0, 0, 0)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_axis_order_changes_nothing(spacing):
    first, second = blob_mask(5), blob_mask(6)
    expected = surface_distances(first, second, spacing)
    for axes in itertools.permutations(range(3)):
        result = surface_distances(first.transpose(axes), second.transpose(axes), [spacing[i] for i in axes])
        assert (result.hd95, result.assd, result.hausdorff) == (expected.hd95, expected.assd, expected.hausdorff)
        assert mask_radius(first.transpose(axes), [spacing[i] for i in axes]) == mask_radius(first, spacing)


def test_the_edge_of_the_volume_is_a_surface():
    assert len(surface_voxels(np.ones((4, 4, 4), bool))) == 64 - 8
    mask = box_mask((6, 6, 6), (0, 1, 1), (4, 5, 5))
    points = surface_voxels(mask)
    assert {tuple(p) for p in points} == {tuple(p) for p in slow_surface(mask)}
    tight = surface_voxels(mask[0:4, 1:5, 1:5], (0, 1, 1))
    np.testing.assert_array_equal(points, tight)


def test_sheets_and_single_voxels_are_all_surface():
    for shape in ((1, 5, 5), (5, 1, 5), (5, 5, 2), (1, 1, 1)):
        assert len(surface_voxels(np.ones(shape, bool))) == np.prod(shape)


def test_empty_masks_are_infinitely_far():
    nothing, something = np.zeros((4, 4, 4), bool), box_mask((4, 4, 4), (1, 1, 1), (2, 2, 2))
    for first, second in ((nothing, something), (something, nothing), (nothing, nothing)):
        result = surface_distances(first, second, (1, 1, 1))
        assert (result.hd95, result.assd, result.hausdorff) == (np.inf, np.inf, np.inf)
        assert not result.is_defined
    no_points = np.empty((0, 3), np.int64)
    assert directed_distances(no_points, no_points, (1, 1, 1)).shape == (0,)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_radius_is_the_farthest_voxel_from_the_centroid(spacing):
    mask = blob_mask(9)
    points = np.argwhere(mask) * spacing
    expected = np.linalg.norm(points - points.mean(axis=0), axis=1).max()
    assert mask_radius(mask, spacing) == pytest.approx(expected, abs=1e-9)
    assert mask_radius(np.ones((1, 1, 1), bool), spacing) == 0


def test_bad_input():
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(DataError, match=r"second mask must be boolean.*uint8"):
        surface_distances(mask, mask.astype(np.uint8), (1, 1, 1))
    with pytest.raises(GridError, match=r"\(2, 2, 2\).*\(2, 2, 3\)"):
        surface_distances(mask, np.ones((2, 2, 3), bool), (1, 1, 1))
    with pytest.raises(UsageError, match="spacing_mm"):
        surface_distances(mask, mask, (1, 0, 1))
