"""Grids in the patient: the model's grid round the bones, and volumes taken from one grid to another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from label_gen.errors import DataError
from label_gen.grid import Box, grow_box
from nnunet_ext.grids import Grid
from nnunet_ext.volumes import Volume

__all__ = ["IndexMap", "box_in", "crop", "crop_grid", "index_map", "model_grid", "resampled"]

STRAIGHT = 0.02
"""How many voxels the far end of an axis may lie beside another's direction for the two to count as parallel.
Source: chosen here; NIfTI's rounding of directions (3e-4) would be 0.15 voxels at 500, that of NRRD and DICOM 1e-6."""

SAME_SPACING = 1e-3
"""Relative difference up to which the CT's spacing counts as the model's, and its voxels are used as they are.
Source: chosen here; over 500 voxels the model sees lengths wrong by one part in a thousand, as nnU-Net does too."""


@dataclass(frozen=True)
class IndexMap:
    """Where the voxels of one grid lie in another: source index = matrix @ target index + offset, in array order.

    Attributes:
        matrix: Shape (3, 3).
        offset: Shape (3,).
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def axes(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """Return the source axis that each target axis runs along; None where the grids are oblique to each other.

        Args:
            shape: Of the target, which says how far an axis may stray.
        """
        size = np.abs(self.matrix)
        axes = tuple(int(axis) for axis in size.argmax(axis=0))
        if sorted(axes) != [0, 1, 2]:
            return None
        stray = size.copy()
        stray[list(axes), range(3)] = 0.0
        return axes if bool((stray @ np.asarray(shape, float)).max() <= STRAIGHT) else None


def index_map(source: Grid, target: Grid) -> IndexMap:
    """Return where the voxels of a target grid lie in a source grid.

    Args:
        source: The grid that is read.
        target: The grid whose voxels are sought.
    """
    ours, theirs = _to_world(source), _to_world(target)
    shift = np.asarray(target.origin) - np.asarray(source.origin)
    matrix: NDArray[np.float64] = np.linalg.solve(ours, theirs).astype(np.float64)
    return IndexMap(matrix, np.linalg.solve(ours, shift).astype(np.float64))


def _to_world(grid: Grid) -> NDArray[np.float64]:
    """Return the matrix from indices (z, y, x) to LPS millimetres (x, y, z), origin left out."""
    matrix: NDArray[np.float64] = np.reshape(grid.direction, (3, 3))[:, ::-1] * np.asarray(grid.spacing_mm)
    return matrix


def _corners(grid: Grid, box: Sequence[slice]) -> NDArray[np.float64]:
    """Return the outer corners of a box in LPS millimetres, shape (8, 3): edges of voxels, not their centres."""
    ends = [(s.start - 0.5, s.stop - 0.5) for s in box]
    corners: NDArray[np.float64] = np.array(list(itertools.product(*ends))) @ _to_world(grid).T
    corners += np.asarray(grid.origin)
    return corners


def model_grid(ct: Grid, box: Sequence[slice], spacing_mm: Sequence[float], margin_mm: float) -> Grid:
    """Return the grid on which the bones are predicted: axes along the patient's own, spacing of the model.

    However the CT was acquired, turned or stored, the voxels come to lie at the same places in the patient: at
    multiples of the spacing. Where axes and spacing are those of the CT, its own voxels are used.

    Args:
        ct: Grid of the CT.
        box: The box round the bones in it.
        spacing_mm: Spacing of the model in the order z, y, x of the patient (LPS).
        margin_mm: How far the grid reaches beyond the bones, within the CT.

    Returns:
        The grid, direction LPS.

    Raises:
        DataError: The CT is thinner than a voxel of the model.
    """
    corners = _corners(ct, box)
    low, high = corners.min(axis=0) - margin_mm, corners.max(axis=0) + margin_mm
    identity = Grid(ct.shape, (1.0, 1.0, 1.0))
    axes = index_map(ct, identity).axes(ct.shape)
    first, last, spacing, anchor = [], [], [], []
    for world, step in enumerate(reversed([float(s) for s in spacing_mm])):  # x, y, z
        origin = 0.0
        if axes is not None:  # stay within the CT, and on its voxels where these are as the model wants them
            along = axes[2 - world]
            ends = _axis_ends(ct, along, world)
            inside = (min(ends), max(ends))
            low[world], high[world] = max(low[world], inside[0]), min(high[world], inside[1])
            if math.isclose(ct.spacing_mm[along], step, rel_tol=SAME_SPACING):
                step, origin = ct.spacing_mm[along], inside[0]
        start = math.ceil((low[world] - origin) / step - 1e-6)
        stop = math.floor((high[world] - origin) / step + 1e-6)
        if stop < start:
            raise DataError(
                f"the CT is {high[world] - low[world]:.1f} mm thick, less than a voxel of the model ({step:g} mm); "
                "give a CT of the whole pelvis"
            )
        first.append(start)
        last.append(stop)
        spacing.append(step)
        anchor.append(origin + start * step)
    size = [b - a + 1 for a, b in zip(first, last, strict=True)]
    return Grid((size[2], size[1], size[0]), (spacing[2], spacing[1], spacing[0]), (anchor[0], anchor[1], anchor[2]))


def _axis_ends(grid: Grid, axis: int, world: int) -> tuple[float, float]:
    """Return where the first and the last voxel of an axis lie along a world axis that it is parallel to."""
    step = _to_world(grid)[world, axis]
    return grid.origin[world], grid.origin[world] + float(step) * (grid.shape[axis] - 1)


def box_in(grid: Grid, other: Grid, margin: int = 1) -> Box:
    """Return the box of a grid that another grid covers.

    Args:
        grid: The grid.
        other: The grid that lies on it.
        margin: By how many voxels to widen the box.

    Raises:
        DataError: The two have no voxel in common.
    """
    mapped = index_map(grid, Grid((1, 1, 1), (1.0, 1.0, 1.0)))
    index = _corners(other, [slice(0, n) for n in other.shape])[:, ::-1] @ mapped.matrix.T + mapped.offset
    low, high = index.min(axis=0), index.max(axis=0)
    box = [
        slice(max(0, math.ceil(a)), min(n, math.floor(b) + 1)) for a, b, n in zip(low, high, grid.shape, strict=True)
    ]
    if any(s.stop <= s.start for s in box):
        raise DataError("the two volumes do not overlap; give those of one patient")
    return grow_box(box, margin, grid.shape)


def crop_grid(grid: Grid, box: Sequence[slice]) -> Grid:
    """Return the grid of a box of voxels.

    Args:
        grid: The grid of the whole.
        box: The box in it.
    """
    start = np.array([s.start for s in box], float)
    x, y, z = (_to_world(grid) @ start + np.asarray(grid.origin)).tolist()
    shape = (box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start)
    return Grid(shape, grid.spacing_mm, (x, y, z), grid.direction)


def crop(volume: Volume, box: Box) -> Volume:
    """Return a box of a volume, in its place in the patient; voxels are not copied.

    Args:
        volume: The volume.
        box: The box in it.
    """
    return Volume.on_grid(volume.array[box], crop_grid(volume.grid, box))


def resampled(
    array: NDArray[Any], source: Grid, target: Grid, *, order: int, outside: float = 0.0, dtype: Any = None
) -> NDArray[Any]:
    """Return an array on another grid, interpolated.

    Args:
        array: Voxels (z, y, x) on the source grid.
        source: Their grid.
        target: The grid wanted.
        order: 0 nearest voxel, 1 linear, 3 cubic spline.
        outside: Value outside of the source; where the grids are parallel, the outermost voxels go on instead.
        dtype: Type of the result; that of the array if None.

    Returns:
        Voxels (z, y, x) on the target grid.
    """
    mapped = index_map(source, target)
    matrix, offset = mapped.matrix, mapped.offset
    kind = array.dtype if dtype is None else np.dtype(dtype)
    axes = mapped.axes(target.shape)
    if axes is None:
        filtered = ndimage.spline_filter(array, 3, output=np.float32, mode="mirror") if order == 3 else array
        mode = "constant"
        result: NDArray[Any] = ndimage.affine_transform(
            filtered, matrix, offset, target.shape, kind, order, mode, outside, prefilter=False
        )
        return result
    view, scale, shift = array.transpose(axes), [], []
    for place, axis in enumerate(axes):
        step, start = float(matrix[axis, place]), float(offset[axis])
        if step < 0:
            view = np.flip(view, place)
            step, start = -step, array.shape[axis] - 1 - start
        scale.append(step)
        shift.append(start)
    lattice = [np.rint(start) + np.arange(n) for start, n in zip(shift, target.shape, strict=True)]
    wanted = [start + step * np.arange(n) for start, step, n in zip(shift, scale, target.shape, strict=True)]
    if all(np.abs(a - b).max() <= STRAIGHT for a, b in zip(lattice, wanted, strict=True)):
        index = [np.clip(a, 0, n - 1).astype(np.intp) for a, n in zip(lattice, view.shape, strict=True)]
        return view[np.ix_(*index)].astype(kind, copy=False)
    if order == 3:
        view = ndimage.spline_filter(view, 3, output=np.float32, mode="mirror")
    result = ndimage.affine_transform(
        view,
        np.array(scale),
        np.array(shift),
        target.shape,
        kind,
        order,
        "mirror" if order == 3 else "nearest",
        0.0,
        False,
    )
    return result
