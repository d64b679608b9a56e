"""How the sacrum breaks: beside, through and inside its foramina (Denis I, II, III), across, and at its corners.

Source: Denis et al., 1988, for the zones; weights and tilts chosen here.
"""

from __future__ import annotations

import numpy as np

from label_gen.simulation.landmarks import BoneShape
from label_gen.simulation.proposals import Pattern, Proposal, bent, tilted, unit

__all__ = ["SACRUM_PATTERNS"]


def _vertical(rng: np.random.Generator, shape: BoneShape, size: float, zone: int) -> Proposal:
    """Cut the sacrum upright: zone 1 beside the foramina, 2 through them, 3 between them."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    name = "left" if side > 0 else "right"
    marks = shape.landmarks
    foramina, edge = marks[f"{name}_foramina"], marks[name]
    reach = float((edge - foramina)[0]) * side
    half = float((foramina - marks["middle"])[0]) * side
    away, slack, tilt = {
        1: (0.35 * reach, (-0.30 * reach, 0.6 * reach), 10.0),
        2: (0.0, (-4.0, 4.0), 4.0),
        3: (-0.9 * half, (-0.4 * half, 0.5 * half), 6.0),
    }[zone]
    normal = tilted(rng, (side, 0.0, 0.0), tilt)
    surface = bent(rng, foramina + np.array([side * away, 0.0, 0.0]), normal, (70.0, 250.0))
    pattern = {1: "sacral_ala", 2: "sacral_foramina", 3: "sacral_canal"}[zone]
    return Proposal(pattern, surface, edge, size, slack)


def _transverse(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut the sacrum across; what is below comes off."""
    marks = shape.landmarks
    top = np.array([marks["middle"][0], marks["top"][1], marks["top"][2]])
    down = marks["tip"] - top
    length = float(np.linalg.norm(down))
    normal = tilted(rng, down, 14.0)
    surface = bent(rng, top + 0.62 * down, normal)
    return Proposal("transverse_sacral", surface, marks["tip"], size, (-0.3 * length, 0.3 * length))


def _corner(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Break off an edge: at the joints with the hip bones, or at the upper end."""
    marks = shape.landmarks
    seed = marks[("left", "right", "top")[int(rng.integers(3))]]
    normal = tilted(rng, unit(seed - marks["middle"]), 20.0)
    return Proposal(
        "sacral_corner", bent(rng, seed - 6.0 * normal, normal, closing=True), seed, size, (-22.0, 6.0), 0.8
    )


_SIDES = ("left", "right", "middle", "left_foramina", "right_foramina")

SACRUM_PATTERNS = (
    Pattern("sacral_ala", 3.0, (4.0, 60.0), _SIDES, lambda rng, shape, size: _vertical(rng, shape, size, 1)),
    Pattern("sacral_foramina", 2.0, (32.0, 90.0), _SIDES, lambda rng, shape, size: _vertical(rng, shape, size, 2)),
    Pattern("sacral_canal", 0.5, (50.0, 120.0), _SIDES, lambda rng, shape, size: _vertical(rng, shape, size, 3)),
    Pattern("transverse_sacral", 1.2, (2.0, 110.0), ("middle", "top", "tip"), _transverse),
    Pattern("sacral_corner", 0.6, (0.3, 6.0), ("left", "right", "top", "middle"), _corner),
)
"""Patterns of the sacrum."""
