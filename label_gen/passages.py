"""Passages: border that would cut a piece off from its own core is opened again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.graph import MCP

from label_gen.grid import grow_box
from label_gen.pieces import Pieces

__all__ = ["open_passages"]

FACES = ndimage.generate_binary_structure(3, 1)


def open_passages(
    pieces: Pieces,
    is_core: NDArray[np.bool_],
    is_border: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    cut_off_mm3: float,
) -> None:
    """Open border where it cuts a large part of a piece off from the piece's core.

    Along a thin neck every voxel may be near another fragment; then border fills the neck, and a front that starts in
    the core cannot pass. The shortest way from each part cut off to the core is opened, one voxel and its neighbours
    wide; a part that hangs on by edges or corners alone stays cut off. Walls hold: a voxel is opened only if the
    voxels of other pieces on its faces stay border, or are no bone.

    Args:
        pieces: The pieces.
        is_core: Cores (z, y, x).
        is_border: Border (z, y, x); changed in place.
        spacing_mm: Spacing in array order, in millimetres.
        cut_off_mm3: Parts from this volume on are reconnected.
    """
    parts = cc3d.connected_components(np.where(is_border, 0, pieces.labels), connectivity=6)
    voxels = np.flatnonzero(parts)
    part_at = parts.ravel()[voxels]
    sizes = np.bincount(part_at)
    piece_of = np.zeros(len(sizes), np.int64)
    piece_of[part_at] = pieces.labels.ravel()[voxels]
    has_core = np.zeros(len(sizes), bool)
    has_core[part_at[is_core.ravel()[voxels]]] = True
    piece_has_core = np.zeros(len(pieces) + 1, bool)
    piece_has_core[piece_of[has_core]] = True
    is_cut_off = (sizes >= cut_off_mm3 / float(np.prod(spacing_mm))) & ~has_core & piece_has_core[piece_of]
    for piece in np.unique(piece_of[is_cut_off]).tolist():
        targets = np.flatnonzero(is_cut_off & (piece_of == piece))
        box = grow_box(pieces.boxes[piece], 1, parts.shape)
        way = _shortest_ways(piece, pieces.labels[box], parts[box], targets, is_core[box], is_border[box], spacing_mm)
        is_border[box] &= ~way


def _shortest_ways(
    piece: int,
    labels: NDArray[Any],
    parts: NDArray[Any],
    targets: NDArray[np.int64],
    is_core: NDArray[np.bool_],
    is_border: NDArray[np.bool_],
    spacing_mm: Sequence[float],
) -> NDArray[np.bool_]:
    """Return the border voxels of a piece to open so that all target parts reach its core."""
    mine = labels == piece
    # A voxel whose neighbour in another piece is open already would make a hole in the wall between the two.
    open_elsewhere = (labels != 0) & ~mine & ~is_border
    may_open = mine & is_border & ~ndimage.binary_dilation(open_elsewhere, FACES)
    cost = np.where(mine & ~is_border, 1e-6, np.where(may_open, 1.0, -1.0))
    search = MCP(cost, fully_connected=False, sampling=tuple(spacing_mm))
    costs, _ = search.find_costs(np.argwhere(mine & is_core)[:1])
    way = np.zeros(mine.shape, bool)
    for target in targets.tolist():
        ends = np.argwhere(parts == target)
        reached = costs[tuple(ends.T)]
        if np.isfinite(reached.min()):
            way[tuple(np.array(search.traceback(ends[int(np.argmin(reached))])).T)] = True
    opened: NDArray[np.bool_] = ndimage.binary_dilation(way & is_border, FACES) & may_open
    return opened
