"""The voxel grids on which formulas are sampled, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from label_gen._shapes import Points

__all__ = ["Box", "SampleGrid"]

Box = tuple[slice, slice, slice]
"""Slices of an array in its own axis order z, y, x."""

BLOCK_MM = 36.0
"""Edge of the blocks in which formulas are evaluated. Source: chosen here; small
enough that few parts of a body come near a block."""


@dataclass(frozen=True)
class SampleGrid:
    """Where the voxels of a volume lie.

    Attributes:
        shape: Voxels along z, y, x.
        spacing_mm: Voxel size in the order z, y, x.
        origin_mm: Centre of the first voxel, x, y, z in LPS.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    @classmethod
    def around(cls, centre_mm: Sequence[float], size_mm: Sequence[float], spacing_mm: Sequence[float]) -> SampleGrid:
        """Lay a grid of a given size (z, y, x) around a point (x, y, z)."""
        nz, ny, nx = (max(1, round(size / step)) for size, step in zip(size_mm, spacing_mm, strict=True))
        sz, sy, sx = (float(step) for step in spacing_mm)
        x, y, z = (c - 0.5 * (n - 1) * s for c, n, s in zip(centre_mm, (nx, ny, nz), (sx, sy, sz), strict=True))
        return cls((nz, ny, nx), (sz, sy, sx), (x, y, z))

    def box(self, low_mm: NDArray[np.float64], high_mm: NDArray[np.float64]) -> Box:
        """Return the part of the volume that a box with corners x, y, z in mm covers."""
        slices = []
        for axis in range(3):
            first, step, count = self.origin_mm[2 - axis], self.spacing_mm[axis], self.shape[axis]
            start = min(max(int(np.floor((low_mm[2 - axis] - first) / step)), 0), count)
            stop = min(max(int(np.ceil((high_mm[2 - axis] - first) / step)) + 1, start), count)
            slices.append(slice(start, stop))
        return slices[0], slices[1], slices[2]

    def blocks(self, box: Box) -> Iterator[tuple[Box, Points]]:
        """Yield boxes of about `BLOCK_MM` that tile a box, with the coordinates of their voxels."""
        nz, ny, nx = (max(8, round(BLOCK_MM / step)) for step in self.spacing_mm)
        for z in range(box[0].start, box[0].stop, nz):
            for y in range(box[1].start, box[1].stop, ny):
                for x in range(box[2].start, box[2].stop, nx):
                    block = (
                        slice(z, min(z + nz, box[0].stop)),
                        slice(y, min(y + ny, box[1].stop)),
                        slice(x, min(x + nx, box[2].stop)),
                    )
                    yield block, self.points(block)

    def points(self, box: Box) -> Points:
        """Return the coordinates x, y, z in mm of the voxels of a box, float32 (z, y, x)."""
        z, y, x = (
            (self.origin_mm[2 - k] + self.spacing_mm[k] * np.arange(box[k].start, box[k].stop)).astype(np.float32)
            for k in range(3)
        )
        zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
        return xx, yy, zz
