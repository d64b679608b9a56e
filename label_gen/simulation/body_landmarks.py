"""What the bones in a volume tell about the body: which is which, where its middle is, how far its parts lie apart.

Works for whole pelves, for single bones and for volumes that cut bones off: what is missing is guessed from the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
from numpy.typing import NDArray

from label_gen._sampling import SampleGrid
from label_gen.simulation.fields import COARSE_MM, axes_of

__all__ = ["BodyLandmarks", "find_landmarks"]

WHOLE_WIDTH_MM = 180.0
"""Bones that span less than this do not show both sides of a pelvis. Source: chosen here, less than an adult's."""

HIP_LENGTH_MM = 100.0
"""A lateral bone that is longer than this from front to back is a hip bone. Source: chosen here; femora are shorter."""

HEAD_IN_HIP = (0.60, 0.36, 0.34)
"""Where in the box of a hip bone the centre of the joint lies: from the middle outwards, from the front, from below.
Source: chosen here, after `label_gen._pelvis` and segmented adult pelves."""

PERINEUM_BELOW_HEADS_MM = 70.0
"""How far the lowest bone of the pelvis lies below the hip joints. Source: `label_gen._pelvis`."""

FAR_MM = 400.0
"""Distance given where there is no bone."""

Corners = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Opposite corners x, y, z in mm of a box."""


@dataclass(frozen=True)
class BodyLandmarks:
    """Places and distances on the coarse grid.

    Attributes:
        numbers: Bone of each coarse voxel, from 1, 0 elsewhere, uint8 (z, y, x).
        kinds: `sacrum`, `hip`, `femur` or `spine`, for each bone, that of number 1 first.
        middle_x: Midsagittal plane, x in mm.
        distance: Distance to the nearest bone in mm, float32 (z, y, x); 0 in bone.
        second: Distance to the second nearest bone in mm.
        heads: Centres of the hip joints, (n, 3) x, y, z in mm, left or right; empty where no hip bone or femur is.
        perineum_z: Height of the lowest bone near the middle, or None where only one side is there.
    """

    numbers: NDArray[np.uint8]
    kinds: tuple[str, ...]
    middle_x: float
    distance: NDArray[np.float32]
    second: NDArray[np.float32]
    heads: NDArray[np.float64]
    perineum_z: float | None

    def kind_mask(self, *kinds: str) -> NDArray[np.bool_]:
        """Return the coarse voxels of the bones of some kinds."""
        is_wanted = np.array([False, *(kind in kinds for kind in self.kinds)])
        mask: NDArray[np.bool_] = is_wanted[self.numbers]
        return mask


def find_landmarks(numbers: NDArray[np.uint8], coarse: SampleGrid, n_bones: int, n_extra: int) -> BodyLandmarks:
    """Find out what the bones tell.

    Args:
        numbers: Bones from 1 on the coarse grid, first those with labels, then the others; 0 elsewhere.
        coarse: The coarse grid.
        n_bones: How many bones there may be with labels.
        n_extra: How many more.

    Returns:
        The landmarks.
    """
    boxes = [_box(numbers == k, coarse) for k in range(1, n_bones + n_extra + 1)]
    shown = [box for box in boxes[:n_bones] if box is not None]
    if shown:
        low, high = np.min([b[0] for b in shown], axis=0), np.max([b[1] for b in shown], axis=0)
    else:
        low = np.array(coarse.origin_mm)
        high = low + COARSE_MM * np.array(coarse.shape[::-1])
    is_whole = bool(high[0] - low[0] >= WHOLE_WIDTH_MM)
    middle = 0.5 * float(low[0] + high[0])
    if is_whole:
        # The sacrum tells better than bones that the field of view may cut off.
        central = [b for b in shown if abs(0.5 * (b[0][0] + b[1][0]) - middle) < 25.0 and b[1][0] - b[0][0] < 150.0]
        middle = float(np.mean([0.5 * (b[0][0] + b[1][0]) for b in central])) if central else middle
    kinds = _kinds(boxes, n_bones, middle, is_whole)
    distance = np.full(numbers.shape, FAR_MM, np.float32)
    second = distance.copy()
    for number, box in enumerate(boxes, start=1):
        if box is not None:
            away = edt.edt(np.ascontiguousarray(numbers != number), anisotropy=(COARSE_MM,) * 3, parallel=1)
            away = np.maximum(away - np.float32(COARSE_MM / 2), 0.0)
            second = np.minimum(second, np.maximum(distance, away))
            distance = np.minimum(distance, away)
    heads, perineum = _heads(boxes, kinds, middle), None
    if is_whole:
        pelvic = np.isin(numbers, [k for k, kind in enumerate(kinds, start=1) if kind in ("sacrum", "hip")])
        near = np.flatnonzero(pelvic[:, :, np.abs(axes_of(coarse)[0] - middle) < 62.0].any(axis=(1, 2)))
        if len(near):
            perineum = float(axes_of(coarse)[2][near[0]])
            if near[0] <= 2 and len(heads):  # the field of view cuts it off
                perineum = min(perineum, float(heads[:, 2].mean()) - PERINEUM_BELOW_HEADS_MM)
    return BodyLandmarks(numbers, kinds, middle, distance, second, heads, perineum)


def _box(mask: NDArray[np.bool_], coarse: SampleGrid) -> Corners | None:
    """Return the box of a bone, or None where it is not there."""
    low, high = np.zeros(3), np.zeros(3)
    for axis in range(3):
        here = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        if not len(here):
            return None
        low[2 - axis] = coarse.origin_mm[2 - axis] + COARSE_MM * here[0]
        high[2 - axis] = coarse.origin_mm[2 - axis] + COARSE_MM * here[-1]
    return low, high


def _kinds(boxes: list[Corners | None], n_bones: int, middle: float, is_whole: bool) -> tuple[str, ...]:
    """Tell the bones apart: in the middle; at a side, the upper or the lower; else long or short from front to back."""
    kinds = []
    for index, box in enumerate(boxes):
        if index >= n_bones or box is None:
            kinds.append("spine" if index >= n_bones else "hip")
            continue
        centre = 0.5 * (box[0] + box[1])
        if is_whole and abs(centre[0] - middle) < 25.0:
            kinds.append("sacrum")
            continue
        beside = [0.5 * (b[0] + b[1]) for k, b in enumerate(boxes[:n_bones]) if b is not None and k != index]
        beside = [c for c in beside if (c[0] - middle) * (centre[0] - middle) > 0 and abs(c[0] - middle) >= 25.0]
        if is_whole and beside:
            is_hip = centre[2] > max(float(c[2]) for c in beside)
        else:
            is_hip = box[1][1] - box[0][1] > HIP_LENGTH_MM
        kinds.append("hip" if is_hip else "femur")
    return tuple(kinds)


def _heads(boxes: list[Corners | None], kinds: tuple[str, ...], middle: float) -> NDArray[np.float64]:
    """Guess the centres of the hip joints from the boxes of hip bones, or from femora where there are none."""
    heads: list[NDArray[np.float64]] = []
    for wanted in ("hip", "femur"):
        for box, kind in zip(boxes, kinds, strict=True):
            if box is None or kind != wanted:
                continue
            low, high = box
            side = 1.0 if 0.5 * (low[0] + high[0]) > middle else -1.0
            if any((head[0] - middle) * side > 0 for head in heads):
                continue
            inner, outer = (low[0], high[0]) if side > 0 else (high[0], low[0])
            if wanted == "hip":
                place = [inner + HEAD_IN_HIP[0] * (outer - inner)]
                place += [low[k] + HEAD_IN_HIP[k] * (high[k] - low[k]) for k in (1, 2)]
            else:
                place = [inner + 24.0 * side, low[1] + 24.0, high[2] - 24.0]
            heads.append(np.array(place, float))
    return np.array(heads, float).reshape(-1, 3)
