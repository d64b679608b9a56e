"""Render a CT of drawn bones: cortex, marrow, soft tissue, point spread and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from label_gen._sampling import SampleGrid
from label_gen._shapes import Points, Waves

__all__ = ["render_ct"]

AIR, FAT, MUSCLE, BLADDER = -1000.0, -100.0, 48.0, 8.0
"""Hounsfield units. Source: textbook values."""

DEPTHS_MM = (0.0, 0.7, 1.5, 2.0, 2.8, 4.0, 6.5, 12.0)
BONE_HU = (620.0, 880.0, 900.0, 620.0, 360.0, 235.0, 170.0, 150.0)
"""Bone by depth below the surface, before the point spread. Source: medians of fractured pelves, to which the blurred
values come close: a peak 1 to 2 mm deep, then marrow and trabeculae around 120 to 250."""

LINE_DEPTHS_MM, LINE_SHARES = (1.5, 4.0), (0.1, 0.4)
"""What a closed fracture, one voxel wide, leaves of the bone's value by depth, before the point spread. Source: chosen
here: the broken cortex shows, and in marrow about two thirds remain after the point spread, as in fractured sacra."""

POINT_SPREAD_MM = 0.55
"""Standard deviation of the point spread. Source: chosen here, a soft bone kernel."""

NOISE_HU = 22.0
"""Standard deviation of the noise. Source: chosen here, a standard pelvic CT with 0.8 mm slices."""


def render_ct(
    rng: np.random.Generator,
    owner: NDArray[np.uint8],
    bones: Sequence[range],
    depth: NDArray[np.float32],
    grid: SampleGrid,
) -> NDArray[np.int16]:
    """Render a CT.

    Args:
        rng: Source of all randomness.
        owner: Fragment numbers (z, y, x), 0 elsewhere.
        bones: Fragment numbers of each bone.
        depth: Depth in bone in mm, 0 elsewhere; bone without an owner is rendered too.
        grid: Where the voxels are.

    Returns:
        Hounsfield units, int16 (z, y, x), -1024 to 3071.
    """
    density = float(rng.uniform(0.8, 1.15))
    tissue = [Waves.draw(rng, 1.0, lengths, 6) for lengths in ((30.0, 120.0), (25.0, 90.0), (6.0, 30.0))]
    hu = np.empty(grid.shape, np.float32)
    for z in range(0, grid.shape[0], 8):
        slab = (slice(z, min(z + 8, grid.shape[0])), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
        hu[slab] = _soft_tissue(grid.points(slab), tissue)
    is_bone = depth > 0
    texture = rng.standard_normal(grid.shape, dtype=np.float32)
    texture = gaussian_filter(texture, [0.7 / step for step in grid.spacing_mm], truncate=3.0)
    texture /= max(float(texture.std()), 1e-6)
    inside = depth[is_bone]
    trabecular = np.interp(inside, [1.0, 3.5], [25.0, 65.0]) * texture[is_bone]
    hu[is_bone] = (np.interp(inside, DEPTHS_MM, BONE_HU) * density + trabecular).astype(np.float32)
    is_line = _fracture_lines(owner, bones)
    hu[is_line] *= np.interp(depth[is_line], LINE_DEPTHS_MM, LINE_SHARES).astype(np.float32)
    hu = gaussian_filter(hu, [POINT_SPREAD_MM / step for step in grid.spacing_mm], truncate=3.0)
    noise = gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), 0.6, truncate=3.0)
    hu += noise * np.float32(NOISE_HU / max(float(noise.std()), 1e-6))
    ct: NDArray[np.int16] = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return ct


def _soft_tissue(points: Points, waves: Sequence[Waves]) -> NDArray[np.float32]:
    """Return the Hounsfield units of a body without bones: skin, fat, muscles, bladder, bowel gas, and the table."""
    x, y, z = points
    fat_layers, fat_planes, fine = (w(points) for w in waves)
    girth = 1.0 + 0.0004 * (z - 20.0)
    radius = np.sqrt((x / (178.0 * girth)) ** 2 + ((y - 22.0) / (112.0 * girth)) ** 2)
    skin_mm = (1.0 - radius) * 125.0
    hu = np.full(x.shape, AIR, np.float32)
    hu[skin_mm > 0] = FAT
    hu[(skin_mm > 0) & (skin_mm < 2.0)] = 10.0
    # Muscles, parted by sheets of fat of changing thickness where a smooth random function crosses zero.
    muscle = (skin_mm > 17.0 + 3.0 * fat_layers) & (np.abs(fat_planes) > 0.22 * np.clip(fat_layers + 0.1, 0.0, 1.2))
    hu[muscle] = MUSCLE + 5.0 * fine[muscle]
    # The pelvic cavity holds fat, bowel and bladder.
    cavity = (x / 52.0) ** 2 + ((y - 8.0) / 40.0) ** 2 + ((z - 35.0) / 75.0) ** 2 < 1.0
    cavity |= (x / 72.0) ** 2 + ((y + 18.0) / 38.0) ** 2 + (np.minimum(z - 110.0, 0.0) / 60.0) ** 2 < 1.0
    hu[cavity] = np.where(fat_layers + 0.6 * fat_planes > 0.1, 32.0 + 6.0 * fine, FAT)[cavity]
    bladder = (x / 36.0) ** 2 + ((y + 14.0) / 26.0) ** 2 + ((z - 12.0) / 26.0) ** 2 < 1.0
    hu[bladder] = BLADDER
    rectum = (x / 15.0) ** 2 + ((y - 54.0) / 12.0) ** 2 + ((z - 5.0) / 60.0) ** 2
    hu[rectum < 1.0] = 35.0
    gas = (rectum < 0.5) & (fat_planes > 0.4) | cavity & (z > 55.0) & (y < -14.0) & (fat_layers < -1.5)
    hu[gas] = -850.0
    table = np.abs(y - (140.0 - 0.0011 * x * x))
    hu[(table < 1.2) & (np.abs(x) < 200.0) & (skin_mm < 0)] = 60.0
    return hu


def _fracture_lines(owner: NDArray[np.uint8], bones: Sequence[range]) -> NDArray[np.bool_]:
    """Return the voxels that touch, by a face, a voxel of a lower number in the same bone: a sheet one voxel thick."""
    bone_of = np.zeros(256, np.uint8)
    for index, numbers in enumerate(bones, start=1):
        bone_of[list(numbers)] = index
    is_line = np.zeros(owner.shape, bool)
    for axis in range(3):
        a, b = (tuple(slice(s, e) if k == axis else slice(None) for k in range(3)) for s, e in ((0, -1), (1, None)))
        meets = (owner[a] != owner[b]) & (owner[a] > 0) & (owner[b] > 0)
        meets &= bone_of[owner[a]] == bone_of[owner[b]]
        is_line[a] |= meets & (owner[a] > owner[b])
        is_line[b] |= meets & (owner[b] > owner[a])
    return is_line
