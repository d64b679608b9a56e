"""The iliac wing of a procedural pelvis: a bowed sheet of bone 3 mm thick inside a curved edge."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from label_gen._shapes import Field, Part, Points, smooth_min

__all__ = ["iliac_wing", "mirrored"]

WING_ALONG = (-0.51, 0.86)
"""Direction x, y in which the iliac wing runs from front to back."""

EDGE_STEP_MM = 2.0
"""Step of the table of distances to the wing's edge. Source: chosen here, fine beside the edge's curvature."""

WING_OUTLINE = np.array(
    [
        *[(-66, 28), (-77, 50), (-89, 71), (-86, 93), (-73, 116), (-50, 132), (-14, 139), (24, 130), (49, 109)],
        *[(64, 84), (58, 66), (43, 51), (25, 42), (10, 30), (6, 12), (-8, 0), (-32, -4), (-56, 8)],
    ],
    dtype=float,
)
"""Edge of the left iliac wing as seen from the side: distance along `WING_ALONG` and height, in mm.

Source: chosen here, as all of `label_gen._pelvis`: from the front inferior spine over the crest to the sciatic notch.
"""


def _edge_table(outline: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the signed distance inside a closed smooth curve, on a grid of `EDGE_STEP_MM`, and its first corner."""
    closed = np.vstack([outline, outline[:1]])
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    curve = CubicSpline(steps, closed, bc_type="periodic")(np.linspace(0, steps[-1], 181))
    low = curve.min(axis=0) - 20.0
    size = np.ceil((curve.max(axis=0) + 20.0 - low) / EDGE_STEP_MM).astype(int)
    u, v = (low[k] + EDGE_STEP_MM * np.arange(size[k]) for k in range(2))
    grid = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1)
    nearest = np.full(tuple(size), np.inf)
    is_inside = np.zeros(tuple(size), bool)
    for a, b in pairwise(curve):
        t = np.clip(((grid - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(grid - a - t[..., None] * (b - a), axis=-1))
        crosses = (a[1] > grid[..., 1]) != (b[1] > grid[..., 1])
        if a[1] != b[1]:
            is_inside ^= crosses & (grid[..., 0] < a[0] + (grid[..., 1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
    return np.where(is_inside, nearest, -nearest).astype(np.float32), low


def iliac_wing(rng: np.random.Generator, side: float) -> Part:
    """Make the iliac wing: a bowed sheet 3 mm thick that thickens to crest, socket and sacroiliac joint."""
    table, corner = _edge_table(WING_OUTLINE + rng.normal(0, 1.2, WING_OUTLINE.shape))
    first_u, first_h = (float(c) for c in corner)
    bow, flare, half_sheet = rng.uniform(5.5, 8.5), rng.uniform(9.5, 12.0), rng.uniform(1.4, 1.65)

    def bump(u: Field, h: Field, at: tuple[float, float], radii: tuple[float, float], height: float) -> Field:
        bell: Field = height * np.exp(-(((u - at[0]) / radii[0]) ** 2) - ((h - at[1]) / radii[1]) ** 2)
        return bell

    def depth(points: Points) -> Field:
        x, y, h = points[0] * side, points[1], points[2]
        u = x * WING_ALONG[0] + y * WING_ALONG[1]
        across = x * WING_ALONG[1] - y * WING_ALONG[0]
        t, q = (u + 14.0) / 75.0, (h - 68.0) / 36.0
        middle = 76.5 + q * (flare - 7.0 * t) + (bow + 5.0 * q) * (1.0 - t * t) - 1.5 * q * q
        slope_u = (-7.0 * q - 2.0 * t * (bow + 5.0 * q)) / 75.0
        slope_h = (flare - 7.0 * t + 5.0 * (1.0 - t * t) - 3.0 * q) / 36.0
        place = [(u - first_u) / EDGE_STEP_MM, (h - first_h) / EDGE_STEP_MM]
        edge = map_coordinates(table, place, order=1, mode="nearest", output=np.float32)
        half = half_sheet + 3.8 * np.exp(-((np.maximum(edge, 0.0) / 8.0) ** 2)) * np.clip((h - 30.0) / 30.0, 0.0, 1.0)
        half = half + bump(u, h, (-30.0, 10.0), (32.0, 40.0), 12.0) + bump(u, h, (30.0, 66.0), (26.0, 26.0), 9.0)
        half = half + bump(u, h, (52.0, 84.0), (18.0, 24.0), 4.0) + bump(u, h, (-52.0, 108.0), (11.0, 26.0), 2.2)
        sheet = half - np.abs(across - middle) / np.sqrt(1.0 + slope_u**2 + slope_h**2)
        return smooth_min(sheet, edge, 3.0)

    low, high = np.array([20.0, -62.0, -12.0]), np.array([145.0, 108.0, 146.0])
    return Part(depth, *mirrored(low, high, side), blend_mm=5.0)


def mirrored(
    low: NDArray[np.float64], high: NDArray[np.float64], side: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of a box of the left side, on the side asked for."""
    flip = np.array([side, 1.0, 1.0])
    return np.minimum(low * flip, high * flip), np.maximum(low * flip, high * flip)
