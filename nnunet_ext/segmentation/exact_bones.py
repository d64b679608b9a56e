"""Bones that are known exactly: fragments fill them and end where they end, and the network says where they part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill"]


def fill(labels: NDArray[np.integer], is_bone: NDArray[np.bool_]) -> None:
    """Let fragments fill the bones that they lie in, voxel by voxel through faces, and end where the bones end.

    Args:
        labels: Fragments (z, y, x); changed in place.
        is_bone: Where the bones are (z, y, x). Bone that no fragment is connected with stays without one.
    """
    labels[~is_bone] = 0
    flat = labels.reshape(-1)
    waiting = np.flatnonzero(is_bone & (labels == 0))
    while waiting.size:
        found = np.zeros(waiting.size, labels.dtype)
        index = np.unravel_index(waiting, labels.shape)
        for axis, step in ((axis, step) for axis in range(3) for step in (-1, 1)):
            place = index[axis] + step
            is_there = (place >= 0) & (place < labels.shape[axis])
            near = waiting + step * int(np.prod(labels.shape[axis + 1 :], dtype=np.int64))
            beside = np.where(is_there, flat[np.where(is_there, near, 0)], 0)
            found = np.where(found == 0, beside, found)
        if not found.any():
            return
        flat[waiting] = found
        waiting = waiting[found == 0]
