"""Muscles as long cells that share the room around the bones, with planes of fat where two of them meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from label_gen._sampling import SampleGrid
from label_gen._shapes import Waves
from label_gen.simulation.body_landmarks import BodyLandmarks
from label_gen.simulation.fields import FieldReader

__all__ = ["Muscles", "draw_muscles"]

STEPS_MM = (8.0, 2.0, 2.0)
"""Grid of the planes of fat: fine across, coarse along the muscles. Source: chosen here, a plane is 1 to 5 mm thick."""

STRETCH = 0.24
"""Width of a muscle over its length. Source: chosen here."""

LAYERING = 1.15
"""How much a step away from the bone counts beside one to the side: above 0 muscles lie in layers round the bone.
Source: chosen here."""

APART_MM, REACH_MM = 33.0, 66.0
"""Least distance of the middles of two muscles, and the distance beyond which a middle is not asked. Source: chosen
here, so that a thigh shows about ten muscles."""

SIZE_MM = 5.0
"""Standard deviation of how much further than others a muscle reaches. Source: chosen here."""

CANDIDATES_PER_LITRE = 45.0
"""Places that are tried as the middle of a muscle. Source: chosen here, enough to fill the room."""


@dataclass(frozen=True)
class Muscles:
    """The planes of fat between muscles.

    Attributes:
        reader: Reads the field on the fine grid.
        planes: Distance to the nearest plane in mm, float32 (z, y, x) on a grid of `STEPS_MM`.
    """

    reader: FieldReader
    planes: NDArray[np.float32]


def draw_muscles(rng: np.random.Generator, marks: BodyLandmarks, reader: FieldReader) -> Muscles:
    """Draw muscles.

    Args:
        rng: Source of all randomness.
        marks: What the bones tell.
        reader: Reader of the coarse grid.

    Returns:
        The muscles.
    """
    own = FieldReader(reader.grid, STEPS_MM)
    grid = own.coarse
    bends = [Waves.draw(rng, 5.0, (45.0, 140.0), 5) for _ in range(2)]
    own_seed = int(rng.integers(0, 2**31))
    box = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    x, y, z = grid.points(box)
    far = np.minimum(reader.at(marks.distance, (x, y, z)), 70.0) * np.float32(LAYERING)
    x, y = x + bends[0]((x, y, z * 0.5)), y + bends[1]((x, y, z * 0.5))
    first, second = np.full(grid.shape, REACH_MM, np.float32), np.full(grid.shape, REACH_MM, np.float32)
    for px, py, pz, depth, size in _middles(own_seed, grid, marks, reader):
        low = np.array([px - REACH_MM, py - REACH_MM, pz - REACH_MM / STRETCH])
        high = np.array([px + REACH_MM, py + REACH_MM, pz + REACH_MM / STRETCH])
        part = grid.box(low - 12.0, high + 12.0)
        square = (x[part] - np.float32(px)) ** 2
        square += (y[part] - np.float32(py)) ** 2
        square += (np.float32(STRETCH) * (z[part] - np.float32(pz))) ** 2
        square += (far[part] - np.float32(depth)) ** 2
        distance = np.sqrt(square) - np.float32(size)
        second[part] = np.minimum(second[part], np.maximum(first[part], distance))
        first[part] = np.minimum(first[part], distance)
    return Muscles(own, 0.5 * (second - first))


def _middles(seed: int, grid: SampleGrid, marks: BodyLandmarks, reader: FieldReader) -> list[NDArray[np.float64]]:
    """Return the middles of muscles, at least `APART_MM` apart: x, y, z, distance from the bone, extra reach, in mm.

    Candidates are drawn in cells of the world and chosen without regard to bones, so that they hardly depend on the
    grid and its field of view.
    """
    cell = 100.0
    low = np.floor((np.array(grid.origin_mm) - REACH_MM) / cell).astype(int)
    size = np.array(grid.spacing_mm[::-1]) * np.array(grid.shape[::-1])
    high = np.ceil((np.array(grid.origin_mm) + size + REACH_MM) / cell).astype(int)
    per_cell = int(CANDIDATES_PER_LITRE)
    places: list[NDArray[np.float64]] = []
    sizes: list[NDArray[np.float64]] = []
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            for k in range(low[2], high[2]):
                rng = np.random.default_rng([seed, i + 1000, j + 1000, k + 1000])
                places.append((np.array([i, j, k]) + rng.random((per_cell, 3))) * cell)
                sizes.append(rng.normal(0.0, SIZE_MM, per_cell))
    points = np.concatenate(places)
    at = (points[:, 0].astype(np.float32), points[:, 1].astype(np.float32), points[:, 2].astype(np.float32))
    far = np.minimum(reader.at(marks.distance, at), 70.0).astype(float) * LAYERING
    scaled = np.column_stack([points[:, :2], STRETCH * points[:, 2]])
    kept: list[int] = []
    for index in range(len(points)):
        if not kept or np.min(((scaled[kept] - scaled[index]) ** 2).sum(axis=1)) > APART_MM**2:
            kept.append(index)
    return list(np.column_stack([points, far, np.concatenate(sizes)])[kept])
