"""Seeds: one per core component, and what to do for parts of a bone that show no core."""

from __future__ import annotations

import itertools

import cc3d
import numpy as np
from numpy.typing import NDArray

from postproc.events import Event
from postproc.interfaces import strides_of
from postproc.thresholds import Thresholds

__all__ = ["claim_coreless", "find_seeds"]


def find_seeds(
    is_inner: NDArray[np.bool_], is_core: NDArray[np.bool_], voxel_mm3: float, thresholds: Thresholds, bone: str
) -> tuple[NDArray[np.int32], list[Event]]:
    """Find the seeds of one bone.

    Every 26-connected core component from the smallest seed on is a seed. Border divides the bone into compartments;
    one that is large enough for a fragment but has no such seed keeps its largest core.

    Args:
        is_inner: Bone that is not border (z, y, x).
        is_core: Its core voxels.
        voxel_mm3: Volume of a voxel.
        thresholds: Sizes in mm3.
        bone: Name of the bone, for the events.

    Returns:
        Seed numbers (z, y, x), 0 elsewhere, and what was dropped or kept against the rule.
    """
    cores = cc3d.connected_components(is_core, connectivity=26)
    core_voxels = np.flatnonzero(cores)
    core_at = cores.ravel()[core_voxels]
    core_sizes = np.bincount(core_at, minlength=1)
    is_seed = core_sizes >= thresholds.seed_mm3 / voxel_mm3 - 1e-6
    is_seed[0] = False
    events = []
    if not is_seed[1:].all():
        compartments = cc3d.connected_components(is_inner, connectivity=6)
        part_at = compartments.ravel()[core_voxels]
        part_sizes = _sizes(compartments)
        has_seed = np.zeros(len(part_sizes), bool)
        has_seed[part_at[is_seed[core_at]]] = True
        largest_core = np.zeros(len(part_sizes), np.int64)
        order = np.argsort(core_sizes[core_at], kind="stable")
        largest_core[part_at[order]] = core_at[order]
        is_poor = (part_sizes >= thresholds.fragment_mm3 / voxel_mm3) & ~has_seed & (largest_core > 0)
        for core in np.unique(largest_core[is_poor]).tolist():
            is_seed[core] = True
            events.append(Event("small seed kept", bone, float(core_sizes[core]) * voxel_mm3))
    is_dropped = ~is_seed
    is_dropped[0] = False
    if is_dropped.any():
        volume = float(core_sizes[is_dropped].sum()) * voxel_mm3
        events.append(Event("seeds dropped", bone, volume, int(is_dropped.sum())))
    number = np.zeros(len(core_sizes), np.int32)
    number[is_seed] = np.arange(1, is_seed.sum() + 1)
    return number[cores], events


def claim_coreless(
    owners: NDArray[np.int32],
    is_bone: NDArray[np.bool_],
    is_inner: NDArray[np.bool_],
    voxel_mm3: float,
    thresholds: Thresholds,
    bone: str,
) -> list[Event]:
    """Find owners for compartments that no seed could enter through faces.

    One that touches an owner through edges or corners belongs to it: label generation keeps fragments apart there too.
    Of the others, each that is large enough becomes a fragment. A bone without any owner becomes one fragment, its
    largest piece.

    Args:
        owners: Owners after the first march (z, y, x), 0 elsewhere; changed in place.
        is_bone: Mask of the bone.
        is_inner: Bone that is not border.
        voxel_mm3: Volume of a voxel.
        thresholds: Sizes in mm3.
        bone: Name of the bone, for the events.

    Returns:
        An event per fragment without a core.
    """
    events = []
    next_number = int(owners.max()) + 1
    compartments = cc3d.connected_components(is_inner & (owners == 0), connectivity=6)
    voxels = np.flatnonzero(compartments)
    while voxels.size:
        part_at = compartments.ravel()[voxels]
        number = _touching_owners(voxels, part_at, owners)
        if not number.any():
            sizes = np.bincount(part_at)
            largest = int(np.argmax(sizes))
            if sizes[largest] < thresholds.coreless_mm3 / voxel_mm3 - 1e-6:
                break
            number[largest] = next_number
            next_number += 1
            events.append(Event("no core", bone, float(sizes[largest]) * voxel_mm3))
        claimed = number[part_at]
        owners.ravel()[voxels] = claimed
        voxels = voxels[claimed == 0]
    if next_number == 1 and is_bone.any():
        pieces = cc3d.connected_components(is_bone, connectivity=26)
        sizes = _sizes(pieces)
        owners[pieces == np.argmax(sizes)] = 1
        events.append(Event("no core", bone, float(sizes.max()) * voxel_mm3))
    return events


def _touching_owners(
    voxels: NDArray[np.int64], part_at: NDArray[np.integer], owners: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return for each part the owner that it touches most through edges and corners, 0 where it touches none."""
    strides = strides_of(owners.shape)
    flat = owners.ravel()
    keys = []
    for step in itertools.product((-1, 0, 1), repeat=3):
        owner = flat[voxels + sum(s * stride for s, stride in zip(step, strides, strict=True))]
        keys.append(part_at[owner > 0].astype(np.int64) << 32 | owner[owner > 0])
    pairs, counts = np.unique(np.concatenate(keys), return_counts=True)
    result = np.zeros(int(part_at.max()) + 1, np.int32)
    order = np.argsort(counts, kind="stable")
    result[pairs[order] >> 32] = (pairs[order] & 0xFFFFFFFF).astype(np.int32)
    return result


def _sizes(components: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the voxel count of every component; background counts 0."""
    flat = components.ravel()
    return np.bincount(flat[np.flatnonzero(flat)], minlength=1)
