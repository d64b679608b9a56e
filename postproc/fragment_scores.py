"""Scores per fragment and per bone of one case, by either way of matching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from label_gen.grid import Box, canonical_axes
from label_gen.scheme import Bone, LabelScheme
from postproc.one_to_one import InstanceMatch
from postproc.overlap import LabelOverlap, LabelPlace, label_overlap
from postproc.pengwin2024 import pengwin2024_figures
from postproc.surface_distance import SurfaceDistances, mask_radius, surface_voxels

__all__ = ["BoneScore", "CaseVolumes", "FragmentScore", "score_one_to_one", "score_pengwin2024"]


@dataclass(frozen=True)
class CaseVolumes:
    """Prediction and reference of one case.

    Attributes:
        prediction: Integer fragment labels (z, y, x).
        reference: True fragment labels of the same shape.
        spacing: Spacing in array order, in millimetres.
        overlap: Their contingency table.
        scheme: Bands of the bones.
    """

    prediction: NDArray[Any]
    reference: NDArray[Any]
    spacing: tuple[float, float, float]
    overlap: LabelOverlap
    scheme: LabelScheme

    @classmethod
    def of(
        cls,
        prediction: NDArray[Any],
        reference: NDArray[Any],
        spacing: tuple[float, float, float],
        scheme: LabelScheme,
    ) -> CaseVolumes:
        """Count the overlap of two volumes and keep all of it together."""
        return cls(prediction, reference, spacing, label_overlap(prediction, reference), scheme)

    def in_canonical_axes(self) -> CaseVolumes:
        """Return the case in an axis order that depends on the reference's content, not on how it is stored.

        Ties between matches, which go to the voxel that comes first, are then decided alike in every axis order.
        """
        whole, _, _ = self.overlap.merged(range(1, self.scheme.last_id + 1))
        axes = (0, 1, 2) if whole is None else canonical_axes(self.reference[whole.box] != 0, self.spacing)
        if axes == (0, 1, 2):
            return self
        spacing = (self.spacing[axes[0]], self.spacing[axes[1]], self.spacing[axes[2]])
        return self.of(self.prediction.transpose(axes), self.reference.transpose(axes), spacing, self.scheme)

    def mm3(self, voxels: int) -> float:
        """Return the volume of so many voxels."""
        # Sorted, so that the product has the same last bit in every axis order.
        return voxels * float(np.prod(sorted(self.spacing)))


@dataclass(frozen=True)
class FragmentScore:
    """One row of the table of fragments.

    Attributes:
        bone: Name of the bone.
        reference_id: Number in the reference; None for a surplus fragment.
        prediction_id: Number in the prediction; None for a missed fragment.
        iou: Intersection over union; None where the fragment does not count in the means.
        dice: Dice coefficient; None likewise.
        hd95_mm: 95th percentile Hausdorff distance; None likewise.
        assd_mm: Average symmetric surface distance; None likewise.
        reference_mm3: Volume in the reference.
        prediction_mm3: Volume in the prediction.
        status: `matched`, `missed` or `surplus`.
    """

    bone: str
    reference_id: int | None
    prediction_id: int | None
    iou: float | None
    dice: float | None
    hd95_mm: float | None
    assd_mm: float | None
    reference_mm3: float
    prediction_mm3: float
    status: Literal["matched", "missed", "surplus"]


@dataclass(frozen=True)
class BoneScore:
    """A bone with its fragments merged; the attributes are those of `FragmentScore`, None where undefined."""

    iou: float | None
    dice: float | None
    hd95_mm: float | None
    assd_mm: float | None
    reference_mm3: float
    prediction_mm3: float


def score_one_to_one(
    case: CaseVolumes, matches: Mapping[str, InstanceMatch]
) -> tuple[list[FragmentScore], dict[str, BoneScore]]:
    """Score fragments by a one-to-one matching, and bones, on full surfaces.

    A missed fragment or bone has IoU and Dice 0, HD95 2R and ASSD R, R being the largest distance of one of its voxels
    from its centroid, in millimetres.

    Args:
        case: The volumes.
        matches: One-to-one matching of each bone, by name.

    Returns:
        Rows of all fragments, the surplus ones of a bone last; and the bones by name.

    Source: 2R and R for a miss: PENGWIN 2024 and 2026; in millimetres: chosen here.
    """
    rows = []
    for bone in case.scheme.bones:
        match = matches[bone.name]
        for reference_id in match.reference_ids:
            rows.append(_one_to_one_row(case, bone, reference_id, match.pairs.get(reference_id)))
        for prediction_id in match.surplus:
            volume = case.mm3(case.overlap.prediction[prediction_id].voxels)
            rows.append(FragmentScore(bone.name, None, prediction_id, None, None, None, None, 0.0, volume, "surplus"))
    return rows, {bone.name: _one_to_one_bone(case, bone) for bone in case.scheme.bones}


def score_pengwin2024(case: CaseVolumes) -> tuple[list[FragmentScore], dict[str, BoneScore]]:
    """Score fragments and bones as the PENGWIN 2024 evaluator does; see `postproc.pengwin2024`.

    Args:
        case: The volumes.

    Returns:
        Rows of all fragments of the reference; and the bones by name. A fragment that shares no voxel with a predicted
        one is missed; where its bone has no predicted fragment at all, its figures are None, for it does not count.
    """
    overlap = case.overlap
    figures = pengwin2024_figures(case.prediction, case.reference, case.spacing, scheme=case.scheme, overlap=overlap)
    taken = {fragment.reference_id: fragment for fragment in figures.fragments}
    rows = []
    for reference_id, place in overlap.reference.items():
        bone, volume = case.scheme.bone_of(reference_id).name, case.mm3(place.voxels)
        fragment = taken.get(reference_id)
        if fragment is None:
            rows.append(FragmentScore(bone, reference_id, None, None, None, None, None, volume, 0.0, "missed"))
            continue
        iou, hd95, assd = fragment.agreement
        if iou == 0:
            rows.append(FragmentScore(bone, reference_id, None, 0.0, 0.0, hd95, assd, volume, 0.0, "missed"))
            continue
        label = fragment.prediction_id
        predicted, dice = case.mm3(overlap.prediction[label].voxels), overlap.dice(reference_id, label)
        rows.append(FragmentScore(bone, reference_id, label, iou, dice, hd95, assd, volume, predicted, "matched"))
    bones = {}
    for bone_entry in case.scheme.bones:
        iou, hd95, assd = figures.bones[bone_entry.name]
        reference_mm3, prediction_mm3 = _bone_volumes(case, bone_entry)
        bones[bone_entry.name] = BoneScore(iou, 2 * iou / (1 + iou), hd95, assd, reference_mm3, prediction_mm3)
    return rows, bones


def _one_to_one_row(case: CaseVolumes, bone: Bone, reference_id: int, prediction_id: int | None) -> FragmentScore:
    overlap = case.overlap
    place = overlap.reference[reference_id]
    volume = case.mm3(place.voxels)
    if prediction_id is None:
        radius = mask_radius(case.reference[place.box] == reference_id, case.spacing)
        return FragmentScore(bone.name, reference_id, None, 0.0, 0.0, 2 * radius, radius, volume, 0.0, "missed")
    predicted = overlap.prediction[prediction_id]
    distances = SurfaceDistances.between(
        surface_voxels(case.reference[place.box] == reference_id, place.low),
        surface_voxels(case.prediction[predicted.box] == prediction_id, predicted.low),
        case.spacing,
    )
    return FragmentScore(
        bone.name,
        reference_id,
        prediction_id,
        overlap.iou(reference_id, prediction_id),
        overlap.dice(reference_id, prediction_id),
        distances.hd95,
        distances.assd,
        volume,
        case.mm3(predicted.voxels),
        "matched",
    )


def _one_to_one_bone(case: CaseVolumes, bone: Bone) -> BoneScore:
    true, predicted, shared = case.overlap.merged(bone.band)
    volumes = _bone_volumes(case, bone)
    if true is None:
        overlap_figure = None if predicted is None else 0.0
        return BoneScore(overlap_figure, overlap_figure, None, None, *volumes)
    mask = _bone_mask(case.reference, true.box, bone)
    if predicted is None:
        radius = mask_radius(mask, case.spacing)
        return BoneScore(0.0, 0.0, 2 * radius, radius, *volumes)
    distances = SurfaceDistances.between(
        surface_voxels(mask, true.low),
        surface_voxels(_bone_mask(case.prediction, predicted.box, bone), predicted.low),
        case.spacing,
    )
    total = true.voxels + predicted.voxels
    return BoneScore(shared / (total - shared), 2 * shared / total, distances.hd95, distances.assd, *volumes)


def _bone_mask(labels: NDArray[Any], box: Box, bone: Bone) -> NDArray[np.bool_]:
    block = labels[box]
    mask: NDArray[np.bool_] = (block >= bone.first_id) & (block <= bone.last_id)
    return mask


def _bone_volumes(case: CaseVolumes, bone: Bone) -> tuple[float, float]:
    true, predicted, _ = case.overlap.merged(bone.band)
    return _place_mm3(case, true), _place_mm3(case, predicted)


def _place_mm3(case: CaseVolumes, place: LabelPlace | None) -> float:
    return 0.0 if place is None else case.mm3(place.voxels)
