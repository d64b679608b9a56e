"""Gaps between fragments that do not touch, up to a stated reach: the smallest, and which voxels face each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from label_gen.grid import Box

__all__ = ["facing_voxels", "smallest_gap"]

FIRST, GROWTH = 512, 4
"""Points asked first, and how many times more in each next step. Source: chosen here; what the first find makes the
search of the others short."""


def smallest_gap(
    first: NDArray[np.integer[Any]],
    second: NDArray[np.integer[Any]],
    boxes: tuple[Box, Box],
    spacing_mm: Sequence[float],
    reach_mm: float,
) -> float:
    """Return the smallest gap between two sets of surface voxels, from face to face of the voxels.

    Args:
        first: Indices (voxel, axis) of the surface voxels of one fragment.
        second: Those of another.
        boxes: The box of each.
        spacing_mm: Spacing in array order, in millimetres.
        reach_mm: Gaps beyond this are not looked for.

    Returns:
        Millimetres, right to a voxel where voxels are not aligned; infinite beyond the reach.
    """
    spacing = np.asarray(spacing_mm, float)
    slack = float(np.linalg.norm(spacing))
    one, other = _nearby(first, second, boxes, spacing, reach_mm)
    if not len(one) or not len(other):
        return np.inf
    tree = cKDTree(one * spacing)
    # In an order that has nothing to do with the place: far-away points come early and make the bound small.
    other = other[np.random.default_rng(0).permutation(len(other))]
    best, start, count = np.inf, 0, FIRST
    while start < len(other):
        asked = other[start : start + count]
        bound = min(reach_mm, best) + slack + 1e-6
        distance, nearest = tree.query(asked * spacing, distance_upper_bound=bound)
        hit = np.isfinite(distance)
        if hit.any():
            steps = np.abs(asked[hit] - one[nearest[hit]])
            gaps = np.linalg.norm(np.maximum(steps - 1, 0) * spacing, axis=1)
            best = min(best, float(gaps.min()))
        start += count
        count *= GROWTH
    return best if best <= reach_mm + 1e-9 else np.inf


def facing_voxels(
    first: NDArray[np.integer[Any]],
    second: NDArray[np.integer[Any]],
    boxes: tuple[Box, Box],
    spacing_mm: Sequence[float],
    reach_mm: float,
    largest: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which surface voxels of two fragments face each other across a gap.

    Args:
        first: As for `smallest_gap`.
        second: As for `smallest_gap`.
        boxes: As for `smallest_gap`.
        spacing_mm: As for `smallest_gap`.
        reach_mm: Voxels whose centres are further apart do not face each other.
        largest: Of more voxels than this, every second, third, ... is taken.

    Returns:
        Indices (voxel, axis) of voxels of the fragment with less surface in the gap, and of the nearest voxel of the
        other to each; both empty where nothing is within reach.
    """
    spacing = np.asarray(spacing_mm, float)
    one, other = _nearby(first, second, boxes, spacing, reach_mm)
    if not len(one) or not len(other):
        return np.empty((0, 3), np.int64), np.empty((0, 3), np.int64)
    one = one[:: -(-len(one) // largest)]
    distance, nearest = cKDTree(other * spacing).query(one * spacing, distance_upper_bound=reach_mm + 1e-6)
    hit = np.isfinite(distance)
    return one[hit].astype(np.int64), other[nearest[hit]].astype(np.int64)


def _nearby(
    first: NDArray[np.integer[Any]],
    second: NDArray[np.integer[Any]],
    boxes: tuple[Box, Box],
    spacing: NDArray[np.float64],
    reach_mm: float,
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Return the voxels of each that lie within reach of the box of the other, the fewer first."""
    one = first[_is_near(first, boxes[1], spacing, reach_mm)]
    other = second[_is_near(second, boxes[0], spacing, reach_mm)]
    return (one, other) if len(one) <= len(other) else (other, one)


def _is_near(
    points: NDArray[np.integer[Any]], box: Box, spacing: NDArray[np.float64], reach_mm: float
) -> NDArray[np.bool_]:
    """Return which points lie within reach of a box."""
    margin = np.ceil(reach_mm / spacing) + 1
    low = np.array([side.start for side in box]) - margin
    high = np.array([side.stop for side in box]) + margin
    near: NDArray[np.bool_] = ((points >= low) & (points < high)).all(axis=1)
    return near
