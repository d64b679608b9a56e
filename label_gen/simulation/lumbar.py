"""A lumbar spine for label volumes that have none: two vertebrae set on the upper end plate of the sacrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from label_gen._pelvis import lumbar_parts
from label_gen._sampling import SampleGrid
from label_gen._shapes import Body, Field, Part, Points, Pose, Waves, rotation_matrix
from label_gen.simulation.body_landmarks import BodyLandmarks
from label_gen.simulation.fields import axes_of

__all__ = ["guess_lumbar_spine"]

PLATE_CENTRE, PLATE_SLOPE = np.array([0.0, 40.0, 98.0]), np.radians(39.7)
"""Middle and slope of the sacrum's end plate in the frame of `lumbar_parts`. Source: `label_gen._pelvis`."""

PLATE_LENGTH_MM = 32.0
"""Length of the end plate from front to back. Source: textbook value, 30 to 35."""

DISC_MM = 6.0
"""Least distance of the lowest vertebra from the end plate. Source: textbook value, a disc of an adult is 5 to 12."""

ROOM_MM = 16.0
"""Room above the sacrum below which no spine is set. Source: chosen here: the field of view ends with the sacrum."""


def guess_lumbar_spine(rng: np.random.Generator, marks: BodyLandmarks, coarse: SampleGrid) -> Body | None:
    """Set a spine on the sacrum.

    Args:
        rng: Source of all randomness.
        marks: What the bones tell.
        coarse: The coarse grid.

    Returns:
        Two vertebrae, or None where no sacrum ends inside the volume or a spine is there.
    """
    shape_rng, rough_rng = rng.spawn(2)
    if "spine" in marks.kinds or "sacrum" not in marks.kinds:
        return None
    x, y, z = axes_of(coarse)
    slices = marks.kind_mask("sacrum")[:, :, np.abs(x - marks.middle_x) < 9.0]
    middle: NDArray[np.bool_] = np.logical_or.reduce(slices, axis=2)
    if not middle.any():
        return None
    top = np.where(middle.any(axis=0), z[middle.shape[0] - 1 - middle[::-1].argmax(axis=0)], -np.inf)
    # The promontory: foremost of what lies near the top.
    front = int(np.flatnonzero(top > top.max() - 22.0)[0])
    plate = np.flatnonzero((y >= y[front]) & (y <= y[front] + PLATE_LENGTH_MM - 6.0) & np.isfinite(top))
    if z[-1] - float(top[plate].max()) < ROOM_MM:
        return None
    slope = float(np.polyfit(y[plate], top[plate], 1)[0]) if len(plate) > 2 else float(np.tan(PLATE_SLOPE))
    angle = float(np.clip(np.arctan(slope), np.radians(15.0), np.radians(60.0)))
    centre = np.array([marks.middle_x, y[front], float(top[front])])
    centre += 0.5 * PLATE_LENGTH_MM * np.array([0.0, np.cos(angle), np.sin(angle)])
    # Half of the sacrum's slope is made up for by the spine, which bends back to upright.
    turn = rotation_matrix((1, 0, 0), 0.5 * (angle - PLATE_SLOPE))
    pose = Pose(turn, PLATE_CENTRE, centre - PLATE_CENTRE)
    normal = turn.T @ np.array([0.0, -np.sin(angle), np.cos(angle)])

    def below(points: Points) -> Field:
        dx, dy, dz = (p - float(c) for p, c in zip(points, PLATE_CENTRE, strict=True))
        height = dx * float(normal[0]) + dy * float(normal[1]) + dz * float(normal[2])
        depth: Field = np.minimum(DISC_MM - height, 22.0 - np.abs(dy))
        return depth

    gap = Part(below, np.array([-60.0, 0.0, 40.0]), np.array([60.0, 80.0, 150.0]), 2.0, is_carved=True)
    return Body([*lumbar_parts(shape_rng), gap], pose, 1.0, Waves.draw(rough_rng, 0.4, (9.0, 40.0), 7))
