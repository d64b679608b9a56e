"""A broken bone: its fragments, where each went, and how much bone its fractures and cracks have damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from label_gen._fractures import PLAN_SPACING_MM, BrokenBone
from label_gen._shapes import Field, Points, Pose, Waves
from label_gen.simulation.surfaces import Surface

__all__ = ["BrokenSolid", "Crack", "Fracture"]

REACH_MM = 4.0
"""Distance from a fracture beyond which bone is undamaged. Source: chosen here: the deepest impaction, and a voxel."""

CRUSHED_MM = 1.5
"""How far beyond the overlap of an impaction bone is denser. Source: chosen here."""

CRUSHED = 0.85
"""Damage, without its sign, in the middle of a deep impaction. Source: chosen here."""

CORTEX_MM = 4.0
"""Depth down to which a fracture shows as a break of the cortex. Source: chosen here, twice the depth of its peak."""

TAPER_MM = 6.0
"""Length over which a crack closes at its end. Source: chosen here."""


Answer: TypeAlias = tuple[NDArray[np.uint8], Field, NDArray[np.float32]]
"""Fragment, depth and damage of places."""


@dataclass(frozen=True)
class Fracture:
    """What parts two fragments of a bone, or a crack in one.

    Attributes:
        bone: Name of the bone.
        pattern: Name of the pattern, see `label_gen.simulation.patterns`.
        kind: `closed`, `opened`, `displaced`, `impacted`, or `crack` where nothing moved.
        parent: Number of the older fragment in the bone, from 1.
        child: Number of the newer one; that of the parent for a crack that parts nothing.
        gap_mm: Mean width of the gap that is left where the fragments touch.
    """

    bone: str
    pattern: str
    kind: str
    parent: int
    child: int
    gap_mm: float


@dataclass(frozen=True)
class Crack:
    """A fracture that ends inside the bone.

    Attributes:
        fragment: Number of the fragment that holds it.
        surface: Its surface.
        region: How far in mm inside the region in which it exists, at points.
        gap_mm: Its mean width.
    """

    fragment: int
    surface: Surface
    region: Surface
    gap_mm: float


@dataclass
class BrokenSolid(BrokenBone):
    """A bone, its cuts, and where its fragments went.

    Fragments that still touch share a frame: their common surface stays where the frame puts it, and each brings its
    own outer surface. So a closed fracture has a step in the cortex and neither gap nor overlap inside.

    Attributes:
        name: Name of the bone.
        frames: The motion that places the cuts of each fragment; that of fragment k at k - 1. Fragments that touch
            share the object.
        fractures: The fracture that made fragment k at k - 2, then the cracks.
        cracks: Cracks that part nothing.
        unevenness: Share by which gaps are wider or narrower, at rest places.
        impactions_mm: How far fragments were pushed into their parents, by their numbers.
        cortex_gaps_mm: How much wider than inside the gap in the cortex is, by the number of the newer fragment.
        count_wanted: Fragments that were to be made; fewer are there where no more fit.
    """

    name: str = ""
    frames: list[Pose] = field(default_factory=list)
    fractures: tuple[Fracture, ...] = ()
    cracks: tuple[Crack, ...] = ()
    unevenness: Waves | None = None
    impactions_mm: dict[int, float] = field(default_factory=dict)
    cortex_gaps_mm: dict[int, float] = field(default_factory=dict)
    count_wanted: int = 1

    def __post_init__(self) -> None:
        if not self.frames:
            self.frames = self.poses[:1]

    def groups(self) -> list[list[int]]:
        """Return the numbers of the fragments that share a frame, the group of the lowest number first."""
        groups: dict[int, list[int]] = {}
        for number, frame in enumerate(self.frames, start=1):
            groups.setdefault(id(frame), []).append(number)
        return list(groups.values())

    def near(self, numbers: list[int], reach_mm: float) -> NDArray[np.bool_]:
        """Return where on the plan's grid fragments are nearer than about `reach_mm`."""
        is_there = np.isin(self.plan, numbers)
        steps = max(1, int(np.ceil(reach_mm / PLAN_SPACING_MM)))
        grown: NDArray[np.bool_] = binary_dilation(is_there, np.ones((3, 3, 3), bool), steps)
        return grown

    def ask(self, points: Points, depth: Callable[[NDArray[np.uint8]], Field], voxel_mm: float) -> Answer:
        """Return the fragments that own places, how deep those lie, and the damage there.

        Args:
            points: Coordinates at the place where the frame of the fragments has not moved them, 1D arrays in mm.
            depth: Returns the depth in mm below the outer surface at the points, given their fragments.
            voxel_mm: Size of the voxels whose damage is asked for.

        Returns:
            Fragment numbers from 1, depths in mm, and damage from -1 (crushed) over 0 to 1 (all gap).
        """
        near: list[tuple[int, NDArray[np.intp], Field]] = []

        def at_cut(number: int, index: NDArray[np.intp], side: Field) -> None:
            distance = np.abs(side)
            is_near = distance < REACH_MM
            near.append((number, index[is_near], distance[is_near]))

        owner = self.fragments_at(points, at_cut)
        value = depth(owner)
        damage = np.zeros(len(owner), np.float32)
        for number, index, distance in near:
            kind, cortex = self.fractures[number - 2].kind, self.cortex_gaps_mm.get(number, 0.0)
            if kind == "impacted":
                self._crush(damage, index, distance, self.impactions_mm[number])
            elif kind in ("closed", "crack"):
                shell = np.clip(1.0 - value[index] / CORTEX_MM, 0.0, 1.0)
                width = self.fractures[number - 2].gap_mm * self._unevenness(points, index) + cortex * shell
                _open(damage, index, distance, width, voxel_mm)
        for crack in self.cracks:
            index = np.flatnonzero(owner == crack.fragment)
            distance = np.abs(crack.surface(_some(points, index)))
            index, distance = index[distance < REACH_MM], distance[distance < REACH_MM]
            ends = np.clip(crack.region(_some(points, index)) / TAPER_MM, 0.0, 1.0)
            shell = np.clip(1.0 - value[index] / CORTEX_MM, 0.0, 1.0)
            width = crack.gap_mm * ends * (self._unevenness(points, index) + shell)
            _open(damage, index, distance, width, voxel_mm)
        return owner, value, damage

    def _unevenness(self, points: Points, index: NDArray[np.intp]) -> Field:
        """Return the width of gaps over their mean at some of the points, from 0."""
        if self.unevenness is None or len(index) == 0:
            return np.ones(len(index), np.float32)
        uneven: Field = np.maximum(1.0 + self.unevenness(_some(points, index)), 0.0)
        return uneven

    def _crush(self, damage: NDArray[np.float32], index: NDArray[np.intp], distance: Field, depth_mm: float) -> None:
        """Note in `damage` the bone that an impaction has pressed together."""
        reach = 0.5 * depth_mm + CRUSHED_MM
        fall = np.clip(1.0 - (distance / reach) ** 2, 0.0, 1.0)
        crushed = -CRUSHED * min(1.0, 0.4 + 0.2 * depth_mm) * fall
        damage[index] = np.where(damage[index] > 0, damage[index], np.minimum(damage[index], crushed))


def _open(damage: NDArray[np.float32], index: NDArray[np.intp], distance: Field, width: Field, voxel_mm: float) -> None:
    """Note in `damage` the share of voxels that a gap takes, `distance` from its middle."""
    share = np.clip(0.5 * (width + voxel_mm) - distance, 0.0, np.minimum(width, voxel_mm)) / voxel_mm
    damage[index] = np.where(share > 0, np.maximum(damage[index], share), damage[index])


def _some(points: Points, index: NDArray[np.intp]) -> Points:
    """Return some of 1D points."""
    return points[0][index], points[1][index], points[2][index]
