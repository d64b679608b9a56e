"""Random texture that repeats through space: a small tile of smooth noise, read at any place of the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from label_gen._sampling import SampleGrid
from label_gen._shapes import Field, Points
from label_gen.simulation.fields import axes_of

__all__ = ["Tile"]

EDGE_VOXELS = 96
"""Edge of a tile. Source: chosen here; long enough that no bone or organ shows the repetition."""


@dataclass(frozen=True)
class Tile:
    """A cube of noise with a mean of 0 and a standard deviation of 1, whose sides fit together.

    Attributes:
        values: float32 (z, y, x).
        step_mm: Size of its voxels.
    """

    values: NDArray[np.float32]
    step_mm: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, grain_mm: Sequence[float], step_mm: float, blur_mm: Sequence[float] = (0, 0, 0)
    ) -> Tile:
        """Draw a tile.

        Args:
            rng: Source of all randomness.
            grain_mm: Standard deviation of the smoothing, z, y, x.
            step_mm: Size of the tile's voxels.
            blur_mm: More smoothing, that weakens the texture as voxels of some size do.
        """
        noise = rng.standard_normal((EDGE_VOXELS,) * 3, dtype=np.float32)
        noise = gaussian_filter(noise, [g / step_mm for g in grain_mm], mode="wrap")
        noise = (noise - noise.mean()) / noise.std()
        if max(blur_mm) > 0:
            noise = gaussian_filter(noise, [b / step_mm for b in blur_mm], mode="wrap")
        return cls(noise.astype(np.float32), step_mm)

    def at(self, points: Points) -> Field:
        """Return the texture at points in mm, that of the nearest voxel of the tile."""
        x, y, z = (np.rint(p * np.float32(1.0 / self.step_mm)).astype(np.int32) % EDGE_VOXELS for p in points)
        found: Field = self.values[z, y, x]
        return found

    def slab(self, grid: SampleGrid, start: int, stop: int) -> NDArray[np.float32]:
        """Return the texture in the slices from `start` to `stop` of a grid, float32 (z, y, x)."""
        index = []
        for places in axes_of(grid):
            index.append(np.rint(places / self.step_mm).astype(np.intp) % EDGE_VOXELS)
        x, y, z = index
        part: NDArray[np.float32] = self.values[np.ix_(z[start:stop], y, x)]
        return part
