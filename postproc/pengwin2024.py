"""PENGWIN 2024: the six figures of the challenge's evaluator, its peculiarities included.

What is peculiar, and kept:

- A fragment of the reference takes the predicted fragment of its bone with the highest IoU. Several may take the same
  one, and predicted fragments that none takes cost nothing.
- A bone without any predicted fragment drops out of the fragment figures, however many fragments it has.
- A fragment that no prediction touches gets HD95 = 2R and ASSD = R, where R is the largest distance of one of *its own*
  voxels from its centroid, in *voxels*; the result is averaged with millimetres.
- Surfaces are two voxels thick: dilation minus erosion.
- Large surfaces are thinned to 10,000 points, drawn with replacement. The draw depends on the order of the voxels, so
  another axis order of the same case changes distances slightly.
- A bone absent from both volumes has IoU 0 and infinite distances. The average is over all bones of the scheme.

Where the evaluator divides by zero (no fragment was matched) the figures are undefined: None.

Source: YzzLiu/PENGWIN-example-algorithm, evaluation_CT_core.py (the challenge's public evaluator);
    where texts about the challenge say otherwise, its code counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from label_gen.grid import Box, check_spacing, grow_box
from label_gen.scheme import Bone, LabelScheme
from postproc.overlap import LabelOverlap, label_overlap
from postproc.surface_distance import directed_distances, erode_6, mask_radius

__all__ = ["Agreement", "FragmentAgreement", "Pengwin2024Figures", "pengwin2024_figures", "sampled_surface"]

SAMPLE_SIZE = 10_000
"""Points to which a larger surface is thinned. Source: the challenge's evaluator."""
SAMPLE_SEED = 2024
"""Seed of the draw. Source: the challenge's evaluator."""


class Agreement(NamedTuple):
    """How well two shapes agree: IoU (0 to 1), HD95 and ASSD (millimetres)."""

    iou: float
    hd95: float
    assd: float


class FragmentAgreement(NamedTuple):
    """A fragment of the reference, the predicted fragment that it took, and how well they agree."""

    reference_id: int
    prediction_id: int
    agreement: Agreement


@dataclass(frozen=True)
class Pengwin2024Figures:
    """Figures of one case.

    Attributes:
        fragments: Reference fragments of all bones that have a predicted fragment, by bone, then by number.
        bones: All bones of the scheme, by name, with their fragments merged.
    """

    fragments: tuple[FragmentAgreement, ...]
    bones: dict[str, Agreement]

    @property
    def fragment_mean(self) -> Agreement | None:
        """Plain means over the fragments; None where there are none."""
        return _mean([fragment.agreement for fragment in self.fragments]) if self.fragments else None

    @property
    def anatomy_mean(self) -> Agreement:
        """Plain means over the bones; distances are infinite when those of one bone are."""
        return _mean(list(self.bones.values()))


def pengwin2024_figures(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    scheme: LabelScheme,
    overlap: LabelOverlap | None = None,
) -> Pengwin2024Figures:
    """Score a prediction as the PENGWIN 2024 evaluator does.

    Args:
        prediction: Integer fragment labels (z, y, x); 0 is background.
        reference: True fragment labels of the same shape.
        spacing_mm: Spacing in array order (z, y, x), in millimetres.
        scheme: Bands of the bones. Labels outside all bands are ignored.
        overlap: Result of `label_overlap` for the same volumes, where it is at hand.

    Returns:
        Figures per fragment and per bone, and their means.

    Raises:
        DataError: A volume is not a 3D array of non-negative integers.
        GridError: The shapes differ.
        UsageError: The spacing is not three positive numbers.
    """
    spacing = check_spacing(spacing_mm)
    table = overlap or label_overlap(prediction, reference)
    pairs = [pair for bone in scheme.bones for pair in _matches(table, bone)]
    fragments = [
        FragmentAgreement(*pair, _fragment_agreement(prediction, reference, spacing, table, pair)) for pair in pairs
    ]
    bones = {bone.name: _bone_agreement(prediction, reference, spacing, table, bone) for bone in scheme.bones}
    return Pengwin2024Figures(tuple(fragments), bones)


def sampled_surface(mask: NDArray[np.bool_], origin: Sequence[int] = (0, 0, 0)) -> NDArray[np.int64]:
    """Return the surface points of a mask as the evaluator takes them.

    Args:
        mask: Boolean array (z, y, x), cut out with a margin of one voxel except where the volume ends.
        origin: Index of the array's first voxel in the volume.

    Returns:
        Int64 array (point, axis) of indices in the volume: in C order, or `SAMPLE_SIZE` points drawn from them.

    Source: see the module; the draw is that of `sklearn.utils.resample` with its defaults.
    """
    surface = np.flatnonzero(_dilate_6(mask) & ~erode_6(mask))
    if len(surface) > SAMPLE_SIZE:
        surface = surface[np.random.RandomState(SAMPLE_SEED).randint(0, len(surface), size=SAMPLE_SIZE)]
    return np.stack(np.unravel_index(surface, mask.shape), axis=1) + np.asarray(origin, np.int64)


def _matches(overlap: LabelOverlap, bone: Bone) -> list[tuple[int, int]]:
    """Return the pairs (reference, prediction) of a bone; the smallest predicted number wins ties."""
    reference_ids = [label for label in overlap.reference if label in bone.band]
    prediction_ids = [label for label in overlap.prediction if label in bone.band]
    if not reference_ids or not prediction_ids:
        return []
    best = overlap.iou_table(reference_ids, prediction_ids).argmax(axis=1)
    return [(reference_id, prediction_ids[column]) for reference_id, column in zip(reference_ids, best, strict=True)]


def _fragment_agreement(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing: Sequence[float],
    overlap: LabelOverlap,
    pair: tuple[int, int],
) -> Agreement:
    reference_id, prediction_id = pair
    iou = overlap.iou(reference_id, prediction_id)
    box = overlap.reference[reference_id].box
    if iou == 0:
        radius = mask_radius(reference[box] == reference_id)
        return Agreement(0.0, 2 * radius, radius)
    points = []
    for labels, label, place in (
        (reference, reference_id, box),
        (prediction, prediction_id, overlap.prediction[prediction_id].box),
    ):
        wide = grow_box(place, 1, labels.shape)
        points.append(sampled_surface(labels[wide] == label, _corner(wide)))
    return Agreement(iou, *_sampled_distances(points[0], points[1], spacing))


def _bone_agreement(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing: Sequence[float],
    overlap: LabelOverlap,
    bone: Bone,
) -> Agreement:
    true, predicted, shared = overlap.merged(bone.band)
    if true is None or predicted is None:
        return Agreement(0.0, np.inf, np.inf)
    points = []
    for labels, place in ((reference, true), (prediction, predicted)):
        wide = grow_box(place.box, 1, labels.shape)
        block = labels[wide]
        points.append(sampled_surface((block >= bone.first_id) & (block <= bone.last_id), _corner(wide)))
    return Agreement(
        shared / (true.voxels + predicted.voxels - shared), *_sampled_distances(points[0], points[1], spacing)
    )


def _sampled_distances(
    first: NDArray[np.int64], second: NDArray[np.int64], spacing: Sequence[float]
) -> tuple[float, float]:
    """Return HD95 and ASSD with the evaluator's single-precision arithmetic."""
    sides = directed_distances(first, second, spacing), directed_distances(second, first, spacing)
    hd95 = max(float(np.percentile(side, 95)) for side in sides)
    return hd95, float((np.mean(sides[0]) + np.mean(sides[1])) / 2)


def _dilate_6(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    dilated = mask.copy(order="K")
    for axis in range(3):
        inner, outer = np.moveaxis(dilated, axis, 0), np.moveaxis(mask, axis, 0)
        inner[1:] |= outer[:-1]
        inner[:-1] |= outer[1:]
    return dilated


def _corner(box: Box) -> tuple[int, int, int]:
    return (box[0].start, box[1].start, box[2].start)


def _mean(agreements: Sequence[Agreement]) -> Agreement:
    return Agreement(*(float(sum(values) / len(values)) for values in zip(*agreements, strict=True)))
