"""Regions: which bone of the anatomy every bone voxel belongs to, also where anatomy and classes disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from label_gen.classes import ABBC
from label_gen.errors import DataError, SchemeError
from label_gen.scheme import LabelScheme
from postproc.events import Event
from postproc.growth import grow
from postproc.interfaces import find_areas
from postproc.thresholds import Thresholds, thresholds_of

__all__ = ["find_regions"]

REACH_MM = 5.0
"""Bone this far outside the anatomy still belongs to it (chosen here: the surface error of a coarse bone model)."""
THROUGH_SHARE, THROUGH_MM2 = 0.3, 10.0
"""A contact of two bones is a cut through one if so much of it, and at least this area, has core on both sides (chosen
here: joints have 0.07, cuts through the pubis 0.5)."""


def find_regions(
    classes: NDArray[np.uint8],
    anatomy: NDArray[Any],
    present: Sequence[int],
    spacing_mm: Sequence[float],
    scheme: LabelScheme,
    thresholds: Mapping[str, Thresholds] | None,
) -> tuple[NDArray[np.int32], list[Event]]:
    """Give every bone voxel to a bone of the scheme.

    The anatomy decides where it names a bone of the scheme. Bone outside it goes to the bone it is connected with, up
    to `REACH_MM` away; what is further off, or of a bone that the scheme has no band for, is left out. Patches of one
    bone below its smallest fragment, away from that bone and touching another, follow the majority of their faces.
    Larger ones go to another bone if they and it meet core on core: there is no surface between them, so the anatomy
    cut through a bone there.

    Args:
        classes: ABBC classes (z, y, x).
        anatomy: Anatomy numbers on the same grid.
        present: Numbers that the whole anatomy volume holds, background left out.
        spacing_mm: Spacing in array order, in millimetres.
        scheme: Names of the anatomy numbers and the bones with a band.
        thresholds: Thresholds by bone, as for `thresholds_of`.

    Returns:
        Anatomy numbers on the bone that is kept (z, y, x), 0 elsewhere, and what was decided.

    Raises:
        SchemeError: The anatomy has a number that the scheme does not name.
        DataError: Anatomy and bone have no voxel in common.
    """
    name_of = {number: name for name, number in scheme.anatomy.items()}
    unknown = [n for n in present if n not in name_of]
    if unknown:
        known = ", ".join(f"{number} {name}" for number, name in sorted(name_of.items()))
        raise SchemeError(
            f"the anatomy has the numbers {unknown}, which scheme '{scheme.name}' does not name; it has {known}. "
            "Give the whole bones, not the fragments, or choose the scheme of the anatomy (--scheme)"
        )
    with_band = scheme.bone_index_of_anatomy()
    is_bone = classes != 0
    voxels = np.flatnonzero(is_bone)
    regions = np.zeros(is_bone.shape, np.int32)
    regions.ravel()[voxels] = anatomy.ravel()[voxels]
    voxel_mm3 = float(np.prod(spacing_mm))
    counts = np.bincount(regions.ravel()[voxels], minlength=max(present, default=0) + 1)
    if not counts[1:].any():
        raise DataError(
            "no bone voxel of the ABBC classes lies in the anatomy; the two are of different cases, or one is flipped"
        )
    events = []
    for number in present:
        if number in with_band and not counts[number]:
            events.append(Event("empty bone", name_of[number], 0.0, 0))
    is_missing = is_bone & (regions == 0)
    if is_missing.any():
        distance = edt.edt(regions == 0, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
        grow(regions, is_missing & (distance <= REACH_MM), spacing_mm)
        dropped = int((is_bone & (regions == 0)).sum())
        gained = int(is_missing.sum()) - dropped
        if gained:
            events.append(Event("outside anatomy", "", gained * voxel_mm3))
        if dropped:
            events.append(Event("outside dropped", "", dropped * voxel_mm3))
    events += _vote(regions, classes, spacing_mm, name_of, thresholds)
    for number in present:
        if number not in with_band and counts[number]:
            events.append(Event("bone dropped", name_of[number], float(counts[number]) * voxel_mm3))
            regions[regions == number] = 0
    return regions, events


def _vote(
    regions: NDArray[np.int32],
    classes: NDArray[np.uint8],
    spacing_mm: Sequence[float],
    name_of: dict[int, str],
    thresholds: Mapping[str, Thresholds] | None,
) -> list[Event]:
    """Give patches of a bone to the bone that they are part of; regions are changed in place."""
    patches = cc3d.connected_components(regions, connectivity=26)
    voxels = np.flatnonzero(patches)
    sizes = np.bincount(patches.ravel()[voxels])
    region_of = np.zeros(len(sizes), np.int64)
    region_of[patches.ravel()[voxels]] = regions.ravel()[voxels]
    voxel_mm3 = float(np.prod(spacing_mm))
    strays: dict[int, bool] = {}  # whether they are small
    for number in np.unique(region_of[1:]).tolist():
        mine = np.flatnonzero(region_of == number)
        limit = thresholds_of(name_of[number], thresholds).fragment_mm3 / voxel_mm3
        strays |= {p: bool(sizes[p] < limit) for p in mine.tolist() if p and p != mine[np.argmax(sizes[mine])]}
    if not strays:
        return []
    areas = _areas_by_bone(patches, region_of, spacing_mm)
    through: dict[int, dict[int, float]] = {}
    if not all(strays.values()):
        through = _areas_by_bone(np.where(classes == ABBC.CORE, patches, 0), region_of, spacing_mm)
    table = region_of.copy()
    events = []
    given: dict[str, list[float]] = {}  # volumes of small patches, by the bone that they came from
    for patch, is_small in strays.items():
        found = areas.get(patch, {})
        if not is_small:
            cut = through.get(patch, {})
            found = {n: a for n, a in cut.items() if a >= THROUGH_MM2 and a >= THROUGH_SHARE * found[n]}
        if found:
            table[patch] = max(found, key=lambda n: (found[n], -n))
            bone, volume = name_of[int(region_of[patch])], float(sizes[patch]) * voxel_mm3
            if is_small:
                given.setdefault(bone, []).append(volume)
            else:
                events.append(Event("anatomy vote", bone, volume))
    regions.ravel()[voxels] = table[patches.ravel()[voxels]]
    return events + [Event("anatomy vote", bone, sum(volumes), len(volumes)) for bone, volumes in given.items()]


def _areas_by_bone(
    patches: NDArray[Any], region_of: NDArray[np.int64], spacing_mm: Sequence[float]
) -> dict[int, dict[int, float]]:
    """Return for each patch the area, in mm2, that it shares with each other bone."""
    areas: dict[int, dict[int, float]] = {}
    for pair, area in find_areas(patches, spacing_mm).items():
        for patch, other in (pair, pair[::-1]):
            to = areas.setdefault(patch, {})
            to[int(region_of[other])] = to.get(int(region_of[other]), 0.0) + area
    return areas
