"""Put tilted or unevenly spaced slices onto a regular grid by linear interpolation, two slices in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError
from nnunet_ext.dicom.pixels import AIR_HU, read_slices
from nnunet_ext.dicom.stack import Stack
from nnunet_ext.volumes import Volume

__all__ = ["MAX_GAP_MM", "resample_stack"]

MAX_GAP_MM = 20.0
"""Widest gap that is bridged. Chosen here: over more, whole fragments would be made up."""

_MAX_SIDE = 2048
"""Largest number of rows or columns after tilted slices are set straight. Chosen here: four times the usual 512."""


def resample_stack(stack: Stack) -> tuple[Volume, tuple[str, ...]]:
    """Interpolate slices onto a regular grid.

    The planes keep their orientation and pixel spacing, so slices at regular places keep their pixels exactly; the grid
    grows sideways until it holds every slice. Between two slices, values at the same place in the patient are
    interpolated linearly along the normal. Where no slice reaches there is air.

    Args:
        stack: The slices, each at a position of its own.

    Returns:
        The volume, and warnings that say what was done.

    Raises:
        DataError: A gap is wider than `MAX_GAP_MM`, or slices lie too far aside of each other.
        VolumeFileError: A file is damaged.
    """
    steps = np.diff(stack.places)
    widest = int(steps.argmax())
    if steps[widest] > MAX_GAP_MM:
        raise DataError(
            f"'{stack.slices[widest].name}' and '{stack.slices[widest + 1].name}' are {steps[widest]:.4g} mm apart; "
            f"gaps of more than {MAX_GAP_MM:g} mm are not bridged: give the parts one by one"
        )
    pixel = np.array(stack.pixel_mm)
    lowest = stack.shifts.min(axis=0)
    offsets = (stack.shifts - lowest) / pixel
    first = stack.slices[0]
    columns, rows = (np.array([first.columns, first.rows]) + np.ceil(offsets.max(axis=0) - 1e-6)).astype(int).tolist()
    if max(columns, rows) > _MAX_SIDE:
        raise DataError(f"slices lie up to {np.abs(stack.shifts).max():.0f} mm aside of each other; this is no volume")
    count = int(np.floor((stack.places[-1] + 1e-3) / stack.step_mm)) + 1
    planes = _placed(stack, offsets, (rows, columns))
    below, above = next(planes), next(planes)
    array = np.empty((count, rows, columns), np.int16)
    limits, index, made_up = np.iinfo(np.int16), 0, 0
    for k in range(count):
        place = k * stack.step_mm
        while place > stack.places[index + 1] and index + 2 < len(stack.slices):
            below, above = above, next(planes)
            index += 1
        share = min(1.0, (place - stack.places[index]) / (stack.places[index + 1] - stack.places[index]))
        array[k] = np.clip(np.rint(below + np.float32(share) * (above - below)), limits.min, limits.max)
        made_up += min(share, 1 - share) * stack.step_mm > 0.1 * stack.step_mm
    origin = np.array(stack.origin) + stack.axes[:, :2] @ lowest
    volume = Volume(
        array,
        (stack.step_mm, stack.pixel_mm[1], stack.pixel_mm[0]),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        stack.direction,
    )
    note = (
        f"resampled onto {count} regular slices {stack.step_mm:.4g} mm apart, {made_up} of them interpolated between "
        "slices; fractures between slices may not show"
    )
    return volume, (note,)


def _placed(stack: Stack, offsets: NDArray[np.float64], size: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    """Yield each slice in its place on the grown plane, shifted by parts of pixels with linear interpolation."""
    for offset, plane in zip(offsets, read_slices(stack.slices), strict=True):
        yield _place(plane, offset, size)


def _place(plane: NDArray[Any], offset: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    placed = np.full((size[0] + 1, size[1] + 1), AIR_HU, np.float32)
    whole = np.floor(offset + 1e-6).astype(int)
    x, y = whole.tolist()
    rows, columns = plane.shape
    padded = np.full((rows + 2, columns + 2), AIR_HU, np.float32)
    padded[1:-1, 1:-1] = plane
    x_part, y_part = np.maximum(offset - whole, 0.0).astype(np.float32)
    if x_part:
        padded = np.concatenate([padded[:, :1], (1 - x_part) * padded[:, 1:] + x_part * padded[:, :-1]], axis=1)
    if y_part:
        padded = np.concatenate([padded[:1], (1 - y_part) * padded[1:] + y_part * padded[:-1]], axis=0)
    inside = padded[1:, 1:]
    height, width = min(rows + 1, size[0] + 1 - y), min(columns + 1, size[1] + 1 - x)
    placed[y : y + height, x : x + width] = inside[:height, :width]
    return placed[:-1, :-1]
