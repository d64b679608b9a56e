"""The outline of a body and of its muscles, as smooth hulls around the bones of each slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from label_gen._sampling import SampleGrid
from label_gen.simulation.body_landmarks import BodyLandmarks
from label_gen.simulation.fields import COARSE_MM, axes_of

__all__ = ["Build", "Outline", "draw_outline"]

ANGLES = np.radians(np.arange(0, 360, 10))
"""Directions in the axial plane in which hulls are supported, from left (x) over the back (y)."""

TURNS = np.array([0.0, 45.0, 90.0, 135.0, 180.0])
"""Directions of the tables below: back, back and side, side, front and side, front, in degrees."""

MUSCLE_LOW, MUSCLE_HIGH = (12.0, 34.0, 9.0, 27.0, 20.0), (10.0, 24.0, 6.0, 16.0, 34.0)
"""Muscle and belly outside the hull of the bones in mm, at the height of the hip joints and of the iliac crests.
Source: chosen here, after pelvic CTs."""

FAT_LOW, FAT_HIGH = (1.2, 1.5, 1.1, 0.8, 0.9), (1.0, 1.2, 0.9, 0.8, 0.9)
"""Share of the patient's thickness of fat below the skin. Source: chosen here, after pelvic CTs."""

THIGH_TURNS, THIGH_MUSCLE = (0.0, 90.0, 180.0, 270.0, 360.0), (26.0, 66.0, 84.0, 50.0, 26.0)
"""Muscle around a femur to the side, to the back, towards the middle, to the front. Source: chosen here."""

TRUNK_SLOPES, LEG_SLOPES = (0.15, 0.3), (0.9, 0.2)
"""How fast a hull narrows above and below the bones that hold it, in mm per mm. Source: chosen here."""


@dataclass(frozen=True)
class Build:
    """How a person is built.

    Attributes:
        fat_mm: Thickness of the fat below the skin.
        muscle: Thickness of muscles as a share of the usual one.
        belly_mm: How far the belly stands out.
    """

    fat_mm: float
    muscle: float
    belly_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        """Draw the build of an adult."""
        fat = float(np.clip(rng.lognormal(np.log(19.0), 0.45), 6.0, 55.0))
        return cls(fat, float(rng.uniform(0.8, 1.2)), float(rng.uniform(-6.0, 12.0) + 0.9 * fat))


@dataclass(frozen=True)
class Outline:
    """Depths below the surfaces of the body on the coarse grid.

    Attributes:
        skin: Depth below the skin in mm, negative in air, float32 (z, y, x).
        muscle: Depth below the outermost fascia in mm, likewise.
    """

    skin: NDArray[np.float32]
    muscle: NDArray[np.float32]


def draw_outline(marks: BodyLandmarks, coarse: SampleGrid, build: Build) -> Outline:
    """Lay the body around its bones: one trunk, and below the perineum two thighs."""
    x, y, z = axes_of(coarse)
    bones = marks.numbers > 0
    turn = np.degrees(np.abs(np.arctan2(np.cos(ANGLES), np.sin(ANGLES))))  # from the back
    occupied = np.flatnonzero(bones.any(axis=(1, 2)))
    if not len(occupied):
        inside = np.full(coarse.shape, 60.0, np.float32)
        return Outline(inside, inside - np.float32(build.fat_mm))
    low = marks.perineum_z if marks.perineum_z is not None else float(z[occupied[0]])
    high = max(float(z[occupied[-1]]), low + 150.0)
    level = np.clip((z - low) / (high - low), 0.0, 1.0)[:, None]

    def margin(at_low: ArrayLike, at_high: ArrayLike) -> NDArray[np.float64]:
        tables = [np.interp(turn, TURNS, np.asarray(t, float))[None] for t in (at_low, at_high)]
        share = np.clip((level - 0.25) / 0.6, 0.0, 1.0)
        mixed: NDArray[np.float64] = tables[0] * (1 - share) + tables[1] * share
        return mixed

    belly = build.belly_mm * np.clip((level - 0.2) / 0.7, 0.0, 1.0) * np.clip(-np.sin(ANGLES), 0.0, 1.0)[None] ** 1.5
    legs = marks.kind_mask("femur")
    support = np.maximum(_support(bones & ~legs, x, y, TRUNK_SLOPES), _support(bones & legs, x, y, LEG_SLOPES))
    muscle = support + build.muscle * margin(MUSCLE_LOW, MUSCLE_HIGH) + belly
    skin = muscle + build.fat_mm * margin(FAT_LOW, FAT_HIGH) + 2.0
    depths = [_depth(surface, x, y) for surface in (muscle, skin)]
    if marks.perineum_z is not None:
        below = (2.0 * np.maximum(marks.perineum_z + 20.0 - z, 0.0))[:, None, None].astype(np.float32)
        reach = (2.0 * np.maximum(z - marks.perineum_z - 40.0, 0.0))[:, None, None].astype(np.float32)
        for k, fat in enumerate((0.0, build.fat_mm * 0.9 + 2.0)):
            depths[k] -= below
            for side in (1.0, -1.0):
                own = bones & ((x - marks.middle_x) * side > 12.0)[None, None, :]
                own &= (z < marks.perineum_z + 30.0)[:, None, None]
                if own.any():
                    away = np.degrees(np.arctan2(np.sin(ANGLES), np.cos(ANGLES) * side)) % 360.0
                    around = build.muscle * np.interp(away, THIGH_TURNS, THIGH_MUSCLE)[None] + fat
                    depths[k] = np.maximum(depths[k], _depth(_support(own, x, y, LEG_SLOPES) + around, x, y) - reach)
    muscle_depth, skin_depth = (gaussian_filter(d, 1.5).astype(np.float32) for d in depths)
    # The natal cleft.
    back = np.clip((y[None, :, None] - _middle_y(bones, y)) / 60.0, 0.0, 1.0)
    cleft = np.exp(-(((x[None, None, :] - marks.middle_x) / 8.0) ** 2)) * back
    skin_depth -= (32.0 * cleft * np.clip((0.5 - level[:, :, None]) / 0.3, 0.0, 1.0)).astype(np.float32)
    return Outline(skin_depth, np.minimum(muscle_depth, skin_depth - 2.0))


def _middle_y(bones: NDArray[np.bool_], y: NDArray[np.float64]) -> float:
    """Return the mean y of the bones."""
    return float(np.average(y, weights=np.count_nonzero(bones, axis=(0, 2)) + 1e-9))


def _support(
    bones: NDArray[np.bool_], x: NDArray[np.float64], y: NDArray[np.float64], slopes: tuple[float, float]
) -> NDArray[np.float64]:
    """Return how far the bones of each slice reach in each direction, (slices, directions) in mm, smoothed."""
    support = np.full((bones.shape[0], len(ANGLES)), -1e4)
    for index in np.flatnonzero(bones.any(axis=(1, 2))):
        at_y, at_x = np.nonzero(bones[index])
        support[index] = (np.outer(np.cos(ANGLES), x[at_x]) + np.outer(np.sin(ANGLES), y[at_y])).max(axis=1)
    rows = np.arange(bones.shape[0])
    step = COARSE_MM * (rows[:, None] - rows[None, :])
    price = np.where(step > 0, slopes[0] * step, -slopes[1] * step)
    limited = np.stack([(support - price[k][:, None]).max(axis=0) for k in rows])
    smooth: NDArray[np.float64] = gaussian_filter1d(gaussian_filter1d(limited, 4.0, axis=0), 1.2, axis=1, mode="wrap")
    return smooth


def _depth(support: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the depth in mm below the surface of the hull with that support, float32 (z, y, x)."""
    depth = np.full((support.shape[0], len(y), len(x)), np.inf, np.float32)
    for k, angle in enumerate(ANGLES):
        beyond = (np.cos(angle) * x[None, :] + np.sin(angle) * y[:, None]).astype(np.float32)
        np.minimum(depth, support[:, k].astype(np.float32)[:, None, None] - beyond, out=depth)
    return depth
