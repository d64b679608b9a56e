"""Surfaces of fractures: where they lie, and how rough they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from label_gen._shapes import Waves
from label_gen.simulation.surfaces import (
    HURST,
    N_WAVES,
    RIM_MM,
    WAVELENGTHS_MM,
    Ball,
    Bent,
    Common,
    Plane,
    Rough,
    Spiral,
    Stepped,
    draw_roughness,
)

X, Y, Z = np.eye(3)


def at(*points):
    columns = np.array(points, float).T
    return columns[0], columns[1], columns[2]


def test_plane_goes_through_its_point():
    plane = Plane.through((1.0, 2.0, 3.0), (0.0, 0.0, 5.0))
    assert_allclose(plane(at((1, 2, 3), (9, 9, 3), (0, 0, 5), (0, 0, 0))), [0, 0, 2, -3])


def test_bent_surface_touches_its_plane_and_leaves_it():
    bent = Bent(Plane.through((0, 0, 0), Z), X, 0.0, 50.0)
    assert_allclose(bent(at((0, 7, 0))), 0, atol=1e-12)
    assert_allclose(bent(at((10, 0, -1.0))), 0, atol=1e-12)  # 10 * 10 / (2 * 50)
    assert Bent(Plane.through((0, 0, 0), Z), X, 0.0, -50.0)(at((10, 0, 0)))[0] < 0


def test_step_changes_the_level():
    stepped = Stepped(Plane.through((0, 0, 0), Z), X, 0.0, 6.0, 4.0)
    assert_allclose(stepped(at((-3, 0, 0), (3, 0, 6), (0, 0, 3))), 0, atol=1e-12)


def test_spiral_climbs_one_pitch_in_a_turn_and_has_a_seam():
    spiral = Spiral(np.zeros(3), np.stack([Z, X, Y]), 60.0, 14.0)
    for angle in np.radians((-150, -60, 0, 90, 150)):
        point = (14 * np.cos(angle), 14 * np.sin(angle), 60 * angle / (2 * np.pi))
        assert abs(spiral(at(point))[0]) < 1e-9
    beside = [(-14.0, side, 0.0) for side in (0.5, -0.5)]  # across the seam, half way up
    assert_allclose(spiral(at(*beside)), [-0.5, 0.5], atol=0.01)


def test_ball_and_common():
    ball = Ball(np.zeros(3), 5.0)
    assert_allclose(ball(at((0, 0, 0), (0, 3, 4), (0, 6, 8))), [5, 0, -5])
    both = Common([ball, Plane.through((0, 0, 1), Z)])
    assert_allclose(both(at((0, 0, 2), (0, 0, 0), (0, 0, 9))), [1, -1, -4])


@pytest.mark.parametrize("deviation", [0.5, 1.5])
def test_roughness_has_the_stated_deviation(deviation):
    rng = np.random.default_rng(0)
    places = tuple(rng.uniform(-2000, 2000, (3, 40_000)))
    values = [draw_roughness(np.random.default_rng(seed), deviation)(places).std() for seed in range(5)]
    assert_allclose(values, deviation, rtol=0.03)


def test_roughness_has_the_stated_wavelengths():
    waves = draw_roughness(np.random.default_rng(1))
    lengths = 2 * np.pi / np.linalg.norm(waves.vectors, axis=1)
    assert len(lengths) == N_WAVES
    assert_allclose((lengths.min(), lengths.max()), WAVELENGTHS_MM)
    assert_allclose(np.polyfit(np.log(lengths), np.log(waves.amplitudes), 1)[0], HURST)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(-30, 30))
def test_rough_is_exact_near_and_right_in_sign_everywhere(seed, offset):
    rng = np.random.default_rng(seed)
    waves = draw_roughness(rng)
    plane = Plane.through((0, 0, 0), rng.normal(size=3))
    points = tuple(rng.uniform(-60, 60, (3, 500)))
    full = plane(points) - offset + waves(points)
    asked = Rough(plane, waves, offset)(points)
    assert np.array_equal(asked > 0, full > 0)
    near = np.abs(full) < RIM_MM
    assert_allclose(asked[near], full[near], atol=1e-4)


def test_rough_without_waves_is_the_smooth_form():
    flat = Waves(np.zeros((1, 3)), np.zeros(1), np.zeros(1))
    assert_allclose(Rough(Plane(Z, 0.0), flat, 2.0)(at((0, 0, 5))), 3.0)
