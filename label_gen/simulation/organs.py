"""What lies in the pelvic cavity and along it: bowel with gas, bladder, rectum, womb or prostate, and vessels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from label_gen._sampling import SampleGrid
from label_gen._shapes import Part, cone, ellipsoid
from label_gen.simulation.body_landmarks import BodyLandmarks
from label_gen.simulation.cavity import Cavity, draw_parts
from label_gen.simulation.fields import COARSE_MM, axes_of

__all__ = ["Organ", "draw_organs", "draw_vessels"]

WALL_HU, FLUID_HU, URINE_HU, GAS_HU, STOOL_HU, SOLID_HU, BLOODSTREAM_HU = 38.0, 18.0, 6.0, -900.0, -10.0, 48.0, 44.0
"""Hounsfield units. Source: textbook values."""

ROOM_MM, LOOP_MM3 = np.array([240.0, 170.0, 240.0]), 40_000.0
"""Room in which bowel may lie (x, y, z), and how much of it each loop takes. Source: chosen here."""


@dataclass(frozen=True)
class Organ:
    """A part of the body.

    Attributes:
        depth: Depth below its surface in mm on the coarse grid, float32 (z, y, x).
        hu: Hounsfield units.
        mottled_hu: Strength of their texture.
        low_z: Height of its lower end in mm.
        high_z: Height of its upper end.
    """

    depth: NDArray[np.float32]
    hu: float
    mottled_hu: float
    low_z: float
    high_z: float

    @classmethod
    def of(cls, depth: NDArray[np.float32], hu: float, coarse: SampleGrid, mottled_hu: float = 0.0) -> Organ:
        """Make an organ of its depths."""
        rows = np.flatnonzero((depth > -COARSE_MM).any(axis=(1, 2)))
        low, high = (float(rows[0]), float(rows[-1])) if len(rows) else (0.0, -10.0)
        first = coarse.origin_mm[2]
        return cls(depth, hu, mottled_hu, first + COARSE_MM * (low - 1), first + COARSE_MM * (high + 1))

    def touches(self, grid: SampleGrid, start: int, stop: int) -> bool:
        """Return whether the organ reaches into the slices from `start` to `stop`."""
        low = grid.origin_mm[2] + grid.spacing_mm[0] * start
        high = grid.origin_mm[2] + grid.spacing_mm[0] * stop
        return self.low_z <= high and self.high_z >= low


def draw_organs(
    rng: np.random.Generator, marks: BodyLandmarks, cavity: Cavity | None, coarse: SampleGrid
) -> tuple[Organ, ...]:
    """Draw bowel, womb or prostate, bladder and rectum into the cavity, later ones over earlier ones."""
    seeds = rng.integers(0, 2**31, 2)  # the same number of draws whatever lies in the field of view
    if cavity is None or not (cavity.depth > 8.0).any():
        return ()
    organs = _bowel(np.random.default_rng(int(seeds[0])), cavity, marks.middle_x, coarse)
    own = np.random.default_rng(int(seeds[1]))
    z = axes_of(coarse)[2]
    limit = np.minimum(cavity.depth + 2.0, 30.0)
    radii = own.uniform((28.0, 22.0, 20.0), (48.0, 36.0, 42.0))
    front = float(np.interp(cavity.floor_z + 26.0, z, cavity.front))
    bladder_at = np.array([marks.middle_x + own.normal(0, 4), front + radii[1] + 5.0, cavity.floor_z + 8.0 + radii[2]])
    womb_at = bladder_at + np.array([own.normal(0, 5), radii[1] + 10.0, own.uniform(-18.0, 24.0)])
    womb = draw_parts([ellipsoid(womb_at, own.uniform((18, 12, 14), (34, 20, 26)))], coarse)
    bladder = np.minimum(draw_parts([ellipsoid(bladder_at, radii)], coarse), limit)
    urine = float(own.uniform(150.0, 700.0)) if own.random() < 0.12 else URINE_HU
    organs.append(Organ.of(np.minimum(womb, limit), SOLID_HU, coarse, 4.0))
    organs.append(Organ.of(bladder, WALL_HU, coarse))
    organs.append(Organ.of(bladder - np.float32(own.uniform(2.0, 4.5)), urine, coarse))
    path = []
    for height in np.arange(cavity.floor_z - 34.0, max(cavity.top_z - 45.0, cavity.floor_z + 20.0), 10.0):
        gap = 15.0 + own.normal(0, 1.5) + 0.25 * max(cavity.floor_z + 14.0 - height, 0.0)
        place = [marks.middle_x + 8.0 * np.sin(height / 26.0), float(np.interp(height, z, cavity.back)) - gap, height]
        path.append(np.array(place))
    width = float(own.uniform(9.0, 16.0))
    widths = [9.0 if p[2] < cavity.floor_z + 6.0 else width for p in path]
    tubes = [cone(path[k], path[k + 1], widths[k], widths[k + 1]) for k in range(len(path) - 1)]
    rectum = draw_parts(tubes, coarse)
    hu, mottled = [(GAS_HU, 0.0), (STOOL_HU, 90.0), (WALL_HU, 0.0)][int(own.choice(3, p=[0.2, 0.5, 0.3]))]
    wall = own.uniform(3.0, 6.0) + np.clip(cavity.floor_z + 10.0 - z, 0.0, 12.0)[:, None, None]
    organs.append(Organ.of(rectum, WALL_HU, coarse))
    organs.append(Organ.of((rectum - wall).astype(np.float32), hu, coarse, mottled))
    return tuple(organs)


def _is_within(place: NDArray[np.float64], depth: NDArray[np.float32], least: float, coarse: SampleGrid) -> bool:
    """Return whether a place x, y, z in mm lies at least so deep."""
    voxel = np.rint((place - np.array(coarse.origin_mm))[::-1] / COARSE_MM).astype(int)
    return bool(np.all(voxel >= 0) and np.all(voxel < depth.shape) and depth[tuple(voxel)] > least)


def _bowel(rng: np.random.Generator, cavity: Cavity, middle_x: float, coarse: SampleGrid) -> list[Organ]:
    """Draw loops of bowel: random walks through the cavity, filled with fluid, stool, gas or contrast."""
    seed, shares = int(rng.integers(0, 2**31)), rng.dirichlet((8.0, 1.2, 2.2))
    loops: dict[str, list[Part]] = {"fluid": [], "gas": [], "stool": []}
    levels: list[tuple[list[Part], float]] = []
    low = np.array([middle_x - 120.0, float(np.median(cavity.back)) - 170.0, cavity.floor_z])
    for number in range(int(np.prod(ROOM_MM) / LOOP_MM3)):
        own = np.random.default_rng([seed, number])  # a loop that does not fit changes no other
        kind = str(own.choice(["fluid", "gas", "stool"], p=shares))
        place = low + own.random(3) * ROOM_MM
        place[1] -= 30.0 if kind == "gas" else 0.0  # gas rises
        radius = float(own.uniform(8.0, 13.0) if kind == "fluid" else own.uniform(11.0, 19.0))
        heading, walk = own.normal(size=3), []
        if not _is_within(place, cavity.depth, 8.0, coarse):
            continue
        for _ in range(9 if kind == "fluid" else 5):
            heading = heading / np.linalg.norm(heading) + own.normal(0, 0.55, 3)
            heading[1] *= 0.4 if kind == "gas" else 1.0
            after = place + radius * 0.9 * heading / np.linalg.norm(heading)
            if _is_within(after, cavity.depth, 2.0, coarse):
                walk.append(cone(place, after, radius, radius))
                radius, place = float(np.clip(radius * own.uniform(0.85, 1.17), 7.0, 22.0)), after
            else:
                heading = -heading
        loops[kind] += walk
        if kind == "gas" and walk:
            levels.append((walk, float(place[1] + own.uniform(-2.0, 10.0))))
    organs = []
    for kind, parts in loops.items():
        depth = np.minimum(draw_parts(parts, coarse), cavity.depth - 1.0)
        inside = depth - np.float32(2.5)
        organs.append(Organ.of(depth, WALL_HU, coarse, 3.0))
        if kind == "stool":
            organs.append(Organ.of(inside, STOOL_HU, coarse, 95.0))
        else:
            contrast = kind == "fluid" and rng.random() < 0.2
            organs.append(Organ.of(inside, float(rng.uniform(120.0, 350.0)) if contrast else FLUID_HU, coarse, 5.0))
    if levels:
        y = axes_of(coarse)[1]
        fields = [np.minimum(draw_parts(walk, coarse), (level - y)[None, :, None]) for walk, level in levels]
        gas = np.minimum(np.max(fields, axis=0) - 2.5, cavity.depth - 3.5).astype(np.float32)
        organs.append(Organ.of(gas, GAS_HU, coarse))
    return organs


def draw_vessels(rng: np.random.Generator, marks: BodyLandmarks, coarse: SampleGrid) -> tuple[Organ, ...]:
    """Draw the arteries and veins from before the sacrum over the hip joints into the thighs."""
    hu = BLOODSTREAM_HU if rng.random() < 0.45 else float(rng.uniform(110.0, 300.0))
    venous = BLOODSTREAM_HU + float(rng.uniform(0.4, 1.0)) * (hu - BLOODSTREAM_HU)
    turns = rng.normal(0, 3.0, (2, 2, 5, 3))
    organs = []
    for vessel, (radius, shift, value) in enumerate(((4.2, 0.0, hu), (5.4, -12.0, venous))):
        parts: list[Part] = []
        for head in marks.heads:
            side = 1.0 if head[0] > marks.middle_x else -1.0
            path = [
                np.array([marks.middle_x + (20.0 + 0.6 * shift) * side, head[1] - 4.0 - 0.6 * shift, head[2] + 135.0]),
                np.array([marks.middle_x + (40.0 + shift) * side, head[1] - 8.0 - 0.2 * shift, head[2] + 62.0]),
                head + np.array([(shift - 10.0) * side, -40.0, 0.0]),
                head + np.array([(6.0 + shift) * side, -34.0 - 0.4 * shift, -60.0]),
                head + np.array([(2.0 + 0.5 * shift) * side, -18.0 - 0.6 * shift, -190.0]),
            ]
            moved = np.array(path) + turns[vessel, int(side > 0)]
            parts += [cone(a, b, radius, radius) for a, b in pairwise(moved)]
        if parts:
            organs.append(Organ.of(draw_parts(parts, coarse), value, coarse))
    return tuple(organs)
