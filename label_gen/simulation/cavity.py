"""The room inside a pelvis: how far the cavity reaches between bones and muscles, and the fat below its floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, minimum_filter

from label_gen._sampling import SampleGrid
from label_gen._shapes import Part, Waves, cone
from label_gen.simulation.body_landmarks import BodyLandmarks
from label_gen.simulation.body_outline import Outline
from label_gen.simulation.fields import axes_of

__all__ = ["NOWHERE_MM", "Cavity", "draw_cavity", "draw_parts"]

NOWHERE_MM = -60.0
"""Depth given to places far from an organ."""

WALL_MM = 10.0
"""Muscle between the cavity and the fascia. Source: chosen here, the wall of the belly."""

ROUNDED_MM = 18.0
"""Depths beyond this are cut off before edges are rounded, so that distant walls do not matter."""

FUNNEL_MM, FUNNEL_SLOPE = 12.0, 0.9
"""Half the width of the floor's funnel at the perineum, and how it widens upwards, in mm per mm. Source: chosen here,
after pelvic CTs, as all numbers of this module."""


@dataclass(frozen=True)
class Cavity:
    """The pelvic cavity on the coarse grid.

    Attributes:
        depth: Depth in the cavity in mm, float32 (z, y, x).
        fossa: Depth in the fat below its floor, at both sides of the anal canal.
        back: Height z of each coarse slice to y of the bone behind the cavity in the middle, (slices,).
        front: The same for the bone before it.
        floor_z: Height of the lowest part of the cavity.
        top_z: Height of the upper end of the sacrum.
    """

    depth: NDArray[np.float32]
    fossa: NDArray[np.float32]
    back: NDArray[np.float64]
    front: NDArray[np.float64]
    floor_z: float
    top_z: float


def draw_parts(parts: list[Part], coarse: SampleGrid) -> NDArray[np.float32]:
    """Return the depth in the union of parts on the coarse grid."""
    depth = np.full(coarse.shape, NOWHERE_MM, np.float32)
    for part in parts:
        box = coarse.box(part.low - 12.0, part.high + 12.0)
        if all(s.stop > s.start for s in box):
            depth[box] = np.maximum(depth[box], part.depth(coarse.points(box)))
    return depth


def draw_cavity(rng: np.random.Generator, marks: BodyLandmarks, outline: Outline, coarse: SampleGrid) -> Cavity | None:
    """Find the cavity between the bones and before the sacrum; None where a volume does not show a whole pelvis."""
    lining, uneven = float(rng.uniform(7.0, 11.0)), Waves.draw(rng, 3.0, (35.0, 110.0), 8)
    if marks.perineum_z is None or not {"sacrum", "hip"} <= set(marks.kinds) or not len(marks.heads):
        return None
    x, y, z = axes_of(coarse)
    aside = np.abs(x - marks.middle_x)
    back, front, top = _front_and_back(marks, y, z, aside)
    # To the side it ends at the first bone seen from the middle.
    first = np.where(marks.kind_mask("hip", "femur"), aside[None, None, :], 118.0)
    # Where rows of voxels leave the pelvis between bones, muscles close it.
    heads_z, heads_aside = float(marks.heads[:, 2].mean()), float(np.abs(marks.heads[:, 0] - marks.middle_x).mean())
    closed = np.interp(z, [heads_z + 40.0, heads_z + 90.0], [heads_aside - 26.0, 118.0])
    nearest = np.minimum(minimum_filter(first.min(axis=2), 3), closed[:, None])
    width = gaussian_filter(nearest, 1.5)[:, :, None]
    # Beside the spine it reaches further back.
    above = np.clip((z - top + 24.0) / 20.0, 0.0, 1.0)[:, None]
    beside = 24.0 * np.clip((aside - 36.0) / 14.0, 0.0, 1.0)[None, :] * above
    depth = np.minimum(outline.muscle - WALL_MM, marks.distance - lining)
    depth = np.minimum(depth, width - 3.0 - aside)
    depth = np.minimum(depth, (back[:, None] + beside)[:, None, :] - 5.0 - y[None, :, None])
    depth = np.minimum(depth, y[None, :, None] - front[:, None, None] - 4.0)
    middle_y = float(marks.heads[:, 1].mean()) + 6.0
    above = z - marks.perineum_z
    funnel = (FUNNEL_MM + FUNNEL_SLOPE * above)[:, None, None] - aside
    depth = np.minimum(depth, np.minimum(0.75 * funnel - 2.0, above[:, None, None] - 14.0))
    psoas = draw_parts(_psoas(marks, float(np.interp(top, z, back)), top), coarse)
    depth = np.minimum(depth, -psoas)
    fossa = np.minimum(width - 7.0 - aside, -0.75 * funnel - 3.0)
    fossa = np.minimum(fossa, np.minimum(y - middle_y, middle_y + 46.0 - y)[None, :, None])
    fossa = np.minimum(fossa, np.minimum(0.5 * (above[:, None, None] + 46.0 - aside), outline.muscle + 6.0))
    fossa = np.minimum(fossa, np.minimum(above + 4.0, 52.0 - above)[:, None, None])
    # Where planes meet at an edge, muscle and fat round it off.
    every = coarse.points((slice(0, len(z)), slice(0, len(y)), slice(0, len(x))))
    depth = gaussian_filter(np.clip(depth, -ROUNDED_MM, ROUNDED_MM), 2.0) + uneven(every)
    fossa = gaussian_filter(np.clip(fossa, -ROUNDED_MM, ROUNDED_MM), 1.2)
    smooth = [d.astype(np.float32) for d in (np.minimum(depth, marks.distance - 3.0), fossa)]
    return Cavity(smooth[0], smooth[1], back, front, marks.perineum_z + 16.0, top)


def _front_and_back(
    marks: BodyLandmarks, y: NDArray[np.float64], z: NDArray[np.float64], aside: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return, by height, y of the bone behind the cavity and of the bone before it, and the top of the sacrum."""
    behind: NDArray[np.bool_] = np.logical_or.reduce(marks.kind_mask("sacrum", "spine")[:, :, aside < 15.0], axis=2)
    before: NDArray[np.bool_] = np.logical_or.reduce(marks.kind_mask("hip")[:, :, aside < 25.0], axis=2)
    rows = np.flatnonzero(behind.any(axis=1))
    back = np.interp(z, z[rows], y[behind[rows].argmax(axis=1)]) if len(rows) else np.full(len(z), y[-1])
    sacral = np.flatnonzero(marks.kind_mask("sacrum").any(axis=(1, 2)))
    top = float(z[sacral[-1]]) if len(sacral) else float(z[-1])
    limit = float(np.median(back)) - 30.0
    rows = np.flatnonzero((before & (y < limit)).any(axis=1))
    if not len(rows):
        return back, np.full(len(z), y[0] - 100.0), top
    last = [float(y[np.flatnonzero(before[r] & (y < limit))[-1]]) for r in rows]
    front = np.interp(z, z[rows], last)
    front = np.where(z > z[rows[-1]], front - 1.3 * (z - z[rows[-1]]), front)
    return gaussian_filter(back, 2.0), front, top


def _psoas(marks: BodyLandmarks, back_y: float, top: float) -> list[Part]:
    """Return the muscles that run from beside the spine over the front of the hip joints."""
    parts = []
    for head in marks.heads:
        side = 1.0 if head[0] > marks.middle_x else -1.0
        start = np.array([marks.middle_x + side * 42.0, back_y + 8.0, top + 90.0])
        middle = np.array([marks.middle_x + side * 52.0, back_y - 6.0, top - 12.0])
        end = head + np.array([-2.0 * side, -31.0, 6.0])
        parts += [cone(start, middle, 19.0, 18.0), cone(middle, end, 18.0, 14.0)]
    return parts
