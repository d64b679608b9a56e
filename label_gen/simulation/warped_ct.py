"""A real CT of an intact pelvis, broken: bone moves with its fragments, soft tissue fills what they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter, map_coordinates

from label_gen._sampling import SampleGrid
from label_gen._shapes import FAR, Points, Pose
from label_gen.simulation.broken import BrokenSolid
from label_gen.simulation.refilling import fill_bones, grain_like, pull_along
from label_gen.simulation.scanner import HIGHEST_HU, LOWEST_HU
from label_gen.simulation.settings import SimulationSettings
from label_gen.simulation.solids import Solid

__all__ = ["break_ct"]

AIR_HU, BLOOD_HU = -1000.0, 55.0
"""What lies outside of a CT; fresh blood in a fracture. Source: textbook values."""

IMPACTED_HU = 400.0
"""What full impaction adds. Source: chosen here: the impacted one of the real fractures is 330 HU above its bone."""

RIM_MM = 1.6
"""How far outside of its surface a bone still shows in a CT. Source: chosen here, three point spreads."""

FADE_MM = 1.2
"""Width over which what a fragment takes along fades into the soft tissue at its new place. Source: chosen here."""

STRONG_MM = 2.5
"""Motion from which on soft tissue is moved along. Source: chosen here; less is not seen in muscle."""

FACE_MM = 1.0
"""Depth from which on an end of bone is a face of a fracture. Source: chosen here; in larger voxels a voxel, as
the surface lies no deeper."""

STILL_MM = 0.02
"""Motion that is none."""

SPLINE_REACH = 12
"""Voxels round a place that its cubic spline is made of. Source: the spline's weights fall by 0.27 per voxel."""

GRAIN_SHARE = 0.5
"""Noise added where an image was blurred, over the noise of the CT. Source: chosen here."""

EDGE_SPREAD_MM = 0.5
"""Point spread given to new edges. Source: chosen here, a usual kernel's; the rest of the CT had its own."""


@dataclass(frozen=True)
class _Rest:
    """The bones as they were, on the voxel grid.

    Attributes:
        depth: Depth in mm below the surface of the bone that is nearest, float32 (z, y, x).
        fragment: Fragment that owns the place or is next to it, uint16 (z, y, x), 0 away from bone.
    """

    depth: NDArray[np.float32]
    fragment: NDArray[np.uint16]


@dataclass(frozen=True)
class _Fragment:
    """A fragment and where it is found.

    Attributes:
        number: Its number in `owner`.
        pose: Its motion.
        low: Corner of the box in which it is found, x, y, z in mm.
        high: The opposite corner.
    """

    number: int
    pose: Pose
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def reach_mm(self) -> float:
        """How far the corner of the box moved that moved most."""
        corners = np.array([[(self.low, self.high)[(i >> k) & 1][k] for k in range(3)] for i in range(8)])
        x, y, z = corners.T
        return float(np.linalg.norm(np.stack(self.pose.backward((x, y, z))) - corners.T, axis=0).max())


@dataclass(frozen=True)
class _Source:
    """The CT as it was given."""

    array: NDArray[Any]
    spacing_mm: Sequence[float]
    origin_mm: Sequence[float]

    def at(self, points: Points) -> NDArray[np.float32]:
        """Return Hounsfield units at points in mm, from cubic splines: linear interpolation would blur the cortex."""
        places = [(points[2 - a] - float(self.origin_mm[2 - a])) / float(self.spacing_mm[a]) for a in range(3)]
        if places[0].size == 0:
            return np.zeros(0, np.float32)
        box = []
        for place, n in zip(places, self.array.shape, strict=True):
            box.append(slice(max(int(place.min()) - SPLINE_REACH, 0), min(int(place.max()) + SPLINE_REACH + 1, n)))
            place -= box[-1].start
        if any(s.start >= s.stop for s in box):
            return np.full(places[0].shape, AIR_HU, np.float32)
        part = self.array[tuple(box)].astype(np.float32)
        found: NDArray[np.float32] = map_coordinates(part, places, order=3, mode="nearest", output=np.float32)
        return found


def break_ct(
    rng: np.random.Generator,
    ct: NDArray[Any],
    ct_spacing_mm: Sequence[float],
    ct_origin_mm: Sequence[float],
    broken: Sequence[BrokenSolid],
    solids: Sequence[Solid],
    owner: NDArray[np.uint16],
    bones: Sequence[range],
    damage: NDArray[np.float32],
    grid: SampleGrid,
    settings: SimulationSettings,
) -> NDArray[np.int16]:
    """Break the bones in a CT of the patient as he was.

    A voxel of a fragment gets the value of its rest place, and so does the rim in which the scanner blurred the bone.
    Where bone was and nothing is now there is blood, outside of bones soft tissue. Faces of fractures have no cortex
    as there was none, and are blurred as the scanner would.

    Args:
        rng: Source of all randomness.
        ct: Hounsfield units of the intact patient (z, y, x), axes along LPS.
        ct_spacing_mm: Its voxel size in the order z, y, x.
        ct_origin_mm: Centre of its first voxel, x, y, z in LPS.
        broken: The bones with the poses of their fragments.
        solids: The same bones as they were.
        owner: Fragment numbers where they are found (z, y, x), 0 elsewhere.
        bones: Fragment numbers of each bone.
        damage: Share of a voxel that is fracture gap; below 0 compressed bone (z, y, x).
        grid: Where the voxels of `owner` and of the result lie.
        settings: What is simulated; the noise is the CT's own.

    Returns:
        Hounsfield units, int16 (z, y, x). Equal to the CT (interpolated) where nothing moved nearby.
    """
    image = _resampled(ct, ct_spacing_mm, ct_origin_mm, grid)
    fragments = _fragments(broken, bones, owner, grid)
    moved = [fragment for fragment in fragments if fragment.reach_mm > STILL_MM]
    if moved:
        rest = _at_rest(broken, solids, bones, grid)
        grain = grain_like(rng, image, rest.depth < -RIM_MM)
        soft = fill_bones(image, rest.depth, RIM_MM, BLOOD_HU, grain, grid)
        if max(fragment.reach_mm for fragment in moved) > STRONG_MM:
            soft = pull_along(soft, owner, {f.number: f.pose for f in fragments}, grain, grid)
        is_deep = _take_along(image, soft, rest, owner, moved, _Source(ct, ct_spacing_mm, ct_origin_mm), grid)
        image = soft
        _blur_faces(image, _faces(owner, is_deep, moved), grain, grid)
    gap, pressed = np.clip(damage, 0.0, 1.0), np.clip(-damage, 0.0, 1.0)
    image += gap * (np.float32(BLOOD_HU) - image) + pressed * np.float32(IMPACTED_HU)
    found: NDArray[np.int16] = np.clip(np.rint(image), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    return found


def _resampled(
    ct: NDArray[Any], spacing_mm: Sequence[float], origin_mm: Sequence[float], grid: SampleGrid
) -> NDArray[np.float32]:
    """Return a CT on another grid with the same axes, interpolated linearly, air outside."""
    image = ct.astype(np.float32)
    is_outside = []
    for axis in range(3):
        first = (grid.origin_mm[2 - axis] - float(origin_mm[2 - axis])) / float(spacing_mm[axis])
        places = first + np.arange(grid.shape[axis]) * grid.spacing_mm[axis] / float(spacing_mm[axis])
        places = np.where(np.abs(places - np.rint(places)) < 1e-4, np.rint(places), places)
        low = np.clip(np.floor(places), 0, ct.shape[axis] - 1).astype(int)
        high = np.clip(low + 1, 0, ct.shape[axis] - 1)
        is_outside.append((places < -0.5) | (places > ct.shape[axis] - 0.5))
        if len(low) == ct.shape[axis] and np.array_equal(places, np.arange(len(low))):
            continue
        shape = tuple(-1 if k == axis else 1 for k in range(3))
        share = np.clip(places - low, 0.0, 1.0).astype(np.float32).reshape(shape)
        lower = np.take(image, low, axis=axis)
        image = lower + share * (np.take(image, high, axis=axis) - lower)
    image[is_outside[0]] = AIR_HU
    image[:, is_outside[1]] = AIR_HU
    image[:, :, is_outside[2]] = AIR_HU
    return image


def _fragments(
    broken: Sequence[BrokenSolid], bones: Sequence[range], owner: NDArray[np.uint16], grid: SampleGrid
) -> list[_Fragment]:
    """Return the fragments that are in the volume."""
    fragments = []
    boxes = find_objects(owner)
    first, step = np.array(grid.origin_mm), np.array(grid.spacing_mm)[::-1]
    for bone, numbers in zip(broken, bones, strict=True):
        for number, pose in zip(numbers, bone.poses, strict=True):
            box = boxes[number - 1] if number <= len(boxes) else None
            if box is not None:
                low, high = (np.array([getattr(side, end) for side in box[::-1]]) for end in ("start", "stop"))
                fragments.append(_Fragment(number, pose, first + step * low, first + step * (high - 1)))
    return fragments


def _at_rest(broken: Sequence[BrokenSolid], solids: Sequence[Solid], bones: Sequence[range], grid: SampleGrid) -> _Rest:
    """Return where the bones and their fragments were."""
    depth = np.full(grid.shape, FAR, np.float32)
    fragment = np.zeros(grid.shape, np.uint16)
    reach = RIM_MM + FADE_MM
    for bone, solid, numbers in zip(broken, solids, bones, strict=True):
        low, high = solid.bounds()
        for block, points in grid.blocks(grid.box(low - reach, high + reach)):
            value = solid.depth(points)
            index = np.nonzero((value > -reach) & (value > depth[block]))
            if len(index[0]):
                x, y, z = (p[index] for p in points)
                depth[block][index] = value[index]
                fragment[block][index] = bone.fragments_at((x, y, z)).astype(np.uint16) + np.uint16(numbers.start - 1)
    return _Rest(depth, fragment)


def _take_along(
    image: NDArray[np.float32],
    target: NDArray[np.float32],
    rest: _Rest,
    owner: NDArray[np.uint16],
    moved: Sequence[_Fragment],
    source: _Source,
    grid: SampleGrid,
) -> NDArray[np.bool_]:
    """Put bones and their rims where they are found into `target`; return where bone is deep enough for a face."""
    has_moved = np.zeros(int(max(owner.max(), rest.fragment.max())) + 1, bool)
    has_moved[[fragment.number for fragment in moved]] = True
    is_still_bone = (owner > 0) & ~has_moved[owner]
    face_mm = max(FACE_MM, *grid.spacing_mm)
    is_deep = is_still_bone & (rest.depth > face_mm)
    target[is_still_bone] = image[is_still_bone]
    # How much of a free voxel is a bone's rim.
    share = np.where((owner == 0) & (rest.fragment > 0) & ~has_moved[rest.fragment], _rim_share(rest.depth), 0)
    target += share * (image - target)
    for fragment in moved:
        margin = RIM_MM + FADE_MM
        for block, points in grid.blocks(grid.box(fragment.low - margin, fragment.high + margin)):
            index = np.nonzero((owner[block] == fragment.number) | (owner[block] == 0))
            x, y, z = (p[index] for p in points)
            back = fragment.pose.backward((x, y, z))
            places = [(back[2 - a] - grid.origin_mm[2 - a]) / grid.spacing_mm[a] for a in range(3)]
            nearest = [np.clip(np.rint(p), 0, n - 1).astype(np.intp) for p, n in zip(places, grid.shape, strict=True)]
            is_own = owner[block][index] == fragment.number
            keep = np.flatnonzero(is_own | (rest.fragment[tuple(nearest)] == fragment.number))
            if len(keep) == 0:
                continue
            is_own, taken = is_own[keep], tuple(i[keep] for i in index)
            depth = map_coordinates(rest.depth, [p[keep] for p in places], order=1, mode="nearest", output=np.float32)
            new = np.where(is_own, np.float32(1), _rim_share(depth))
            is_better = new > share[block][taken]
            taken, keep, new = tuple(t[is_better] for t in taken), keep[is_better], new[is_better]
            is_deep[block][taken] = is_own[is_better] & (depth[is_better] > face_mm)
            x, y, z = (p[keep] for p in back)
            hu = source.at((x, y, z))
            under = target[block][taken]
            target[block][taken] = under + new * (hu - under)
            share[block][taken] = new
    return is_deep


def _rim_share(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much of a place outside of a bone is the bone's blurred rim: 1 up to `RIM_MM`, then fading."""
    share: NDArray[np.float32] = np.clip((depth + np.float32(RIM_MM + FADE_MM)) / np.float32(FADE_MM), 0.0, 1.0)
    return share


def _faces(owner: NDArray[np.uint16], is_deep: NDArray[np.bool_], moved: Sequence[_Fragment]) -> NDArray[np.bool_]:
    """Return the voxels on both sides of faces that were not faces before."""
    group = np.zeros(int(owner.max()) + 2, np.uint16)
    group[1:] = 1
    group[[fragment.number for fragment in moved]] = np.arange(2, len(moved) + 2)
    of = group[owner]
    is_face = np.zeros(owner.shape, bool)
    for axis in range(3):
        a, b = (tuple(slice(s, e) if k == axis else slice(None) for k in range(3)) for s, e in ((0, -1), (1, None)))
        meets = (of[a] != of[b]) & (is_deep[a] | is_deep[b])
        is_face[a] |= meets
        is_face[b] |= meets
    return is_face


def _blur_faces(
    image: NDArray[np.float32], is_face: NDArray[np.bool_], grain: NDArray[np.float32], grid: SampleGrid
) -> None:
    """Give new faces the point spread of a scanner, in place."""
    for found in find_objects(is_face.astype(np.uint8)):
        box = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in found)
        part = image[box]
        sharp = np.clip(2.0 * gaussian_filter(is_face[box].astype(np.float32), 0.7, truncate=3.0), 0.0, 1.0)
        blurred = gaussian_filter(part, [EDGE_SPREAD_MM / step for step in grid.spacing_mm], truncate=3.0)
        image[box] = part + sharp * (blurred - part + np.float32(GRAIN_SHARE) * grain[box])
