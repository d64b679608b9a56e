"""Streaks: lines through one point, dark and bright in balance, and nothing beside them."""

import numpy as np
import pytest
import torch

from label_gen.errors import UsageError
from nnunet_ext.augmentation.streak_noise import StreakNoise, streak_pattern


def pattern(angles, weights, *, shape=(41, 41), source=(20, 20), half_widths=None, reach=1000.0):
    widths = np.full(len(angles), 2.0) if half_widths is None else np.array(half_widths)
    return streak_pattern(
        shape, source, angles_rad=np.array(angles), weights=np.array(weights), half_widths=widths, reach=reach
    )


def test_two_streaks_are_a_cross():
    found = pattern([0, np.pi / 2], [1.0, -1.0])
    assert found.dtype == np.float32
    row, column = found[20].copy(), found[:, 20].copy()
    beside = np.r_[0:19, 22:41]
    np.testing.assert_allclose(row[beside], 1, atol=0.01)  # angle 0 runs along a row
    np.testing.assert_allclose(column[beside], -1, atol=0.01)
    np.testing.assert_allclose(found[19, beside], 0.5, atol=0.01)  # half of the half-width away
    assert row[20] == pytest.approx(0, abs=1e-6)
    rest = found[np.ix_(beside, beside)]
    assert not rest.any()  # outside of the streaks: exactly nothing


def test_mean_is_zero_and_magnitude_one():
    random = np.random.default_rng(0)
    for _ in range(20):
        number = random.integers(6, 12)
        weights = np.resize([1, -1], number) * random.uniform(0.3, 1, number)
        found = pattern(
            random.uniform(0, np.pi, number),
            weights,
            shape=(64, 48),
            source=random.uniform(0, 48, 2),
            half_widths=random.uniform(1, 4, number),
            reach=random.uniform(10, 60),
        )
        assert np.abs(found).max() == pytest.approx(1)
        assert abs(found.mean(dtype=np.float64)) < 1e-6


def test_strength_halves_at_the_reach():
    found = pattern([0, np.pi / 2], [1.0, -1.0], reach=10.0)
    assert found[20, 30] / found[20, 25] == pytest.approx((1 + 0.25) / (1 + 1), rel=1e-5)


def test_only_bright_or_off_the_picture_is_nothing():
    assert not pattern([0.3, 1.2], [1.0, 0.5]).any()
    assert not pattern([0, 0], [1.0, -1.0], source=(-50, 20)).any()


def test_amplitude_and_channels():
    np.random.seed(3)
    image = torch.zeros(2, 64, 64)
    found = StreakNoise(intensity_range=[6.0, 2.0], amplitude=(0.5, 0.5))(image=image)["image"]
    assert found[0].abs().max().item() == pytest.approx(3)
    torch.testing.assert_close(found[0], 3 * found[1])
    assert abs(found[0].mean().item()) < 1e-5
    assert torch.equal(StreakNoise(amplitude=(0, 0))(image=found)["image"], found)


def test_drawn_streaks_are_bounded_and_leave_room():
    np.random.seed(4)
    transform = StreakNoise(intensity_range=[1.0])
    amplitudes, untouched = [], []
    for _ in range(200):
        found = transform(image=torch.zeros(1, 48, 48))["image"]
        amplitudes.append(found.abs().max().item())
        untouched.append((found == 0).float().mean().item())
    assert max(amplitudes) <= 0.5
    assert abs(np.mean(amplitudes) - 0.25) < 0.05  # standard error 0.01
    assert 0 < np.mean(untouched) < 0.9


def test_errors():
    with pytest.raises(UsageError, match=r"expected a slice \(channels, rows, columns\); got 3 axes"):
        StreakNoise()(image=torch.zeros(1, 4, 4, 4))
    with pytest.raises(UsageError, match="pairs must be two numbers"):
        StreakNoise(pairs=(0, 3))
    with pytest.raises(UsageError, match="half_width must be"):
        StreakNoise(half_width=(0, 3))
