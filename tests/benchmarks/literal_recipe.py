"""The published recipe written out naively: the reference that the fast code is measured against and compared with.

Every step works on the whole volume, fragment by fragment and seed by seed, as the listing has it. What the listing
leaves open is settled as in `label_gen.literal`: Gaussian and Laplacian count in voxels; core in the contact zone
becomes boundary; a fragment that would end without a core keeps its deepest voxel, the first in array order.

Source: the ABBC recipe of the PENGWIN 2024 winning method (distance transform, sigma 2, -Laplacian > 0.11,
distance > 6, contact within 6; core components of 50 voxels and more; fast marching with the border as walls).
"""

import sys
import time

import cc3d
import numpy as np
import skfmm
from scipy.ndimage import distance_transform_edt, gaussian_filter, laplace

BACKGROUND, BOUNDARY, CORE, BORDER = range(4)


def listing_classes(labels, spacing_mm, say=lambda text: None):
    """Return the ABBC classes of a fragment volume.

    Args:
        labels: Integer fragment numbers (z, y, x), 0 outside bone.
        spacing_mm: Spacing in array order.
        say: Called with a line of progress after every fragment.

    Returns:
        Uint8 classes: 0 background, 1 boundary, 2 core, 3 border.
    """
    numbers = [number for number in np.unique(labels) if number != 0]
    is_bone = labels > 0

    depth = np.zeros(labels.shape)
    for count, number in enumerate(numbers, 1):
        inside = labels == number
        depth[inside] = distance_transform_edt(inside, sampling=spacing_mm)[inside]
        say(f"listing: depth of fragment {count} of {len(numbers)}")

    curvature = laplace(gaussian_filter(depth, sigma=2.0))
    core = np.zeros(labels.shape, dtype=bool)
    core |= -curvature > 0.11
    core |= depth > 6.0
    core &= is_bone
    boundary = is_bone & ~core

    zone = np.zeros(labels.shape, dtype=bool)
    for count, number in enumerate(numbers, 1):
        outside = labels != number
        nearby = distance_transform_edt(outside, sampling=spacing_mm) < 6.0
        zone |= nearby & is_bone & outside
        say(f"listing: surroundings of fragment {count} of {len(numbers)}")

    classes = np.zeros(labels.shape, dtype=np.uint8)
    classes[boundary] = BOUNDARY
    classes[zone & boundary] = BORDER
    classes[core & zone] = BOUNDARY
    classes[core & ~zone] = CORE
    for number in numbers:
        inside = labels == number
        if not (classes[inside] == CORE).any():
            deepest = np.where(inside, depth, -1.0).argmax()
            classes[np.unravel_index(deepest, labels.shape)] = CORE
    return classes


def find_core_seeds(classes, min_voxels=50):
    """Return the 26-connected core components of at least `min_voxels` voxels, numbered from 1 without gaps."""
    seeds = cc3d.connected_components(cc3d.dust(classes == CORE, threshold=min_voxels), connectivity=26)
    return seeds.astype(np.int32)


def march_each(starts, speed, spacing_mm, only=None, name="march"):
    """March once per seed over the whole volume and give every voxel to the seed that arrives first.

    Args:
        starts: Seed numbers (z, y, x) from 1, 0 elsewhere.
        speed: Speed of the front (z, y, x), 0 where it may not go.
        spacing_mm: Spacing in array order.
        only: March this many of the seeds and no more; None marches all.
        name: Name of the pass in the lines of progress on standard error.

    Returns:
        Owners (z, y, x), 0 where no front arrives; and the processor seconds and wall seconds of every march.
    """
    best = np.full(starts.shape, np.inf)
    owners = np.zeros(starts.shape, dtype=np.int32)
    count = int(starts.max())
    seconds = []
    for number in range(1, min(count, only or count) + 1):
        began = time.process_time(), time.perf_counter()
        phi = np.full(starts.shape, 1e10)
        phi[starts == number] = 0.0
        arrival = np.ma.filled(skfmm.travel_time(phi, speed, dx=list(spacing_mm)), np.inf)
        is_first = arrival < best
        best[is_first] = arrival[is_first]
        owners[is_first] = number
        seconds.append((time.process_time() - began[0], time.perf_counter() - began[1]))
        print(f"    {name} {number} of {count}: {seconds[-1][0]:.1f} s", file=sys.stderr, flush=True)
    return owners, seconds


def naive_recovery(classes, spacing_mm, only=None):
    """Return fragments by one march per seed, twice: with the border as walls, then over the border itself.

    Args:
        classes: ABBC classes (z, y, x).
        spacing_mm: Spacing in array order.
        only: March this many seeds per pass and no more; the fragments are then incomplete.

    Returns:
        Fragment numbers (z, y, x) in no particular order, and `{pass: [(processor seconds, wall seconds), ...]}`.
    """
    seeds = find_core_seeds(classes)
    speed = np.ones(classes.shape)
    speed[(classes == BORDER) | (classes == BACKGROUND)] = 0.0
    owners, first = march_each(seeds, speed, spacing_mm, only, "inside the walls, seed")
    del seeds
    speed[classes == BORDER] = 1.0
    owners, second = march_each(owners, speed, spacing_mm, only, "over the border, seed")
    return owners, {"first": first, "second": second}
