"""Find the piece that a surface parts off a fragment, and the place of the surface that makes it of a wanted size."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from label_gen._fractures import PLAN_SPACING_MM, BrokenBone
from label_gen._sampling import Box
from label_gen.simulation.surfaces import Rough

__all__ = ["Piece", "part_off"]

VOXEL_MM3 = PLAN_SPACING_MM**3

SPECK_MM3 = 30.0
"""Pieces below this do not count: they go to the neighbour that they touch. Source: chosen here, nine plan voxels."""

STEPS = 9
"""How often the range of places is halved. Source: chosen here; 1/500 of a bone is left."""


@dataclass(frozen=True)
class Piece:
    """A piece parted off a fragment.

    Attributes:
        box: Part of the plan that holds the fragment.
        is_new: The piece, bool (z, y, x) in the box.
        surface: The surface where it was placed.
        chosen: See `label_gen._fractures.Cut`.
        added: See `label_gen._fractures.Cut`.
    """

    box: Box
    is_new: NDArray[np.bool_]
    surface: Rough
    chosen: NDArray[np.bool_] | None
    added: NDArray[np.bool_] | None

    @property
    def size_mm3(self) -> float:
        """Size of the piece."""
        return float(np.count_nonzero(self.is_new)) * VOXEL_MM3


def part_off(
    bone: BrokenBone,
    parent: int,
    surface: Rough,
    *,
    seed: NDArray[np.float64] | None = None,
    target_mm3: float | None = None,
    slack_mm: tuple[float, float] = (0.0, 0.0),
) -> Piece | None:
    """Part one piece off a fragment.

    Args:
        bone: The bone so far.
        parent: Number of the fragment.
        surface: The surface; it may be moved along `slack_mm`.
        seed: Point x, y, z in mm whose piece is wanted; None takes the largest beyond the surface.
        target_mm3: Size wanted; None leaves the surface where it is.
        slack_mm: How far the surface may be moved back and on.

    Returns:
        The piece, or None where the surface parts off none or leaves no rest in one piece.
    """
    (box,) = find_objects((bone.plan == parent).astype(np.uint8)) or (None,)
    if box is None:
        return None
    box = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in box)
    mask = bone.plan[box] == parent
    low = bone.low + PLAN_SPACING_MM * np.array([s.start for s in box])[::-1]
    places = low + PLAN_SPACING_MM * np.argwhere(mask)[:, ::-1]
    points = (places[:, 0], places[:, 1], places[:, 2])
    beyond = np.full(mask.shape, -np.inf)
    beyond[mask] = surface.smooth(points) - surface.offset_mm + surface.roughness(points)
    at = None
    if seed is not None:
        nearest = int(np.argmin(((places - seed) ** 2).sum(axis=1)))
        at = tuple(int(i) for i in np.argwhere(mask)[nearest])

    def piece(offset: float) -> NDArray[np.bool_] | None:
        labels, count = cc3d.connected_components(beyond > offset, connectivity=26, return_N=True)
        number = int(labels[at]) if at is not None else 1 + int(np.argmax(np.bincount(labels.ravel(), minlength=2)[1:]))
        return labels == number if count and number else None

    offset, is_new = 0.0, piece(0.0)
    if target_mm3 is not None and slack_mm != (0.0, 0.0):
        low_t, high_t = max(slack_mm[0], float(beyond[mask].min())), min(slack_mm[1], float(beyond[mask].max()))
        best = np.inf
        for step in range(STEPS):
            middle = 0.5 * (low_t + high_t) if step or not low_t < 0.0 < high_t else 0.0
            found = piece(middle)
            size = np.count_nonzero(found) * VOXEL_MM3 if found is not None else 0.0
            error = abs(np.log(max(size, 1.0) / target_mm3))
            if error < best:
                best, offset, is_new = error, middle, found
            if error < 0.1:
                break
            low_t, high_t = (middle, high_t) if size > target_mm3 else (low_t, middle)
    if is_new is None:
        return None
    placed = Rough(surface.smooth, surface.roughness, surface.offset_mm + offset)
    return _settle(bone, box, mask, beyond > offset, is_new, placed)


def _settle(
    bone: BrokenBone,
    box: Box,
    mask: NDArray[np.bool_],
    is_beyond: NDArray[np.bool_],
    is_new: NDArray[np.bool_],
    surface: Rough,
) -> Piece | None:
    """Give what the piece cuts off the rest to the piece, and note what of both sides of the surface is new."""
    rest, n_rest = cc3d.connected_components(mask & ~is_new, connectivity=26, return_N=True)
    if n_rest == 0:
        return None
    sizes = np.bincount(rest.ravel(), minlength=2)
    sizes[0] = 0
    is_kept = rest == int(np.argmax(sizes))
    lost = (sizes.sum() - sizes.max()) * VOXEL_MM3
    if lost > 0.5 * np.count_nonzero(is_new) * VOXEL_MM3:
        return None
    is_added = np.zeros_like(mask)
    if lost > SPECK_MM3:
        is_added = mask & ~is_kept & ~is_new & ~is_beyond
        is_new = is_new | (mask & ~is_kept)
    chosen = added = None
    if np.count_nonzero(is_beyond & ~is_new) * VOXEL_MM3 > SPECK_MM3:
        chosen = _extended(bone, box, is_beyond, is_new)
    if is_added.any():
        added = _extended(bone, box, mask & ~is_beyond, is_added)
    return Piece(box, is_new, surface, chosen, added)


def _extended(bone: BrokenBone, box: Box, among: NDArray[np.bool_], part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for the whole plan whether the nearest place of `among` lies in `part`; far from the box, False."""
    nearest = distance_transform_edt(~among, return_distances=False, return_indices=True)
    extended = np.zeros(bone.plan.shape, bool)
    extended[box] = (part & among)[tuple(nearest)]
    return extended
