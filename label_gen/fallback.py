"""Cores for pieces that the ordinary rule leaves without one: thin sheets, slivers, bone all along a contact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from label_gen.contacts import CLEARANCE, TOUCHING, dilate_26
from label_gen.cores import depth_map
from label_gen.grid import Box, grow_box

__all__ = ["core_in_crowd", "core_of_thin_piece"]

SEARCH_STEPS = 20_000
"""Voxels tried before the search for cores that do not touch gives up (chosen here: under a second)."""


def core_of_thin_piece(
    is_piece: NDArray[np.bool_], zones: NDArray[np.uint8], spacing_mm: Sequence[float], core_voxels: float
) -> tuple[NDArray[np.bool_] | None, str]:
    """Return a core for a piece on which the core rule finds none, without regard to other pieces' cores.

    First among voxels clear of every contact (`thin`), then among those that merely do not touch another fragment
    (`close`), the deepest part that is large enough and connected is taken.

    Args:
        is_piece: Mask of the piece in a box one voxel wider than it, where the volume allows.
        zones: Bits of `find_contacts` in the same box.
        spacing_mm: Spacing in array order, in millimetres.
        core_voxels: Size in voxels to aim at.

    Returns:
        The core and the name of the fallback; None and `crowded` where every voxel touches another fragment.
    """
    depth = depth_map(is_piece.view(np.uint8), spacing_mm)
    best: NDArray[np.bool_] | None = None
    best_size, best_name = 0, "crowded"
    for name, forbidden in (("thin", TOUCHING | CLEARANCE), ("close", TOUCHING)):
        allowed = is_piece & (zones & forbidden == 0)
        if not allowed.any():
            continue
        deepest = float(depth[allowed].max())
        for share in (0.75, 0.5, 0.25, 0.0):
            core, size = _largest_component(allowed & (depth >= share * deepest - 1e-3))
            if size > best_size:
                best, best_size, best_name = core, size, name
            if best_size >= core_voxels:
                return best, best_name
    return best, best_name


def _largest_component(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Return the largest 26-connected component and its size."""
    components = cc3d.connected_components(mask.view(np.uint8), connectivity=26)
    sizes = cc3d.statistics(components)["voxel_counts"]
    sizes[0] = 0
    largest = int(np.argmax(sizes))
    return components == largest, int(sizes[largest])


@dataclass
class _Crowded:
    """A piece whose every voxel touches another fragment: its box, its voxels, best first, and the chosen one."""

    piece: int
    box: Box
    voxels: NDArray[np.int64]
    chosen: int = -1


def core_in_crowd(
    crowded: Sequence[tuple[int, Box]], pieces: NDArray[Any], is_core: NDArray[np.bool_], core_voxels: float
) -> dict[int, str]:
    """Give every crowded piece a core that touches no other core, and set it in `is_core`.

    Each piece gets one voxel first, found by a depth-first search over the pieces from small to large, so that tiny
    pieces with few choices come first; then the cores grow in turn up to the size to aim at, and on over all of their
    piece that touches no other piece of this kind: a sheet between two thick fragments is all core. Where no
    choice exists, as for two fragments of one voxel each side by side, the piece keeps a core that touches another.

    Args:
        crowded: Numbers and boxes of the pieces.
        pieces: Compact piece numbers (z, y, x).
        is_core: Cores found so far, none of which touches another piece; changed in place.
        core_voxels: Size in voxels to aim at.

    Returns:
        For each piece `crowded`, or `touching` where its core touches another.
    """
    waiting = [_Crowded(piece, box, _voxels_best_first(piece, box, pieces)) for piece, box in crowded]
    waiting.sort(key=lambda item: len(item.voxels))
    _choose_apart(waiting, pieces.shape)
    outcome = {}
    owner = np.zeros(pieces.shape, pieces.dtype)
    for item in waiting:
        z, y, x = np.unravel_index(item.chosen, pieces.shape)
        around = owner[max(0, z - 1) : z + 2, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        outcome[item.piece] = "touching" if around.any() else "crowded"
        owner[z, y, x] = item.piece
    for item in waiting:
        _grow(item, pieces, owner, core_voxels)
    others = np.isin(pieces, [item.piece for item in waiting])
    for item in waiting:
        _spread(item, pieces, others, owner)
    is_core |= owner != 0
    return outcome


def _voxels_best_first(piece: int, box: Box, pieces: NDArray[Any]) -> NDArray[np.int64]:
    """Return the flat indices of a piece's voxels: fewest foreign neighbours first, then nearest to its centroid."""
    wide = grow_box(box, 1, pieces.shape)
    block = pieces[wide]
    is_piece = block == piece
    is_foreign = (block != 0) & ~is_piece
    foreign = ndimage.convolve(is_foreign.astype(np.uint8), np.ones((3, 3, 3), np.uint8), mode="constant")
    voxels = np.argwhere(is_piece)
    offset = np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).round(6)
    order = np.lexsort((offset, foreign[is_piece]))
    corner = [s.start for s in wide]
    flat: NDArray[np.int64] = np.ravel_multi_index(tuple((voxels[order] + corner).T), pieces.shape)
    return flat


def _choose_apart(waiting: Sequence[_Crowded], shape: tuple[int, ...]) -> None:
    """Choose one voxel per piece so that no two are 26-neighbours, where the search finds such a choice."""
    taken: dict[int, int] = {}

    def is_free(voxel: int) -> bool:
        return not any(near in taken for near in _neighbours(voxel, shape))

    choices: list[Iterator[int]] = []
    steps = 0
    index = 0
    while 0 <= index < len(waiting) and steps < SEARCH_STEPS:
        item = waiting[index]
        if len(choices) == index:
            choices.append(iter(item.voxels.tolist()))
        elif item.chosen >= 0:
            del taken[item.chosen]
            item.chosen = -1
        for voxel in choices[index]:
            steps += 1
            if is_free(voxel):
                item.chosen = voxel
                taken[voxel] = item.piece
                break
        if item.chosen >= 0:
            index += 1
        else:
            choices.pop()
            index -= 1
    if index == len(waiting):
        return
    taken.clear()
    for item in waiting:
        voxels = item.voxels.tolist()
        item.chosen = next((v for v in voxels if is_free(v)), voxels[0])
        taken[item.chosen] = item.piece


def _neighbours(voxel: int, shape: tuple[int, ...]) -> Iterator[int]:
    """Yield the flat indices of a voxel and its 26 neighbours within the volume."""
    z, rest = divmod(voxel, shape[1] * shape[2])
    y, x = divmod(rest, shape[2])
    for k in range(max(0, z - 1), min(shape[0], z + 2)):
        for j in range(max(0, y - 1), min(shape[1], y + 2)):
            for i in range(max(0, x - 1), min(shape[2], x + 2)):
                yield (k * shape[1] + j) * shape[2] + i


def _grow(item: _Crowded, pieces: NDArray[Any], owner: NDArray[Any], core_voxels: float) -> None:
    """Grow a core of one voxel within its piece, away from other cores, nearest voxels first."""
    box = grow_box(item.box, 1, pieces.shape)
    block = owner[box]
    free = (pieces[box] == item.piece) & ~dilate_26((block != 0) & (block != item.piece))
    start = np.array(np.unravel_index(item.chosen, pieces.shape)) - [s.start for s in box]
    free[tuple(start)] = True
    components = cc3d.connected_components(free.view(np.uint8), connectivity=26)
    voxels = np.argwhere(components == components[tuple(start)])
    distance = np.abs(voxels - start).max(axis=1)
    for radius in range(1, int(distance.max()) + 1):
        if (distance <= radius).sum() >= core_voxels:
            break
    else:
        radius = int(distance.max())
    ball = np.zeros(free.shape, bool)
    ball[tuple(voxels[distance <= radius].T)] = True
    components = cc3d.connected_components(ball.view(np.uint8), connectivity=26)
    block[components == components[tuple(start)]] = item.piece


def _spread(item: _Crowded, pieces: NDArray[Any], is_crowded: NDArray[np.bool_], owner: NDArray[Any]) -> None:
    """Let a core spread over all of its piece that touches no other crowded piece."""
    box = grow_box(item.box, 1, pieces.shape)
    mine, block = pieces[box] == item.piece, owner[box]
    free = (mine & ~dilate_26(is_crowded[box] & ~mine)) | (block == item.piece)
    components = cc3d.connected_components(free.view(np.uint8), connectivity=26)
    start = tuple(np.array(np.unravel_index(item.chosen, pieces.shape)) - [s.start for s in box])
    block[components == components[start]] = item.piece
