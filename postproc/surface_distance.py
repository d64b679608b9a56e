"""Surface distance: how far the surfaces of two masks are from each other, in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from label_gen.errors import DataError
from label_gen.grid import bounding_box, check_same_shape, check_spacing

__all__ = ["SurfaceDistances", "directed_distances", "erode_6", "mask_radius", "surface_distances", "surface_voxels"]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances from every surface voxel of each mask to the nearest surface voxel of the other mask.

    Surface voxels count alike whatever area they stand for. All figures are infinite when a surface is empty.

    Attributes:
        forward: From the first mask to the second: float32 array, millimetres, in no particular order.
        backward: From the second mask to the first.
    """

    forward: NDArray[np.float32]
    backward: NDArray[np.float32]

    @classmethod
    def between(
        cls, first: NDArray[np.int64], second: NDArray[np.int64], spacing_mm: Sequence[float]
    ) -> SurfaceDistances:
        """Measure the distances between two sets of surface voxels, given as indices (voxel, axis)."""
        return cls(directed_distances(first, second, spacing_mm), directed_distances(second, first, spacing_mm))

    @property
    def is_defined(self) -> bool:
        """Whether both surfaces have voxels."""
        return bool(len(self.forward) and len(self.backward))

    @property
    def hd95(self) -> float:
        """Larger of the two directed 95th percentiles, in millimetres.

        Source: Maier-Hein et al. 2024 (Metrics Reloaded), Hausdorff distance 95th percentile.
        """
        if not self.is_defined:
            return np.inf
        return max(float(np.percentile(_sorted(side), 95)) for side in (self.forward, self.backward))

    @property
    def assd(self) -> float:
        """Mean of the two directed mean distances, in millimetres.

        Source: PENGWIN 2024 (arXiv:2504.02382), ASSD. Others weight the two directions by their numbers of voxels.
        """
        if not self.is_defined:
            return np.inf
        return (float(_sorted(self.forward).mean()) + float(_sorted(self.backward).mean())) / 2

    @property
    def hausdorff(self) -> float:
        """Largest distance of either direction, in millimetres."""
        return float(max(self.forward.max(), self.backward.max())) if self.is_defined else np.inf


def surface_distances(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks.

    Args:
        first: Boolean mask (z, y, x).
        second: Boolean mask of the same shape.
        spacing_mm: Spacing in array order (z, y, x), in millimetres.

    Returns:
        The distances in both directions.

    Raises:
        DataError: A mask is not boolean and 3D.
        GridError: The shapes differ.
        UsageError: The spacing is not three positive numbers.
    """
    spacing = check_spacing(spacing_mm)
    check_same_shape(first, second, ("the first mask", "the second mask"))
    points = []
    for mask, what in ((first, "first"), (second, "second")):
        if mask.dtype != bool or mask.ndim != 3:
            raise DataError(
                f"the {what} mask must be boolean with three axes (z, y, x). Got: dtype {mask.dtype}, "
                f"shape {mask.shape}; compare the labels with a number first, as in `labels == 1`"
            )
        box = bounding_box(mask)
        if box is None:
            points.append(np.empty((0, 3), np.int64))
        else:
            points.append(surface_voxels(mask[box], [side.start for side in box]))
    return SurfaceDistances.between(points[0], points[1], spacing)


def surface_voxels(mask: NDArray[np.bool_], origin: Sequence[int] = (0, 0, 0)) -> NDArray[np.int64]:
    """Return the voxels of a mask that have one of their 6 neighbours outside it.

    What lies beyond the array counts as outside, so a box cut tightly around the mask has the same surface as the
    whole volume, and a bone cut by the field of view ends in a surface there.

    Args:
        mask: Boolean array (z, y, x).
        origin: Index of the array's first voxel in the volume.

    Returns:
        Int64 array (voxel, axis) of indices in the volume, in C order.

    Source: inner boundary with face neighbours, chosen here: one layer of voxels that belong to the mask, so that
        equal masks are at distance 0 and a gap is measured from bone to bone.
    """
    return np.argwhere(mask & ~erode_6(mask)) + np.asarray(origin, np.int64)


def erode_6(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask without the voxels that have one of their 6 neighbours outside the mask or the array."""
    eroded = mask.copy(order="K")
    for axis in range(3):
        inner, outer = np.moveaxis(eroded, axis, 0), np.moveaxis(mask, axis, 0)
        inner[1:] &= outer[:-1]
        inner[:-1] &= outer[1:]
        inner[0] = inner[-1] = False
    return eroded


def directed_distances(
    points: NDArray[np.integer[Any]], targets: NDArray[np.integer[Any]], spacing_mm: Sequence[float]
) -> NDArray[np.float32]:
    """Measure the distance from every point to the nearest target.

    The nearest target comes from a k-d tree; its distance is then recomputed from whole numbers of voxels, summed in
    an order that depends on the spacing only, so that another axis order gives the same bits.

    Args:
        points: Voxel indices (point, axis).
        targets: Voxel indices (target, axis).
        spacing_mm: Spacing per axis, in millimetres.

    Returns:
        Float32 array (point), millimetres, in the order of the points; infinite without targets.
    """
    spacing = np.asarray(spacing_mm, np.float64)
    if not len(targets) or not len(points):
        return np.full(len(points), np.inf, np.float32)
    _, nearest = cKDTree(targets * spacing).query(points * spacing)
    steps = (points - targets[nearest]).astype(np.int64)
    squared = np.zeros(len(points))
    for width in np.unique(spacing):
        squared += width**2 * (steps[:, spacing == width] ** 2).sum(axis=1)
    return np.sqrt(squared).astype(np.float32)


def mask_radius(mask: NDArray[np.bool_], spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)) -> float:
    """Return the largest distance of a voxel of a mask from the mask's centroid.

    Args:
        mask: Boolean array (z, y, x) with at least one voxel set.
        spacing_mm: Spacing in array order, in millimetres; the default gives voxels.

    Returns:
        The distance between voxel centres, in the unit of the spacing.
    """
    points = surface_voxels(mask)
    squares = np.empty(points.shape)
    for axis, width in enumerate(spacing_mm):
        others = tuple(i for i in range(3) if i != axis)
        profile = np.count_nonzero(mask, axis=others)
        centre = int((profile * np.arange(len(profile))).sum()) / int(profile.sum())
        squares[:, axis] = ((points[:, axis] - centre) * width) ** 2
    # The three terms are added in order of size, so that the axis order does not matter to the last bit.
    return float(np.sqrt(np.sort(squares, axis=1).sum(axis=1).max()))


def _sorted(distances: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return distances in double precision, ascending, so that sums do not depend on the order of the voxels."""
    return np.sort(distances).astype(np.float64)
