"""Sizes below which seeds and fragments are taken for noise, per bone, in cubic millimetres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf

from label_gen.errors import UsageError

__all__ = ["DEFAULT_THRESHOLDS", "WITHOUT_HEALING", "Thresholds", "thresholds_of"]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Thresholds of the recovery for one bone.

    Attributes:
        seed_mm3: A core component below this volume is no seed, unless it is the only core of a part of the bone that
            is large enough for a fragment. 25.6 mm3 are the recipe's 50 voxels of 0.8 mm.
        fragment_mm3: A fragment below this volume is merged into its neighbour. Pelvis: 250 mm3, just below the
            smallest of 575 reference fragments (0.27 cm3). Femur: 150 mm3 (about 300 voxels of 0.8 mm), since femur
            fragments that get lost are smaller (median 1.7 cm3 against 13 cm3 in pelves).
        coreless_mm3: A part of a bone without any core becomes a fragment from this volume on: label generation gives
            every piece of 500 mm3 a core, so a smaller part without one is a satellite (unless
            border cuts it off from its surroundings, see `split_above`).
        merge_below: Two touching fragments are one where their interface shows less border than this (0 to 1, mean
            over the faces between them). Chosen here: true interfaces carry border on every face, broken seeds on
            none.
        split_above: A fragment is cut along border inside it where the cut shows more border than this (0 to 1, mean
            over its faces). Chosen here, on simulated cases: a network sees the broken cortex and little inside.
        split_mm3: Border inside a fragment that no neighbour explains, from which a cut is tried. Chosen here: about
            1 cm2 of border of the default width.
    """

    seed_mm3: float = 25.6
    fragment_mm3: float = 250.0
    coreless_mm3: float = 500.0
    merge_below: float = 0.2
    split_above: float = 0.3
    split_mm3: float = 100.0

    def __post_init__(self) -> None:
        for item in fields(self):
            if not getattr(self, item.name) >= 0:
                raise UsageError(f"{item.name} must not be negative. Got: {getattr(self, item.name)}")


DEFAULT_THRESHOLDS: Mapping[str, Thresholds] = {
    "": Thresholds(),
    "femur": Thresholds(fragment_mm3=150.0),
}
"""Thresholds by bone: the longest key that the bone's name ends with counts, the empty key is every other bone.

Source: sizes from the PENGWIN 2024 training set and published failure counts of 2026; see each attribute.
"""

WITHOUT_HEALING: Mapping[str, Thresholds] = {
    bone: replace(thresholds, merge_below=0.0, split_mm3=inf) for bone, thresholds in DEFAULT_THRESHOLDS.items()
}
"""The same, but fragments are neither cut along border nor joined for want of it: what the cores say is left as is."""


def thresholds_of(bone: str, table: Mapping[str, Thresholds] | None = None) -> Thresholds:
    """Return the thresholds of a bone.

    Args:
        bone: Name of the bone.
        table: Thresholds by ending of the bone's name; what it lacks is taken from `DEFAULT_THRESHOLDS`.
    """
    merged = {**DEFAULT_THRESHOLDS, **(table or {})}
    return merged[max((key for key in merged if bone.endswith(key)), key=len)]
