"""Overlaps of solids: measured, and cut away from the larger one."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from postproc.surfaces.solids import boxes_meet, subtract

__all__ = ["cut_overlaps", "measure_overlaps"]

NEGLIGIBLE_MM3 = 1e-6
"""Overlap that is left. Source: chosen here: a cube of 0.01 mm, the rounding of the solids."""

CUTS = 3
"""How often two solids are cut by each other, the larger one first: where a surface has a fold, one cut may not be
enough. Source: chosen here."""


def cut_overlaps(solids: list[Any], crumb_mm3: float) -> None:
    """Cut what two solids have in common away from the larger one.

    Args:
        solids: Solids of manifold3d, changed in place.
        crumb_mm3: Bodies smaller than that which come off are dropped.
    """
    for first, second in combinations(range(len(solids)), 2):
        pair = sorted((first, second), key=lambda i: (-solids[i].volume(), i))
        for turn in range(CUTS):
            if _overlap_mm3(solids[first], solids[second]) <= NEGLIGIBLE_MM3:
                break
            cut, other = pair if turn % 2 == 0 else pair[::-1]
            solids[cut] = subtract(solids[cut], solids[other], crumb_mm3)


def measure_overlaps(solids: list[Any]) -> list[float]:
    """Return the volume that each solid has in common with the others, in mm3.

    Args:
        solids: Solids of manifold3d.
    """
    totals = [0.0] * len(solids)
    for first, second in combinations(range(len(solids)), 2):
        common = _overlap_mm3(solids[first], solids[second])
        totals[first] += common
        totals[second] += common
    return totals


def _overlap_mm3(first: Any, second: Any) -> float:
    if not boxes_meet(first, second):
        return 0.0
    # Where a surface has a fold, pieces of the intersection may come out inside out: they count too.
    return float(sum(abs(piece.volume()) for piece in (first ^ second).decompose()))
