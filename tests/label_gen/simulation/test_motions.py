"""Motions of fragments: their kinds, directions and sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_gen.simulation.motions import (
    CORTEX_GAP_MOST_MM,
    GAP_MOST_MM,
    STEP_MOST_MM,
    TURN_MOST_DEG,
    Contact,
    draw_cortex_gap,
    draw_gap,
    draw_kind,
    draw_motion,
)
from label_gen.simulation.settings import FractureKinds

NORMAL = np.array([0.6, 0.0, 0.8])
CONTACT = Contact(np.array([10.0, -20.0, 30.0]), NORMAL, 18.0)


def degrees(pose):
    return float(np.degrees(np.arccos(np.clip((np.trace(pose.rotation) - 1) / 2, -1, 1))))


def draw(kind, count=200, strength=1.0):
    return [draw_motion(np.random.default_rng(seed), kind, CONTACT, strength) for seed in range(count)]


def test_kinds_come_by_their_weights():
    rng = np.random.default_rng(0)
    kinds = [draw_kind(rng, FractureKinds()) for _ in range(4000)]
    assert kinds.count("closed") / 4000 == pytest.approx(0.62, abs=0.03)
    only = FractureKinds(closed=0.0, opened=0.0, displaced=1.0, impacted=0.0)
    assert {draw_kind(rng, only) for _ in range(20)} == {"displaced"}


def test_closed_moves_aside_only():
    poses = draw("closed")
    assert max(abs(pose.shift @ NORMAL) for pose in poses) < 1e-9
    steps = [float(np.linalg.norm(pose.shift)) for pose in poses]
    assert np.median(steps) < 1.0
    assert max(steps) <= STEP_MOST_MM + 1e-9
    assert max(map(degrees, poses)) <= TURN_MOST_DEG + 1e-6


@pytest.mark.parametrize(
    ("kind", "least", "most", "turn"), [("opened", 0.2, 6.0, 6.01), ("displaced", 5.0, 20.1, 20.1)]
)
def test_opened_and_displaced_go_apart(kind, least, most, turn):
    poses = draw(kind)
    for pose in poses:
        assert least <= np.linalg.norm(pose.shift) <= most
        assert pose.shift @ NORMAL > 0
    assert 1.0 < max(map(degrees, poses)) <= turn


def test_impacted_goes_in():
    depths = [-(pose.shift @ NORMAL) for pose in draw("impacted")]
    assert min(depths) >= 1.0
    assert max(depths) <= 4.0


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.sampled_from(["closed", "opened", "displaced", "impacted"]), st.floats(0, 1))
def test_motion_is_rigid_and_shrinks_with_its_strength(seed, kind, strength):
    full = draw_motion(np.random.default_rng(seed), kind, CONTACT)
    less = draw_motion(np.random.default_rng(seed), kind, CONTACT, strength)
    np.testing.assert_allclose(less.rotation @ less.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(less.rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(less.shift, strength * full.shift, atol=1e-9)
    assert degrees(less) <= degrees(full) + 1e-4
    np.testing.assert_allclose(less.forward(CONTACT.centre[None])[0], CONTACT.centre + less.shift)


def test_motion_without_a_direction():
    held = Contact(np.zeros(3), np.zeros(3), 5.0)
    for kind in ("closed", "opened", "displaced", "impacted"):
        assert np.isfinite(draw_motion(np.random.default_rng(0), kind, held).shift).all()


def test_gaps_are_those_of_closed_fractures():
    rng = np.random.default_rng(0)
    gaps = np.array([draw_gap(rng, "closed") for _ in range(1000)])
    assert (gaps == 0).mean() > 0.2
    assert 0.5 * GAP_MOST_MM < gaps.max() <= GAP_MOST_MM
    assert {draw_gap(rng, kind) for kind in ("opened", "displaced", "impacted") for _ in range(9)} == {0.0}
    assert 0 < max(draw_cortex_gap(rng) for _ in range(99)) <= CORTEX_GAP_MOST_MM
