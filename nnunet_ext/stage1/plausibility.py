"""Whether bones can be those of a patient: size, side, place, bone density, what is missing, what the CT cuts off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError
from label_gen.grid import bounding_box
from nnunet_ext.grids import check_same_grid
from nnunet_ext.stage1.bones import BONES, DISPLAY_NAMES, TWINS
from nnunet_ext.volumes import Volume

__all__ = ["BONE_HU", "BONE_SHARES", "VOLUMES_CM3", "Finding", "check_bones", "findings_table", "volumes_mm3"]

VOLUMES_CM3: Mapping[str, tuple[float, float]] = {"sacrum": (90, 450), "hip": (150, 800), "femur": (150, 900)}
"""Volume of an adult's bone, marrow included, smallest and largest. Chosen here: half the smallest and 1.7 times the
largest of seven adults (public masks of patients and of the Visible Human: sacrum 183 to 268, hip bone 294 to 479,
whole femur 399 to 543). The smallest does not bind where the CT cuts the bone off, as most CTs of the pelvis do the
femora (142 to 267)."""

IMPOSSIBLE = 1.5
"""A bone more than so many times as large as the largest is an error. Chosen here: it holds other bones."""

TRACE_CM3 = 8.0
"""A bone with less is taken for not found. Chosen here: a twentieth of the smallest bone."""

BONE_HU = 150
"""A voxel above it is likely bone. Chosen here: muscle and organs without contrast have less than 100 HU."""

BONE_SHARES = (0.08, 0.2)
"""Share of a bone's voxels above `BONE_HU` below which it is surely, and possibly, no bone. Chosen here: the shares are
0.64 to 0.98 in the nine bones of three real fractured pelves, marrow included; soft tissue has next to none."""

PIECE_CM3 = 25.0
"""With no hip bone or femur of this size, there is no pelvis. Chosen here: the ischium or the femoral head alone has
more; what a network finds in a head or a chest by mistake has less."""

SURE = 0.85
"""Least `Bones.certainty` of bones that are believed. Chosen here: over all bones the bundled model has 0.93 to 0.97 in
unseen simulated pelves and 0.91 to 0.94 in three real ones, which it finds (a sacrum with a Dice of 0.88 has 0.83); and
0.59 to 0.76 in real CTs of a spine with hips, thighs and an abdomen, and in a plastic phantom, where it is wrong."""

EDGE_SHARE = 0.002
"""Share of a bone's voxels at the end of the CT above which it counts as cut off. Chosen here: a bone that just touches
the end loses nothing worth saying."""

_SIDES = ("left", "right", "back", "front", "top", "bottom")


@dataclass(frozen=True)
class Finding:
    """One thing about the bones that a reader has to know.

    Attributes:
        kind: `no pelvis`, `doubt`, `missing`, `volume`, `side`, `place`, `density` or `cut`.
        level: `note` (as in most CTs), `warning`, or `error`: what follows would be worthless.
        bone: The bone as in `BONES`; empty if it is about all.
        text: A sentence.
        value: The number behind it, if there is one: cm3, mm or share.
    """

    kind: str
    level: Literal["note", "warning", "error"]
    bone: str
    text: str
    value: float | None = None


def check_bones(
    anatomy: Volume, ct: Volume | None = None, *, certainty: Mapping[str, float] | None = None
) -> list[Finding]:
    """Check whether bones can be those of a patient.

    Args:
        anatomy: Numbers of `BONES` (z, y, x).
        ct: The CT, HU, on the same grid; without it bone density is not looked at.
        certainty: How sure a model is of each of them, as `Bones` has it.

    Returns:
        Findings, errors first, then warnings and notes.

    Raises:
        GridError: The two volumes are on different grids.
        DataError: The anatomy has a number that no bone has.
    """
    if ct is not None:
        check_same_grid(ct.grid, anatomy.grid, "the CT", "the bones")
    if anatomy.array.size and int(anatomy.array.max()) > max(BONES.values()):
        raise DataError(
            f"the bones hold the number {int(anatomy.array.max())}; expected are "
            f"{', '.join(f'{number} {DISPLAY_NAMES[bone]}' for bone, number in BONES.items())}"
        )
    sizes = volumes_mm3(anatomy)
    present = {bone: size / 1000 for bone, size in sizes.items() if size / 1000 >= TRACE_CM3}
    findings = _missing(sizes, present) + _doubts(present, certainty or {})
    boxes = {bone: bounding_box(anatomy.array == BONES[bone]) for bone in present}
    masks = {bone: anatomy.array[box] == BONES[bone] for bone, box in boxes.items() if box is not None}
    centres = {bone: _centre(anatomy, masks[bone], boxes[bone]) for bone in masks}
    for bone, volume in present.items():
        cut = _cut(anatomy, bone)
        if cut:
            is_usual = bone.endswith("femur") and cut == ["bottom"]
            text = f"the {DISPLAY_NAMES[bone]} is cut off by the field of view ({', '.join(cut)})"
            findings.append(Finding("cut", "note" if is_usual else "warning", bone, text))
        findings += _volume(bone, volume, bool(cut))
        if ct is not None:
            findings += _density(bone, ct.array[boxes[bone]][masks[bone]])
    findings += _sides(centres)
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.level))


def volumes_mm3(anatomy: Volume) -> dict[str, float]:
    """Return the volume of each of `BONES` in mm3; 0 if it is not there.

    Args:
        anatomy: Numbers of `BONES` (z, y, x).
    """
    counts = np.zeros(256, np.int64)
    for plane in anatomy.array:
        counts += np.bincount(plane.ravel(), minlength=256)[:256]
    voxel_mm3 = float(np.prod(anatomy.spacing_mm))
    return {bone: float(counts[number]) * voxel_mm3 for bone, number in BONES.items()}


def findings_table(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings as plain tables, for JSON.

    Args:
        findings: The findings.
    """
    return [{key: value for key, value in asdict(finding).items() if value not in (None, "")} for finding in findings]


def _missing(sizes: Mapping[str, float], present: Mapping[str, float]) -> list[Finding]:
    if not any(volume >= PIECE_CM3 for bone, volume in present.items() if bone != "sacrum"):
        total = sum(sizes.values()) / 1000
        has = ", ".join(f"{sizes[bone] / 1000:.0f} cm3 of {DISPLAY_NAMES[bone]}" for bone in BONES if sizes[bone])
        text = f"no pelvis was found in this CT, only {has}" if has else "no pelvis was found in this CT"
        text += ": does it show the pelvis?"
        return [Finding("no pelvis", "error", "", text, total)]
    found = []
    for bone in BONES:
        if bone not in present:
            what = f"only {sizes[bone] / 1000:.1f} cm3 of it were found" if sizes[bone] else "it was not found"
            text = f"the {DISPLAY_NAMES[bone]} is missing: {what}"
            found.append(Finding("missing", "warning", bone, text, sizes[bone] / 1000))
    return found


def _doubts(present: Mapping[str, float], certainty: Mapping[str, float]) -> list[Finding]:
    known = {bone: volume for bone, volume in present.items() if bone in certainty}
    if not known:
        return []
    mean = round(sum(certainty[bone] * volume for bone, volume in known.items()) / sum(known.values()), 4)
    if mean < SURE:
        each = ", ".join(f"{DISPLAY_NAMES[bone]} {certainty[bone]:.2f}" for bone in known)
        text = (
            f"the model doubts the bones that it found (mean probability {mean:.2f}: {each}; {SURE:g} and more where "
            "it is right): does this CT show the pelvis?"
        )
        return [Finding("doubt", "error", "", text, mean)]
    return [
        Finding(
            "doubt",
            "warning",
            bone,
            f"the {DISPLAY_NAMES[bone]} is doubtful: its mean probability is {certainty[bone]:.2f}, {SURE:g} and more "
            "where the model is right",
            certainty[bone],
        )
        for bone in known
        if certainty[bone] < SURE
    ]


def _volume(bone: str, volume: float, is_cut: bool) -> list[Finding]:
    smallest, largest = VOLUMES_CM3[bone.rpartition("_")[2]]
    if volume > largest or (volume < smallest and not is_cut):
        way = "more" if volume > largest else "less"
        text = (
            f"the {DISPLAY_NAMES[bone]} has {volume:.0f} cm3, {way} than an adult's ({smallest:.0f} to {largest:.0f}): "
            "a child, parts of other bones in it, or parts missing?"
        )
        level: Literal["warning", "error"] = "error" if volume > IMPOSSIBLE * largest else "warning"
        return [Finding("volume", level, bone, text, volume)]
    return []


def _density(bone: str, values: NDArray[Any]) -> list[Finding]:
    share = float((values > BONE_HU).mean())
    surely, possibly = BONE_SHARES
    if share >= possibly:
        return []
    text = f"only {100 * share:.0f} % of the {DISPLAY_NAMES[bone]} is as dense as bone (above {BONE_HU} HU)"
    if share < surely:
        return [Finding("density", "error", bone, f"{text}: it lies in soft tissue, or the values are not HU", share)]
    return [Finding("density", "warning", bone, f"{text}: porous bone, or parts of it lie in soft tissue", share)]


def _centre(anatomy: Volume, mask: NDArray[np.bool_], box: Any) -> NDArray[np.float64]:
    """Return the centre of a bone in mm; x, y, z in LPS."""
    counts = [mask.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    index = [
        float((count * (np.arange(len(count)) + part.start)).sum() / count.sum())
        for count, part in zip(counts, box, strict=True)
    ]
    scaled = np.array(index[::-1]) * np.array(anatomy.spacing_mm[::-1])
    centre: NDArray[np.float64] = np.array(anatomy.origin) + np.reshape(anatomy.direction, (3, 3)) @ scaled
    return centre


def _sides(centres: Mapping[str, NDArray[np.float64]]) -> list[Finding]:
    """Find bones on the wrong side of the other, and femora above their hip bone; x grows to the patient's left."""
    found = []
    for left in ("left_hip", "left_femur"):
        right = TWINS[left]
        if left in centres and right in centres and (apart := float(centres[left][0] - centres[right][0])) <= 0:
            text = (
                f"the {DISPLAY_NAMES[left]} lies {-apart:.0f} mm to the right of the {DISPLAY_NAMES[right]}: sides are "
                "mixed up, or the orientation in the file is wrong; do not trust left and right"
            )
            found.append(Finding("side", "error", left, text, -apart))
    for femur, hip in (("left_femur", "left_hip"), ("right_femur", "right_hip")):
        if femur not in centres or hip not in centres:
            continue
        other = TWINS[hip]
        if other in centres:
            own, wrong = (float(np.linalg.norm(centres[femur] - centres[bone])) for bone in (hip, other))
            if wrong < own:
                text = f"the {DISPLAY_NAMES[femur]} lies nearer to the {DISPLAY_NAMES[other]} than to its own hip bone"
                found.append(Finding("side", "error", femur, text, own - wrong))
        if (above := float(centres[femur][2] - centres[hip][2])) > 0:
            text = f"the {DISPLAY_NAMES[femur]} lies {above:.0f} mm above its hip bone: is it another bone?"
            found.append(Finding("place", "warning", femur, text, above))
    return found


def _cut(anatomy: Volume, bone: str) -> list[str]:
    """Return the patient's sides at which a bone goes on beyond the volume."""
    array, direction = anatomy.array, np.reshape(anatomy.direction, (3, 3))
    number = BONES[bone]
    found = []
    for axis in range(3):
        if array.shape[axis] == 1:
            continue
        way = direction[:, 2 - axis]
        world = int(np.abs(way).argmax())
        for end in (0, -1):
            plane = np.take(array, end, axis) == number
            thickness = max(1, plane.size)
            if plane.sum() > max(4, EDGE_SHARE * thickness):
                is_positive = (way[world] > 0) == (end == -1)
                found.append(_SIDES[2 * world + (0 if is_positive else 1)])
    return sorted(found, key=_SIDES.index)
