"""Healing: cut fragments along border inside them, and join fragments that no border parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from label_gen.grid import bounding_box, grow_box
from postproc.events import Event
from postproc.growth import Engine, grow
from postproc.interfaces import Interface, find_interfaces, relabel
from postproc.thresholds import Thresholds

__all__ = ["merge_unseparated", "split_along_border"]

EXPLAINED_MM = 3.0
"""Border this near to another fragment, or within two voxels, belongs to their interface (chosen here)."""
CLOSING_MM = (0.0, 0.8, 1.6, 2.4, 4.0, 6.0, 8.0, 11.0, 15.0)
"""Holes of up to this radius in predicted border are closed to find a cut (chosen here: the last as wide as half a
sacrum, where a network sees the broken cortex and little of the fracture inside)."""
RIM_MM, RIM_EVIDENCE, RIM_SHARE = 3.0, 0.3, 0.6
"""A cut has border, this likely at least, on this share of its faces within 3 mm of the fragment's surface: a fracture
breaks the cortex nearly all the way round (chosen here; a cut along a crack of one side has half)."""
MIN_CONTACT_MM2 = 10.0
"""A smaller interface is no ground to join two fragments (chosen here: they may merely touch)."""


def split_along_border(
    owners: NDArray[np.int32],
    is_border: NDArray[np.bool_],
    evidence: NDArray[Any],
    spacing_mm: Sequence[float],
    thresholds: Thresholds,
    engine: Engine,
    bone: str,
) -> list[Event]:
    """Cut every fragment that holds much border which no neighbour explains, if the cut runs along border.

    The border inside a fragment is thickened step by step until what is left falls into parts that are large enough
    for fragments; the parts grow back and stay apart where the cut between them shows enough border, on the whole and
    all the way round where it meets the surface.

    Args:
        owners: Fragment numbers of one bone (z, y, x), 0 elsewhere; changed in place.
        is_border: Border class.
        evidence: Border mask or probability, 0 to 1.
        spacing_mm: Spacing in array order, in millimetres.
        thresholds: Sizes and evidence needed.
        engine: Engine to grow back with.
        bone: Name of the bone, for the events.

    Returns:
        One event per fragment that was cut.
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    margin = [int(np.ceil(_explained(spacing_mm) / s)) + 1 for s in spacing_mm]
    border_voxels = np.bincount(owners[is_border])
    suspects = np.flatnonzero(border_voxels * voxel_mm3 >= thresholds.split_mm3)
    waiting = suspects[suspects > 0].tolist()
    if not waiting:
        return []
    statistics = cc3d.statistics(owners.view(np.uint32))
    boxes = list(statistics["bounding_boxes"])
    volumes_mm3 = (statistics["voxel_counts"] * voxel_mm3).tolist()
    events = []
    while waiting:
        number = waiting.pop(0)
        if volumes_mm3[number] < 2 * thresholds.fragment_mm3:
            continue
        box = grow_box(boxes[number], margin, owners.shape)
        block = owners[box]
        mine = block == number
        inside = mine & is_border[box]
        if _unexplained(inside, block, number, spacing_mm) * voxel_mm3 < thresholds.split_mm3:
            continue
        parts = _cut(mine, inside, evidence[box], spacing_mm, thresholds, engine)
        sizes = np.bincount(parts[parts > 0]) if parts.any() else np.zeros(0, np.int64)
        kept = np.flatnonzero(sizes)
        if not len(kept):
            continue
        volumes_mm3[number] = float(sizes.max()) * voxel_mm3
        waiting.append(number)
        for part in kept[np.argsort(-sizes[kept], kind="stable")][1:].tolist():
            block[parts == part] = len(boxes)
            waiting.append(len(boxes))
            # The part's box is not worth a search: it lies in that of the whole.
            boxes.append(boxes[number])
            volumes_mm3.append(float(sizes[part]) * voxel_mm3)
            events.append(Event("split", bone, volumes_mm3[-1]))
    return events


def _unexplained(inside: NDArray[np.bool_], owners: NDArray[np.int32], number: int, spacing_mm: Sequence[float]) -> int:
    """Return how many border voxels of a fragment are far from every other fragment."""
    extent = bounding_box(inside)
    if extent is None:
        return 0
    reach = _explained(spacing_mm)
    near = grow_box(extent, [int(np.ceil(reach / s)) + 1 for s in spacing_mm], inside.shape)
    block = owners[near]
    is_other = (block != 0) & (block != number)
    if not is_other.any():
        return int(inside.sum())
    return int((inside[near] & (_distance(is_other, spacing_mm) > reach)).sum())


def _cut(
    mine: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    evidence: NDArray[Any],
    spacing_mm: Sequence[float],
    thresholds: Thresholds,
    engine: Engine,
) -> NDArray[np.int32]:
    """Return the parts of a fragment after the first cut that holds; all 0 where none does."""
    min_voxels = thresholds.fragment_mm3 / float(np.prod(spacing_mm))
    distance = _distance(inside, spacing_mm)
    is_rim = mine & (_distance(~mine, spacing_mm) <= RIM_MM)
    for radius in CLOSING_MM:
        components = cc3d.connected_components(mine & (distance > radius), connectivity=6)
        sizes = cc3d.statistics(components)["voxel_counts"]
        large = np.flatnonzero(sizes[1:] >= min_voxels) + 1
        if len(large) < 2:
            continue
        number = np.zeros(len(sizes), np.int32)
        number[large] = np.arange(1, len(large) + 1)
        parts = number[components]
        grow(parts, mine & ~inside, spacing_mm, engine)
        grow(parts, mine, spacing_mm, engine)
        relabel(parts, _join(_cuts(parts, is_rim, evidence, spacing_mm), thresholds.split_above, 0.0))
        if len(np.unique(parts[parts > 0])) > 1:
            return parts
    return np.zeros(mine.shape, np.int32)


def _cuts(
    parts: NDArray[np.int32], is_rim: NDArray[np.bool_], evidence: NDArray[Any], spacing_mm: Sequence[float]
) -> dict[tuple[int, int], Interface]:
    """Return the interfaces of the parts; those that do not break the surface all the way round have no evidence."""
    rims = find_interfaces(np.where(is_rim, parts, 0), evidence >= RIM_EVIDENCE, spacing_mm)
    return {
        pair: (area, seen if rims.get(pair, (0.0, 0.0))[1] >= RIM_SHARE else 0.0)
        for pair, (area, seen) in find_interfaces(parts, evidence, spacing_mm).items()
    }


def merge_unseparated(
    owners: NDArray[np.int32],
    evidence: NDArray[Any],
    spacing_mm: Sequence[float],
    thresholds: Thresholds,
    bone: str,
) -> list[Event]:
    """Join touching fragments of one bone whose interface shows no border. Arguments as in `split_along_border`."""
    interfaces = find_interfaces(owners, evidence, spacing_mm)
    joined = _join(interfaces, thresholds.merge_below, MIN_CONTACT_MM2)
    voxel_mm3 = float(np.prod(spacing_mm))
    sizes = np.bincount(owners[owners > 0]) if joined else np.zeros(0)
    relabel(owners, joined)
    return [Event("merged", bone, float(sizes[gone]) * voxel_mm3) for gone in joined]


def _join(interfaces: dict[tuple[int, int], Interface], below: float, min_mm2: float) -> dict[int, int]:
    """Return which numbers become which others when interfaces with too little evidence are taken away in turn."""
    table = dict(interfaces)
    joined: dict[int, int] = {}
    while True:
        weak = {p: e for p, (area, e) in table.items() if e < below and area >= min_mm2}
        if not weak:
            return joined
        keep, gone = min(weak, key=lambda pair: (weak[pair], pair))
        joined = {number: keep if target == gone else target for number, target in joined.items()} | {gone: keep}
        merged: dict[tuple[int, int], Interface] = {}
        for (a, b), (area, e) in table.items():
            a, b = (keep if n == gone else n for n in (a, b))
            if a != b:
                pair = (min(a, b), max(a, b))
                old_area, old_e = merged.get(pair, (0.0, 0.0))
                merged[pair] = (area + old_area, (area * e + old_area * old_e) / (area + old_area))
        table = merged


def _explained(spacing_mm: Sequence[float]) -> float:
    """Return how near border has to be to another fragment to belong to their interface, in millimetres."""
    return max(EXPLAINED_MM, 2 * max(spacing_mm) + 1e-3)


def _distance(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """Return the distance of every voxel to the nearest voxel of a mask, in millimetres."""
    distance: NDArray[np.float32] = edt.edt(~mask, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
    return distance
