"""Whole bones as stage 1 hands them on: the numbers of the bones, and a result with what there is to say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ext.volumes import Volume

__all__ = ["BONES", "DISPLAY_NAMES", "NAMED_MODELS", "TWINS", "Bones", "bone_called", "path_of_bones"]

NAMED_MODELS = ("bundled", "totalsegmentator")
"""What finds bones and is no file or folder, whatever lies about of that name; a folder called so is `./bundled`."""

BONES: Mapping[str, int] = {"sacrum": 1, "left_hip": 2, "right_hip": 3, "left_femur": 4, "right_femur": 5}
"""Number of each bone in anatomy volumes. Source: the [anatomy] tables of the PENGWIN schemes; a test compares them."""

DISPLAY_NAMES: Mapping[str, str] = {
    "sacrum": "sacrum",
    "left_hip": "left hip bone",
    "right_hip": "right hip bone",
    "left_femur": "left femur",
    "right_femur": "right femur",
}
"""What messages call the bones."""

TWINS: Mapping[str, str] = {
    "left_hip": "right_hip",
    "right_hip": "left_hip",
    "left_femur": "right_femur",
    "right_femur": "left_femur",
}
"""The bone of the other side."""

_TOTALSEGMENTATOR: Mapping[str, str] = {
    "vertebrae_s1": "sacrum",
    "hip_left": "left_hip",
    "hip_right": "right_hip",
    "femur_left": "left_femur",
    "femur_right": "right_femur",
}
"""TotalSegmentator's names where they are not ours. Source: the schemes; a test compares them."""


@dataclass(frozen=True)
class Bones:
    """The whole bones of a CT.

    Attributes:
        anatomy: uint8, axes (z, y, x), on the grid of the CT: 0 background, else the numbers of `BONES`.
        source: What found them: `totalsegmentator`, `bundled`, `model` or `file`, for the report.
        warnings: What a reader of the result has to know, in sentences.
        details: What `run.json` keeps: `volumes_mm3` by bone, `findings`; of a model also `certainty`, checksum and
            settings.
        certainty: Of bones that a model found: mean over their voxels of the probability that they are this bone, or
            the same of the other side.
    """

    anatomy: Volume
    source: str
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    certainty: Mapping[str, float] = field(default_factory=dict)


def bone_called(name: str) -> str | None:
    """Return the bone that a name stands for, or None if it stands for none of `BONES`.

    Args:
        name: As data sets write it: `left_hip`, `Left hip bone`, TotalSegmentator's `hip_left`, `vertebrae_S1`.

    Example:
        >>> bone_called("hip_left"), bone_called("Left hip bone"), bone_called("liver")
        ('left_hip', 'left_hip', None)
    """
    plain = re.sub(r"[\s-]+", "_", name.strip().lower()).removesuffix("_bone")
    return plain if plain in BONES else _TOTALSEGMENTATOR.get(plain)


def path_of_bones(how: str | Path) -> Path | None:
    """Return the file or folder that names what finds the bones; None for one of `NAMED_MODELS`, or if it is not there.

    Args:
        how: As `BoneFinder` takes it.
    """
    path = Path(how)
    return path if str(how) not in NAMED_MODELS and path.exists() else None
