"""Walls: border put so that it parts fragments and cuts none of them in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from skimage.graph import MCP

from label_gen.contacts import dilate_6, dilate_26
from label_gen.grid import Box, enclose, grow_box
from label_gen.pieces import Pieces

__all__ = ["build_walls"]

LONGEST_WAY_MM = 15.0
"""How far from a part that is cut off a way to its core is looked for (chosen here)."""
THIN_LAYERS = 3
"""Layers opened from the inside where a piece is thin (chosen here)."""


def build_walls(
    pieces: Pieces,
    bone_of: Sequence[str],
    is_core: NDArray[np.bool_],
    is_near: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    cut_off_mm3: float,
    layers: int = 1,
) -> NDArray[np.bool_]:
    """Return the border.

    It is the zone near other fragments of the same bone, at least one layer on both sides of every shared face, so that
    fronts which move through faces cannot pass. Where it cuts a part of a piece off from the piece's core, the
    shortest way through is opened. A part that hangs on by edges or corners alone cannot be entered through faces; it
    is joined to the core through those, and what other pieces of the bone have next to it is made border, so that it
    touches its own piece alone. Cores are never border.

    Args:
        pieces: The pieces.
        bone_of: Bone of each fragment by compact number less one.
        is_core: Cores (z, y, x), never border.
        is_near: Voxels near another fragment of the same bone.
        spacing_mm: Spacing in array order, in millimetres.
        cut_off_mm3: Parts cut off are reconnected from this volume on.
        layers: How many layers the zone has on each side of a flat contact.

    Returns:
        Border mask (z, y, x).
    """
    is_border = is_near & ~is_core
    members: dict[str, list[int]] = {}
    for piece in (np.argsort(pieces.voxels[1:], kind="stable") + 1).tolist():
        members.setdefault(bone_of[pieces.fragment[piece] - 1], []).append(piece)
    for own in members.values():
        if len(own) == 1:
            continue
        rank = np.zeros(len(pieces) + 1, np.min_scalar_type(len(own) + 1))
        rank[own] = np.arange(1, len(own) + 1)
        box = enclose([pieces.boxes[piece] for piece in own])
        voxels = cut_off_mm3 / float(np.prod(spacing_mm))
        walls = _Walls(rank[pieces.labels[box]], is_border[box], is_core[box])
        walls.thin_out(layers)
        walls.reconnect(spacing_mm, voxels)
    return is_border


@dataclass(frozen=True)
class _Walls:
    """The walls of one bone; `border` is changed in place.

    Attributes:
        ranks: Pieces numbered by size, 1 the smallest (z, y, x).
        border: Border so far.
        core: Cores.
    """

    ranks: NDArray[Any]
    border: NDArray[np.bool_]
    core: NDArray[np.bool_]

    def thin_out(self, layers: int) -> None:
        """Open border where a piece is so thin that border is deeper than usual.

        The first front to reach such border would be another piece's. A voxel near it, beside the inside of its own
        piece, is opened if all voxels of other pieces on its faces are border of larger pieces, beside the inside of
        those: the wall of one layer that stays is then equally near to both sides, and recovery gives it to the larger.

        Args:
            layers: How many layers the border has on each side where pieces are thick.
        """
        parts = self._parts()
        core_parts = np.unique(parts[self.core])
        is_inside = np.pad(np.isin(parts, core_parts[core_parts > 0]), 1)
        every, is_border = np.pad(self.ranks, 1), np.pad(self.border, 1)
        steps = [sign * stride for stride in (every.shape[1] * every.shape[2], every.shape[2], 1) for sign in (1, -1)]
        rank, inside, border = every.ravel(), is_inside.ravel(), is_border.ravel()
        rest = np.flatnonzero((rank != 0) & ~inside)
        for _ in range(THIN_LAYERS):
            is_beside = _spread(inside, rank, rest, steps, 1) & ~inside
            is_deep = np.zeros(rank.size, bool)
            is_deep[rest] = ~_spread(inside, rank, rest, steps, layers)[rest]
            near_deep = _spread(is_deep, rank, rest, steps, layers)
            opened = rest[is_beside[rest]]
            loose = opened[~border[opened]]
            opened = opened[border[opened] & near_deep[opened]]
            for step in steps:
                other = rank[opened + step]
                holds = (other > rank[opened]) & border[opened + step] & is_beside[opened + step]
                opened = opened[(other == 0) | (other == rank[opened]) | holds]
            if not opened.size and not loose.size:
                break
            border[opened] = False
            inside[opened] = inside[loose] = True
            rest = rest[~inside[rest]]
        self.border[...] = is_border[1:-1, 1:-1, 1:-1]

    def _parts(self) -> NDArray[Any]:
        """Return the 6-connected parts into which border divides the pieces."""
        parts: NDArray[Any] = cc3d.connected_components(np.where(self.border, 0, self.ranks), connectivity=6)
        return parts

    def reconnect(self, spacing_mm: Sequence[float], cut_off_voxels: float) -> None:
        """Open a way through border from each large part of a piece that is cut off to the piece's core."""
        parts = self._parts()
        voxels = np.flatnonzero(parts)
        part_at = parts.ravel()[voxels]
        sizes = np.bincount(part_at)
        piece_of = np.zeros(len(sizes), np.int64)
        piece_of[part_at] = self.ranks.ravel()[voxels]
        has_core = np.zeros(len(sizes), bool)
        has_core[part_at[self.core.ravel()[voxels]]] = True
        is_cut_off = (sizes >= cut_off_voxels) & ~has_core & np.isin(piece_of, piece_of[has_core])
        if not is_cut_off.any():
            return
        boxes = cc3d.statistics(parts)["bounding_boxes"]
        margin = [int(np.ceil(LONGEST_WAY_MM / s)) for s in spacing_mm]
        joined, firm, waiting = has_core.copy(), has_core.copy(), np.flatnonzero(is_cut_off).tolist()
        while waiting:
            before = len(waiting)
            for part in list(waiting):
                near = grow_box(boxes[part], margin, parts.shape)
                is_part, mine = parts[near] == part, self.ranks[near] == piece_of[part]
                is_firm, is_joined = mine & firm[parts[near]], mine & joined[parts[near]]
                for goals, through_faces in ((is_firm, True), (is_joined, False)):
                    if self._open(is_part, goals, is_firm, near, spacing_mm, through_faces):
                        joined[part], firm[part] = True, through_faces
                        waiting.remove(part)
                        break
            if len(waiting) == before:
                break

    def _open(
        self,
        part: NDArray[np.bool_],
        goals: NDArray[np.bool_],
        firm: NDArray[np.bool_],
        near: Box,
        spacing_mm: Sequence[float],
        through_faces: bool,
    ) -> bool:
        """Open the shortest way from a part to the rest of its piece, through faces or through anything.

        Args:
            part: The part cut off, in the box `near`.
            goals: What of its piece the way may lead to.
            firm: What of its piece is connected with the core through faces.
            near: Where to look.
            spacing_mm: Spacing in array order, in millimetres.
            through_faces: Whether the way goes through faces only.

        Returns:
            Whether there is a way.
        """
        ranks, border, core = self.ranks[near], self.border[near], self.core[near]
        mine = ranks == ranks[part][0]
        foreign = (ranks != 0) & ~mine & ~border
        is_shut = dilate_6(foreign) if through_faces else dilate_26(foreign & core)
        cost = np.where(border, 1.0, 1e-6)
        cost[~mine | (border & is_shut)] = -1.0
        search = MCP(cost, fully_connected=not through_faces, sampling=tuple(spacing_mm))
        costs, _ = search.find_costs(np.argwhere(part)[:1])
        ends = np.argwhere(goals)
        price = costs[tuple(ends.T)]
        if not np.isfinite(price.min(initial=np.inf)):
            return False
        way = np.zeros(mine.shape, bool)
        way[tuple(np.array(search.traceback(ends[int(np.argmin(price))])).T)] = True
        if through_faces:
            border &= ~(dilate_6(way & border) & mine & ~is_shut)
        else:
            border &= ~way
            border |= foreign & ~core & dilate_26(mine & ~border & ~firm)
        return True


def _spread(
    mask: NDArray[np.bool_], rank: NDArray[Any], within: NDArray[np.int64], steps: Sequence[int], layers: int
) -> NDArray[np.bool_]:
    """Return a mask (flat) grown by some layers through faces within its own pieces and within some voxels."""
    mask = mask.copy()
    for _ in range(layers):
        mask[within] |= np.any([mask[within + s] & (rank[within + s] == rank[within]) for s in steps], axis=0)
    return mask
