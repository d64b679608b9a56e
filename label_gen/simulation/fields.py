"""Smooth fields on a coarse grid that is laid into the world, not into the volume, and read on any finer grid."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from label_gen._sampling import SampleGrid
from label_gen._shapes import Points

__all__ = ["COARSE_MM", "FieldReader", "axes_of", "coarse_grid", "shrink_numbers"]

N = TypeVar("N", bound=np.unsignedinteger[Any])

COARSE_MM = 4.0
"""Voxel size of the coarse grid. Source: chosen here: smooth fields of muscles and organs lose nothing, and what is
computed on it costs a hundredth of the same at 0.8 mm."""


def coarse_grid(grid: SampleGrid, steps_mm: tuple[float, float, float] = (COARSE_MM,) * 3) -> SampleGrid:
    """Return the coarse grid that covers a grid, with voxel centres at whole multiples of its steps (z, y, x)."""
    first, shape = [], []
    for axis in range(3):
        low = grid.origin_mm[2 - axis]
        high = low + (grid.shape[axis] - 1) * grid.spacing_mm[axis]
        start, stop = int(np.floor(low / steps_mm[axis])), int(np.ceil(high / steps_mm[axis]))
        first.append(start * steps_mm[axis])
        shape.append(stop - start + 1)
    return SampleGrid((shape[0], shape[1], shape[2]), steps_mm, (first[2], first[1], first[0]))


def axes_of(grid: SampleGrid) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return x, y and z in mm of the voxels along the three axes of a grid."""
    x, y, z = (
        np.float64(grid.origin_mm[k]) + grid.spacing_mm[2 - k] * np.arange(grid.shape[2 - k], dtype=np.float64)
        for k in range(3)
    )
    return x, y, z


def shrink_numbers(numbers: NDArray[N], grid: SampleGrid, coarse: SampleGrid) -> NDArray[N]:
    """Return the highest number that each coarse voxel holds (z, y, x), so that thin sheets are not lost."""
    found = numbers
    for axis in range(3):
        index = np.rint(_places(grid, coarse, axis)).astype(int)
        present, starts = np.unique(index, return_index=True)
        part = np.maximum.reduceat(found, starts, axis=axis)
        shape = list(part.shape)
        shape[axis] = coarse.shape[axis]
        found = np.zeros(shape, numbers.dtype)
        found[tuple(present if k == axis else slice(None) for k in range(3))] = part
    return found


class FieldReader:
    """Reads coarse fields on a finer grid, by linear interpolation.

    Attributes:
        coarse: The coarse grid.
        grid: The fine grid.
    """

    def __init__(self, grid: SampleGrid, steps_mm: tuple[float, float, float] = (COARSE_MM,) * 3) -> None:
        self.grid = grid
        self.coarse = coarse_grid(grid, steps_mm)
        self._weights = [self._hat(axis) for axis in range(3)]

    def _hat(self, axis: int) -> NDArray[np.float32]:
        """Return the shares of the coarse voxels in each fine voxel along an axis, (fine, coarse)."""
        place = _places(self.grid, self.coarse, axis)
        index = np.arange(self.coarse.shape[axis])
        return np.maximum(1.0 - np.abs(place[:, None] - index[None, :]), 0.0).astype(np.float32)

    def slab(self, field: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
        """Return a field (coarse z, y, x) in the fine slices from `start` to `stop`, float32 (z, y, x)."""
        along_z = np.tensordot(self._weights[0][start:stop], field, 1)
        along_y = np.matmul(self._weights[1], along_z)
        # As one product of two matrices: NumPy hands stacks with a transposed one to no BLAS.
        read: NDArray[np.float32] = along_y.reshape(-1, along_y.shape[2]) @ self._weights[2].T
        return read.reshape(*along_y.shape[:2], -1)

    def at(self, field: NDArray[Any], points: Points) -> NDArray[np.float32]:
        """Return a field at points in mm."""
        first, steps = self.coarse.origin_mm, self.coarse.spacing_mm
        places = [(points[2 - axis] - first[2 - axis]) / steps[axis] for axis in range(3)]
        found: NDArray[np.float32] = map_coordinates(field, places, order=1, mode="nearest", output=np.float32)
        return found


def _places(grid: SampleGrid, coarse: SampleGrid, axis: int) -> NDArray[np.float64]:
    """Return where the voxels of a grid lie along an axis, in coarse voxels."""
    places: NDArray[np.float64] = axes_of(grid)[2 - axis] - coarse.origin_mm[2 - axis]
    return places / coarse.spacing_mm[axis]
