"""A CT on the patient's own axes at a network's spacing, and class probabilities from there back onto the CT's grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.grid import Box, bounding_box, grow_box, intersect_boxes
from nnunet_ext._simpleitk import sitk
from nnunet_ext.grids import Grid
from nnunet_ext.preparation.orientation import LPS
from nnunet_ext.volumes import Volume

__all__ = ["AIR_HU", "labels_on", "patient_grid", "resampled_ct"]

AIR_HU = -1024
"""HU of what lies outside an oblique CT. Source: the lowest value of a 12-bit CT, as scanners pad their images."""

SLAB_VOXELS = 1 << 23
"""Voxels of the CT's grid that are labelled at once: about 32 MB per class in single precision. Chosen here."""

_SLACK = 1e-3
"""In voxels: how much of a voxel may be missing at the end of the grid, for rounding. Chosen here."""


def patient_grid(grid: Grid, spacing_mm: Sequence[float]) -> Grid:
    """Return the grid along the patient's left, posterior and superior that covers another grid.

    It does not depend on how the axes of the other grid are ordered and flipped: the two have the same middle.

    Args:
        grid: The grid to cover, from voxel edge to voxel edge; it may be oblique.
        spacing_mm: Spacing of the new grid in array order (z, y, x), in mm.

    Returns:
        The grid; its direction is the identity (LPS).
    """
    direction = np.reshape(grid.direction, (3, 3))
    size, step = np.array(grid.shape[::-1], float), np.array(grid.spacing_mm[::-1])
    ends = itertools.product(*((-0.5, n - 0.5) for n in size))
    corners = np.array([np.array(grid.origin) + direction @ (np.array(end) * step) for end in ends])
    low, high = corners.min(0), corners.max(0)
    spacing = np.array(spacing_mm[::-1], float)
    count = np.maximum(np.ceil((high - low) / spacing - _SLACK), 1)
    origin = (low + high) / 2 - (count - 1) / 2 * spacing
    depth, height, width = (int(n) for n in count[::-1])
    z, y, x = (float(value) for value in spacing_mm)
    return Grid((depth, height, width), (z, y, x), (float(origin[0]), float(origin[1]), float(origin[2])))


def resampled_ct(ct: Volume, frame: Grid, *, averaging: bool) -> Volume:
    """Return a CT on another grid, interpolated linearly.

    Args:
        ct: The CT, HU, axes (z, y, x).
        frame: The grid, along the patient's axes.
        averaging: Where the CT is at least twice as fine, average whole voxels first, so that thin slices do not bring
            more noise into the network than it was trained with.

    Returns:
        The CT on the grid, in the type of the CT; `AIR_HU` where there was none.
    """
    image = sitk.DICOMOrient(ct.to_image(), LPS)
    if averaging:
        factors = [
            max(1, math.floor(new / old + _SLACK))
            for new, old in zip(frame.spacing_mm[::-1], image.GetSpacing(), strict=True)
        ]
        factors = [min(factor, size) for factor, size in zip(factors, image.GetSize(), strict=True)]
        image = sitk.BinShrink(image, factors) if max(factors) > 1 else image
    found = sitk.Resample(image, _reference(frame), sitk.Transform(), sitk.sitkLinear, AIR_HU, image.GetPixelID())
    return Volume.on_grid(sitk.GetArrayFromImage(found), frame)


def labels_on(grid: Grid, probabilities: NDArray[np.floating[Any]], frame: Grid) -> NDArray[np.uint8]:
    """Return the likeliest class at each voxel of a grid, the probabilities of another being interpolated between.

    So surfaces are smooth on the finer grid, not made of the coarser one's voxels. The grid is worked through in slabs,
    and of each class only the box where it can be the likeliest is looked at.

    Args:
        grid: The grid to label.
        probabilities: Shape (class, z, y, x), class 0 the background; on the grid `frame`.
        frame: Their grid.

    Returns:
        Class numbers (z, y, x) on the grid; background where nothing is known.
    """
    labels = np.zeros(grid.shape, np.uint8)
    boxes = {}
    for number in range(1, len(probabilities)):
        inner = bounding_box(probabilities[number] >= 1 / len(probabilities) - _SLACK)
        if inner is not None:
            boxes[number] = grow_box(inner, 1, frame.shape)
    sources = {number: _image_of(probabilities[number][box], frame, box) for number, box in boxes.items()}
    rest = _image_of(np.asarray(probabilities[0]), frame, (slice(0, None),) * 3) if sources else None
    targets = {number: _box_on(grid, frame, box) for number, box in boxes.items()}
    thickness = max(1, SLAB_VOXELS // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], thickness):
        slab = (slice(start, min(start + thickness, grid.shape[0])), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
        parts = {number: intersect_boxes(slab, box) for number, box in targets.items() if box is not None}
        met = {number: part for number, part in parts.items() if part is not None}
        if not met:
            continue
        whole = tuple(
            slice(min(part[axis].start for part in met.values()), max(part[axis].stop for part in met.values()))
            for axis in range(3)
        )
        best = _sampled(rest, grid, (whole[0], whole[1], whole[2]), 1.0)
        chosen = np.zeros(best.shape, np.uint8)
        for number, part in met.items():
            place = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True))
            found = _sampled(sources[number], grid, part, 0.0)
            is_better = found > best[place]
            chosen[place][is_better] = number
            best[place][is_better] = found[is_better]
        labels[whole] = chosen
    return labels


def _box_on(grid: Grid, frame: Grid, box: Box) -> Box | None:
    """Return the voxels of a grid that may lie in a box of another."""
    to_index = np.linalg.inv(np.reshape(grid.direction, (3, 3)))
    ends = itertools.product(*((part.start - 0.5, part.stop - 0.5) for part in box))
    points = np.array([[x, y, z] for z, y, x in ends]) * np.array(frame.spacing_mm[::-1]) + np.array(frame.origin)
    index = (points - np.array(grid.origin)) @ to_index.T / np.array(grid.spacing_mm[::-1])
    low, high = np.floor(index.min(0))[::-1].astype(int), np.ceil(index.max(0))[::-1].astype(int)
    z, y, x = (slice(max(0, int(a)), min(n, int(b) + 1)) for a, b, n in zip(low, high, grid.shape, strict=True))
    found = (z, y, x)
    return found if all(part.start < part.stop for part in found) else None


def _sampled(image: Any, grid: Grid, box: Box, outside: float) -> NDArray[np.float32]:
    reference = _reference(grid, box)
    found = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear, outside, sitk.sitkFloat32)
    array: NDArray[np.float32] = sitk.GetArrayFromImage(found)
    return array


def _image_of(array: NDArray[np.floating[Any]], frame: Grid, box: Sequence[slice]) -> Any:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, np.float32))
    image.SetSpacing(frame.spacing_mm[::-1])
    starts = [part.start for part in box][::-1]
    image.SetOrigin([o + s * n for o, s, n in zip(frame.origin, frame.spacing_mm[::-1], starts, strict=True)])
    return image


def _reference(grid: Grid, box: Box | None = None) -> Any:
    """Return a resampler's size, origin, spacing and direction as an image without voxels of its own."""
    shape = grid.shape if box is None else tuple(part.stop - part.start for part in box)
    starts = np.zeros(3) if box is None else np.array([part.start for part in box][::-1], float)
    direction = np.reshape(grid.direction, (3, 3))
    origin = np.array(grid.origin) + direction @ (starts * np.array(grid.spacing_mm[::-1]))
    image = sitk.Image([int(n) for n in shape[::-1]], sitk.sitkUInt8)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin([float(value) for value in origin])
    image.SetDirection(grid.direction)
    return image
