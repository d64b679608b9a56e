"""Scores of whole structures: overlap, volume and surface of one predicted mask against the true one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError, GridError, UsageError
from label_gen.grid import Box, bounding_box, check_same_shape, check_spacing, enclose, place_box
from postproc.mesh_distance import MeshDistances, mask_mesh, mesh_distances
from postproc.paired_surfaces import PairedSurfaces, boundary, paired_surfaces, surface_figures
from postproc.structure_overlaps import overlap_figures

__all__ = ["StructurePair", "StructureScores", "check_pair", "end_slices", "score_structure"]

End = Literal["first", "last", "both"]


@dataclass(frozen=True)
class StructureScores:
    """Scores of one structure of one case.

    A figure without a basis is NaN (all of a structure that neither mask has). Where only one of the masks has the
    structure, Dice and Jaccard are 0, distances without a sign are infinite, those with a sign are NaN.

    Attributes:
        reference_mm3: Volume in the reference.
        prediction_mm3: Volume in the prediction.
        dice: Dice coefficient, 0 to 1.
        jaccard: Intersection over union, 0 to 1.
        sensitivity: Share of the true voxels that is found.
        specificity: Share of the other voxels that is left alone; depends on the field of view.
        volume_similarity: 1 - (difference of volumes) / (their sum), 0 to 1.
        signed_volume_similarity: The same above 1 where the prediction is too large, 0 to 2.
        asd_mm: Average surface distance, over the voxels of both surfaces together.
        hd95_mm: Hausdorff distance, 95th percentile: the larger of both directions.
        abs_surface_p95_mm: Distance that 95 % of the true surface's area keeps from the predicted one, triangulated.
        abs_surface_median_mm: The same of half of its area.
        signed_surface_p95_mm: As `abs_surface_p95_mm`, positive where the prediction lies outside, negative inside.
        signed_surface_median_mm: As `abs_surface_median_mm`, signed.
    """

    reference_mm3: float
    prediction_mm3: float
    dice: float
    jaccard: float
    sensitivity: float
    specificity: float
    volume_similarity: float
    signed_volume_similarity: float
    asd_mm: float
    hd95_mm: float
    abs_surface_p95_mm: float
    abs_surface_median_mm: float
    signed_surface_p95_mm: float
    signed_surface_median_mm: float


class StructurePair:
    """Prediction and reference of one structure; surfaces are measured once, for any number of regions."""

    def __init__(
        self,
        prediction: NDArray[np.bool_],
        reference: NDArray[np.bool_],
        spacing_mm: Sequence[float],
        *,
        place: tuple[Box, Sequence[int]] | None = None,
    ) -> None:
        """Keep the masks in the box that holds both.

        Args:
            prediction: Predicted mask (z, y, x), boolean.
            reference: True mask of the same shape.
            spacing_mm: Spacing in array order, in millimetres.
            place: Where the arrays are a part of a volume that holds all of the structure: their box in the volume, and
                the shape of the volume. Regions are then those of the volume.

        Raises:
            DataError: A mask is not boolean or not 3D.
            GridError: The shapes differ.
            UsageError: The spacing is not three positive numbers.
        """
        self.spacing_mm = check_spacing(spacing_mm)
        check_pair(prediction, reference)
        whole = (slice(0, reference.shape[0]), slice(0, reference.shape[1]), slice(0, reference.shape[2]))
        origin, shape = place or (whole, reference.shape)
        self.shape = tuple(int(n) for n in shape)
        boxes = [box for mask in (prediction, reference) if (box := bounding_box(mask)) is not None]
        own: Box = enclose(boxes) if boxes else (slice(0, 1), slice(0, 1), slice(0, 1))
        self.box = place_box(own, origin)
        self.prediction, self.reference = prediction[own], reference[own]

    @cached_property
    def surfaces(self) -> PairedSurfaces:
        """Distances between the surface voxels, indices in the box."""
        return paired_surfaces(boundary(self.prediction), boundary(self.reference), self.spacing_mm)

    @cached_property
    def _triangles(self) -> tuple[MeshDistances, NDArray[np.int32]]:
        true = mask_mesh(self.reference, self.spacing_mm)
        return mesh_distances(true, mask_mesh(self.prediction, self.spacing_mm)), true.places

    def score(self, region: NDArray[np.bool_] | None = None) -> StructureScores:
        """Return the scores, of a region or of the whole.

        Args:
            region: Boolean array (z, y, x) of the shape of the volume: voxels that count. Surface points in it are
                measured against the whole other surface, so that the region's own limits are no surface.

        Returns:
            The scores.

        Raises:
            DataError: The region is not boolean.
            GridError: It is of another shape.
        """
        predicted, true, surfaces = self.prediction, self.reference, self.surfaces
        triangles, places = self._triangles
        total = math.prod(self.shape)
        if region is not None:
            own = self.cut(region)
            total = int(np.count_nonzero(region))
            predicted, true, surfaces = predicted & own, true & own, surfaces.within(own)
            is_inside = own[tuple(places.T)]
            triangles = MeshDistances(triangles.signed_mm[is_inside], triangles.areas_mm2[is_inside])
        shared, found, wanted = (int(np.count_nonzero(mask)) for mask in (predicted & true, predicted, true))
        voxel = float(np.prod(sorted(self.spacing_mm)))
        has_both = self.prediction.any() and self.reference.any()
        return StructureScores(
            reference_mm3=wanted * voxel,
            prediction_mm3=found * voxel,
            **{name: float(value) for name, value in overlap_figures(shared, found, wanted, total).items()},
            **surface_figures(surfaces),
            abs_surface_p95_mm=triangles.percentile(95, signed=False),
            abs_surface_median_mm=triangles.percentile(50, signed=False),
            signed_surface_p95_mm=triangles.percentile(95, signed=True) if has_both else np.nan,
            signed_surface_median_mm=triangles.percentile(50, signed=True) if has_both else np.nan,
        )

    def cut(self, region: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a region in the box of the masks.

        Args:
            region: Boolean array of the shape of the volume.

        Raises:
            DataError: The region is not boolean.
            GridError: It is of another shape.
        """
        if region.dtype != bool:
            raise DataError(
                f"the region must be boolean. Got: dtype {region.dtype}; compare with a number first, as in `mask > 0`"
            )
        if region.shape != self.shape:
            raise GridError(
                f"the region must have the grid of the masks. Got: shapes {region.shape} and {self.shape}; resample it "
                "onto their grid with nearest-neighbour interpolation"
            )
        return region[self.box]

    def end_slices(self, count: int = 20, axis: int = 0, end: End = "first") -> NDArray[np.bool_]:
        """Return the region of the outermost slices of the reference in the volume; see the function `end_slices`.

        Args:
            count: Number of slices.
            axis: Axis that slices follow each other along.
            end: `first`, `last` or `both`.

        Raises:
            UsageError: As for the function.
        """
        _check_slices(count, axis, end)
        line = np.zeros(self.shape[axis], bool)
        line[self.box[axis]] = end_slices(self.reference, count, axis, end).any(axis=_others(axis))
        return np.broadcast_to(np.expand_dims(line, _others(axis)), self.shape)


def score_structure(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    *,
    region: NDArray[np.bool_] | None = None,
) -> StructureScores:
    """Score one predicted structure against the true one.

    Args:
        prediction: Predicted mask (z, y, x), boolean.
        reference: True mask of the same shape.
        spacing_mm: Spacing in array order (z, y, x), in millimetres.
        region: Boolean array of the same shape: voxels that count; all if None. See `StructurePair.score`.

    Returns:
        The scores.

    Raises:
        DataError: An array is not boolean or not 3D.
        GridError: The shapes differ.
        UsageError: The spacing is not three positive numbers.
    """
    return StructurePair(prediction, reference, spacing_mm).score(region)


def end_slices(reference: NDArray[np.bool_], count: int = 20, axis: int = 0, end: End = "first") -> NDArray[np.bool_]:
    """Return the region of the outermost slices that a structure has.

    Args:
        reference: True mask (z, y, x), boolean.
        count: Number of slices; slices without the structure do not count.
        axis: Axis that slices follow each other along.
        end: `first` for the lowest indices, `last` for the highest, `both`.

    Returns:
        Boolean array of the shape of the mask, without memory of its own and not to be written to.

    Raises:
        UsageError: The count is not positive, there is no such axis, or no such end.

    Source: seed 002 (Pivi and Fusconi), materials and methods: the heads of a femur are the first and the last 20 axial
        slices that hold it.
    """
    _check_slices(count, axis, end)
    filled = np.flatnonzero(reference.any(axis=_others(axis)))
    line = np.zeros(reference.shape[axis], bool)
    if end != "last":
        line[filled[:count]] = True
    if end != "first":
        line[filled[-count:]] = True
    return np.broadcast_to(np.expand_dims(line, _others(axis)), reference.shape)


def _check_slices(count: int, axis: int, end: str) -> None:
    if count < 1:
        raise UsageError(f"the number of end slices must be 1 or more. Got: {count}")
    if axis not in (0, 1, 2):
        raise UsageError(f"the slice axis must be 0, 1 or 2, in array order (z, y, x). Got: {axis}")
    if end not in get_args(End):
        raise UsageError(f"end must be one of {', '.join(get_args(End))}. Got: {end!r}")


def _others(axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(3) if i != axis)


def check_pair(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> None:
    """Check that two arrays are masks of one volume.

    Args:
        prediction: Any array.
        reference: Any array.

    Raises:
        DataError: One is not boolean or not 3D.
        GridError: The shapes differ.
    """
    for mask, what in ((prediction, "prediction"), (reference, "reference")):
        if mask.dtype != bool or mask.ndim != 3:
            raise DataError(
                f"the {what} must be boolean with three axes (z, y, x). Got: dtype {mask.dtype}, shape {mask.shape}; "
                "compare the labels with a number first, as in `labels == 1`"
            )
    check_same_shape(prediction, reference, ("prediction", "reference"))
