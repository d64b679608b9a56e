"""One slice of a rotated cube: what it shows, where it ends, and that it is drawn as described."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from label_gen.errors import UsageError
from nnunet_ext.augmentation.oblique_slab import OUTSIDE, ObliqueSlab, rotation_matrix
from nnunet_ext.triplanar.planes import ORIENTATIONS, Plane

PLANES = tuple(ORIENTATIONS.values())


def cube(length=7, channels=2, seed=0):
    random = np.random.default_rng(seed)
    image = torch.from_numpy(random.normal(size=(channels, length, length, length)).astype(np.float32))
    labels = torch.from_numpy(random.integers(0, 4, (1, length, length, length)).astype(np.int16))
    return image, labels


def fixed(monkeypatch, *angles):
    """Make the angles about axis 0, 1, 2 those given instead of drawn ones."""
    rest = list(angles)
    monkeypatch.setattr("nnunet_ext.augmentation.oblique_slab.draw", lambda values: rest.pop(0))


def slab_of(volume, plane):
    return volume.narrow(plane.slice_axis + 1, volume.shape[plane.slice_axis + 1] // 2, 1)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("length", [6, 7])
def test_no_angle_is_slicing(plane, length):
    image, labels = cube(length)
    found = ObliqueSlab(planes=[plane], angle_deg=(0, 0))(image=image, segmentation=labels)
    torch.testing.assert_close(found["image"], slab_of(image, plane), atol=1e-5, rtol=0)
    assert torch.equal(found["segmentation"], slab_of(labels, plane))
    assert (found["image"].dtype, found["segmentation"].dtype) == (torch.float32, torch.int16)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("turns", "angle"), [(1, 90), (-1, -90), (2, 180)])
def test_quarter_turns_about_the_slice_axis(monkeypatch, plane, turns, angle):
    image, labels = cube(6)
    fixed(monkeypatch, *(angle if axis == plane.slice_axis else 0 for axis in range(3)))
    found = ObliqueSlab(planes=[plane])(image=image, segmentation=labels)
    axes = (plane.row_axis + 1, plane.column_axis + 1)
    # The points of the slice turn from the rows towards the columns, so the picture turns the other way.
    torch.testing.assert_close(found["image"], torch.rot90(slab_of(image, plane), -turns, axes), atol=1e-5, rtol=0)
    assert torch.equal(found["segmentation"], torch.rot90(slab_of(labels, plane), -turns, axes))


def test_quarter_turn_about_a_row_shows_the_slice_across(monkeypatch):
    image, labels = cube(7)
    fixed(monkeypatch, 0, 90, 0)  # about axis 1: axis 2 turns towards axis 0
    found = ObliqueSlab(planes=[Plane(0, 1, 2)])(image=image, segmentation=labels)
    expected = labels[:, :, :, 3].permute(0, 2, 1)  # rows along axis 1, columns along axis 0
    assert torch.equal(found["segmentation"][:, 0], expected)
    torch.testing.assert_close(found["image"][:, 0], image[:, :, :, 3].permute(0, 2, 1), atol=1e-5, rtol=0)


def test_oblique_points_are_interpolated(monkeypatch):
    image, labels = cube(9, channels=1)
    angles = (13.0, -7.0, 20.0)
    fixed(monkeypatch, *angles)
    found = ObliqueSlab(planes=[Plane(1, 2, 0)])(image=image, segmentation=labels)
    offsets = np.stack(np.meshgrid(np.arange(9) - 4.0, [0.0], np.arange(9) - 4.0, indexing="ij"))
    points = np.einsum("ij,jabc->iabc", rotation_matrix(angles), offsets) + 4
    expected = map_coordinates(np.pad(image[0].numpy(), 2), points + 2, order=1)
    np.testing.assert_allclose(found["image"][0], expected, atol=1e-4)
    nearest = np.floor(points + 0.5).astype(int)
    inside = ((nearest >= 0) & (nearest < 9)).all(0)
    assert 0 < inside.sum() < inside.size
    expected = np.where(inside, labels[0].numpy()[tuple(np.clip(nearest, 0, 8))], OUTSIDE)
    np.testing.assert_array_equal(found["segmentation"][0], expected)


def test_rotation_matrices():
    np.testing.assert_allclose(rotation_matrix([0, 90, 0]) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_matrix([0, 0, 90]) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    turn = rotation_matrix([10, 20, 30])
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    parts = [rotation_matrix(angles) for angles in ([10, 0, 0], [0, 20, 0], [0, 0, 30])]
    np.testing.assert_allclose(turn, parts[0] @ parts[1] @ parts[2], atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 5, 5), (5, 1, 5), (5, 5, 1)])
def test_slabs_pass_unchanged(shape):
    image, labels = torch.rand(1, *shape), torch.zeros(1, *shape, dtype=torch.int16)
    found = ObliqueSlab(planes=PLANES)(image=image, segmentation=labels)
    assert found["image"] is image
    assert found["segmentation"] is labels


def test_all_planes_are_drawn_and_thick_slabs_are_cut_across(monkeypatch):
    monkeypatch.setattr("nnunet_ext.augmentation.oblique_slab.draw", lambda values: 0.0)
    np.random.seed(0)
    slabs = ObliqueSlab(planes=PLANES)
    image = torch.rand(1, 4, 4, 4)
    shapes = [tuple(slabs(image=image)["image"].shape) for _ in range(300)]
    counts = [shapes.count(shape) for shape in [(1, 1, 4, 4), (1, 4, 1, 4), (1, 4, 4, 1)]]
    assert sum(counts) == 300
    assert min(counts) > 70  # 8.2 standard deviations of a third are 67
    assert slabs(image=torch.rand(1, 6, 3, 6))["image"].shape == (1, 6, 1, 6)


def test_regression_target_goes_with_the_image():
    image, _ = cube(6)
    np.random.seed(3)
    found = ObliqueSlab(planes=PLANES)(image=image, regression_target=image)
    assert torch.equal(found["image"], found["regression_target"])
    assert not torch.equal(found["image"], slab_of(image, PLANES[0]))


def test_numpy_seed_says_it_all():
    image, labels = cube(6)
    slabs = ObliqueSlab(planes=PLANES)
    results = []
    for _ in range(2):
        np.random.seed(5)
        results.append(slabs(image=image.clone(), segmentation=labels.clone()))
    assert torch.equal(results[0]["image"], results[1]["image"])
    assert torch.equal(results[0]["segmentation"], results[1]["segmentation"])
    assert not torch.equal(results[0]["image"], slabs(image=image)["image"])


def test_errors():
    with pytest.raises(UsageError, match="at least one orientation"):
        ObliqueSlab(planes=[])
    with pytest.raises(UsageError, match=r"angle_deg must be two numbers, the lower first, -180 to 180; got"):
        ObliqueSlab(planes=PLANES, angle_deg=(20, -20))
    with pytest.raises(UsageError, match="got 2 axes"):
        ObliqueSlab(planes=PLANES)(image=torch.zeros(1, 4, 4))
    with pytest.raises(UsageError, match="shortest axis"):
        ObliqueSlab(planes=PLANES[:1])(image=torch.zeros(1, 6, 3, 6))
