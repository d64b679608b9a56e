"""What of a network's bones is kept: the largest piece, what lies near it, and nothing as small as a speck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from label_gen.grid import bounding_box
from nnunet_ext.stage1.bones import BONES, DISPLAY_NAMES, TWINS
from postproc.objects import fill_holes

__all__ = ["REACH_MM", "SPECK_MM3", "Change", "clean_bones", "follow"]

SPECK_MM3 = 250.0
"""A piece smaller than this is a speck. Chosen here: the smallest fragment in 100 real fractured pelves has 270 mm3,
and a fragment that a network of whole bones finds apart from its bone is seldom that small."""

REACH_MM = 40.0
"""How far a piece may lie from the largest of its bone. Chosen here: fragments part from their bone by up to about
20 mm; twice that still leaves out ribs, the upper lumbar spine, the table and the hands."""

TOUCH_MM = 4.5
"""A stray piece this near to its twin is the twin's: two voxels of 2 mm apart, with rounding. Chosen here."""


@dataclass(frozen=True)
class Change:
    """What cleaning did to a bone.

    Attributes:
        bone: The bone, as in `BONES`.
        what: `specks dropped`, `strays dropped`, `given to twin` or `holes filled`.
        volume_mm3: How much.
        count: How many pieces.
    """

    bone: str
    what: str
    volume_mm3: float
    count: int

    def __str__(self) -> str:
        return f"{DISPLAY_NAMES[self.bone]}: {self.what} ({self.count}, {self.volume_mm3 / 1000:.2f} cm3)"


def clean_bones(labels: NDArray[np.uint8], spacing_mm: Sequence[float]) -> list[Change]:
    """Clean the bones that a network found.

    For each bone: of its 26-connected pieces the largest stays, and every other that is no speck (`SPECK_MM3`) and lies
    within `REACH_MM` of the largest, for fragments may have moved. A piece beyond reach that lies at the largest piece
    of the same bone of the other side becomes part of that one; everything else becomes background. Closed holes are
    filled.

    Args:
        labels: Numbers of `BONES` (z, y, x); changed in place.
        spacing_mm: Spacing in array order, in mm.

    Returns:
        What was changed.
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    changes: list[Change] = []
    pieces = {bone: _pieces(labels == number, voxel_mm3) for bone, number in BONES.items() if (labels == number).any()}
    largest = {bone: components == 1 for bone, (components, _) in pieces.items()}
    near: dict[str, NDArray[np.float32]] = {}

    def distance(bone: str) -> NDArray[np.float32]:
        if bone not in near:
            near[bone] = edt.edt(~largest[bone], anisotropy=tuple(spacing_mm))
        return near[bone]

    for bone, (components, sizes_mm3) in pieces.items():
        tally: dict[str, list[float]] = {}
        first_speck = next((piece for piece, size in enumerate(sizes_mm3) if size < SPECK_MM3 - 1e-6), len(sizes_mm3))
        first_speck = max(first_speck, 1)
        if specks := sizes_mm3[first_speck:]:
            labels[components > first_speck] = 0
            tally["specks dropped"] = specks
        for piece, size in list(enumerate(sizes_mm3[:first_speck], 1))[1:]:
            where = components == piece
            if float(distance(bone)[where].min()) <= REACH_MM:
                continue
            twin = TWINS.get(bone)
            if twin in largest and float(distance(twin)[where].min()) <= TOUCH_MM:
                labels[where] = BONES[twin]
                tally.setdefault("given to twin", []).append(size)
            else:
                labels[where] = 0
                tally.setdefault("strays dropped", []).append(size)
        changes += [Change(bone, what, sum(found), len(found)) for what, found in tally.items()]
    for bone, number in BONES.items():
        box = bounding_box(labels == number)
        if box is not None and (filled := fill_holes(labels, number, box)):
            changes.append(Change(bone, "holes filled", filled * voxel_mm3, 1))
    return changes


def _pieces(is_bone: NDArray[np.bool_], voxel_mm3: float) -> tuple[NDArray[Any], list[float]]:
    """Return the pieces of a bone, numbered from 1 by falling size, and their volumes in that order."""
    components = cc3d.connected_components(is_bone, connectivity=26)
    counts = np.bincount(components.ravel())[1:]
    order = np.argsort(-counts, kind="stable")
    table = np.zeros(len(counts) + 1, np.uint32)
    table[order + 1] = np.arange(1, len(counts) + 1)
    return table[components], [float(count) * voxel_mm3 for count in counts[order]]


def follow(probabilities: NDArray[np.float32], before: NDArray[np.uint8], after: NDArray[np.uint8]) -> None:
    """Make probabilities agree with cleaned labels: where a voxel changed, its class is certain.

    Between voxels, a class that is nowhere the likeliest at the corners is not the likeliest inside either, so nothing
    that was dropped comes back when the probabilities are interpolated.

    Args:
        probabilities: Shape (class, z, y, x); changed in place.
        before: Labels before cleaning (z, y, x): the likeliest class.
        after: Labels after it.
    """
    is_changed = before != after
    if not is_changed.any():
        return
    for number, probability in enumerate(probabilities):
        probability[is_changed] = after[is_changed] == number
