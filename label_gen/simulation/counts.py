"""How many fragments a bone has and how large they are, after the counts and sizes of real patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from label_gen.simulation.settings import SimulationSettings

__all__ = ["draw_counts", "draw_size"]

COUNTS = {
    "sacrum": (0.55, 0.38, 0.06, 0.01),
    "left_hip": (0.34, 0.30, 0.25, 0.10, 0.0, 0.01),
    "right_hip": (0.36, 0.30, 0.25, 0.09),
    "femur": (0.75, 0.15, 0.07, 0.03),
}
"""Probabilities of 1, 2, 3, ... fragments. Source: 100 real cases (PENGWIN 2024): sacrum 100/45/7/1, left hip
100/66/36/11/1/1, right hip 100/64/34/9 with at least 1, 2, ... fragments; femora chosen here."""

TOTAL = range(3, 10)
"""Fragments of sacrum and hip bones together. Source: the same 100 cases, 3 to 9, mean 5.75."""

SIZE_SHARES = (0.0, 0.05, 0.5, 1.0)
SIZES_MM3 = (270.0, 1500.0, 22_000.0, 109_000.0)
"""Quantiles of the size of fragments but the largest of each bone. Source: the same 100 cases: 0.27 to 109 cm3,
median 22, 5th percentile 1.5. Chosen here: the logarithm of the size is interpolated between them."""


def draw_counts(rng: np.random.Generator, bones: Sequence[str], settings: SimulationSettings) -> dict[str, int]:
    """Draw how many fragments each bone gets.

    Args:
        rng: Source of all randomness.
        bones: Names of the bones.
        settings: Settings; `fragments` names the bones whose number is fixed, `femora` lets femora break.

    Returns:
        Fragments wanted by bone name, 1 for a bone that stays whole. Sacrum and hip bones have 3 to 9 in all, where
        none of them is fixed.
    """
    fixed = {name: count for name, count in settings.fragments.items() if name in bones}
    pelvis = [name for name in bones if "femur" not in name]
    while True:
        counts = {}
        for name in bones:
            is_femur = "femur" in name
            chances = COUNTS["femur" if is_femur else name]
            drawn = 1 + int(rng.choice(len(chances), p=chances))
            counts[name] = 1 if is_femur and not settings.femora else drawn
        if any(name in fixed for name in pelvis) or sum(counts[name] for name in pelvis) <= TOTAL[-1]:
            return counts | fixed


def draw_size(rng: np.random.Generator) -> float:
    """Draw the size in mm3 of a fragment that is not the largest of its bone."""
    return float(np.exp(PchipInterpolator(SIZE_SHARES, np.log(SIZES_MM3))(rng.random())))
