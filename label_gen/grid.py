"""Grids: checked arrays, spacings, boxes, and an axis order that depends on the content alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError, GridError, UsageError

__all__ = [
    "Box",
    "bounding_box",
    "canonical_axes",
    "check_label_array",
    "check_same_shape",
    "check_spacing",
    "enclose",
    "grow_box",
    "intersect_boxes",
    "place_box",
    "shift_box",
]

Box = tuple[slice, slice, slice]


def check_label_array(labels: NDArray[Any], what: str = "labels") -> None:
    """Check that an array is a three-dimensional volume of non-negative integers.

    Args:
        labels: Any array.
        what: How messages name it.

    Raises:
        DataError: It is not an integer or boolean array, not 3D, empty, or has negative values.
    """
    if not isinstance(labels, np.ndarray):
        raise DataError(f"{what} must be a NumPy array. Got: {type(labels).__name__}")
    if labels.ndim != 3:
        raise DataError(f"{what} must have three axes (z, y, x). Got: shape {labels.shape}; give one volume at a time")
    if labels.dtype.kind not in "iub":
        raise DataError(f"{what} must be whole numbers. Got: dtype {labels.dtype}; convert with .astype(numpy.uint16)")
    if labels.size == 0:
        raise DataError(f"{what} is an empty array. Got: shape {labels.shape}")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise DataError(f"{what} must not be negative. Got: minimum {labels.min()}")


def check_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """Return the voxel spacing as three floats.

    Args:
        spacing_mm: Spacing in array order (z, y, x), in millimetres.

    Raises:
        UsageError: It is not three positive finite numbers.
    """
    values = tuple(float(s) for s in spacing_mm)
    if len(values) != 3 or not all(np.isfinite(s) and s > 0 for s in values):
        raise UsageError(f"spacing_mm must be three positive numbers in array order (z, y, x). Got: {values}")
    return values


def check_same_shape(first: NDArray[Any], second: NDArray[Any], names: tuple[str, str]) -> None:
    """Check that two volumes have the same shape.

    Raises:
        GridError: They differ.
    """
    if first.shape != second.shape:
        raise GridError(
            f"{names[0]} and {names[1]} must have the same grid. Got: shapes {first.shape} and {second.shape}; "
            "resample one onto the other's grid with nearest-neighbour interpolation"
        )


def bounding_box(array: NDArray[Any]) -> Box | None:
    """Return the box of all non-zero voxels, or None where there are none."""
    slices = []
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        hits = np.flatnonzero(array.any(axis=others))
        if not len(hits):
            return None
        slices.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return (slices[0], slices[1], slices[2])


def grow_box(box: Sequence[slice], margin: Sequence[int] | int, shape: Sequence[int]) -> Box:
    """Return a box widened by a margin in voxels and clipped to the shape."""
    margins = [margin] * 3 if isinstance(margin, int) else list(margin)
    z, y, x = (slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in zip(box, margins, shape, strict=True))
    return (z, y, x)


def intersect_boxes(first: Sequence[slice], second: Sequence[slice]) -> Box | None:
    """Return the common part of two boxes, or None."""
    z, y, x = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    box = (z, y, x)
    return box if all(s.start < s.stop for s in box) else None


def enclose(boxes: Sequence[Box]) -> Box:
    """Return the smallest box round all boxes."""
    z, y, x = (slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) for axis in range(3))
    return (z, y, x)


def shift_box(box: Sequence[slice], origin: Sequence[slice]) -> Box:
    """Return a box in the coordinates of another box."""
    z, y, x = (slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, origin, strict=True))
    return (z, y, x)


def place_box(box: Sequence[slice], origin: Sequence[slice]) -> Box:
    """Return a box given in the coordinates of another box in those of the volume; undoes `shift_box`."""
    z, y, x = (slice(s.start + o.start, s.stop + o.start) for s, o in zip(box, origin, strict=True))
    return (z, y, x)


def canonical_axes(labels: NDArray[Any], spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """Return an order of the axes that depends on the content, not on how the volume is stored.

    Working in this order makes a result exactly the same for all six axis orders of a volume, rounding and ties
    included. Axes are sorted by spacing, length and profile (the labels summed over the other two axes); where those
    of two axes are all equal, the voxels themselves decide.

    Args:
        labels: Label volume (z, y, x).
        spacing_mm: Spacing in array order, in millimetres.

    Returns:
        The permutation to give to `numpy.transpose`.
    """
    profiles = [np.zeros(n, np.int64) for n in labels.shape]
    for i, plane in enumerate(labels):
        rows = plane.sum(axis=1, dtype=np.int64)
        profiles[0][i] = rows.sum()
        profiles[1] += rows
        profiles[2] += plane.sum(axis=0, dtype=np.int64)
    keys = [(float(s), len(p), p.tolist()) for s, p in zip(spacing_mm, profiles, strict=True)]
    ranked = sorted(keys)
    orders = [o for o in itertools.permutations(range(3)) if [keys[axis] for axis in o] == ranked]
    best = min(orders, key=lambda o: labels.transpose(o).tobytes()) if len(orders) > 1 else orders[0]
    return (best[0], best[1], best[2])
