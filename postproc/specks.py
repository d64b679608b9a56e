"""Specks and islands: fragments too small to stand alone, and bone that no seed reaches."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from label_gen.grid import grow_box
from postproc.events import Event
from postproc.interfaces import find_areas, relabel
from postproc.thresholds import Thresholds

__all__ = ["join_islands", "merge_small"]


def merge_small(
    owners: NDArray[np.int32], spacing_mm: Sequence[float], thresholds: Thresholds, bone: str
) -> list[Event]:
    """Merge fragments below the smallest size, the smallest first, into the neighbour with the largest interface.

    One that touches no other fragment of its bone is freed (0), for `join_islands`; the largest fragment of a bone
    stays whatever its size.

    Args:
        owners: Fragment numbers of one bone (z, y, x), 0 elsewhere; changed in place.
        spacing_mm: Spacing in array order, in millimetres.
        thresholds: Sizes in mm3.
        bone: Name of the bone, for the events.

    Returns:
        One event per fragment that was merged.
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    counts = np.bincount(owners.ravel()[np.flatnonzero(owners)])
    sizes = {number: int(counts[number]) for number in np.flatnonzero(counts).tolist()}
    limit = thresholds.fragment_mm3 / voxel_mm3 - 1e-6
    if all(size >= limit for size in sizes.values()):
        return []
    areas = find_areas(owners, spacing_mm)
    joined: dict[int, int] = {}
    events = []
    while len(sizes) > 1:
        number = min(sizes, key=lambda n: (sizes[n], n))
        if sizes[number] >= limit:
            break
        touching = {a + b - number: area for (a, b), area in areas.items() if number in (a, b)}
        target = max(touching, key=lambda n: (touching[n], -n), default=0)
        joined[number] = target
        if target:
            events.append(Event("small merged", bone, sizes[number] * voxel_mm3))
            sizes[target] += sizes[number]
        del sizes[number]
        areas = {pair: area for pair, area in areas.items() if number not in pair}
        for other, area in touching.items():
            if target and other != target:
                pair = (min(other, target), max(other, target))
                areas[pair] = areas.get(pair, 0.0) + area
    relabel(owners, joined)
    return events


def join_islands(
    owners: NDArray[np.int32],
    is_bone: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    thresholds: Thresholds,
    bone: str,
) -> list[Event]:
    """Give bone without an owner to the nearest fragment; a large island apart from all becomes a fragment.

    Args:
        owners: Fragment numbers of one bone (z, y, x), 0 elsewhere; changed in place.
        is_bone: Mask of the bone.
        spacing_mm: Spacing in array order, in millimetres.
        thresholds: Sizes in mm3.
        bone: Name of the bone, for the events.

    Returns:
        Events for what was joined and for what became a fragment.
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    is_island = is_bone & (owners == 0)
    if not is_island.any():
        return []
    islands = cc3d.connected_components(is_island, connectivity=26)
    statistics = cc3d.statistics(islands)
    joined, volume, events = 0, 0.0, []
    before = owners.copy()
    next_number = int(owners.max()) + 1
    for island in range(1, len(statistics["voxel_counts"])):
        size = float(statistics["voxel_counts"][island]) * voxel_mm3
        box = statistics["bounding_boxes"][island]
        mask = islands[box] == island
        nearest = _nearest_owner(before, mask, box, spacing_mm)
        if nearest is None or (size >= thresholds.coreless_mm3 and nearest[1] > max(spacing_mm) * 1.8):
            owners[box][mask] = next_number
            next_number += 1
            events.append(Event("no core", bone, size))
        else:
            owners[box][mask] = nearest[0]
            joined, volume = joined + 1, volume + size
    if joined:
        events.append(Event("island joined", bone, volume, joined))
    return events


def _nearest_owner(
    owners: NDArray[np.int32], mask: NDArray[np.bool_], box: Sequence[slice], spacing_mm: Sequence[float]
) -> tuple[int, float] | None:
    """Return the owner nearest to an island and its distance in millimetres, or None where there are no owners."""
    points = (np.argwhere(mask) + [s.start for s in box]) * np.asarray(spacing_mm)
    reach = 4.0
    while True:
        margin = [int(np.ceil(reach / s)) for s in spacing_mm]
        wide = grow_box(box, margin, owners.shape)
        block = owners[wide]
        found = np.argwhere(block)
        if len(found):
            targets = (found + [s.start for s in wide]) * np.asarray(spacing_mm)
            distance, index = cKDTree(targets).query(points)
            closest = int(np.argmin(distance))
            if distance[closest] <= reach or block.shape == owners.shape:
                return int(block[tuple(found[index[closest]])]), float(distance[closest])
        elif block.shape == owners.shape:
            return None
        reach *= 2
