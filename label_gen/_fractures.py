"""Break bones given by formulas: rough cuts, pieces that hang together, and small rigid motions of some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from label_gen._sampling import SampleGrid
from label_gen._shapes import Field, Points, Pose, Waves, rotation_matrix
from label_gen.simulation.solids import Solid
from label_gen.simulation.surfaces import Plane, Rough, Surface

__all__ = ["PLAN_SPACING_MM", "AtCut", "BrokenBone", "Cut", "break_bone", "plan_bone"]

PLAN_SPACING_MM = 1.5
"""Voxel size of the grid on which fractures are planned. Source: chosen here, half a wing's thickness."""

MIN_PLANNED_MM3 = 1200.0
"""Smallest fragment that is planned. Source: chosen here, so that 500 mm3 are left when fragments have moved."""

OPEN_SHARE = 0.25
"""Share of the fractures whose fragments move apart. Source: chosen here; most fractures are closed in CT."""


AtCut: TypeAlias = Callable[[int, NDArray[np.intp], Field], None]
"""Hears of each cut while fragments are asked for, see `BrokenBone.fragments_at`."""


@dataclass(frozen=True)
class Cut:
    """A rough surface that parts a new fragment from an older one.

    Attributes:
        parent: Number of the fragment that is cut.
        surface: The surface; the new fragment lies beyond it.
        chosen: Whether a place beyond the surface belongs to the new fragment, on the plan's grid, for surfaces that
            part off more than one piece; None where all of it does.
        added: Whether a place before the surface does too, on the plan's grid, for surfaces that leave more than one
            piece behind; None where none does.
    """

    parent: int
    surface: Surface
    chosen: NDArray[np.bool_] | None = None
    added: NDArray[np.bool_] | None = None

    def side(self, points: Points) -> Field:
        """Return the distance in mm beyond the surface, to first order."""
        return self.surface(points)


@dataclass
class BrokenBone:
    """A bone, its cuts, and where its fragments went.

    Attributes:
        body: The whole bone.
        low: Corner x, y, z in mm of the plan's grid: centre of its first voxel.
        plan: Planned fragments from 1, 0 outside, (z, y, x) with `PLAN_SPACING_MM`.
        cuts: Cut number k makes fragment k + 2.
        poses: Motion of each fragment, that of fragment k at k - 1.
    """

    body: Solid
    low: NDArray[np.float64]
    plan: NDArray[np.uint8]
    cuts: list[Cut] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=lambda: [Pose()])

    def fragments_at(self, points: Points, at_cut: AtCut | None = None) -> NDArray[np.uint8]:
        """Return the fragments that own places inside the resting bone.

        Args:
            points: Coordinates in mm, 1D arrays.
            at_cut: Called for each cut with the number of the new fragment, the indices of the points that the cut
                parts, and their distance in mm beyond it.

        Returns:
            Fragment numbers from 1, uint8.
        """
        owner = np.ones(len(points[0]), np.uint8)
        for number, cut in enumerate(self.cuts, start=2):
            index = np.flatnonzero(owner == cut.parent)
            if len(index) == 0:
                continue
            part: Points = (points[0][index], points[1][index], points[2][index])
            side = cut.side(part)
            is_new, is_face = side > 0, None
            if cut.chosen is not None:
                is_face = cut.chosen[self.plan_index(part)]
                is_new &= is_face
            if cut.added is not None:
                is_added = cut.added[self.plan_index(part)]
                is_new |= is_added & (side <= 0)
                is_face = ~is_added if is_face is None else is_face & ~is_added
            if at_cut is not None:
                at_cut(number, index if is_face is None else index[is_face], side if is_face is None else side[is_face])
            owner[index[is_new]] = number
        return owner

    def plan_index(self, points: Points) -> tuple[NDArray[np.intp], ...]:
        """Return indices z, y, x of the plan's voxels nearest to points."""
        steps = [np.rint((p - low) / PLAN_SPACING_MM) for p, low in zip(points, self.low, strict=True)]
        clipped = [np.clip(s, 0, n - 1).astype(np.intp) for s, n in zip(steps, self.plan.shape[::-1], strict=True)]
        return clipped[2], clipped[1], clipped[0]

    def plan_points(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return coordinates in mm of the plan's voxels in a mask, (n, 3) in the order x, y, z."""
        points: NDArray[np.float64] = self.low + PLAN_SPACING_MM * np.argwhere(mask)[:, ::-1]
        return points

    def bounds(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return corners x, y, z in mm of a box that holds a fragment where it is found."""
        points = self.plan_points(self.plan == number)
        if points[:, 2].min() <= self.low[2]:  # the plan ends here, the bone goes on
            points = np.vstack([points, self.body.bounds()[0], np.append(self.body.bounds()[1][:2], self.low[2])])
        placed = self.poses[number - 1].forward(points)
        return placed.min(axis=0) - 2.5 * PLAN_SPACING_MM, placed.max(axis=0) + 2.5 * PLAN_SPACING_MM


def break_bone(body: Solid, count: int, rng: np.random.Generator, lowest_mm: float = -np.inf) -> BrokenBone:
    """Break a bone into fragments.

    All decisions fall on a grid of their own, so that they do not depend on the grid the bone is drawn on later.

    Args:
        body: The bone.
        count: How many fragments to make; fewer where no more fit.
        rng: Source of all randomness.
        lowest_mm: Height z in the world below which no cut begins, for bones that leave the field of view.

    Returns:
        The broken bone.
    """
    bone = plan_bone(body, lowest_mm)
    for _ in range(60 * (count - 1)):
        if len(bone.cuts) == count - 1:
            break
        _try_cut(bone, rng)
    return bone


def plan_bone(body: Solid, lowest_mm: float) -> BrokenBone:
    """Sample a whole bone on the plan's grid."""
    low, high = body.bounds()
    low[2] = max(low[2], lowest_mm)
    low = np.floor(low / PLAN_SPACING_MM) * PLAN_SPACING_MM
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / PLAN_SPACING_MM) + 1)
    grid = SampleGrid((nz, ny, nx), (PLAN_SPACING_MM,) * 3, (float(low[0]), float(low[1]), float(low[2])))
    plan = np.zeros(grid.shape, np.uint8)
    for block, points in grid.blocks((slice(0, nz), slice(0, ny), slice(0, nx))):
        plan[block] = body.depth(points) > 0
    pieces = cc3d.connected_components(plan, connectivity=26)
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel(), minlength=2)[1:]))
    return BrokenBone(body, low, (pieces == largest).astype(np.uint8))


def _try_cut(bone: BrokenBone, rng: np.random.Generator) -> bool:
    """Draw a cut and make it if both fragments are large enough, in one piece, and of a size of their own."""
    sizes = np.bincount(bone.plan.ravel())[1:].astype(float)
    parent = 1 + int(rng.choice(len(sizes), p=sizes**0.8 / (sizes**0.8).sum()))
    mask = bone.plan == parent
    points = bone.plan_points(mask)
    # Fractures run across a bone more often than along it.
    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2]
    axes = axes * np.sign(axes.sum(axis=1, keepdims=True))  # libraries differ in the sign
    normal = axes.T @ (rng.normal(size=3) * np.array([1.0, 0.8, 0.35]))
    normal /= np.linalg.norm(normal)
    amplitude = float(rng.uniform(0.8, 2.2))
    roughness = Waves.draw(rng, amplitude, (5.0, 60.0), 12)
    cut = Cut(parent, Rough(Plane(normal, float(points[rng.integers(len(points))] @ normal)), roughness))
    open_pose = _draw_motion(rng, normal)
    is_open = rng.random() < OPEN_SHARE

    is_beyond = np.zeros_like(mask)
    is_beyond[mask] = cut.side((points[:, 0], points[:, 1], points[:, 2])) > 0
    pieces, n_pieces = cc3d.connected_components(is_beyond, connectivity=26, return_N=True)
    if n_pieces == 0:
        return False
    piece_sizes = np.bincount(pieces.ravel())[1:] * PLAN_SPACING_MM**3
    largest = int(np.argmax(piece_sizes)) + 1
    is_new = pieces == largest
    rest, n_rest = cc3d.connected_components(mask & ~is_new, connectivity=26, return_N=True)
    rest_sizes = np.bincount(rest.ravel(), minlength=2)[1:] * PLAN_SPACING_MM**3
    if not n_rest or rest_sizes.sum() - rest_sizes.max() > 30 or not _is_sound(bone, parent, piece_sizes, rest_sizes):
        return False
    if np.sort(piece_sizes)[:-1].sum() > 30:
        nearest = distance_transform_edt(~is_beyond, return_distances=False, return_indices=True)
        cut = Cut(parent, cut.surface, is_new[tuple(nearest)])
    bone.cuts.append(cut)
    bone.plan[is_new] = len(bone.cuts) + 1
    centre = bone.plan_points(is_new).mean(axis=0)
    motion = Pose(open_pose.rotation, bone.poses[parent - 1].forward(centre[None])[0], open_pose.shift)
    bone.poses.append(motion.after(bone.poses[parent - 1]) if is_open else bone.poses[parent - 1])
    return True


def _is_sound(bone: BrokenBone, parent: int, new_sizes: NDArray[Any], rest_sizes: NDArray[Any]) -> bool:
    """Return whether both fragments are large enough and no two fragments of the bone are nearly the same size."""
    new, rest = float(new_sizes.max()), float(rest_sizes.max())
    others = np.bincount(bone.plan.ravel())[1:] * PLAN_SPACING_MM**3
    sizes = np.sort(np.concatenate([np.delete(others, parent - 1), [new, rest]]))
    # 5 %: twice what sampling on another grid changes in a fragment, so that the order by size stays the same.
    return bool(sizes[0] >= MIN_PLANNED_MM3 and np.all(sizes[1:] > 1.05 * sizes[:-1]))


def _draw_motion(rng: np.random.Generator, normal: NDArray[np.float64]) -> Pose:
    """Draw a motion of 1 to 4 mm, mostly apart, and up to about 4 degrees."""
    sideways = rng.normal(size=3)
    sideways -= (sideways @ normal) * normal
    sideways /= np.linalg.norm(sideways)
    away = normal + rng.uniform(-0.8, 0.8) * sideways
    shift = away / np.linalg.norm(away) * rng.uniform(1.0, 4.0)
    angle = np.radians(rng.uniform(0.3, 4.0))
    return Pose(rotation_matrix(rng.normal(size=3), float(angle)), shift=shift)
