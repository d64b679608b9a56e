"""The excerpt of a case that a report shows: CT and fragments round the bones, along the patient's axes, coarsened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import fastremap
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from nnunet_ext.picture import WINDOW_HU
from nnunet_ext.preparation.orientation import turned_to_lps
from nnunet_ext.volumes import Volume, check_same_grid

__all__ = ["Excerpt", "take_excerpt"]

MARGIN_MM = 15.0
"""Room around the fragments. Source: chosen here, enough to see the joints and the skin folds beside them."""

MAX_VOXELS = 16_000_000
"""Voxels kept. Source: chosen here; compressed they take 2 to 4 MB, and a pelvis comes out at 0.9 to 1 mm."""


@dataclass(frozen=True)
class Excerpt:
    """A box of a case; array axes (z, y, x) run nearest to upward, backward and to the patient's left.

    Attributes:
        indices: Place of each voxel's fragment in `numbers`, counted from 1; 0 elsewhere. uint8, or uint16 if needed.
        grey: CT in the bone window, uint8, or None.
        numbers: The fragment numbers, ascending.
        spacing_mm: Voxel size in array order.
        origin: Centre of the first voxel, x, y, z in LPS mm.
        direction: Cosines as in `Volume`.
    """

    indices: NDArray[np.unsignedinteger[Any]]
    grey: NDArray[np.uint8] | None
    numbers: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]


def take_excerpt(
    labels: Volume,
    ct: Volume | None = None,
    *,
    max_voxels: int = MAX_VOXELS,
    window_hu: tuple[float, float] = WINDOW_HU,
) -> Excerpt:
    """Cut the box round the fragments out of a case.

    Args:
        labels: Fragment numbers.
        ct: Hounsfield units on the same grid, or None.
        max_voxels: The finest axes are coarsened until no more are left.
        window_hu: Hounsfield units shown black and white.

    Returns:
        The excerpt; all of the volume where there is no fragment.

    Raises:
        GridError: CT and labels lie on different grids.
    """
    if ct is not None:
        check_same_grid(ct.grid, labels.grid, "the CT", "the labels")
    box = _box_of(labels.array, labels.spacing_mm)
    part = labels.array[box]
    numbers = tuple(int(number) for number in np.unique(part) if number)
    kind = np.uint8 if len(numbers) < 256 else np.uint16
    shape = _coarse_shape(part.shape, labels.spacing_mm, max_voxels)
    part = part[np.ix_(*(_middles(old, new) for old, new in zip(part.shape, shape, strict=True)))]
    table = {0: 0} | {number: index for index, number in enumerate(numbers, start=1)}
    indices = fastremap.remap(part, table, preserve_missing_labels=False).astype(kind)
    grey = None if ct is None else _averaged(ct.array[box], shape, window_hu)

    old_mm = np.array(labels.spacing_mm)
    new_mm = old_mm * [b.stop - b.start for b in box] / shape
    shift = np.array([b.start for b in box]) * old_mm + (new_mm - old_mm) / 2
    origin = np.array(labels.origin) + np.reshape(labels.direction, (3, 3)) @ shift[::-1]
    place = ((new_mm[0], new_mm[1], new_mm[2]), (origin[0], origin[1], origin[2]), labels.direction)
    turned = turned_to_lps(Volume(indices, *place))
    turned_grey = None if grey is None else turned_to_lps(Volume(grey, *place)).array
    return Excerpt(turned.array, turned_grey, numbers, turned.spacing_mm, turned.origin, turned.direction)


def _box_of(labels: NDArray[Any], spacing_mm: Sequence[float]) -> tuple[slice, slice, slice]:
    """Return the part of a volume that holds the fragments, and a margin; all of it where there are none."""
    box = []
    for axis in range(3):
        here = np.flatnonzero(labels.any(axis=tuple(k for k in range(3) if k != axis)))
        first, last = (int(here[0]), int(here[-1])) if len(here) else (0, labels.shape[axis] - 1)
        margin = int(np.ceil(MARGIN_MM / float(spacing_mm[axis])))
        box.append(slice(max(first - margin, 0), min(last + margin + 1, labels.shape[axis])))
    return box[0], box[1], box[2]


def _coarse_shape(shape: Sequence[int], spacing_mm: Sequence[float], max_voxels: int) -> tuple[int, int, int]:
    """Return the shape after the finest axes were made coarser, until all of it fits."""
    size = np.array(shape) * np.array(spacing_mm)
    low, high = float(min(spacing_mm)), float(max(size))
    for _ in range(40):  # halve the interval of spacings
        middle = (low + high) / 2
        fits = np.maximum(np.rint(size / np.maximum(middle, spacing_mm)), 1).prod() <= max_voxels
        low, high = (low, middle) if fits else (middle, high)
    step = float(min(spacing_mm)) if np.prod(shape) <= max_voxels else high
    z, y, x = (max(round(float(n)), 1) for n in size / np.maximum(step, spacing_mm))
    return z, y, x


def _middles(old: int, new: int) -> NDArray[np.intp]:
    """Return which of `old` voxels lie at the middles of `new` ones."""
    return ((np.arange(new) + 0.5) * old / new).astype(np.intp)


def _averaged(ct: NDArray[Any], shape: Sequence[int], window_hu: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a CT in its window, uint8, each new voxel the mean of the old ones inside it."""
    low, high = window_hu
    over_z, over_y, over_x = (_weights(old, new) for old, new in zip(ct.shape, shape, strict=True))
    thin = np.empty((ct.shape[0], shape[1], shape[2]), np.float32)
    for k, plane in enumerate(ct):  # slice by slice, so that a large CT is never held as float
        grey = np.clip((plane.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255)
        thin[k] = (over_x @ (over_y @ grey).T).T
    coarse = over_z @ thin.reshape(len(thin), -1)
    averaged: NDArray[np.uint8] = np.rint(coarse).astype(np.uint8).reshape(tuple(shape))
    return averaged


def _weights(old: int, new: int) -> csr_matrix:
    """Return a matrix (new, old) that averages over the voxels inside each new one."""
    edges = np.arange(new + 1) * old / new
    rows, columns, shares = [], [], []
    for row, (start, stop) in enumerate(pairwise(edges)):
        for column in range(int(start), min(int(np.ceil(stop)), old)):
            rows.append(row)
            columns.append(column)
            shares.append((min(stop, column + 1) - max(start, column)) / (stop - start))
    return csr_matrix((np.array(shares, np.float32), (rows, columns)), (new, old))
