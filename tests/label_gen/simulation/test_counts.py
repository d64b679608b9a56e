"""Counts and sizes of fragments follow those of real patients."""

import numpy as np
import pytest

from label_gen.simulation.counts import draw_counts, draw_size
from label_gen.simulation.settings import SimulationSettings

PELVIS = ("sacrum", "left_hip", "right_hip")
BONES = (*PELVIS, "left_femur", "right_femur")


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    return [draw_counts(rng, BONES, SimulationSettings()) for _ in range(4000)]


def test_counts_have_the_real_margins(drawn):
    totals = np.array([sum(counts[name] for name in PELVIS) for counts in drawn])
    assert totals.mean() == pytest.approx(5.75, abs=0.1)
    assert (totals.min(), totals.max()) == (3, 9)
    for name, shares in (("sacrum", (1, 0.45, 0.07, 0.01)), ("left_hip", (1, 0.66, 0.36, 0.11, 0.01, 0.01))):
        counts = np.array([c[name] for c in drawn])
        for least, share in enumerate(shares, start=1):
            assert (counts >= least).mean() == pytest.approx(share, abs=0.03)
        assert counts.max() <= len(shares)


def test_settings_fix_bones_and_spare_femora():
    rng = np.random.default_rng(1)
    settings = SimulationSettings(fragments={"left_hip": 23, "sacrum": 1}, femora=False)
    for _ in range(50):
        counts = draw_counts(rng, BONES, settings)
        assert (counts["left_hip"], counts["sacrum"]) == (23, 1)
        assert counts["left_femur"] == counts["right_femur"] == 1
    assert draw_counts(rng, ("left_hip",), SimulationSettings(fragments={"sacrum": 4})).keys() == {"left_hip"}


def test_sizes_have_the_real_quantiles():
    rng = np.random.default_rng(0)
    sizes = np.array([draw_size(rng) for _ in range(4000)]) / 1000.0
    assert np.median(sizes) == pytest.approx(22, rel=0.1)
    assert np.quantile(sizes, 0.05) == pytest.approx(1.5, rel=0.2)
    assert sizes.min() >= 0.27
    assert sizes.max() <= 109.0001
