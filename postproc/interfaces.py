"""Interfaces: the faces on which labelled regions touch, their area and the border seen on them.

Volumes given to this module are contiguous and end in an empty layer on every side, so that the neighbour of a voxel
is found by adding a stride to its flat index; work then grows with the bone, not with the box round it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interface", "find_areas", "find_face_voxels", "find_interfaces", "find_neighbours", "relabel", "strides_of"]

Interface = tuple[float, float]
"""Area in mm2, and the mean border evidence (0 to 1) over it."""


def strides_of(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the distance in a flat array between neighbours along each axis."""
    return (shape[1] * shape[2], shape[2], 1)


def find_neighbours(voxels: NDArray[np.int64], regions: NDArray[Any], owners: NDArray[Any]) -> NDArray[np.int64]:
    """Return which regions have a face in common with which owners.

    Args:
        voxels: Flat indices of the regions' voxels.
        regions: Region number of each of these voxels.
        owners: Owner numbers (z, y, x), 0 elsewhere.

    Returns:
        Distinct pairs (n, 2) of region and owner, sorted.
    """
    flat = owners.ravel()
    keys = []
    for stride in strides_of(owners.shape):
        for step in (stride, -stride):
            owner = flat[voxels + step]
            meets = owner != 0
            keys.append(np.unique(regions[meets].astype(np.int64) << 32 | owner[meets].astype(np.int64)))
    pairs = np.unique(np.concatenate(keys))
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1)


def find_interfaces(
    owners: NDArray[Any], border: NDArray[Any], spacing_mm: Sequence[float]
) -> dict[tuple[int, int], Interface]:
    """Measure every interface between two different owners.

    The evidence of a face is the larger of the border values on its two sides.

    Args:
        owners: Owner numbers (z, y, x), 0 elsewhere.
        border: Border mask or probability on the same grid, 0 to 1.
        spacing_mm: Spacing in array order, in millimetres.

    Returns:
        Area and evidence by pair of owners, the smaller number first.
    """
    area: dict[tuple[int, int], float] = {}
    evidence: dict[tuple[int, int], float] = {}
    seen_at = border.ravel()
    for axis, (keys, here, there) in enumerate(_faces(owners)):
        seen = np.maximum(seen_at[here], seen_at[there]).astype(np.float64)
        pairs, position = np.unique(keys, return_inverse=True)
        counts, sums = np.bincount(position), np.bincount(position, seen)
        face = float(np.prod(spacing_mm)) / spacing_mm[axis]
        for pair, count, total in zip(pairs.tolist(), counts.tolist(), sums.tolist(), strict=True):
            key = _pair_of(pair)
            area[key] = area.get(key, 0.0) + count * face
            evidence[key] = evidence.get(key, 0.0) + total * face
    return {key: (area[key], evidence[key] / area[key]) for key in sorted(area)}


def find_areas(owners: NDArray[Any], spacing_mm: Sequence[float]) -> dict[tuple[int, int], float]:
    """Find the area of every interface between two different owners.

    Args:
        owners: Owner numbers (z, y, x), 0 elsewhere.
        spacing_mm: Spacing in array order, in millimetres.

    Returns:
        Area in mm2 by pair of owners, the smaller number first.
    """
    nothing = np.zeros(owners.shape, np.bool_)
    return {pair: area for pair, (area, _) in find_interfaces(owners, nothing, spacing_mm).items()}


def find_face_voxels(owners: NDArray[Any]) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Find the voxels on both sides of every interface between two different owners.

    Args:
        owners: Owner numbers (z, y, x), 0 elsewhere.

    Returns:
        Flat indices, sorted, by pair of owners, the smaller number first.
    """
    faces = list(_faces(owners))
    keys = np.concatenate([key for key, _, _ in faces for _ in range(2)])
    voxels = np.concatenate([side for _, *sides in faces for side in sides])
    order = np.lexsort((voxels, keys))
    pairs, starts = np.unique(keys[order], return_index=True)
    groups = np.split(voxels[order], starts[1:])  # of no pair, one empty group
    return {_pair_of(pair): np.unique(group) for pair, group in zip(pairs.tolist(), groups, strict=False)}


def _faces(owners: NDArray[Any]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Give, axis by axis, the pair of owners of every face between two, as one number, and the voxels on its sides."""
    flat = owners.ravel()
    voxels = np.flatnonzero(flat)
    mine = flat[voxels]
    for stride in strides_of(owners.shape):
        other = flat[voxels + stride]
        meets = (other != mine) & (other != 0)
        here, first, second = voxels[meets], mine[meets].astype(np.int64), other[meets].astype(np.int64)
        yield np.minimum(first, second) << 32 | np.maximum(first, second), here, here + stride


def _pair_of(key: int) -> tuple[int, int]:
    return key >> 32, key & 0xFFFFFFFF


def relabel(labels: NDArray[np.int32], changes: dict[int, int]) -> None:
    """Replace some numbers in place; chains of replacements are followed to their end."""
    if not changes:
        return
    flat = labels.ravel()
    voxels = np.flatnonzero(flat)
    table = np.arange(int(flat[voxels].max(initial=0)) + 1, dtype=labels.dtype)
    for number in changes:
        target = number
        while target in changes:
            target = changes[target]
        table[number] = target
    flat[voxels] = table[flat[voxels]]
