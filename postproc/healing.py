"""Healing: cut fragments along border inside them, and join fragments that no border parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from label_gen.grid import bounding_box, grow_box
from postproc.events import Event
from postproc.interfaces import Interface, find_interfaces, relabel
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
        sizes = np.bincount(parts[mine])
        for part in np.flatnonzero(sizes)[np.argsort(-sizes[sizes > 0], kind="stable")][1:].tolist():
            last += 1
            block[parts == part] = last
            events.append(Event("split", bone, float(sizes[part]) * voxel_mm3))
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
    is_rim = mine & (_distance(~mine, spacing_mm) <= RIM_MM)
    whole = find_interfaces(parts, likely, spacing_mm)
    rims = find_interfaces(np.where(is_rim, parts, 0), likely >= RIM_EVIDENCE, spacing_mm)
    sizes = np.bincount(parts[mine]) * float(np.prod(spacing_mm))
    table = {pair: np.array([*_sums(found), *_sums(rims.get(pair, (0.0, 0.0)))]) for pair, found in whole.items()}

    def strength(pair: tuple[int, int]) -> float:
        area, seen, rim, broken = table[pair]
        held = seen / area / thresholds.split_above if thresholds.split_above else np.inf
        held = min(held, broken / rim / RIM_SHARE) if rim else held
        return float(held * SMALL if min(sizes[list(pair)]) < thresholds.fragment_mm3 else held)

    while table:
        weakest = min(table, key=lambda pair: (strength(pair), pair))
        if strength(weakest) >= 1:
            unbroken = [pair for pair in table if _gap(parts, is_rim, likely, pair) > RIM_GAP]
            if not unbroken:
                break
            weakest = min(unbroken, key=lambda pair: (strength(pair), pair))
        keep, gone = weakest
        parts[parts == gone] = keep
        sizes[keep] += sizes[gone]
        _absorb(table, keep, gone, np.add)
    numbers = np.unique(parts[mine])
    small = numbers[sizes[numbers] < thresholds.fragment_mm3]  # they touch nothing
    parts[np.isin(parts, small)] = numbers[sizes[numbers].argmax()]
    return parts


def _gap(
    parts: NDArray[np.int32], is_rim: NDArray[np.bool_], likely: NDArray[np.float32], pair: tuple[int, int]
) -> float:
    """Return the largest connected part without border of the rim between two parts, as a share of that rim."""
    first, second = (is_rim & (parts == number) for number in pair)
    rim = (ndimage.binary_dilation(first) & second) | (ndimage.binary_dilation(second) & first)
    seen = ndimage.maximum_filter(np.where(rim, likely, 0), footprint=ndimage.generate_binary_structure(3, 1))
    gaps = cc3d.connected_components(rim & (seen < RIM_EVIDENCE), connectivity=26)
    return float(np.bincount(gaps[gaps > 0], minlength=1).max() / max(np.count_nonzero(rim), 1))


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
    table = dict(interfaces)
    joined: dict[int, int] = {}
    while weak := {p: e for p, (area, e) in table.items() if e < below and area >= min_mm2}:
        keep, gone = min(weak, key=lambda pair: (weak[pair], pair))
        joined = {number: keep if target == gone else target for number, target in joined.items()} | {gone: keep}
        _absorb(table, keep, gone, _together)
    return joined


def _absorb(table: dict[tuple[int, int], Any], keep: int, gone: int, add: Callable[[Any, Any], Any]) -> None:
    """Give the interfaces of a number to the one that it is joined to; those of both with a third are added up."""
    del table[keep, gone]
    for pair in [pair for pair in table if gone in pair]:
        other = pair[0] if pair[1] == gone else pair[1]
        moved = (min(keep, other), max(keep, other))
        found = table.pop(pair)
        table[moved] = add(found, table[moved]) if moved in table else found


def _together(first: Interface, second: Interface) -> Interface:
    area = first[0] + second[0]
    return area, (first[0] * first[1] + second[0] * second[1]) / area


def _explained(spacing_mm: Sequence[float]) -> float:
    """Return how near border has to be to another fragment to belong to their interface, in millimetres."""
    return max(EXPLAINED_MM, 2 * max(spacing_mm) + 1e-3)


def _distance(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """Return the distance of every voxel to the nearest voxel of a mask, in millimetres."""
    distance: NDArray[np.float32] = edt.edt(~mask, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
    return distance
