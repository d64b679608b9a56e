"""Thick slices, point spread and noise."""

import numpy as np
import pytest

from label_gen.simulation.scanner import Scanner
from label_gen.simulation.settings import SimulationSettings

SPACING = (1.0, 1.0, 1.0)


def scanner(seed=0, **settings):
    return Scanner.draw(np.random.default_rng(seed), SimulationSettings(**settings))


def test_thick_slices_are_the_mean_of_fine_ones():
    fine = np.arange(6 * 2 * 3, dtype=np.float32).reshape(6, 2, 3) ** 1.5
    thick = scanner(slice_thickness_mm=3.0).thickened(fine, 1.0)
    np.testing.assert_allclose(thick[1:-1], (fine[:-2] + fine[1:-1] + fine[2:]) / 3, rtol=1e-5)
    np.testing.assert_array_equal(scanner(slice_thickness_mm=1.0).thickened(fine, 1.0), fine)
    np.testing.assert_array_equal(scanner().thickened(fine, 1.0), fine)


def test_kernel_follows_the_settings():
    soft, bone = scanner(kernel="soft"), scanner(kernel="bone")
    assert soft.overshoot == 0 < bone.overshoot
    assert bone.point_spread_mm < soft.point_spread_mm
    assert {scanner(seed).overshoot > 0 for seed in range(20)} == {False, True}


def test_bone_kernel_overshoots_at_an_edge_and_the_soft_one_does_not():
    edge = np.zeros((9, 9, 40), np.float32)
    edge[..., 20:] = 1000
    soft, bone = (scanner(kernel=kernel).sharpness(edge, SPACING)[4, 4] for kernel in ("soft", "bone"))
    assert soft.max() <= 1000.1
    assert bone.max() > 1010
    assert bone.min() < -10


@pytest.mark.parametrize("kernel", ["soft", "bone"])
def test_noise_has_the_strength_wanted_and_a_grain(kernel):
    noise = scanner(kernel=kernel, noise_hu=25.0).noise(np.random.default_rng(1), (24, 40, 40), (0.8, 0.8, 0.8))
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(25.0, rel=1e-3)
    together = np.mean(noise[:, :, 1:] * noise[:, :, :-1]) / 25.0**2
    assert together > 0.2 if kernel == "soft" else together < 0.3


def test_streaks_run_sideways_where_the_body_is_wide_and_nowhere_else():
    wide, slim = np.full((1, 60, 430), 50.0, np.float32), np.full((1, 60, 430), -900.0, np.float32)
    machine = next(m for m in map(scanner, range(20)) if m.streak_share > 0.2)
    streaks = machine.streaks(np.random.default_rng(2), wide, SPACING)[0]
    assert np.std(np.diff(streaks, axis=1)) < 0.3 * np.std(np.diff(streaks, axis=0))
    assert not machine.streaks(np.random.default_rng(2), slim, SPACING).any()


def test_slice_thickness_is_a_box_as_wide_as_asked():
    image = np.zeros((21, 1, 1), np.float32)
    image[10] = 1.0
    seen = scanner(slice_thickness_mm=3.0).thickened(image, 1.0)[:, 0, 0]
    np.testing.assert_allclose(seen[8:13], [0, 1 / 3, 1 / 3, 1 / 3, 0], atol=1e-6)
    halves = scanner(slice_thickness_mm=2.0).thickened(image, 1.0)[:, 0, 0]
    np.testing.assert_allclose(halves[8:13], [0, 1 / 4, 1 / 2, 1 / 4, 0], atol=1e-6)
    assert scanner().thickened(image, 1.0) is image
