"""The patterns in which bones break: those of each bone, comminution from one spot, breaks anywhere, and cracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from label_gen.simulation.femur_patterns import FEMUR_PATTERNS
from label_gen.simulation.hip_patterns import HIP_PATTERNS, propose_ramus_crack
from label_gen.simulation.landmarks import BoneShape
from label_gen.simulation.parting import VOXEL_MM3
from label_gen.simulation.proposals import Pattern, Proposal, bent
from label_gen.simulation.sacrum_patterns import SACRUM_PATTERNS
from label_gen.simulation.surfaces import Ball, Common, Plane

__all__ = ["PATTERNS", "draw_crack", "draw_proposals"]

PATTERNS: dict[str, tuple[Pattern, ...]] = {"hip": HIP_PATTERNS, "sacrum": SACRUM_PATTERNS, "femur": FEMUR_PATTERNS}
"""Patterns by bone; the last word of a bone's name counts."""

GENERIC_WEIGHT = 0.6
"""Weight of a break anywhere beside the patterns of a bone. Source: chosen here: not every break is in a textbook."""

COMMINUTION_CHANCE = {3: 0.08, 4: 0.15, 5: 0.3, 6: 0.5}
"""Chance that so many fragments, or more, that are still wanted come from one spot. Source: chosen here."""

MOST_CELLS = 9
"""Fragments that come from one spot at most. Source: chosen here."""

GHOSTS = 9
"""Cells around a comminuted zone that stay with the bone: they make its outline. Source: chosen here."""

CHIP_MM3, CHIP_AT_SEAM = 2500.0, 0.7
"""Fragments below this size, and the share of them broken from the edge of another fracture. Source: chosen here."""

ACROSS = np.array([1.0, 0.8, 0.35])
"""Spread of the normals of breaks anywhere along the principal axes. Source: chosen here: fractures run across a bone
more often than along it."""


def draw_proposals(
    rng: np.random.Generator,
    shape: BoneShape,
    targets_mm3: Sequence[float],
    failures: int = 0,
    seams: NDArray[np.float64] | None = None,
) -> list[Proposal]:
    """Draw the cuts of one pattern, to be tried one after the other.

    Args:
        rng: Source of all randomness.
        shape: The bone.
        targets_mm3: Sizes of the fragments still wanted, the largest first.
        failures: How many proposals since the last cut came to nothing; more and more of them are made anywhere.
        seams: Places x, y, z in mm along the fractures so far, (n, 3), where chips may break off.

    Returns:
        One proposal, or several that belong together.
    """
    count = len(targets_mm3)
    if count >= 3 and rng.random() < COMMINUTION_CHANCE[min(count, 6)]:
        return _comminute(rng, shape, targets_mm3)
    size = targets_mm3[0]
    if size < CHIP_MM3 and seams is not None and len(seams) and rng.random() < CHIP_AT_SEAM:
        return [_chip(rng, seams, size)]
    fitting = [
        pattern
        for pattern in PATTERNS.get(shape.name.rsplit("_", maxsplit=1)[-1], ())
        if pattern.sizes_cm3[0] <= size / 1000.0 <= pattern.sizes_cm3[1]
        and all(mark in shape.landmarks for mark in pattern.needs)
    ]
    weights = np.array([*(pattern.weight for pattern in fitting), GENERIC_WEIGHT * (1 + failures / 5)])
    drawn = int(rng.choice(len(weights), p=weights / weights.sum()))
    return [_anywhere(rng, shape, size) if drawn == len(fitting) else fitting[drawn].propose(rng, shape, size)]


def _anywhere(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut a piece of a wanted size off some end of the bone."""
    normal = shape.axes.T @ (rng.normal(size=3) * ACROSS)
    normal /= np.linalg.norm(normal)
    seed = shape.points[int(np.argmax(shape.points @ normal))]
    reach = float(np.ptp(shape.points @ normal))
    surface = bent(rng, seed - 0.2 * reach * normal, normal, (50.0, 200.0))
    return Proposal("generic", surface, seed, size, (-0.6 * reach, 0.2 * reach))


def _chip(rng: np.random.Generator, seams: NDArray[np.float64], size: float) -> Proposal:
    """Break a corner off the edge of a fragment."""
    seed = seams[rng.integers(len(seams))]
    radius = 1.1 * (size / 2.0) ** (1 / 3)
    surface = Ball(seed + rng.normal(0.0, 0.3 * radius, 3), radius)
    return Proposal("chip", surface, seed, size, (-radius, 0.6 * radius), 0.7)


def _comminute(rng: np.random.Generator, shape: BoneShape, targets_mm3: Sequence[float]) -> list[Proposal]:
    """Shatter the bone round a spot into the cells of a Voronoi diagram, whose outer cells stay with the bone."""
    count = min(len(targets_mm3), int(rng.integers(3, MOST_CELLS + 1)))
    volume = float(np.mean(targets_mm3)) * count
    points = shape.points
    inside = points[(points[:, 2] >= shape.heights_mm[0]) & (points[:, 2] <= shape.heights_mm[1])]
    spot = inside[rng.integers(len(inside))] if len(inside) else points[rng.integers(len(points))]
    distance = np.linalg.norm(points - spot, axis=1)
    order = np.argsort(distance, kind="stable")
    n_zone = min(max(int(volume / VOXEL_MM3), 60), len(points) // 2)
    zone = points[order[:n_zone]]
    around = points[order[n_zone : 3 * n_zone]]
    seeds = _spread(rng, zone, count)
    ghosts = _spread(rng, around, GHOSTS) if len(around) else np.zeros((0, 3))
    proposals = []
    for index, seed in enumerate(seeds):
        others = np.concatenate([seeds[index + 1 :], ghosts])
        if len(others) == 0:
            continue
        planes = [Plane.through(0.5 * (seed + other), seed - other) for other in others]
        proposals.append(Proposal("comminution", Common(planes), seed, roughness_mm=float(rng.uniform(0.8, 1.8))))
    return proposals


def _spread(rng: np.random.Generator, points: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Draw points that keep away from each other: of six candidates the furthest from those before."""
    chosen = [points[rng.integers(len(points))]]
    while len(chosen) < count:
        candidates = points[rng.integers(len(points), size=6)]
        gaps = np.linalg.norm(candidates[:, None] - np.array(chosen)[None], axis=2).min(axis=1)
        chosen.append(candidates[int(np.argmax(gaps))])
    return np.array(chosen)


def draw_crack(rng: np.random.Generator, shape: BoneShape) -> tuple[Proposal, NDArray[np.float64], float]:
    """Draw a crack.

    Args:
        rng: Source of all randomness.
        shape: The bone.

    Returns:
        Its surface, the place it starts from (x, y, z in mm), and how far it runs from there in mm.
    """
    through_ramus = propose_ramus_crack(rng, shape) if shape.name.endswith("hip") and rng.random() < 0.4 else None
    if through_ramus is not None:
        return (*through_ramus, 22.0)
    points = shape.points
    inside = points[(points[:, 2] >= shape.heights_mm[0]) & (points[:, 2] <= shape.heights_mm[1])]
    centre = inside[rng.integers(len(inside))] if len(inside) else points[rng.integers(len(points))]
    normal = shape.axes.T @ (rng.normal(size=3) * ACROSS)
    surface = bent(rng, centre, normal / np.linalg.norm(normal))
    return Proposal("incomplete", surface), centre, float(rng.uniform(10.0, 26.0))
