"""The iliac wing of a procedural pelvis: a bowed sheet of bone 3 mm thick inside a curved edge."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from label_gen._pelvis_shape import WingShape
from label_gen._shapes import Field, Part, Points, smooth_min

__all__ = ["iliac_wing", "mirrored"]

WING_ALONG = (-0.51, 0.86)
"""Direction x, y in which the iliac wing runs from front to back."""

EDGE_STEP_MM = 2.0
"""Step of the table of distances to the wing's edge. Source: chosen here, fine beside the edge's curvature."""

LOWEST_Q = -1.0
"""Height, in its own unit, below which the middle of a cubic wing goes straight on down. Source: chosen here."""

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


def iliac_wing(rng: np.random.Generator, side: float, shape: WingShape | None = None, aside_mm: float = 0.0) -> Part:
    """Make the iliac wing: a bowed sheet 3 mm thick that thickens to crest, socket and sacroiliac joint.

    Args:
        rng: Source of all randomness.
        side: 1 for the left, -1 for the right.
        shape: Its shape; None for the usual one.
        aside_mm: How much further to the side than usual it lies.

    Returns:
        The part.
    """
    shape = shape or WingShape()
    outline = WING_OUTLINE if shape.outline is None else shape.outline
    table, corner = _edge_table(outline + rng.normal(0, 1.2, outline.shape))
    first_u, first_h = (float(c) for c in corner)
    bow, flare, half_sheet = (rng.uniform(*given) for given in (shape.bow_mm, shape.flare_mm, shape.sheet_mm))

    def bump(u: Field, h: Field, at: tuple[float, float], radii: tuple[float, float], height: float) -> Field:
        bell: Field = height * np.exp(-(((u - at[0]) / radii[0]) ** 2) - ((h - at[1]) / radii[1]) ** 2)
        return bell

    def depth(points: Points) -> Field:
        x, y, h = points[0] * side - aside_mm, points[1], points[2]
        u = x * WING_ALONG[0] + y * WING_ALONG[1]
        across = x * WING_ALONG[1] - y * WING_ALONG[0]
        t, q = (u + 14.0) / 75.0, (h - 68.0) / 36.0
        if shape.surface is not None:
            middle, slope_u, slope_h = _cubic(shape.surface, t, np.maximum(q, LOWEST_Q))
        else:
            middle = 76.5 + q * (flare - 7.0 * t) + (bow + 5.0 * q) * (1.0 - t * t) - 1.5 * q * q
            slope_u = (-7.0 * q - 2.0 * t * (bow + 5.0 * q)) / 75.0
            slope_h = (flare - 7.0 * t + 5.0 * (1.0 - t * t) - 3.0 * q) / 36.0
        place = [(u - first_u) / EDGE_STEP_MM, (h - first_h) / EDGE_STEP_MM]
        edge = map_coordinates(table, place, order=1, mode="nearest", output=np.float32)
        half = half_sheet + 3.8 * np.exp(-((np.maximum(edge, 0.0) / 8.0) ** 2)) * np.clip((h - 30.0) / 30.0, 0.0, 1.0)
        for centre, radii, height in shape.bumps:
            half = half + bump(u, h, centre, radii, height)
        sheet = half - np.abs(across - middle) / np.sqrt(1.0 + slope_u**2 + slope_h**2)
        return smooth_min(sheet, edge, shape.edge_blend_mm)

    low, high = np.array([20.0, -62.0, -12.0]), np.array([145.0, 108.0, 146.0])
    if shape.surface is not None:
        low, high = np.array([15.0 + aside_mm, -88.0, -16.0]), np.array([172.0 + aside_mm, 118.0, 162.0])
    return Part(depth, *mirrored(low, high, side), blend_mm=5.0)


def _cubic(c: Sequence[float], t: Field, q: Field) -> tuple[Field, Field, Field]:
    """Return the middle of the sheet from ten coefficients, and its slopes along u and h."""
    middle = c[0] + c[1] * t + c[2] * q + c[3] * t * t + c[4] * t * q + c[5] * q * q
    middle = middle + c[6] * t * t * q + c[7] * t * q * q + c[8] * t**3 + c[9] * q**3
    along = c[1] + 2 * c[3] * t + c[4] * q + 2 * c[6] * t * q + c[7] * q * q + 3 * c[8] * t * t
    up = c[2] + c[4] * t + 2 * c[5] * q + c[6] * t * t + 2 * c[7] * t * q + 3 * c[9] * q * q
    return middle, along / 75.0, up / 36.0


def mirrored(
    low: NDArray[np.float64], high: NDArray[np.float64], side: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of a box of the left side, on the side asked for."""
    flip = np.array([side, 1.0, 1.0])
    return np.minimum(low * flip, high * flip), np.maximum(low * flip, high * flip)
