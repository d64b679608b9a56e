"""Draw bones given by formulas into a voxel grid, block by block."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from label_gen._fractures import BrokenBone
from label_gen._sampling import Box, SampleGrid
from label_gen._shapes import Body

__all__ = ["draw_body", "draw_broken_bone", "join_specks"]


def draw_body(body: Body, grid: SampleGrid, owner: NDArray[np.uint8], depth: NDArray[np.float32]) -> None:
    """Draw a whole body that owns no voxels: its depth in mm, in place, where nothing has an owner."""
    for block, points in grid.blocks(grid.box(*body.bounds())):
        value = body.depth(points)
        depth[block] = np.where((owner[block] == 0) & (value > depth[block]), value, depth[block])


def draw_broken_bone(
    bone: BrokenBone, first: int, grid: SampleGrid, owner: NDArray[np.uint8], depth: NDArray[np.float32] | None
) -> Box:
    """Draw the fragments of a bone where nothing has an owner yet, those that did not move before those that did.

    Args:
        bone: The bone.
        first: Number that fragment 1 gets in `owner`; the others follow.
        grid: Where the voxels are.
        owner: Numbers of fragments, 0 where free; changed in place.
        depth: Depth in mm below the surface of the unbroken bone; changed in place. None leaves it out.

    Returns:
        Box that holds the bone.
    """
    groups: dict[int, list[int]] = {}
    for number, pose in enumerate(bone.poses, start=1):
        groups.setdefault(id(pose), []).append(number)
    lows, highs = [], []
    for numbers in groups.values():
        pose = bone.poses[numbers[0] - 1]
        bounds = [bone.bounds(number) for number in numbers]
        low, high = np.min([b[0] for b in bounds], axis=0), np.max([b[1] for b in bounds], axis=0)
        lows.append(low)
        highs.append(high)
        for block, points in grid.blocks(grid.box(low, high)):
            rest = pose.backward(points)
            value = bone.body.depth(rest)
            index = np.nonzero((value > 0) & (owner[block] == 0))
            if len(index[0]) == 0:
                continue
            fragment = bone.fragments_at((rest[0][index], rest[1][index], rest[2][index]))
            is_drawn = np.isin(fragment, numbers)
            drawn = tuple(i[is_drawn] for i in index)
            owner[block][drawn] = fragment[is_drawn] + np.uint8(first - 1)
            if depth is not None:
                depth[block][drawn] = value[drawn]
    return grid.box(np.min(lows, axis=0), np.max(highs, axis=0))


def join_specks(owner: NDArray[np.unsignedinteger[Any]], numbers: range, smallest: int = 0) -> None:
    """Give each piece of a fragment but its largest to the fragment of the same bone that it touches most.

    Pieces that touch none are taken away. Afterwards every fragment is one 26-connected piece.

    Args:
        owner: Fragment numbers (z, y, x); changed in place.
        numbers: The fragments of the bone.
        smallest: Fragments of fewer voxels are given away as well, unless all are.
    """
    own = np.where((owner >= numbers.start) & (owner < numbers.stop), owner, 0)
    pieces, n_pieces = cc3d.connected_components(own, connectivity=26, return_N=True)
    flat = range(n_pieces + 1)
    sizes = np.bincount(pieces.ravel(), minlength=n_pieces + 1).tolist()
    piece_owner = np.zeros(n_pieces + 1, own.dtype)
    piece_owner[pieces.ravel()] = own.ravel()
    of_piece = piece_owner.tolist()
    largest = {n: max((k for k in flat if of_piece[k] == n), key=lambda k: (sizes[k], -k)) for n in set(of_piece)}
    kept = {k for n, k in largest.items() if n and sizes[k] >= smallest} or set(largest.values())
    strays = [k for k in flat if k and k not in kept]
    boxes = find_objects(pieces, max_label=n_pieces) if strays else []
    is_stray = np.isin(pieces, strays)
    owner[is_stray] = 0
    own[is_stray] = 0
    while strays:
        left = []
        for stray in strays:
            box = tuple(
                slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(boxes[stray - 1], own.shape, strict=True)
            )
            mask = pieces[box] == stray
            votes = np.bincount(own[box][_grown(mask)], minlength=numbers.stop)
            votes[0] = 0
            if votes.any():
                owner[box][mask] = own[box][mask] = votes.argmax()
            else:
                left.append(stray)
        if len(left) == len(strays):
            break
        strays = left


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask and its 26 neighbours."""
    grown = np.pad(mask, 1)
    for axis in range(3):
        grown = grown | np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
    return grown[1:-1, 1:-1, 1:-1]
