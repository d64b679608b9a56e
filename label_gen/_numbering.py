"""Tables that turn numbers of drawn fragments into a scheme's fragment and anatomy numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import UsageError
from label_gen.scheme import LabelScheme

__all__ = ["number_fragments"]


def number_fragments(
    sizes: NDArray[np.integer[Any]], owned: Mapping[str, range], scheme: LabelScheme, bone_names: Collection[str]
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.uint8]]:
    """Number fragments by size in the bands of a scheme, and bones as its anatomy table says.

    Args:
        sizes: Voxels of each drawn number.
        owned: Drawn numbers of each bone.
        scheme: The scheme.
        bone_names: All names that bones may have; a scheme that knows none of them gets all bones as its first.

    Returns:
        Fragment number and anatomy number of each drawn number: uint8 or uint16, and uint8.

    Raises:
        UsageError: A bone has more fragments than its band holds.
    """
    knows_none = not any(part in bone_names for bone in scheme.bones for part in bone.parts)
    to_label: NDArray[np.unsignedinteger[Any]] = np.zeros(len(sizes), np.uint16 if scheme.last_id > 255 else np.uint8)
    to_anatomy = np.zeros(len(sizes), np.uint8)
    for index, bone in enumerate(scheme.bones):
        takes_all = knows_none and index == 0
        names = [name for name in owned if takes_all or name in bone.parts]
        numbers = [number for name in names for number in owned[name] if sizes[number]]
        numbers.sort(key=lambda number: (-sizes[number], number))
        if len(numbers) > bone.capacity:
            raise UsageError(
                f"bone '{bone.name}' of scheme '{scheme.name}' holds {bone.capacity} fragments and the patient has "
                f"{len(numbers)}; ask for fewer fragments, or take a scheme with a longer band"
            )
        to_label[numbers] = range(bone.first_id, bone.first_id + len(numbers))
        if takes_all:
            to_anatomy[numbers] = scheme.anatomy[bone.parts[0]]
    for name, numbers_of_bone in owned.items():
        if not knows_none and name in scheme.anatomy:
            to_anatomy[list(numbers_of_bone)] = scheme.anatomy[name]
    return to_label, to_anatomy
