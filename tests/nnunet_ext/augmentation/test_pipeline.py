"""The whole of Table 1: what is in it, how often it happens, and that images and labels stay together."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from label_gen.errors import UsageError
from nnunet_ext.augmentation.brightness import Brightness
from nnunet_ext.augmentation.magnification import Magnification
from nnunet_ext.augmentation.oblique_slab import OUTSIDE, ObliqueSlab
from nnunet_ext.augmentation.pipeline import before_slicing, intensity_transforms, spatial_transforms
from nnunet_ext.augmentation.seeding import SeedTorch
from nnunet_ext.augmentation.table import EkmanTable
from nnunet_ext.triplanar.loader import TakeSlice
from nnunet_ext.triplanar.planes import ORIENTATIONS

PLANES = tuple(ORIENTATIONS.values())
STILL = EkmanTable(p_rotation_2d=0, p_scaling=0)
QUIET = {f"p_{name}": 0.0 for name in ("white_noise", "streak_noise", "brightness", "contrast", "blur", "sharpening")}


def whole(table=None, **options):
    table = table or EkmanTable()
    return ComposeTransforms(
        [
            SeedTorch(),
            *before_slicing(planes=PLANES, table=table),
            TakeSlice(PLANES),
            *spatial_transforms(patch_size=(16, 16), table=table, **options),
            *intensity_transforms(intensity_range=[6.0], hu_scale=[0.004], table=table),
        ]
    )


def picture(length=16):
    image = torch.arange(length * length, dtype=torch.float32).view(1, length, length)
    return image, image.to(torch.int16)


def alone(name, value, chance=1.0):
    """Return the intensity transform of that name, which always does the same."""
    table = EkmanTable(**{**QUIET, f"p_{name}": chance}, **value)
    (transform,) = intensity_transforms(intensity_range=[6.0], hu_scale=[0.004], table=table)
    return transform


def test_names_and_chances_of_the_default():
    spatial = spatial_transforms(patch_size=(16, 16))
    assert [type(t) for t in spatial] == [SpatialTransform, MirrorTransform, TransposeAxesTransform]
    assert (spatial[0].p_rotation, spatial[0].p_scaling) == (0.25, 0.5)
    np.testing.assert_allclose(np.rad2deg(spatial[0].rotation), [-30, 30])
    intensity = intensity_transforms()
    assert [(type(t.transform).__name__, t.apply_probability) for t in intensity] == [
        ("ContrastTransform", 0.2),
        ("Brightness", 0.2),
        ("GaussianBlurTransform", 0.25),
        ("StreakNoise", 0.15),
        ("WhiteNoise", 0.15),
    ]
    first = before_slicing(planes=PLANES)
    assert [type(t) for t in first] == [ObliqueSlab]
    assert first[0].angle_deg == (-20, 20)


def test_defaults_lie_within_the_spans_of_the_source():
    table = EkmanTable()
    spans = {
        "rotation_3d": (0, 0.5),
        "rotation_2d": (0.2, 0.25),
        "scaling": (0.2, 1),
        "mirror": (0.5, 0.5),
        "transpose": (0.5, 0.5),
        "white_noise": (0.1, 0.15),
        "streak_noise": (0.1, 0.2),
        "brightness": (0.15, 0.25),
        "contrast": (0.15, 0.25),
        "blur": (0.25, 0.25),
        "sharpening": (0, 0),
    }
    for name, (low, high) in spans.items():
        assert low <= getattr(table, f"p_{name}") <= high, name


def test_sharpening_comes_when_asked_for():
    names = [type(t.transform).__name__ for t in intensity_transforms(table=EkmanTable(p_sharpening=0.15))]
    assert names[2:4] == ["GaussianBlurTransform", "Sharpening"]


def test_without_mirroring_pictures_keep_their_sides():
    assert [type(t) for t in spatial_transforms(patch_size=(16, 12), mirroring=False)] == [SpatialTransform]
    image, labels = picture()
    transform = ComposeTransforms(spatial_transforms(patch_size=(16, 16), mirroring=False, table=STILL))
    for _ in range(20):
        assert torch.equal(transform(image=image, segmentation=labels)["image"], image)


def test_mirroring_and_transposing_give_all_eight_pictures_alike_often():
    np.random.seed(0)
    torch.manual_seed(0)
    image, labels = picture(4)
    transform = ComposeTransforms(spatial_transforms(patch_size=(4, 4), table=STILL))
    seen = {}
    for _ in range(1600):
        found = transform(image=image.clone(), segmentation=labels.clone())
        assert torch.equal(found["image"].to(torch.int16), found["segmentation"])
        key = tuple(found["segmentation"].flatten().tolist())
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 8
    assert max(abs(count - 200) for count in seen.values()) < 70  # 5 standard deviations


def test_scaling_by_a_factor_makes_objects_that_much_larger():
    table = replace(STILL, p_scaling=1, scaling=(2.0, 2.0))
    labels = torch.zeros(1, 32, 32, dtype=torch.int16)
    labels[0, 12:20, 12:20] = 1
    (transform,) = spatial_transforms(patch_size=(32, 32), mirroring=False, table=table)
    found = transform(image=labels.float(), segmentation=labels)
    expected = torch.zeros(1, 32, 32, dtype=torch.int16)
    expected[0, 8:24, 8:24] = 1
    assert torch.equal(found["segmentation"], expected)
    assert found["image"][0, 16, 16] == 1


def test_magnification_is_uniform_in_the_factor():
    np.random.seed(0)
    factors = 1 / np.array([Magnification()(image=None, dim=0) for _ in range(2000)])
    assert 0.7 <= factors.min() < 0.705 < 1.295 < factors.max() <= 1.3
    assert abs(factors.mean() - 1) < 0.02
    assert repr(Magnification(factor=(1, 2))) == "Magnification(factor=(1.0, 2.0))"


def test_rotation_in_the_plane():
    table = replace(STILL, p_rotation_2d=1, rotation_2d_deg=(90, 90))
    (transform,) = spatial_transforms(patch_size=(16, 16), mirroring=False, table=table)
    image, labels = picture()
    found = transform(image=image, segmentation=labels)
    turns = [torch.rot90(labels, k, (1, 2)) for k in (1, 3)]
    assert any(torch.equal(found["segmentation"], turned) for turned in turns)
    torch.testing.assert_close(found["image"], found["segmentation"].float(), atol=1e-2, rtol=0)


def test_outside_of_the_slice():
    table = replace(STILL, p_scaling=1, scaling=(0.5, 0.5))
    (transform,) = spatial_transforms(patch_size=(16, 16), mirroring=False, table=table)
    found = transform(image=torch.ones(1, 16, 16), segmentation=torch.ones(1, 16, 16, dtype=torch.int16))
    assert (found["segmentation"][0, 4:12, 4:12] == 1).all()
    assert found["segmentation"].unique().tolist() == [OUTSIDE, 1]
    assert (found["segmentation"] == OUTSIDE).sum() == 256 - 64
    assert found["image"][0, 0].abs().max() == 0


def test_contrast_is_about_the_mean():
    image = torch.tensor([[[0.0, 2.0], [4.0, 10.0]]])
    found = alone("contrast", {"contrast": (0.5, 0.5)})(image=image.clone())["image"]
    torch.testing.assert_close(found, 4 + (image - 4) / 2)
    np.random.seed(0)
    drawn = alone("contrast", {"contrast": (0.7, 1.3)}).transform
    factors = [drawn.get_parameters(image=image)["multipliers"].item() for _ in range(500)]
    assert 0.7 <= min(factors) < 0.72
    assert 1.28 < max(factors) <= 1.3


def test_blur_is_a_filter_of_three_pixels():
    image = torch.zeros(1, 9, 9)
    image[0, 4, 4] = 1
    found = alone("blur", {})(image=image)["image"][0]
    weights = np.exp(-0.5 * (np.array([-1, 0, 1]) / 0.5) ** 2)
    weights /= weights.sum()
    expected = np.zeros((9, 9))
    expected[3:6, 3:6] = np.outer(weights, weights)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_chances_are_kept():
    torch.manual_seed(0)
    transform = alone("brightness", {"brightness_hu": (25.0, 25.0)}, chance=0.2)
    assert type(transform.transform) is Brightness
    changed = [transform(image=torch.zeros(1, 1, 1))["image"].item() != 0 for _ in range(4000)]
    assert abs(np.mean(changed) - 0.2) < 0.03  # 4.7 standard deviations


@pytest.mark.parametrize("shape", [(20, 20, 20), (1, 20, 20), (20, 1, 20), (20, 20, 1)])
def test_whole_pipeline_keeps_types_and_labels(shape):
    np.random.seed(0)
    always = {f"p_{name}": 1.0 for name in ("rotation_2d", "scaling", "white_noise", "streak_noise", "brightness")}
    transform = whole(EkmanTable(**always, p_contrast=1.0, p_blur=1.0, p_sharpening=1.0))
    labels = torch.randint(0, 4, (1, *shape), dtype=torch.int16)
    found = transform(image=torch.rand(1, *shape), segmentation=labels)
    assert found["image"].shape == found["segmentation"].shape == (1, 16, 16)
    assert found["image"].dtype == torch.float32
    assert found["image"].isfinite().all()
    assert found["segmentation"].dtype == torch.int16
    assert set(found["segmentation"].unique().tolist()) <= {-1, 0, 1, 2, 3}


def test_labels_do_not_depend_on_intensity_transforms():
    table = EkmanTable(**QUIET)
    image = torch.rand(1, 20, 20, 20)
    labels = (image * 4).to(torch.int16)
    results = []
    for chosen in (table, EkmanTable()):
        np.random.seed(11)
        results.append(whole(chosen)(image=image.clone(), segmentation=labels.clone())["segmentation"])
    assert torch.equal(*results)


def test_numpy_seed_alone_says_what_happens():
    transform = whole()
    image, labels = torch.rand(1, 20, 20, 20), torch.randint(0, 4, (1, 20, 20, 20), dtype=torch.int16)
    results = []
    for torch_seed, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(torch_seed)
        np.random.seed(seed)
        results.append([transform(image=image.clone(), segmentation=labels.clone()) for _ in range(8)])
    for same, other in zip(results[0], results[1], strict=True):
        assert torch.equal(same["image"], other["image"])
        assert torch.equal(same["segmentation"], other["segmentation"])
    assert not all(torch.equal(a["image"], b["image"]) for a, b in zip(results[0], results[2], strict=True))


def test_worker_processes_can_receive_it():
    transform = pickle.loads(pickle.dumps(whole()))
    assert transform(image=torch.rand(1, 20, 1, 20))["image"].shape == (1, 16, 16)


def test_errors():
    with pytest.raises(UsageError, match="only square patches can be transposed"):
        spatial_transforms(patch_size=(16, 12))
    assert len(spatial_transforms(patch_size=(16, 12), table=EkmanTable(p_transpose=0))) == 2
    with pytest.raises(UsageError, match="p_blur must be a probability, 0 to 1; got: 2"):
        EkmanTable(p_blur=2)
    with pytest.raises(UsageError, match=r"p_mirror must be 0 or 0\.5; got: 0\.3"):
        EkmanTable(p_mirror=0.3)
    with pytest.raises(UsageError, match="contrast must be two numbers"):
        intensity_transforms(table=EkmanTable(contrast=(1.3, 0.7)))
    with pytest.raises(UsageError, match="rotation_2d_deg must be two numbers"):
        spatial_transforms(patch_size=(16, 16), table=EkmanTable(rotation_2d_deg=(0, 400)))
    with pytest.raises(UsageError, match=r"factor must be two numbers, the lower first, from 0\.001 up; got: \(0, 1\)"):
        Magnification(factor=(0, 1))
