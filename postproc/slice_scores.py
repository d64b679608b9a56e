"""Scores slice by slice: overlap of areas and distance of outlines of one structure, as 2D networks are judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import UsageError
from postproc.paired_surfaces import boundary, paired_surfaces
from postproc.structure_overlaps import OVERLAP_FIGURES, overlap_figures
from postproc.structure_scores import StructurePair

__all__ = ["SLICE_FIGURES", "SliceScores", "score_slices", "slices_of"]

SLICE_FIGURES = (*OVERLAP_FIGURES, "asd_mm", "hd95_mm")
"""The figures of a slice; volumes are areas, surfaces are outlines within the slice."""


@dataclass(frozen=True, eq=False)
class SliceScores:
    """Scores of the slices that either mask has voxels in.

    Attributes:
        index: Int64 (slice,): place along the slice axis.
        figures: Float64 (slice,) by name, of `SLICE_FIGURES`; NaN and infinite as in `StructureScores`.
    """

    index: NDArray[np.int64]
    figures: Mapping[str, NDArray[np.float64]]

    def means(self) -> dict[str, float]:
        """Return the mean of the finite values of each figure; NaN without any."""
        finite = {name: values[np.isfinite(values)] for name, values in self.figures.items()}
        return {name: float(values.mean()) if len(values) else np.nan for name, values in finite.items()}


def score_slices(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    *,
    axis: int = 0,
    region: NDArray[np.bool_] | None = None,
) -> SliceScores:
    """Score one predicted structure against the true one in every slice.

    Args:
        prediction: Predicted mask (z, y, x), boolean.
        reference: True mask of the same shape.
        spacing_mm: Spacing in array order (z, y, x), in millimetres.
        axis: Axis that slices follow each other along; 0 for axial ones, as nnU-Net and SimpleITK store them.
        region: Boolean array of the same shape: voxels that count; all if None.

    Returns:
        The scores of the slices.

    Raises:
        DataError: An array is not boolean or not 3D.
        GridError: The shapes differ.
        UsageError: The spacing is not three positive numbers, or there is no such axis.

    Source: seed 002 (Pivi and Fusconi), section 4: 2D scores take the area of a slice where 3D scores take the volume.
        Slices without the structure in either mask are left out, chosen here: they have no Dice.
    """
    return slices_of(StructurePair(prediction, reference, spacing_mm), axis=axis, region=region)


def slices_of(pair: StructurePair, *, axis: int = 0, region: NDArray[np.bool_] | None = None) -> SliceScores:
    """Score the slices of a structure whose masks are at hand; see `score_slices`.

    Args:
        pair: Prediction and reference.
        axis: Axis that slices follow each other along.
        region: Boolean array of the shape of the volume: voxels that count.

    Returns:
        The scores of the slices.

    Raises:
        DataError: The region is not boolean.
        GridError: It is of another shape.
        UsageError: There is no such axis.
    """
    if axis not in (0, 1, 2):
        raise UsageError(f"the slice axis must be 0, 1 or 2, in array order (z, y, x). Got: {axis}")
    others = tuple(i for i in range(3) if i != axis)
    predicted, true = pair.prediction, pair.reference
    totals = np.full(true.shape[axis], math.prod(pair.shape) // pair.shape[axis], np.int64)
    own = None
    if region is not None:
        own = pair.cut(region)
        totals = np.count_nonzero(region, axis=others)[pair.box[axis]]
        predicted, true = predicted & own, true & own
    shared, found, wanted = (np.count_nonzero(mask, axis=others) for mask in (predicted & true, predicted, true))
    figures = overlap_figures(shared, found, wanted, totals)
    figures |= _outlines(pair, axis, own)
    filled = np.flatnonzero(found + wanted)
    start = pair.box[axis].start
    return SliceScores(filled + start, {name: figures[name][filled] for name in SLICE_FIGURES})


def _outlines(pair: StructurePair, axis: int, region: NDArray[np.bool_] | None) -> dict[str, NDArray[np.float64]]:
    """Return ASD and HD95 of the outlines in every slice of the box."""
    others = [i for i in range(3) if i != axis]
    number = pair.reference.shape[axis]
    has_both = np.ones(number, bool)
    for mask in (pair.prediction, pair.reference):
        has_both &= mask.any(axis=tuple(others))
    # Slices so far apart that the nearest outline is always one of the same slice.
    spacing = list(pair.spacing_mm)
    spacing[axis] = 4 * float(np.linalg.norm([pair.reference.shape[i] * spacing[i] for i in others]))
    outlines = []
    for mask in (pair.prediction, pair.reference):
        outline = boundary(mask, others)
        np.moveaxis(outline, axis, 0)[~has_both] = False
        outlines.append(outline)
    pairs = paired_surfaces(outlines[0], outlines[1], spacing)
    if region is not None:
        pairs = pairs.within(region)
    sides = []
    asd, points = np.zeros(number), np.zeros(number, np.int64)
    for voxels, distances in (
        (pairs.prediction, pairs.from_prediction),
        (pairs.reference, pairs.from_reference),
    ):
        places, values = voxels[:, axis], distances.astype(np.float64)
        asd += np.bincount(places, values, number)
        points += np.bincount(places, minlength=number)
        sides.append(_percentiles(places, values, number, 95))
    empty = np.where(has_both | (points > 0), np.nan, np.inf)
    with np.errstate(invalid="ignore"):
        return {
            "asd_mm": np.where(points > 0, asd / np.maximum(points, 1), empty),
            "hd95_mm": np.where(points > 0, np.fmax(sides[0], sides[1]), empty),
        }


def _percentiles(
    places: NDArray[np.int64], values: NDArray[np.float64], number: int, share: float
) -> NDArray[np.float64]:
    """Return a percentile of the values of each place, as `numpy.percentile` has it; NaN without values."""
    values = values[np.lexsort((values, places))]
    counts = np.bincount(places, minlength=number)
    first = np.cumsum(counts) - counts
    at = np.maximum(counts - 1, 0) * share / 100
    low = np.floor(at).astype(np.int64)
    found = np.full(number, np.nan)
    filled = counts > 0
    if filled.any():
        lower = values[(first + low)[filled]]
        upper = values[(first + np.minimum(low + 1, counts - 1))[filled]]
        found[filled] = lower + (upper - lower) * (at - low)[filled]
    return found
