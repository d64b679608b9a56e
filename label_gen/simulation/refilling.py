"""A CT without its bones: soft tissue where they were, moved along with what moves, with the noise of the rest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from label_gen._sampling import Box, SampleGrid
from label_gen._shapes import Pose
from label_gen.simulation.fields import COARSE_MM, FieldReader

__all__ = ["fill_bones", "grain_like", "pull_along"]

SOFT_HU = (-200.0, 200.0)
"""Range of fat, muscle, vessels and organs; gas, metal and calcifications fill nothing."""

REACHES_MM = (64.0, 24.0, 10.0, 4.0)
"""How far soft tissue is looked for, from the rough to the fine. Source: chosen here, half a sacrum to a joint."""

BLOOD_DEPTH_MM = 3.0
"""Depth in the former bone from which on a void holds nothing but blood. Source: chosen here."""

GRAIN_VOXELS = 0.6
"""Standard deviation of the smoothing of noise. Source: chosen here, about that of a CT with usual voxels."""

MIN_SAMPLES = 1000
"""Fewer voxels of soft tissue say nothing about the noise."""

PULL_MM = 10.0
"""How far bone pulls soft tissue along (standard deviation). Source: chosen here, about the depth of a muscle."""


LEAST_BONE = 0.02
"""Share of bone nearby that pulls half as much as bone all round. Source: chosen here: half 20 mm from a large bone,
and nothing at 40 mm."""

GRAIN_LOSS = 1.3
"""Variance that linear interpolation between voxels takes from noise, over s (1 - s) along each axis. Source: 2 for
noise without correlation; with `GRAIN_VOXELS` neighbours correlate by about 0.4."""


def grain_like(rng: np.random.Generator, image: NDArray[np.float32], is_soft: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return noise as strong as that of an image.

    Args:
        rng: Source of all randomness.
        image: Hounsfield units (z, y, x).
        is_soft: Where there is no bone.

    Returns:
        Noise in HU, float32 (z, y, x); 0 where the image has none or no soft tissue to measure it in.
    """
    grain: NDArray[np.float32] = gaussian_filter(
        rng.standard_normal(image.shape, dtype=np.float32), GRAIN_VOXELS, truncate=3.0
    )
    middle = image.shape[0] // 2
    slab = slice(max(middle - 12, 0), middle + 12)
    part, part_grain = image[slab], grain[slab]
    usable = is_soft[slab] & (part > SOFT_HU[0]) & (part < SOFT_HU[1])
    if np.count_nonzero(usable) < MIN_SAMPLES:
        return np.zeros_like(grain)
    # What a small blur takes away is mostly noise, and edges are few: the median does not see them.
    taken = [float(np.median(np.abs(a - gaussian_filter(a, 1.0, truncate=3.0))[usable])) for a in (part, part_grain)]
    grain *= np.float32(taken[0] / max(taken[1], 1e-6))
    return grain


def fill_bones(
    image: NDArray[np.float32],
    depth: NDArray[np.float32],
    rim_mm: float,
    blood_hu: float,
    grain: NDArray[np.float32],
    grid: SampleGrid,
) -> NDArray[np.float32]:
    """Return a CT whose bones are replaced by the soft tissue around them, and by blood deep inside.

    Args:
        image: Hounsfield units (z, y, x).
        depth: Depth below the surface of the bones in mm, negative outside.
        rim_mm: How far outside of a bone its blurred edge is replaced too.
        blood_hu: Hounsfield units of blood.
        grain: Noise in HU.
        grid: Where the voxels are.

    Returns:
        Hounsfield units, float32 (z, y, x).
    """
    reader = FieldReader(grid)
    is_bone = depth > -rim_mm
    usable = ~is_bone & (image > SOFT_HU[0]) & (image < SOFT_HU[1])
    sums = _gathered(np.where(usable, image, np.float32(0)), reader, grid)
    counts = _gathered(usable.astype(np.float32), reader, grid)
    total = float(counts.sum())
    field = np.full(sums.shape, float(sums.sum()) / total if total else 0.0, np.float32)
    full = COARSE_MM**3 / float(np.prod(grid.spacing_mm))
    for reach in REACHES_MM:
        near, weight = (gaussian_filter(a, reach / COARSE_MM / 2, mode="constant") for a in (sums, counts))
        share = weight / (weight + np.float32(0.02 * full))
        field += share * (near / np.maximum(weight, 1e-6) - field)
    filled = image.copy()
    for block, points in grid.blocks((slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))):
        index = np.nonzero(is_bone[block])
        if len(index[0]):
            x, y, z = (p[index] for p in points)
            soft = reader.at(field, (x, y, z))
            share = np.clip(depth[block][index] / BLOOD_DEPTH_MM, 0.0, 1.0)
            filled[block][index] = soft + share * (blood_hu - soft) + grain[block][index]
    return filled


def pull_along(
    soft: NDArray[np.float32],
    owner: NDArray[np.uint16],
    poses: Mapping[int, Pose],
    grain: NDArray[np.float32],
    grid: SampleGrid,
) -> NDArray[np.float32]:
    """Move soft tissue along with the fragments near it, less the further they are.

    Args:
        soft: Hounsfield units of the soft tissue at its rest place (z, y, x).
        owner: Fragment numbers where they are found (z, y, x), 0 elsewhere.
        poses: Motion of each fragment by its number.
        grain: Noise in HU; as much of it is added as interpolation takes away.
        grid: Where the voxels are.

    Returns:
        Hounsfield units, float32 (z, y, x).
    """
    reader = FieldReader(grid)
    moved = _pull(owner, poses, reader, grid)
    pulled = soft.copy()
    reach = np.abs(moved).max(axis=0)
    for block, points in grid.blocks((slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))):
        if not _any_in(reach, block, reader, grid):
            continue
        offsets = [reader.at(field, points) for field in moved]
        index = np.nonzero(np.max(np.abs(offsets), axis=0) > 0.05)
        if len(index[0]) == 0:
            continue
        places = [
            index[a] + np.float32(block[a].start) + offsets[2 - a][index] / np.float32(grid.spacing_mm[a])
            for a in range(3)
        ]
        kept = np.ones(len(places[0]), np.float32)
        for place in places:
            share = place - np.floor(place)
            kept *= 1.0 - np.float32(GRAIN_LOSS) * share * (1.0 - share)
        found = map_coordinates(soft, places, order=1, mode="nearest", output=np.float32)
        pulled[block][index] = found + np.sqrt(1.0 - kept) * grain[block][index]
    return pulled


def _any_in(field: NDArray[np.float32], block: Box, reader: FieldReader, grid: SampleGrid) -> bool:
    """Return whether a coarse field is not 0 somewhere in a block of voxels."""
    ends = [_coarse_index(reader, grid, axis)[[s.start, s.stop - 1]] for axis, s in enumerate(block)]
    return bool(field[tuple(slice(max(low - 1, 0), high + 2) for low, high in ends)].any())


def _pull(
    owner: NDArray[np.uint16], poses: Mapping[int, Pose], reader: FieldReader, grid: SampleGrid
) -> NDArray[np.float32]:
    """Return the way from where soft tissue is found to its rest place, x, y, z in mm, float32 (3, coarse z, y, x)."""
    coarse = reader.coarse
    points = coarse.points((slice(0, coarse.shape[0]), slice(0, coarse.shape[1]), slice(0, coarse.shape[2])))
    index = np.nonzero(owner)
    cells = np.zeros(len(index[0]), np.intp)
    for axis in range(3):
        cells = cells * coarse.shape[axis] + _coarse_index(reader, grid, axis)[index[axis]]
    numbers = owner[index]
    total = np.full(coarse.shape, LEAST_BONE, np.float32)
    moved = np.zeros((3, *coarse.shape), np.float32)
    share = float(np.prod(grid.spacing_mm)) / COARSE_MM**3
    for number, pose in poses.items():
        bone = np.bincount(cells[numbers == number], minlength=total.size).reshape(total.shape)
        weight = gaussian_filter((share * bone).astype(np.float32), PULL_MM / COARSE_MM, mode="constant")
        total += weight
        for k, (found, rest) in enumerate(zip(points, pose.backward(points), strict=True)):
            moved[k] += weight * (rest - found)
    moved /= total
    moved[:, np.abs(moved).max(axis=0) < 0.02] = 0.0  # also: products of tiny numbers are slow
    return moved


def _coarse_index(reader: FieldReader, grid: SampleGrid, axis: int) -> NDArray[np.intp]:
    """Return the coarse voxel of each fine voxel along an axis."""
    place = grid.origin_mm[2 - axis] + grid.spacing_mm[axis] * np.arange(grid.shape[axis])
    index: NDArray[np.intp] = np.rint((place - reader.coarse.origin_mm[2 - axis]) / COARSE_MM).astype(np.intp)
    return index


def _gathered(values: NDArray[np.float32], reader: FieldReader, grid: SampleGrid) -> NDArray[np.float32]:
    """Return the sums of values (z, y, x) over coarse voxels."""
    found = values
    for axis in range(3):
        present, starts = np.unique(_coarse_index(reader, grid, axis), return_index=True)
        part = np.add.reduceat(found, starts, axis=axis)
        shape = list(part.shape)
        shape[axis] = reader.coarse.shape[axis]
        found = np.zeros(shape, np.float32)
        found[tuple(present if k == axis else slice(None) for k in range(3))] = part
    return found
