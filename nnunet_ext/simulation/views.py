"""The field of view of a simulated patient: the grid of its volumes, laid around the bones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen._sampling import SampleGrid
from label_gen.simulation.solids import Solid

__all__ = ["PHANTOM_SIZE_MM", "lay_grid", "lay_phantom_grid"]

DEFAULT_SPACING_MM = (1.0, 1.0, 1.0)
"""Voxel size where none is given and there is no CT. Source: chosen here, near the 0.8 mm of real CT."""

PHANTOM_SIZE_MM = (330.0, 230.0, 366.0)
"""Field of view (z, y, x) that a parametric pelvis needs. Source: median of 50."""

MARGIN_MM = (15.0, 30.0, 30.0)
"""Room (z, y, x) around the bones. Source: chosen here, so that moved fragments stay in view."""

LOOK_MM = 5.0
"""Step in which the extent of a bone is looked up. Source: chosen here, thinner than any bone."""

STUMP_MM = 25.0
"""How far above the lower end of a parametric femur the view ends. Source: chosen here, more than its round end."""

CUT_MM = 3.0
"""How far inside the label volume the view ends where a bone leaves that. Source: chosen here, so that the end of the
bone stays out of view when sizes vary."""

FEMUR_BELOW_MM = 90.0
"""How much of the femora is in view below the other bones. Source: chosen here, as in CT of the pelvis."""

FEMUR_ALONE_MM = 230.0
"""How much of a femur is in view where there is no other bone. Source: chosen here; it breaks in the upper 170 mm."""


def lay_phantom_grid(
    bones: Mapping[str, Solid],
    spacing_mm: tuple[float, float, float] | None,
    field_of_view_mm: tuple[float, float, float] | None,
) -> SampleGrid:
    """Lay the grid of a parametric pelvis.

    Args:
        bones: The bones.
        spacing_mm: Voxel size in the order z, y, x; None for 1 mm.
        field_of_view_mm: Size in the order z, y, x, around the middle of the bones; None for what they need.
    """
    low, high = _extent_of(bones)
    if field_of_view_mm is None:
        low, high = low - np.array(MARGIN_MM[::-1]), high + np.array(MARGIN_MM[::-1])
        low[2] = max(low[2], *(solid.bounds()[0][2] + STUMP_MM for name, solid in bones.items() if "femur" in name))
    size = field_of_view_mm or (high - low)[::-1].tolist()
    return SampleGrid.around(((low + high) / 2).tolist(), size, spacing_mm or DEFAULT_SPACING_MM)


def lay_grid(
    bones: Mapping[str, Solid],
    labels: NDArray[np.integer[Any]],
    label_spacing_mm: Sequence[float],
    label_origin_mm: Sequence[float],
    has_ct: bool,
    spacing_mm: tuple[float, float, float] | None,
    field_of_view_mm: tuple[float, float, float] | None,
) -> SampleGrid:
    """Lay the grid of a patient whose bones come from a label volume.

    Args:
        bones: The bones.
        labels: The label volume (z, y, x), axes along LPS.
        label_spacing_mm: Its voxel size in the order z, y, x.
        label_origin_mm: Centre of its first voxel, x, y, z.
        has_ct: There is a CT on the same grid. The view is then that of the CT, or lies inside it.
        spacing_mm: Voxel size in the order z, y, x; None for that of the CT, or 1 mm.
        field_of_view_mm: Size in the order z, y, x, around the middle of the bones; None for that of the CT, or the
            bones with some room around them: femora in part, and no further than the label volume where a bone leaves
            it.

    Returns:
        The grid.
    """
    steps = np.asarray(label_spacing_mm, float)[::-1]
    first = np.asarray(label_origin_mm, float)
    last = first + (np.asarray(labels.shape[::-1]) - 1) * steps
    if has_ct and spacing_mm is None and field_of_view_mm is None:
        nz, ny, nx = labels.shape
        dz, dy, dx = (float(step) for step in label_spacing_mm)
        x, y, z = (float(value) for value in first)
        return SampleGrid((nz, ny, nx), (dz, dy, dx), (x, y, z))
    low, high = _extent_of(bones)
    if field_of_view_mm is not None:
        half = np.asarray(field_of_view_mm, float)[::-1] / 2
        low, high = (low + high) / 2 - half, (low + high) / 2 + half
        if has_ct:
            low, high = np.maximum(low, first - steps / 2), np.minimum(high, last + steps / 2)
    elif has_ct:
        low, high = first - steps / 2, last + steps / 2
    else:
        margin = np.array(MARGIN_MM[::-1])
        low, high = low - margin, high + margin
        for axis in range(3):  # x, y, z
            if np.take(labels, 0, axis=2 - axis).any():
                low[axis] = max(low[axis], first[axis] + CUT_MM)
            if np.take(labels, -1, axis=2 - axis).any():
                high[axis] = min(high[axis], last[axis] - CUT_MM)
    own = tuple(float(step) for step in label_spacing_mm) if has_ct else DEFAULT_SPACING_MM
    return SampleGrid.around(((low + high) / 2).tolist(), (high - low)[::-1].tolist(), spacing_mm or own)


def _extent_of(bones: Mapping[str, Solid]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners x, y, z of the box that holds the bones, of femora only their upper part."""
    boxes = {name: _box_of(solid) for name, solid in bones.items()}
    low = np.min([box[0] for box in boxes.values()], axis=0)
    high = np.max([box[1] for box in boxes.values()], axis=0)
    others = [box[0][2] for name, box in boxes.items() if "femur" not in name]
    floor = min(others) - FEMUR_BELOW_MM if others else high[2] - FEMUR_ALONE_MM
    low[2] = max(low[2], floor)
    return low, high


def _box_of(solid: Solid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners x, y, z of a bone to within a few mm; its own bounds are wider."""
    low, high = solid.bounds()
    grid = SampleGrid.around(((low + high) / 2).tolist(), (high - low)[::-1].tolist(), (LOOK_MM,) * 3)
    found = [np.empty((0, 3))]
    for _, points in grid.blocks((slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))):
        is_inside = solid.depth(points) > -LOOK_MM / 2
        found.append(np.stack([axis[is_inside] for axis in points], axis=1))
    places = np.concatenate(found)
    return (places.min(axis=0), places.max(axis=0)) if len(places) else (low, high)
