"""Growth: every voxel of a domain to the seed whose front reaches it first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import cc3d
import numpy as np
import skfmm
from numpy.typing import NDArray
from scipy import ndimage

from label_gen.grid import grow_box
from postproc.interfaces import find_neighbours, strides_of

__all__ = ["Engine", "grow"]

Engine = Literal["fmm", "watershed"]


def grow(
    seeds: NDArray[np.int32], domain: NDArray[np.bool_], spacing_mm: Sequence[float], engine: Engine = "fmm"
) -> None:
    """Let seeds grow through a domain at the same speed until they meet.

    Fronts move from voxel to voxel through faces and never leave the domain, so a part of the domain that only one
    seed can enter is filled at once; only parts that two or more seeds can enter are marched through, in their own
    boxes and with all seeds in one march.

    Args:
        seeds: Seed numbers (z, y, x), 0 elsewhere and in the outermost layer; grows in place. What lies outside the
            domain or cannot be reached stays 0.
        domain: Where fronts may go; seeds count as inside.
        spacing_mm: Spacing in array order, in millimetres.
        engine: `fmm` marches by the eikonal equation, `watershed` floods by distance from the seeds.
    """
    parts = cc3d.connected_components(domain & (seeds == 0), connectivity=6)
    voxels = np.flatnonzero(parts)
    part_of = parts.ravel()[voxels]
    pairs = find_neighbours(voxels, part_of, seeds)
    if not len(pairs):
        return
    visitors = np.bincount(pairs[:, 0], minlength=int(part_of.max()) + 1)
    contested = np.flatnonzero(visitors > 1).tolist()
    outcomes = []
    if contested:
        ties, winner = _find_ties(seeds, voxels[visitors[part_of] > 1], spacing_mm)
        boxes = cc3d.statistics(parts)["bounding_boxes"]
        for part in contested:
            box = grow_box(boxes[part], 2, parts.shape)
            is_part = parts[box] == part
            contest = _march if engine == "fmm" else _flood
            outcomes.append((box, is_part, contest(seeds[box], is_part, spacing_mm)))
    filled = np.zeros(len(visitors), seeds.dtype)
    single = pairs[visitors[pairs[:, 0]] == 1]
    filled[single[:, 0]] = single[:, 1]
    is_alone = visitors[part_of] == 1
    seeds.ravel()[voxels[is_alone]] = filled[part_of[is_alone]]
    for box, is_part, owner in outcomes:
        seeds[box][is_part] = owner
    if contested:
        seeds.ravel()[ties] = winner


def _find_ties(
    seeds: NDArray[np.int32], voxels: NDArray[np.int64], spacing_mm: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the voxels that share faces with several seeds, equally near, and the largest of those seeds.

    Label generation leaves a wall of one layer on the larger side where the smaller fragment is too thin for its own.
    """
    flat = seeds.ravel()
    size = np.bincount(flat[np.flatnonzero(flat)], minlength=1)
    size[0] = 0
    nearest = np.full(len(voxels), np.inf)
    owner = np.zeros(len(voxels), seeds.dtype)
    is_tie = np.zeros(len(voxels), bool)
    for spacing, stride in sorted(zip(spacing_mm, strides_of(seeds.shape), strict=True)):
        for step in (stride, -stride):
            near = flat[voxels + step]
            rival = (near > 0) & (owner > 0) & (near != owner) & (spacing <= nearest)
            is_tie |= rival
            larger = (size[near] > size[owner]) | ((size[near] == size[owner]) & (near < owner))
            better = (near > 0) & ((owner == 0) | (rival & larger))
            owner[better] = near[better]
            nearest[better] = spacing
    return voxels[is_tie], owner[is_tie]


def _march(seeds: NDArray[np.int32], is_part: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.int32]:
    """Return the owners of a part's voxels by one fast march from all seeds round it.

    The march gives arrival times without owners. Every voxel then points at the neighbour that the front came from,
    and pointers are followed, doubling their reach each time, until all end in seeds.

    Source: fast marching method, Sethian 1996; owners by upwind pointers, chosen here.
    """
    is_rim = ndimage.binary_dilation(is_part) & (seeds != 0) & ~is_part
    phi = np.where(is_part, 1.0, -1.0)
    # At unit speed the arrival time is the distance, and no array of speeds is needed.
    arrival = skfmm.distance(np.ma.MaskedArray(phi, ~(is_part | is_rim)), dx=[float(s) for s in spacing_mm])
    del phi
    voxels = np.flatnonzero(is_part | is_rim)
    times = np.where(is_part.ravel()[voxels], np.ma.getdata(arrival).ravel()[voxels], 0.0)
    del arrival
    index = np.full(is_part.size, -1, np.int32)
    index[voxels] = np.arange(len(voxels), dtype=np.int32)
    pointer = np.arange(len(voxels), dtype=np.int32)
    steepest = np.zeros(len(voxels))
    inner = np.flatnonzero(is_part.ravel()[voxels])
    for axis, stride in enumerate(strides_of(is_part.shape)):
        for step in (stride, -stride):
            neighbour = index[voxels[inner] + step]
            drop = np.where(neighbour >= 0, (times[inner] - times[neighbour]) / spacing_mm[axis], 0.0)
            better = drop > steepest[inner] + 1e-9
            steepest[inner[better]] = drop[better]
            pointer[inner[better]] = neighbour[better]
    while not np.array_equal(further := pointer[pointer], pointer):
        pointer = further
    owners: NDArray[np.int32] = seeds.ravel()[voxels][pointer][inner]
    return owners


def _flood(seeds: NDArray[np.int32], is_part: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.int32]:
    """Return the owners of a part's voxels by a watershed over the distance from the seeds round it."""
    from skimage.segmentation import watershed

    is_rim = ndimage.binary_dilation(is_part) & (seeds != 0) & ~is_part
    distance = ndimage.distance_transform_edt(~is_rim, sampling=spacing_mm)
    flooded: NDArray[Any] = watershed(
        distance, markers=np.where(is_rim, seeds, 0), mask=is_part | is_rim, connectivity=1
    )
    owners: NDArray[np.int32] = flooded[is_part].astype(np.int32)
    return owners
