"""Contact zones: where a fragment comes close to another one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from label_gen.grid import Box, bounding_box, enclose, grow_box, intersect_boxes, place_box, shift_box
from label_gen.settings import GenerationSettings

__all__ = ["CLEARANCE", "NEAR", "TOUCHING", "dilate_6", "dilate_26", "find_contacts", "is_touching_other", "reach_of"]

TOUCHING = np.uint8(1)
"""Bit: one of the 26 neighbours is of another fragment, of any bone."""
NEAR = np.uint8(2)
"""Bit: another fragment of the same bone is near enough for a border."""
CLEARANCE = np.uint8(4)
"""Bit: another fragment of the same bone is too near for a core."""


SMALL_BLOCK = 100_000
"""Below this many voxels SciPy is quicker than edt, which starts threads at every call (measured)."""
STEP = 24
"""Slices looked at together (chosen here: contacts are oblique, and short boxes hold less that is far away)."""


def reach_of(width_mm: float, spacing_mm: Sequence[float]) -> float:
    """Return the distance between voxel centres up to which one lies within a width of the other's near face."""
    half_voxel = 0.5 * math.prod(spacing_mm) ** (1 / 3)
    return width_mm + half_voxel + 1e-3


def find_contacts(
    labels: NDArray[Any],
    boxes: Sequence[Box],
    bone_of: Sequence[str],
    spacing_mm: Sequence[float],
    settings: GenerationSettings,
) -> NDArray[np.uint8]:
    """Mark the voxels of every fragment that are close to another fragment.

    Distances are measured from the voxel's centre to the near face of the other fragment's voxel (half a mean voxel
    short of its centre), so that zones have the same width at every spacing. A voxel that shares a face with another
    fragment of its bone is always near it: fronts that move through faces cannot pass between the two.

    Args:
        labels: Compact fragment numbers (z, y, x); 0 outside.
        boxes: Box of each fragment (index = number - 1).
        bone_of: Bone of each fragment (index = number - 1).
        spacing_mm: Spacing in array order, in millimetres.
        settings: Widths of the zones.

    Returns:
        Uint8 volume of the bits `TOUCHING`, `NEAR`, `CLEARANCE`.
    """
    near = reach_of(settings.border_mm, spacing_mm)
    clear = reach_of(settings.clearance_mm, spacing_mm)
    margin = [max(1, int(np.ceil(clear / s))) for s in spacing_mm]
    zones = is_touching_other(labels).view(np.uint8)
    for first, second in itertools.combinations(range(len(boxes)), 2):
        if bone_of[first] == bone_of[second]:
            for side, other in ((first, second), (second, first)):
                _mark_side(labels, zones, side + 1, other + 1, boxes, margin, spacing_mm, near, clear)
    return zones


def _mark_side(
    labels: NDArray[Any],
    zones: NDArray[np.uint8],
    side: int,
    other: int,
    boxes: Sequence[Box],
    margin: Sequence[int],
    spacing_mm: Sequence[float],
    near: float,
    clear: float,
) -> None:
    """Set the bits of one fragment's voxels by their distance to another fragment.

    Works along the first axis in steps, in each on the smallest box that holds what is close of both.
    """
    within = intersect_boxes(boxes[side - 1], grow_box(boxes[other - 1], margin, labels.shape))
    if within is None:
        return
    for start in range(within[0].start, within[0].stop, STEP):
        step = (slice(start, min(start + STEP, within[0].stop)), within[1], within[2])
        found = _extent(labels, side, step)
        reach = found and _extent(labels, other, grow_box(found, margin, labels.shape))
        found = reach and _extent(labels, side, intersect_boxes(step, grow_box(reach, margin, labels.shape)))
        if found and reach:
            _mark(labels, zones, side, other, found, reach, spacing_mm, near, clear)


def _extent(labels: NDArray[Any], number: int, box: Box | None) -> Box | None:
    """Return the box of a label within a box, or None."""
    extent = None if box is None else bounding_box(labels[box] == number)
    return extent and box and place_box(extent, box)


def _mark(
    labels: NDArray[Any],
    zones: NDArray[np.uint8],
    side: int,
    other: int,
    found: Box,
    reach: Box,
    spacing_mm: Sequence[float],
    near: float,
    clear: float,
) -> None:
    """Set the bits of one fragment's voxels in a box by their distance to another fragment's in another box."""
    block = enclose([found, reach])
    is_side, is_other = np.zeros((2, *(s.stop - s.start for s in block)), bool)
    inner = shift_box(found, block)
    is_side[inner] = labels[found] == side
    is_other[...] = labels[block] == other
    if is_other.size < SMALL_BLOCK:
        distance = ndimage.distance_transform_edt(~is_other, sampling=spacing_mm)
    else:
        distance = edt.edt(~is_other, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
    is_near, is_clear = distance <= near, distance <= clear
    if max(spacing_mm) > near:
        is_near |= dilate_6(is_other)
    if np.linalg.norm(spacing_mm) > clear:
        is_clear |= dilate_26(is_other)
    zones[block][is_side & is_near] |= NEAR
    zones[block][is_side & is_clear] |= CLEARANCE


def is_touching_other(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the voxels of which one of the 26 neighbours has another non-zero label.

    Args:
        labels: Label volume (z, y, x) of an unsigned type.
    """
    high = labels
    low = np.where(labels == 0, np.iinfo(labels.dtype).max, labels)
    for axis in range(3):
        high = _extreme(high, axis, np.maximum)
        low = _extreme(low, axis, np.minimum)
    touching: NDArray[np.bool_] = ((high != labels) | (low != labels)) & (labels != 0)
    return touching


def dilate_6(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask grown by its 6 neighbours."""
    grown = mask.copy()
    for axis in range(3):
        grown |= _extreme(mask, axis, np.logical_or)
    return grown


def dilate_26(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask grown by its 26 neighbours."""
    for axis in range(3):
        mask = _extreme(mask, axis, np.logical_or)
    return mask


def _extreme(array: NDArray[Any], axis: int, combine: np.ufunc) -> NDArray[Any]:
    """Combine every voxel with its two neighbours along an axis."""
    result = array.copy()
    source, target = np.moveaxis(array, axis, 0), np.moveaxis(result, axis, 0)
    combine(target[1:], source[:-1], out=target[1:])
    combine(target[:-1], source[1:], out=target[:-1])
    return result
