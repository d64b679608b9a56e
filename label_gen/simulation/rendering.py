"""The CT of a broken anatomy: soft tissue around it, bone with its fractures, then the scanner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import edt
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from label_gen._sampling import SampleGrid
from label_gen._shapes import Points
from label_gen.simulation.body_landmarks import find_landmarks
from label_gen.simulation.bone_tissue import BLOOD_HU, BoneMaps, BoneTissue
from label_gen.simulation.fields import COARSE_MM, FieldReader, shrink_numbers
from label_gen.simulation.lumbar import guess_lumbar_spine
from label_gen.simulation.scanner import HIGHEST_HU, LOWEST_HU, Scanner
from label_gen.simulation.settings import SimulationSettings
from label_gen.simulation.soft_tissue import draw_soft_tissue
from label_gen.simulation.solids import Solid

__all__ = ["render_ct"]

SLAB_VOXELS = 2_000_000
"""Voxels that are worked on at a time. Source: chosen here, some tens of megabytes."""


def render_ct(
    rng: np.random.Generator,
    owner: NDArray[np.unsignedinteger[Any]],
    bones: Sequence[range],
    depth: NDArray[np.float32],
    damage: NDArray[np.float32],
    grid: SampleGrid,
    settings: SimulationSettings,
    *,
    extra: Sequence[Solid] = (),
) -> NDArray[np.int16]:
    """Render a CT. Patient and scanner are drawn from the generator alone, whatever the grid.

    Args:
        rng: Source of all randomness.
        owner: Fragment numbers from 1, 0 elsewhere, unsigned integers (z, y, x).
        bones: Fragment numbers of each bone.
        depth: Depth below the outer surface of the unbroken bone in mm, float32 (z, y, x); counts where `owner` does.
        damage: Share of the voxel that is fracture gap, 0 to 1, or below 0 how much the bone is compressed, to -1.
        grid: Where the voxels are; axes along LPS.
        settings: Noise, kernel and slice thickness.
        extra: Bones without labels, in world millimetres. Where none are given, two vertebrae are set on the sacrum.

    Returns:
        Hounsfield units, int16 (z, y, x), -1024 to 3071.
    """
    patient, tissue_rng, noise_rng = rng.spawn(3)
    scanner = Scanner.draw(patient, settings)
    blood = float(BLOOD_HU + patient.uniform(-8.0, 10.0))
    bone_of = np.zeros(int(owner.max(initial=0)) + 1, np.uint8)
    for which, numbers in enumerate(bones, start=1):
        bone_of[[n for n in numbers if n < len(bone_of)]] = which
    number = bone_of[owner]
    depth = np.where(owner > 0, np.maximum(depth, 0.05), 0.0).astype(np.float32)
    reader = FieldReader(grid)
    coarse = reader.coarse
    marks = find_landmarks(shrink_numbers(number, grid, coarse), coarse, len(bones), 0)
    spine = guess_lumbar_spine(patient, marks, coarse)
    unlabelled = list(extra) if extra or spine is None else [spine]
    for which, solid in enumerate(unlabelled, start=len(bones) + 1):
        for block, places in grid.blocks(grid.box(*solid.bounds())):
            value = solid.depth(places)
            is_drawn = (owner[block] == 0) & (value > depth[block])
            depth[block][is_drawn] = value[is_drawn]
            number[block][is_drawn] = which
    if unlabelled:
        marks = find_landmarks(shrink_numbers(number, grid, coarse), coarse, len(bones), len(unlabelled))
    breaks = _distance_to_breaks(owner, bone_of, reader)
    soft = draw_soft_tissue(patient, marks, breaks, reader, blood)
    bone = BoneTissue.draw(tissue_rng, grid.spacing_mm)
    maps = BoneMaps.of(marks, coarse)

    hu = np.empty(grid.shape, np.float32)
    step = max(1, SLAB_VOXELS // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], step):
        stop = min(start + step, grid.shape[0])
        slab = soft.slab(reader, start, stop)
        index = np.nonzero(depth[start:stop] > 0)
        if len(index[0]):
            points = _points(index, start, grid)
            local = [reader.at(field, points) for field in (maps.cortex_mm, maps.trabeculae, maps.joint_mm)]
            below = depth[start:stop][index]
            hard = bone.broken_hu(bone.hu(below, points, local), damage[start:stop][index], blood)
            slab[index] += bone.coverage(below, grid.spacing_mm) * (hard - slab[index])
        hu[start:stop] = slab
    del number
    hu = scanner.sharpness(hu, grid.spacing_mm)
    noise = scanner.noise(noise_rng, grid.shape, grid.spacing_mm)
    for start in range(0, grid.shape[0], step):
        stop = min(start + step, grid.shape[0])
        streaks = scanner.streaks(noise_rng, hu[start:stop], grid.spacing_mm)
        hu[start:stop] += (noise[start:stop] + streaks) * soft.noise_share(reader, start, stop)
    del noise
    hu = scanner.thickened(hu, grid.spacing_mm[0])
    np.rint(hu, out=hu)
    ct: NDArray[np.int16] = np.clip(hu, LOWEST_HU, HIGHEST_HU, out=hu).astype(np.int16)
    return ct


def _points(index: tuple[NDArray[np.intp], ...], first: int, grid: SampleGrid) -> Points:
    """Return the coordinates of voxels z, y, x of a slab that begins at slice `first`."""
    z, y, x = (
        (grid.origin_mm[2 - k] + grid.spacing_mm[k] * (index[k] + (first if k == 0 else 0))).astype(np.float32)
        for k in range(3)
    )
    return x, y, z


def _distance_to_breaks(
    owner: NDArray[np.unsignedinteger[Any]], bone_of: NDArray[np.uint8], reader: FieldReader
) -> NDArray[np.float32]:
    """Return the distance in mm to the nearest place where two fragments of a bone lie near each other, coarse."""
    top = int(owner.max(initial=0))
    highest = shrink_numbers(owner, reader.grid, reader.coarse)
    flipped = np.where(owner > 0, owner.dtype.type(top + 1) - owner, 0).astype(owner.dtype)
    lowest = shrink_numbers(flipped, reader.grid, reader.coarse)
    highest, lowest = maximum_filter(highest, 3), maximum_filter(lowest, 3)
    lowest = np.where(lowest > 0, top + 1 - lowest.astype(np.int64), 0)
    is_break = (highest != lowest) & (bone_of[highest] == bone_of[lowest])
    if not is_break.any():
        return np.full(reader.coarse.shape, 400.0, np.float32)
    found: NDArray[np.float32] = edt.edt(~is_break, anisotropy=(COARSE_MM,) * 3, parallel=1)
    return found
