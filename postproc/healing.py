"""Healing: cut fragments along border inside them, and join fragments that no border parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from label_gen.grid import bounding_box, grow_box
from postproc.events import Event
from postproc.interfaces import Interface, find_face_voxels, find_interfaces, relabel
from postproc.thresholds import Thresholds

__all__ = ["merge_unseparated", "split_along_border"]

EXPLAINED_MM = 3.0
"""Border this near to another fragment, or within two voxels, belongs to their interface (chosen here)."""
BASIN_BORDER, BASIN_MM, BASIN_APART_MM, BASIN_SMOOTH_MM = 0.2, 1.5, 4.0, 1.3
"""Basins begin where a fragment is deepest between its surface and border of this likelihood, at least so deep and so
far apart, in depths smoothed so much (chosen here: a hip bone has some thirty)."""
DEPTH_COST, DEEPEST_MM = 0.02, 10.0
"""Where there is no border, the line between basins runs where the bone is thin: a millimetre of depth counts as much
as this likelihood of border, down to the deepest (chosen here)."""
RIM_MM, RIM_EVIDENCE, RIM_SHARE, RIM_GAP = 3.0, 0.3, 0.4, 0.4
"""A cut has border, this likely at least, on this share of its faces within 3 mm of the fragment's surface, and no
connected part of these faces without it is larger than that share: a fracture breaks the cortex all the way round,
however little of it shows inside, and a crack of one side leaves the other (chosen here, on simulated cases)."""
SMALL = 0.2
"""What a part too small for a fragment counts of its evidence, so that it is joined before others (chosen here)."""
MIN_CONTACT_MM2 = 10.0
"""A smaller interface is no ground to join two fragments (chosen here: they may merely touch)."""
_NO_VOXELS: NDArray[np.int64] = np.zeros(0, np.int64)


def split_along_border(
    owners: NDArray[np.int32],
    is_border: NDArray[np.bool_],
    evidence: NDArray[Any],
    spacing_mm: Sequence[float],
    thresholds: Thresholds,
    bone: str,
) -> list[Event]:
    """Cut every fragment that holds much border which no neighbour explains, if the cuts run along border.

    The fragment is divided into basins, between which border runs wherever there is any; basins are joined again, those
    with the least border between them first, as long as what lies between them shows too little on the whole or where
    it meets the surface.

    Args:
        owners: Fragment numbers of one bone (z, y, x), 0 elsewhere; changed in place.
        is_border: Border class.
        evidence: Border mask or probability, 0 to 1.
        spacing_mm: Spacing in array order, in millimetres.
        thresholds: Sizes and evidence needed.
        bone: Name of the bone, for the events.

    Returns:
        One event per part that was cut off.

    Source: agglomeration of a watershed by the mean boundary evidence of its interfaces, as Arbelaez 2006 and
    Nunez-Iglesias et al. 2013 join superpixels.
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    margin = [int(np.ceil(_explained(spacing_mm) / s)) + 1 for s in spacing_mm]
    border_voxels = np.bincount(owners[is_border])
    found = np.flatnonzero(border_voxels * voxel_mm3 >= thresholds.split_mm3)
    suspects = found[found > 0].tolist()
    if not suspects:
        return []
    statistics = cc3d.statistics(owners.view(np.uint32))
    volumes_mm3 = statistics["voxel_counts"] * voxel_mm3
    last = len(volumes_mm3) - 1
    events = []
    for number in suspects:
        if volumes_mm3[number] < 2 * thresholds.fragment_mm3:
            continue
        box = grow_box(statistics["bounding_boxes"][number], margin, owners.shape)
        block = owners[box]
        mine = block == number
        inside = mine & is_border[box]
        if _unexplained(inside, block, number, spacing_mm) * voxel_mm3 < thresholds.split_mm3:
            continue
        parts = _cut(mine, evidence[box], spacing_mm, thresholds)
        inner = parts[mine]
        sizes = np.bincount(inner)
        numbers = np.full(len(sizes), number, np.int32)
        for part in np.flatnonzero(sizes)[np.argsort(-sizes[sizes > 0], kind="stable")][1:].tolist():
            last += 1
            numbers[part] = last
            events.append(Event("split", bone, float(sizes[part]) * voxel_mm3))
        block[mine] = numbers[inner]
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
    mine: NDArray[np.bool_], evidence: NDArray[Any], spacing_mm: Sequence[float], thresholds: Thresholds
) -> NDArray[np.int32]:
    """Return the parts of a fragment that border parts, numbered from 1; one part where none does."""
    likely = np.where(mine, evidence, 0).astype(np.float32)
    parts = _basins(mine, likely, spacing_mm)
    on_rim = np.where(_distance(~mine, spacing_mm) <= RIM_MM, parts, 0)
    whole = find_interfaces(parts, likely, spacing_mm)
    rims = find_interfaces(on_rim, likely >= RIM_EVIDENCE, spacing_mm)
    faces = find_face_voxels(on_rim)
    table = {
        pair: _Cut(*_sums(found), *_sums(rims.get(pair, (0.0, 0.0))), faces.get(pair, _NO_VOXELS))
        for pair, found in whole.items()
    }
    sizes = (np.bincount(parts[mine]) * float(np.prod(spacing_mm))).tolist()

    def strength(pair: tuple[int, int]) -> float:
        cut = table[pair]
        held = cut.seen / cut.area / thresholds.split_above if thresholds.split_above else np.inf
        held = min(held, cut.broken / cut.rim / RIM_SHARE) if cut.rim else held
        return held * SMALL if min(sizes[pair[0]], sizes[pair[1]]) < thresholds.fragment_mm3 else held

    def is_weak(pair: tuple[int, int], held: float) -> bool:
        return held < 1 or _gap(table[pair].voxels, likely) > RIM_GAP

    def join(keep: int, gone: int) -> None:
        sizes[keep] += sizes[gone]

    relabel(parts, _agglomerate(table, strength, is_weak, join))
    left, volumes = np.unique(parts[mine]), np.array(sizes)
    small = left[volumes[left] < thresholds.fragment_mm3]  # they touch nothing
    parts[np.isin(parts, small)] = left[volumes[left].argmax()]
    return parts


@dataclass(frozen=True)
class _Cut:
    """What lies between two basins: area in mm2, the sum of evidence over it, both on the rim, and the rim's voxels."""

    area: float
    seen: float
    rim: float
    broken: float
    voxels: NDArray[np.int64]

    def __add__(self, other: _Cut) -> _Cut:
        return _Cut(
            self.area + other.area,
            self.seen + other.seen,
            self.rim + other.rim,
            self.broken + other.broken,
            np.union1d(self.voxels, other.voxels),
        )


def _gap(voxels: NDArray[np.int64], likely: NDArray[np.float32]) -> float:
    """Return the largest connected part without border of the rim between two parts, as a share of that rim."""
    if not len(voxels):
        return 0.0
    places = np.stack(np.unravel_index(voxels, likely.shape))
    low = places.min(axis=1)
    within = tuple(places - low[:, None])
    values = np.zeros(places.max(axis=1) - low + 1, np.float32)
    rim = np.zeros(values.shape, np.bool_)
    rim[within], values[within] = True, likely.ravel()[voxels]
    seen = ndimage.maximum_filter(values, footprint=ndimage.generate_binary_structure(3, 1))
    gaps = cc3d.connected_components(rim & (seen < RIM_EVIDENCE), connectivity=26)
    return float(np.bincount(gaps[gaps > 0], minlength=1).max() / len(voxels))


def _sums(interface: Interface) -> tuple[float, float]:
    return interface[0], interface[0] * interface[1]


def _basins(mine: NDArray[np.bool_], likely: NDArray[np.float32], spacing_mm: Sequence[float]) -> NDArray[np.int32]:
    """Divide a fragment into basins, numbered from 1; what none can reach belongs to the first."""
    depth = _distance(~(mine & (likely < BASIN_BORDER)), spacing_mm)
    smooth = ndimage.gaussian_filter(depth, [BASIN_SMOOTH_MM / step for step in spacing_mm])
    window = [2 * round(BASIN_APART_MM / step) + 1 for step in spacing_mm]
    is_peak = (smooth == ndimage.maximum_filter(smooth, window)) & (depth > BASIN_MM) & mine
    seeds = cc3d.connected_components(is_peak, connectivity=26).astype(np.int32)
    if not seeds.any():
        return mine.astype(np.int32)
    cost = likely - DEPTH_COST * np.minimum(depth, DEEPEST_MM)
    basins: NDArray[np.int32] = watershed(cost, seeds, mask=mine).astype(np.int32)
    basins[mine & (basins == 0)] = 1
    return basins


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
    table = {pair: _Contact(*found) for pair, found in interfaces.items()}
    return _agglomerate(
        table,
        lambda pair: table[pair].evidence,
        lambda pair, evidence: evidence < below and table[pair].area >= min_mm2,
    )


@dataclass(frozen=True)
class _Contact:
    """An interface: area in mm2, and the mean evidence over it."""

    area: float
    evidence: float

    def __add__(self, other: _Contact) -> _Contact:
        area = self.area + other.area
        return _Contact(area, (self.area * self.evidence + other.area * other.evidence) / area)


def _agglomerate(
    table: dict[tuple[int, int], Any],
    strength: Callable[[tuple[int, int]], float],
    is_weak: Callable[[tuple[int, int], float], bool],
    join: Callable[[int, int], None] = lambda keep, gone: None,
) -> dict[int, int]:
    """Join regions across the weakest interface, again and again, until none that is left is weak.

    Args:
        table: What lies between two regions, by their numbers, the smaller first; changed in place. Where two joined
            regions had the same neighbour, what lay between is added up.
        strength: Of an interface; the weakest is joined first, of equals that of the smallest numbers.
        is_weak: Whether an interface of this strength may go; asked when none weaker is left, and again after a change.
        join: Told which region is about to be joined by which.

    Returns:
        Which numbers became which others, in the order of joining.
    """
    neighbours: dict[int, set[int]] = defaultdict(set)
    for first, second in table:
        neighbours[first].add(second)
        neighbours[second].add(first)
    queue = [(strength(pair), pair) for pair in table]
    heapify(queue)
    joined: dict[int, int] = {}
    while queue:
        held, pair = heappop(queue)
        if pair not in table or held != strength(pair) or not is_weak(pair, held):
            continue  # gone, changed and in the queue once more, or strong unless it changes
        keep, gone = pair
        join(keep, gone)
        joined[gone] = keep
        del table[pair]
        neighbours[keep].remove(gone)
        for other in neighbours.pop(gone) - {keep}:
            found, moved = table.pop(_pair(gone, other)), _pair(keep, other)
            table[moved] = found + table[moved] if moved in table else found
            neighbours[other].remove(gone)
            neighbours[other].add(keep)
            neighbours[keep].add(other)
        for other in neighbours[keep]:
            heappush(queue, (strength(_pair(keep, other)), _pair(keep, other)))
    last: dict[int, int] = {}
    for gone in sorted(joined):  # what one is joined to has a smaller number
        last[gone] = last.get(joined[gone], joined[gone])
    return {gone: last[gone] for gone in joined}


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def _explained(spacing_mm: Sequence[float]) -> float:
    """Return how near border has to be to another fragment to belong to their interface, in millimetres."""
    return max(EXPLAINED_MM, 2 * max(spacing_mm) + 1e-3)


def _distance(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """Return the distance of every voxel to the nearest voxel of a mask, in millimetres."""
    distance: NDArray[np.float32] = edt.edt(~mask, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
    return distance
