"""The segments of a label volume: which named fragments it holds, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from label_gen.errors import DataError
from label_gen.grid import Box, bounding_box, check_label_array, place_box
from nnunet_ext.fragment_names import FragmentName

__all__ = ["find_segments"]


def find_segments(labels: NDArray[Any], names: Mapping[int, FragmentName]) -> dict[int, Box]:
    """Return the box of every fragment of a volume, and check that each has a name.

    Args:
        labels: Fragment numbers (z, y, x), 0 outside.
        names: Names by number; those of fragments that the volume lacks are ignored.

    Returns:
        Boxes in array order, by number, sorted by number.

    Raises:
        DataError: The array is no label volume, or a fragment has no name.
    """
    check_label_array(labels)
    whole = bounding_box(labels)
    if whole is None:
        return {}
    block = labels[whole]
    if block.dtype.itemsize > 4 or block.dtype == bool:
        block = block.astype(np.uint32)
    boxes = {
        number: place_box(box, whole) for number, box in enumerate(ndimage.find_objects(block), 1) if box is not None
    }
    unnamed = [number for number in boxes if number not in names]
    if unnamed:
        raise DataError(
            f"the volume holds label {unnamed[0]}, which has no name (named are {_few(list(names))}); "
            "name every fragment of the volume (name_fragments)"
        )
    return boxes


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, sorted(numbers)[:10])) + (", ..." if len(numbers) > 10 else "") or "none"
