"""Fragments from the model's grid to the CT's own, by the surface that the probabilities draw and not by blocks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from label_gen.classes import ABBC
from label_gen.grid import bounding_box, grow_box
from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.frames import IndexMap, box_in, crop_grid, index_map, resampled

__all__ = ["bone_margin", "labels_on"]

SLAB_VOXELS = 1 << 22
"""Voxels of the CT that are worked on at a time. Source: chosen here."""

CHUNK = 1 << 17
"""Bone voxels that are worked on at a time. Source: chosen here; 64 neighbours of each are looked at."""


def bone_margin(probabilities: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float16]:
    """Return how far each voxel is on the side of bone, as a number whose sign is that of the classes.

    It is the largest probability of the bone classes less that of the background, from -1 to 1. Its zero, interpolated,
    is the surface of the bone to a part of a voxel. Bone that has no fragment counts as background.

    Args:
        probabilities: Shape (4, z, y, x) in the order of `label_gen.ABBC`.
        labels: Fragments on the same grid (z, y, x).
    """
    margin = np.empty(labels.shape, np.float16)
    bone = [number for number in ABBC if number != ABBC.BACKGROUND]
    for z in range(len(labels)):
        plane = probabilities[:, z].astype(np.float32)
        found = plane[bone].max(axis=0) - plane[ABBC.BACKGROUND]
        size = np.maximum(np.abs(found), 1e-3)
        margin[z] = np.where(labels[z] > 0, size, -size)
    return margin


def labels_on(labels: NDArray[Any], margin: NDArray[Any], source: Grid, target: Grid) -> NDArray[Any]:
    """Return fragments on another grid.

    A voxel is bone where the margin, interpolated linearly, is above 0. Its fragment is the one with the largest share
    in the cubic B-spline weights of the 64 voxels round it: interfaces come out smooth, and where the grids are the
    same the surface is kept exactly.

    Args:
        labels: Fragments on the source grid (z, y, x).
        margin: Of `bone_margin`, or any field that is above 0 in fragments and below elsewhere.
        source: Grid of both.
        target: The grid wanted.

    Returns:
        Fragments on the target grid (z, y, x), in the type of the labels.

    Source: the cubic B-spline smooths by 0.58 voxels (its standard deviation), which takes steps away and leaves
    sheets of one voxel; chosen here.
    """
    result = np.zeros(target.shape, labels.dtype)
    extent = bounding_box(labels)
    if extent is None:
        return result
    part = grow_box(extent, 3, labels.shape)
    labels, margin, source = np.ascontiguousarray(labels[part]), margin[part], crop_grid(source, part)
    box = box_in(target, source)
    margin = margin.astype(np.float32)
    extremes = _extremes(labels)
    step = max(1, SLAB_VOXELS // ((box[1].stop - box[1].start) * (box[2].stop - box[2].start)))
    for start in range(box[0].start, box[0].stop, step):
        slab = (slice(start, min(start + step, box[0].stop)), box[1], box[2])
        grid = crop_grid(target, slab)
        field = resampled(margin, source, grid, order=1, outside=-1.0, dtype=np.float32)
        voxels = np.flatnonzero(field > 0)
        if not voxels.size:
            continue
        found = np.empty(voxels.size, labels.dtype)
        mapped = index_map(source, grid)
        for first in range(0, voxels.size, CHUNK):
            index = np.stack(np.unravel_index(voxels[first : first + CHUNK], grid.shape), axis=1)
            found[first : first + CHUNK] = _winners(labels, extremes, index, mapped)
        block = np.zeros(grid.shape, labels.dtype)
        block.ravel()[voxels] = found
        result[slab] = block
    return result


def _extremes(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the largest and the smallest fragment among the voxels from one before to two behind, on every axis."""
    unseen = np.where(labels == 0, np.iinfo(labels.dtype).max, labels)
    highest = ndimage.maximum_filter(labels, size=4, origin=-1, mode="nearest")
    lowest = ndimage.minimum_filter(unseen, size=4, origin=-1, mode="nearest")
    return highest, lowest


def _winners(
    labels: NDArray[Any], extremes: tuple[NDArray[Any], NDArray[Any]], index: NDArray[np.intp], mapped: IndexMap
) -> NDArray[Any]:
    """Return the fragment of each voxel of a target grid, by its index there."""
    place = (index @ mapped.matrix.T + mapped.offset).astype(np.float32)
    limits = np.array(labels.shape, np.int32) - 1
    base = np.clip(np.floor(place).astype(np.int32), 0, limits)
    highest, lowest = (volume[base[:, 0], base[:, 1], base[:, 2]] for volume in extremes)
    winner: NDArray[Any] = highest
    contested = np.flatnonzero(lowest < highest)
    if contested.size:
        base = base[contested]
        weights = _weights(np.clip(place[contested] - base, 0, 1))
        near = np.empty((64, contested.size), labels.dtype)
        share = np.empty((64, contested.size), np.float32)
        for number, step in enumerate(itertools.product(range(4), repeat=3)):
            z, y, x = (np.clip(base[:, axis] + step[axis] - 1, 0, limits[axis]) for axis in range(3))
            near[number] = labels[z, y, x]
            share[number] = weights[step[0]][:, 0] * weights[step[1]][:, 1] * weights[step[2]][:, 2]
        best, score = np.zeros(contested.size, labels.dtype), np.zeros(contested.size, np.float32)
        for label in np.unique(near[near > 0]).tolist():
            mine = np.where(near == label, share, 0).sum(axis=0)
            better = mine > score
            best[better], score[better] = label, mine[better]
        winner[contested] = best
    return winner


def _weights(part: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return the cubic B-spline weights of the four voxels along each axis, each of shape (n, 3)."""
    rest = 1 - part
    first, last = rest**3 / 6, part**3 / 6
    second = 2 / 3 - part**2 * (1 + rest) / 2
    third = 2 / 3 - rest**2 * (1 + part) / 2
    return tuple(weight.astype(np.float32) for weight in (first, second, third, last))
