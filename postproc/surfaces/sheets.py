"""Sheets: where a label's surface passes a voxel corner more than once, and which faces belong to which pass.

Round a corner of the voxel lattice lie 2 x 2 x 2 voxels and the 12 faces between them. A face is on the surface of a
label when one of its two voxels has the label. Where four faces of the surface meet in one edge, two voxels of the
label touch along that edge only; each keeps its own two faces, so that the two are apart there.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["face_code", "sheet_table", "voxel_code"]


def voxel_code(offset: tuple[int, int, int]) -> int:
    """Return the number, 0 to 7, of the voxel at an offset of 0 or 1 along z, y and x from the corner's first voxel."""
    return 4 * offset[0] + 2 * offset[1] + offset[2]


def face_code(axis: int, along_second: int, along_third: int) -> int:
    """Return the number, 0 to 11, of a face round a corner.

    Args:
        axis: Array axis that the face is perpendicular to; the two others are `axis - 1` and `axis + 1`, modulo 3.
        along_second: 1 if the face lies on the positive side of the corner along the axis before, else 0.
        along_third: The same along the axis after.
    """
    return 4 * axis + 2 * along_second + along_third


@cache
def sheet_table() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return the sheets of all 256 ways to fill the voxels round a corner.

    Returns:
        Sheets, int8 (256, 12): for each way, and each face by `face_code`, the number of its sheet from 0 upward, -1
        where the face is not on the surface; and the number of sheets, int8 (256,). Bit `voxel_code` of the way is set
        for voxels of the label.

    Source: chosen here. Faces are joined along the six edges at the corner, which decides alike at both ends of an
        edge; so every edge of the surface has two faces, whatever the labels.
    """
    sheets = np.full((256, 12), -1, np.int8)
    for way in range(256):
        links = {face: {face} for face, (first, second) in _faces().items() if way >> first & 1 != way >> second & 1}
        for round_edge in _edges():
            here = [face for face in round_edge if face in links]
            pairs = [here] if len(here) == 2 else _by_voxel(way, here)
            for first, second in pairs:
                joined = links[first] | links[second]
                for face in joined:
                    links[face] = joined
        for number, sheet in enumerate({id(group): group for group in links.values()}.values()):
            sheets[way, sorted(sheet)] = number
    return sheets, (sheets.max(axis=1) + 1).astype(np.int8)


@cache
def _faces() -> dict[int, tuple[int, int]]:
    """Return the two voxels of each face."""
    found = {}
    for axis in range(3):
        for second in (0, 1):
            for third in (0, 1):
                voxels = []
                for step in (0, 1):
                    offset = [0, 0, 0]
                    offset[axis], offset[axis - 1], offset[(axis + 1) % 3] = step, second, third
                    voxels.append(voxel_code((offset[0], offset[1], offset[2])))
                found[face_code(axis, second, third)] = (voxels[0], voxels[1])
    return found


@cache
def _edges() -> list[list[int]]:
    """Return the four faces round each of the six edges at the corner."""
    rounds = []
    for axis in range(3):
        for side in (0, 1):
            before, after = (axis - 1) % 3, (axis + 1) % 3
            # A face perpendicular to `before` has `axis` as the axis after it, one perpendicular to `after` before it.
            faces = [face_code(before, other, side) for other in (0, 1)]
            faces += [face_code(after, side, other) for other in (0, 1)]
            rounds.append(faces)
    return rounds


def _by_voxel(way: int, faces: list[int]) -> list[list[int]]:
    """Pair four faces round an edge by the voxel of the label that they bound."""
    pairs: dict[int, list[int]] = {}
    for face in faces:
        (inside,) = (voxel for voxel in _faces()[face] if way >> voxel & 1)
        pairs.setdefault(inside, []).append(face)
    return list(pairs.values())
