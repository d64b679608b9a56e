"""Brightness, white noise and sharpening of slices: exact on small pictures, and in nnU-Net's units."""

import numpy as np
import pytest
import torch

from label_gen.errors import UsageError
from nnunet_ext.augmentation.brightness import Brightness
from nnunet_ext.augmentation.intensity import PATCH_RANGE_HU, intensity_scale
from nnunet_ext.augmentation.sharpening import Sharpening
from nnunet_ext.augmentation.streak_noise import StreakNoise
from nnunet_ext.augmentation.white_noise import WhiteNoise

CT = {"mean": 300.0, "std": 250.0, "percentile_00_5": -100.0, "percentile_99_5": 1400.0}


def normalised(hu):
    return (hu - CT["mean"]) / CT["std"]


def test_brightness_shifts_by_hu():
    scale = intensity_scale({"0": CT}, ["CTNormalization"]).hu_scale
    hu = torch.tensor([[[0.0, 100.0], [700.0, 1000.0]]])
    found = Brightness(hu_scale=scale, shift_hu=(50, 50))(image=normalised(hu))["image"]
    torch.testing.assert_close(found, normalised(hu + 50))


def test_brightness_without_hu_takes_the_range_of_the_patch():
    image = torch.tensor([[[0.0, 1.0], [3.0, 4.0]], [[7.0, 7.0], [7.0, 7.0]]])
    found = Brightness(hu_scale=[None, 0.5], shift_hu=(100, 100))(image=image)["image"]
    torch.testing.assert_close(found[0], image[0] + 100 * 4 / PATCH_RANGE_HU)
    torch.testing.assert_close(found[1], image[1] + 50)


def test_brightness_is_uniform():
    np.random.seed(0)
    transform = Brightness(hu_scale=[1.0], shift_hu=(-30, 30))
    shifts = np.array([transform(image=torch.zeros(1, 1, 1))["image"].item() for _ in range(2000)])
    assert (np.abs(shifts) <= 30).all()
    assert abs(shifts.mean()) < 2  # standard error 0.39
    assert abs(shifts.std() - 60 / np.sqrt(12)) < 1


def test_white_noise_is_bounded_and_white():
    np.random.seed(0)
    image = torch.zeros(2, 64, 64)
    found = WhiteNoise(intensity_range=[6.0, 2.0], amplitude=(0.15, 0.15))(image=image)["image"]
    for channel, width in zip(found, (6.0, 2.0), strict=True):
        assert 0.99 * 0.15 * width < channel.abs().max() <= 0.15 * width
        assert abs(channel.std() / (0.15 * width) - 3**-0.5) < 0.02
        assert abs(channel.mean()) < 0.01 * width
        neighbours = np.corrcoef(channel[:, 1:].flatten(), channel[:, :-1].flatten())[0, 1]
        assert abs(neighbours) < 0.07
    assert not torch.allclose(found[0] / 3, found[1])
    assert not image.any()


def test_white_noise_of_the_patch_range_and_none():
    image = torch.tensor([[[1.0, 3.0], [2.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]])
    found = WhiteNoise(amplitude=(0.1, 0.1))(image=image)["image"]
    assert 0 < (found[0] - image[0]).abs().max() <= 0.2
    assert torch.equal(found[1], image[1])
    assert torch.equal(WhiteNoise(amplitude=(0, 0))(image=image)["image"], image)


def test_white_noise_amplitude_is_uniform():
    np.random.seed(1)
    transform = WhiteNoise(intensity_range=[1.0])
    amplitudes = np.array([transform.get_parameters(image=torch.zeros(1, 1, 1))["amplitude"] for _ in range(2000)])
    assert 0 <= amplitudes.min() < 0.005
    assert 0.145 < amplitudes.max() <= 0.15
    assert abs(amplitudes.mean() - 0.075) < 0.004


def test_sharpening_of_a_point_and_a_plain():
    image = torch.zeros(1, 15, 15)
    image[0, 7, 7] = 1
    found = Sharpening(amount=(1, 1))(image=image)["image"][0]
    assert found[7, 7] > 1.8  # a Gaussian of 1 pixel leaves 0.16 of a point
    assert found[7, 8] < 0
    assert found.sum().item() == pytest.approx(1, abs=1e-5)
    plain = torch.full((1, 15, 15), 2.5)
    torch.testing.assert_close(Sharpening()(image=plain)["image"], plain)
    assert torch.equal(Sharpening(amount=(0, 0))(image=image)["image"], image)


def test_sharpening_is_linear_in_the_amount():
    image = torch.rand(2, 15, 15)
    once, twice = (Sharpening(amount=(a, a))(image=image)["image"] - image for a in (0.5, 1.0))
    torch.testing.assert_close(2 * once, twice, atol=1e-5, rtol=1e-4)


TRANSFORMS = [Brightness(), WhiteNoise(), StreakNoise(), Sharpening()]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_only_the_image_changes(transform):
    np.random.seed(2)
    image, labels = torch.rand(2, 15, 16), torch.randint(-1, 4, (1, 15, 16), dtype=torch.int16)
    kept_image, kept_labels = image.clone(), labels.clone()
    found = transform(image=image, segmentation=labels)
    assert found["image"].shape == image.shape
    assert found["image"].dtype == image.dtype
    assert not torch.equal(found["image"], kept_image)
    assert torch.equal(image, kept_image)
    assert torch.equal(found["segmentation"], kept_labels)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_numpy_seed_says_it_all(transform):
    image = torch.rand(1, 15, 16)
    results = []
    for seed in (7, 7, 8):
        np.random.seed(seed)
        results.append(transform(image=image.clone())["image"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_scales_from_plans():
    scale = intensity_scale({"0": {}, "1": CT}, ["ZScoreNormalization", "CTNormalization"])
    assert scale.intensity_range == (None, 6.0)
    assert scale.hu_scale == (None, 1 / 250)
    with pytest.raises(UsageError, match=r"percentile_00_5.*CT channel 0.*abbc-plan-and-preprocess"):
        intensity_scale({"0": {"std": 1.0}}, ["CTNormalization"])


def test_errors():
    with pytest.raises(UsageError, match="one intensity scale per channel, 2; got 1"):
        WhiteNoise(intensity_range=[1.0])(image=torch.zeros(2, 3, 3))
    with pytest.raises(UsageError, match="amplitude must be two numbers"):
        WhiteNoise(amplitude=(-0.1, 0.1))
    with pytest.raises(UsageError, match="shift_hu must be two numbers, the lower first; got"):
        Brightness(shift_hu=(3, float("inf")))
    with pytest.raises(UsageError, match="amount must be"):
        Sharpening(amount=(1, 0))
    with pytest.raises(UsageError, match="sigma must be"):
        Sharpening(sigma=0)
