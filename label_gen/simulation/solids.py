"""Bones as solids: a formula, or a bone of a label volume, asked for the depth below its surface at any point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import edt
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from label_gen._shapes import FAR, Field, Points
from label_gen.errors import DataError

__all__ = ["SampledSolid", "Solid", "solids_of_labels"]

MARGIN_MM = 8.0
"""Width of the rim of a sampled solid in which depth is known. Source: chosen here, the reach of blends and gaps."""

SMOOTHING_VOXELS = 0.6
"""Standard deviation of the smoothing of sampled depths. Source: chosen here: it removes the steps of a binary volume
and moves a flat surface nowhere."""

MIN_BONE_MM3 = 2000.0
"""Less than this is no bone to break. Source: chosen here, a fingertip."""


class Solid(Protocol):
    """Something with an inside, in world millimetres (LPS)."""

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the corners x, y, z in mm of a box that holds the solid."""

    def depth(self, points: Points) -> Field:
        """Return the depth in mm below the surface at points x, y, z; negative outside, near a distance close by."""


@dataclass(frozen=True)
class SampledSolid:
    """A bone of a label volume: signed distances on a grid, interpolated linearly.

    Attributes:
        depths: Depth in mm, positive inside, float32 (z, y, x).
        spacing_mm: Voxel size in the order z, y, x.
        origin_mm: Centre of the first voxel, x, y, z in LPS.
    """

    depths: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    @classmethod
    def from_mask(
        cls, mask: NDArray[np.bool_], spacing_mm: Sequence[float], origin_mm: Sequence[float]
    ) -> SampledSolid:
        """Make a solid of a mask. Where the mask touches the edge of its volume, the bone goes on beyond it.

        Args:
            mask: The bone, bool (z, y, x), not empty.
            spacing_mm: Voxel size in the order z, y, x.
            origin_mm: Centre of the first voxel, x, y, z in LPS; the axes are those of LPS.

        Returns:
            The solid.
        """
        steps = [float(step) for step in spacing_mm]
        inner, pads, first = [], [], []
        for axis in range(3):
            here = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
            margin = int(np.ceil(MARGIN_MM / steps[axis]))
            start, stop = int(here[0]) - margin, int(here[-1]) + 1 + margin
            low, high = max(start, 0), min(stop, mask.shape[axis])
            inner.append(slice(low, high))
            pads.append((low - start, stop - high))
            first.append(float(origin_mm[2 - axis]) + start * steps[axis])
        # A side that the mask does not touch is padded with zeros by this as well.
        padded = np.ascontiguousarray(np.pad(mask[tuple(inner)], pads, mode="edge"))
        half = min(steps) / 2
        inside = edt.edt(padded, anisotropy=tuple(steps), black_border=False, parallel=1)
        outside = edt.edt(~padded, anisotropy=tuple(steps), black_border=False, parallel=1)
        depths = np.where(padded, inside - half, half - outside).astype(np.float32)
        depths = gaussian_filter(np.clip(depths, FAR, None), SMOOTHING_VOXELS, truncate=3.0)
        return cls(depths, (steps[0], steps[1], steps[2]), (first[2], first[1], first[0]))

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the corners x, y, z in mm of a box that holds the solid."""
        low = np.array(self.origin_mm)
        size = np.array([(n - 1) * step for n, step in zip(self.depths.shape, self.spacing_mm, strict=True)])[::-1]
        margin = MARGIN_MM - max(self.spacing_mm)
        return low + margin, low + size - margin

    def depth(self, points: Points) -> Field:
        """Return the depth in mm at points: positive inside, `FAR` far outside."""
        index = [
            (points[2 - axis] - np.float32(self.origin_mm[2 - axis])) / np.float32(self.spacing_mm[axis])
            for axis in range(3)
        ]
        if index[0].size == 0:
            return np.zeros(np.shape(index[0]), np.float32)
        box = []
        for place, n in zip(index, self.depths.shape, strict=True):
            low, high = int(np.floor(place.min())), int(np.ceil(place.max())) + 1
            if high <= 0 or low >= n:
                return np.full(np.shape(index[0]), FAR, np.float32)
            box.append(slice(max(low, 0), min(high, n)))
        part = self.depths[tuple(box)]
        if float(part.max()) <= FAR / 2:
            return np.full(np.shape(index[0]), FAR, np.float32)
        for k in range(3):
            index[k] = index[k] - np.float32(box[k].start)
        found: Field = map_coordinates(part, index, order=1, mode="constant", cval=FAR, output=np.float32)
        return found


def solids_of_labels(
    labels: NDArray[np.integer[Any]],
    spacing_mm: Sequence[float],
    origin_mm: Sequence[float],
    names: Mapping[str, int],
) -> dict[str, SampledSolid]:
    """Return the bones of a label volume as solids.

    Args:
        labels: Bones by number (z, y, x), 0 elsewhere; axes are those of LPS.
        spacing_mm: Voxel size in the order z, y, x.
        origin_mm: Centre of the first voxel, x, y, z in LPS.
        names: Number of each bone by its name (a scheme's `anatomy`).

    Returns:
        The bones that are there, by name, in the order of `names`.

    Raises:
        DataError: The labels hold numbers that are no bone's, or no bone.
    """
    counts = np.bincount(labels.ravel()) if labels.size and int(labels.min()) >= 0 else None
    known = ", ".join(f"{number} {name}" for name, number in names.items())
    if counts is None:
        raise DataError(f"labels are empty or below 0; bones are numbered {known}")
    wrong = [int(number) for number in np.flatnonzero(counts) if number and number not in names.values()]
    if wrong:
        raise DataError(
            f"label {', '.join(map(str, wrong[:5]))} is no bone; bones are numbered {known}. Renumber the labels"
        )
    voxel_mm3 = float(np.prod([float(step) for step in spacing_mm]))
    solids = {}
    for name, number in names.items():
        if number < len(counts) and counts[number] * voxel_mm3 >= MIN_BONE_MM3:
            solids[name] = SampledSolid.from_mask(labels == number, spacing_mm, origin_mm)
    if not solids:
        raise DataError(f"there is no bone in the labels: no number has {MIN_BONE_MM3:g} mm3; bones are {known}")
    return solids
