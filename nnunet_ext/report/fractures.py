"""Where the fractures are: the slices that show most of them, and the middle of each interface."""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, maximum_filter

from label_gen.classes import ABBC
from nnunet_ext.picture import choose_slices
from nnunet_ext.report.excerpt import Excerpt

__all__ = ["find_places", "most_fractured"]

NEAR_MM = 4.0
"""Fragments of a bone that come as near as this show a fracture. Source: chosen here, wider than most open gaps."""

LAYER_MM = 1.5
"""Voxels this much further apart than the nearest still belong to an interface. Source: chosen here, a voxel or two."""


def most_fractured(excerpt: Excerpt, bones: Sequence[str]) -> tuple[int, int, int]:
    """Return the slices through the most fractured places.

    Args:
        excerpt: The fragments.
        bones: Bone of each fragment, in the order of `excerpt.numbers`.

    Returns:
        Index along z, y and x; slices through much bone where nothing is broken.
    """
    near = np.zeros(excerpt.indices.shape, np.uint8)
    window = [2 * max(1, round(NEAR_MM / step)) + 1 for step in excerpt.spacing_mm]
    boxes = find_objects(excerpt.indices.astype(np.int32, copy=False), len(bones))
    for bone in dict.fromkeys(bones):
        own = [index for index, name in enumerate(bones, start=1) if name == bone]
        if len(own) < 2:
            continue
        box = tuple(
            slice(min(boxes[i - 1][axis].start for i in own), max(boxes[i - 1][axis].stop for i in own))
            for axis in range(3)
        )
        part = excerpt.indices[box].astype(np.int32)
        is_own = np.isin(part, own)
        highest = maximum_filter(np.where(is_own, part, 0), window)
        lowest = maximum_filter(np.where(is_own, len(bones) + 1 - part, 0), window)
        near[box][is_own & (highest + lowest != len(bones) + 1)] = ABBC.BORDER
    return choose_slices(excerpt.indices, near)


def find_places(excerpt: Excerpt, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int, int] | None]:
    """Find the middle of interfaces.

    Args:
        excerpt: The fragments.
        pairs: Numbers of two fragments each.

    Returns:
        For each pair the voxel z, y, x of one fragment near which the other comes, at the middle of all such; None
        where a fragment is not there.
    """
    boxes = find_objects(excerpt.indices.astype(np.int32, copy=False), max(len(excerpt.numbers), 1))
    index_of = {number: index for index, number in enumerate(excerpt.numbers, start=1)}
    spacing = np.array(excerpt.spacing_mm)
    places: list[tuple[int, int, int] | None] = []
    for pair in pairs:
        if not all(number in index_of and boxes[index_of[number] - 1] is not None for number in pair):
            places.append(None)
            continue
        ends = [np.array([(s.start, s.stop) for s in boxes[index_of[number] - 1]]).T for number in pair]
        # The near sides of both lie where their boxes overlap, or between these where they do not.
        low, high = np.maximum(ends[0][0], ends[1][0]), np.minimum(ends[0][1], ends[1][1])
        reach = np.ceil((NEAR_MM + LAYER_MM) / spacing).astype(int)
        low, high = np.minimum(low, high) - reach, np.maximum(low, high) + reach
        low, high = np.maximum(low, 0), np.minimum(high, excerpt.indices.shape)
        part = excerpt.indices[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
        first, second = (np.ascontiguousarray(part == index_of[number]) for number in pair)
        if not (first.any() and second.any()):
            places.append(None)
            continue
        places.append(_middle(first, second, low, spacing))
    return places


def _middle(
    first: NDArray[np.bool_], second: NDArray[np.bool_], low: NDArray[np.int64], spacing: NDArray[np.float64]
) -> tuple[int, int, int]:
    """Return the voxel of the first mask nearest to the middle of those nearest to the second."""
    distance = edt.edt(~second, anisotropy=tuple(spacing), black_border=False)
    voxels = np.argwhere(first & (distance <= distance[first].min() + LAYER_MM))
    away = ((voxels - np.median(voxels, axis=0)) * spacing) ** 2
    z, y, x = (int(value) for value in voxels[away.sum(axis=1).argmin()] + low)
    return z, y, x
