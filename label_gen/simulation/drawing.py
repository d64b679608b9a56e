"""Draw broken bones into a voxel grid: which fragment owns a voxel, how deep it lies, and what of it is damaged."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen._drawing import join_specks
from label_gen._fractures import PLAN_SPACING_MM
from label_gen._sampling import Box, SampleGrid
from label_gen._shapes import Field, Points
from label_gen.simulation.broken import BrokenSolid

__all__ = ["draw_broken_solid"]

MARGIN_MM = 2.0 * PLAN_SPACING_MM
"""How far from planned bone more of it is looked for. Source: chosen here, two voxels of the plan."""

SMALLEST_MM3 = 100.0
"""What is left of a fragment below this is given to its neighbour. Source: chosen here, a third of a chip."""


def draw_broken_solid(
    broken: BrokenSolid,
    first: int,
    grid: SampleGrid,
    owner: NDArray[np.uint16],
    depth: NDArray[np.float32],
    damage: NDArray[np.float32],
) -> Box:
    """Draw the fragments of a bone where nothing has an owner yet.

    Args:
        broken: The bone.
        first: Number that fragment 1 gets in `owner`; the others follow.
        grid: Where the voxels are.
        owner: Numbers of fragments (z, y, x), 0 where free; changed in place.
        depth: Depth in mm below the surface of the unbroken bone at rest; changed in place.
        damage: What the fractures did: -1 (crushed) over 0 to 1 (all gap); changed in place.

    Returns:
        Box that holds the bone. Every fragment there is one 26-connected piece; one that other bones or the edge of
        the volume leave almost nothing of is missing.
    """
    voxel_mm = float(np.prod(grid.spacing_mm)) ** (1.0 / 3.0)
    lows, highs = [], []
    for numbers in broken.groups():
        frame = broken.frames[numbers[0] - 1]
        slip = max(_slip(broken, number) for number in numbers)
        near = broken.near(numbers, MARGIN_MM + slip)
        low, high = _bounds(broken, numbers, slip)
        lows.append(low)
        highs.append(high)
        for block, points in grid.blocks(grid.box(low, high)):
            is_free = owner[block] == 0
            rest = frame.backward(points)
            index = np.nonzero(is_free & near[broken.plan_index(rest)]) if _may_hold(broken, near, rest) else ((),)
            if len(index[0]) == 0:
                continue
            found, places = _some(points, index), _some(rest, index)
            depth_of = partial(_depths, broken, numbers, found, places)
            fragment, value, harm = broken.ask(places, depth_of, voxel_mm)
            is_drawn = value > 0
            drawn = tuple(i[is_drawn] for i in index)
            owner[block][drawn] = fragment[is_drawn].astype(owner.dtype) + (first - 1)
            depth[block][drawn] = value[is_drawn]
            damage[block][drawn] = harm[is_drawn]
    box = grid.box(np.min(lows, axis=0), np.max(highs, axis=0))
    join_specks(owner[box], range(first, first + len(broken.poses)), round(SMALLEST_MM3 / voxel_mm**3))
    is_free = owner[box] == 0
    depth[box][is_free] = 0.0
    damage[box][is_free] = 0.0
    return box


def _depths(
    broken: BrokenSolid, numbers: list[int], found: Points, places: Points, fragment: NDArray[np.uint8]
) -> Field:
    """Return depths below the outer surfaces of fragments, which may have moved against their frame; else -1.

    Args:
        broken: The bone.
        numbers: Fragments that share a frame.
        found: Places where they are found.
        places: The same before the frame moved them.
        fragment: Fragment of each place.
    """
    value: Field = np.full(len(fragment), -1.0, np.float32)
    for number in numbers:
        some = np.flatnonzero(fragment == number)
        if len(some):
            pose = broken.poses[number - 1]
            is_framed = pose is broken.frames[number - 1]
            value[some] = broken.body.depth(_some(places, some) if is_framed else pose.backward(_some(found, some)))
    return value


def _some(points: Points, index: Any) -> Points:
    """Return some of points."""
    return points[0][index], points[1][index], points[2][index]


def _slip(broken: BrokenSolid, number: int) -> float:
    """Return how far at most a fragment moved against its frame, in mm."""
    pose, frame = broken.poses[number - 1], broken.frames[number - 1]
    if pose is frame:
        return 0.0
    points = broken.plan_points(broken.plan == number)[::7]
    return float(np.linalg.norm(pose.forward(points) - frame.forward(points), axis=1).max(initial=0.0))


def _bounds(broken: BrokenSolid, numbers: list[int], slip: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return corners x, y, z in mm of a box that holds fragments where they are found."""
    points = broken.plan_points(np.isin(broken.plan, numbers))
    placed = broken.frames[numbers[0] - 1].forward(points)
    margin = MARGIN_MM + PLAN_SPACING_MM + slip
    return placed.min(axis=0) - margin, placed.max(axis=0) + margin


def _may_hold(broken: BrokenSolid, near: NDArray[np.bool_], rest: Points) -> bool:
    """Return whether any place of a block is near the fragments."""
    corners: Points = tuple(np.array([p.min(), p.max()]) for p in rest)  # type: ignore[assignment]
    (z0, z1), (y0, y1), (x0, x1) = broken.plan_index(corners)
    return bool(near[z0 : z1 + 1, y0 : y1 + 1, x0 : x1 + 1].any())
