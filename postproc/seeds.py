"""Seeds: one per core component, and what to do for parts of a bone that show none."""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray

from postproc.events import Event
from postproc.thresholds import Thresholds

__all__ = ["find_seeds"]


def find_seeds(
    is_bone: NDArray[np.bool_],
    is_core: NDArray[np.bool_],
    is_border: NDArray[np.bool_],
    voxel_mm3: float,
    thresholds: Thresholds,
    bone: str,
) -> tuple[NDArray[np.int32], list[Event]]:
    """Find the seeds of one bone.

    Every 26-connected core component from the smallest seed on is a seed. Border divides the bone into compartments;
    one that is large enough for a fragment but has no seed keeps its largest small core, or becomes a seed as a whole
    where it shows no core at all. A bone without any seed by these rules keeps its largest core or, failing that, is
    one seed.

    Args:
        is_bone: Mask of the bone (z, y, x).
        is_core: Its core voxels.
        is_border: Its border voxels.
        voxel_mm3: Volume of a voxel.
        thresholds: Sizes in mm3.
        bone: Name of the bone, for the events.

    Returns:
        Seed numbers (z, y, x), 0 elsewhere, and what was dropped or made up for.
    """
    cores = cc3d.connected_components(is_core, connectivity=26)
    core_sizes = _sizes(cores)
    is_seed = core_sizes >= thresholds.seed_mm3 / voxel_mm3 - 1e-6
    is_seed[0] = False
    compartments = cc3d.connected_components(is_bone & ~is_border, connectivity=6)
    part_sizes = _sizes(compartments)
    core_voxels = np.flatnonzero(cores)
    core_at, part_at = cores.ravel()[core_voxels], compartments.ravel()[core_voxels]
    has_seed = np.zeros(len(part_sizes), bool)
    has_seed[part_at[is_seed[core_at]]] = True
    largest_core = np.zeros(len(part_sizes), np.int64)
    order = np.argsort(core_sizes[core_at], kind="stable")
    largest_core[part_at[order]] = core_at[order]

    events, whole = [], []
    is_large = part_sizes >= thresholds.fragment_mm3 / voxel_mm3
    is_large[0] = False
    for part in np.flatnonzero(is_large & ~has_seed).tolist():
        core = int(largest_core[part])
        if core:
            is_seed[core] = True
            events.append(Event("small seed kept", bone, float(core_sizes[core]) * voxel_mm3))
        elif part_sizes[part] >= thresholds.coreless_mm3 / voxel_mm3:
            whole.append(part)
            events.append(Event("no core", bone, float(part_sizes[part]) * voxel_mm3))
    if not is_seed.any() and not whole:
        if len(core_sizes) > 1:
            core = int(np.argmax(core_sizes))
            is_seed[core] = True
            events.append(Event("small seed kept", bone, float(core_sizes[core]) * voxel_mm3))
        elif is_bone.any():
            events.append(Event("no core", bone, float(is_bone.sum()) * voxel_mm3))
            return is_bone.astype(np.int32), events
    dropped = ~is_seed
    dropped[0] = False
    if dropped.any():
        volume = float(core_sizes[dropped].sum()) * voxel_mm3
        events.append(Event("seeds dropped", bone, volume, int(dropped.sum())))
    number = np.zeros(len(core_sizes), np.int32)
    number[is_seed] = np.arange(1, is_seed.sum() + 1)
    seeds: NDArray[np.int32] = number[cores]
    for extra, part in enumerate(whole, int(is_seed.sum()) + 1):
        seeds[compartments == part] = extra
    return seeds, events


def _sizes(components: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the voxel count of every component; background counts 0."""
    flat = components.ravel()
    return np.bincount(flat[np.flatnonzero(flat)], minlength=1)
