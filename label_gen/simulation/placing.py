"""Put the fragments of a bone where they are found: each with its parent, and against it, clear of other bone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from label_gen._fractures import PLAN_SPACING_MM
from label_gen._shapes import Pose
from label_gen.simulation.broken import BrokenSolid, Fracture
from label_gen.simulation.motions import Contact, draw_cortex_gap, draw_gap, draw_kind, draw_motion
from label_gen.simulation.settings import SimulationSettings
from label_gen.simulation.solids import Solid

__all__ = ["contact_of", "place_fragments", "seams_of"]

LOST_SHARE = {"closed": 0.05, "opened": 0.05, "displaced": 0.05, "impacted": 0.12}
"""Part of a fragment that its motion may push into other bone, where it is not drawn. Source: chosen here."""

CHECKED_PLACES = 600
"""Places of a fragment at which room is looked for. Source: chosen here; 5 % of them are told from none."""

MOTION_TRIES, SOFTER = 10, 0.85
"""Motions drawn for a fragment before it stays in place, each smaller than the last by this factor. Source: chosen
here."""


def contact_of(bone: BrokenSolid, number: int) -> Contact | None:
    """Return where a fragment meets those with lower numbers, or None where it meets none."""
    places = np.argwhere(bone.plan == number)
    low, high = np.maximum(places.min(axis=0) - 1, 0), places.max(axis=0) + 2
    part = bone.plan[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    points, normals = [], []
    for axis in range(3):
        one, two = np.moveaxis(part, axis, 0)[:-1], np.moveaxis(part, axis, 0)[1:]
        for is_face, sign in (
            ((two == number) & (one > 0) & (one < number), 1.0),
            ((one == number) & (two > 0) & (two < number), -1.0),
        ):
            at = np.argwhere(is_face).astype(float)
            at = np.insert(at[:, 1:], axis, at[:, 0] + 0.5, axis=1)
            points.append((at + low)[:, ::-1])
            normals.append(np.tile(sign * np.eye(3)[axis][::-1], (len(at), 1)))
    at = np.concatenate(points)
    if len(at) == 0:
        return None
    at = bone.low + PLAN_SPACING_MM * at
    centre = at.mean(axis=0)
    mean = np.concatenate(normals).mean(axis=0)
    length = float(np.linalg.norm(mean))
    radius = float(np.sqrt(((at - centre) ** 2).sum(axis=1).mean())) * 1.4
    return Contact(centre, mean / length if length > 0.08 else np.zeros(3), radius)


def seams_of(bone: BrokenSolid) -> NDArray[np.float64]:
    """Return places x, y, z in mm, (n, 3), in the plan's voxels that touch another fragment above them or beside."""
    is_seam = np.zeros(bone.plan.shape, bool)
    for axis in range(3) if bone.cuts else ():
        one, two = np.moveaxis(bone.plan, axis, 0)[:-1], np.moveaxis(bone.plan, axis, 0)[1:]
        np.moveaxis(is_seam, axis, 0)[:-1] |= (one != two) & (one > 0) & (two > 0)
    return bone.plan_points(is_seam)


def place_fragments(
    bone: BrokenSolid,
    patterns: Sequence[str],
    rng: np.random.Generator,
    settings: SimulationSettings,
    others: Sequence[Solid],
) -> None:
    """Move each fragment with its parent and against it, by less where other bone is in the way."""
    fractures = []
    for number, (cut, pattern) in enumerate(zip(bone.cuts, patterns, strict=True), start=2):
        kind = draw_kind(rng, settings.kinds)
        gap = draw_gap(rng, kind)
        contact = contact_of(bone, number)
        moved = _draw_pose(bone, number, cut.parent, kind, contact, rng, others) if contact is not None else None
        if moved is None:
            kind, moved = "closed", (bone.poses[cut.parent - 1], bone.frames[cut.parent - 1])
        bone.poses.append(moved[0])
        bone.frames.append(moved[1])
        if kind == "closed":
            bone.cortex_gaps_mm[number] = draw_cortex_gap(rng)
        fractures.append(Fracture(bone.name, pattern, kind, cut.parent, number, gap))
    bone.fractures = tuple(fractures)


def _draw_pose(
    bone: BrokenSolid,
    number: int,
    parent: int,
    kind: str,
    contact: Contact,
    rng: np.random.Generator,
    others: Sequence[Solid],
) -> tuple[Pose, Pose] | None:
    """Draw pose and frame of a fragment, or None where other bone is in the way of any motion."""
    base, frame = bone.poses[parent - 1], bone.frames[parent - 1]
    placed = Contact(base.forward(contact.centre[None])[0], base.rotation @ contact.normal, contact.radius_mm)
    points = bone.plan_points(bone.plan == number)
    points = points[:: 1 + len(points) // CHECKED_PLACES]
    for attempt in range(MOTION_TRIES):
        motion = draw_motion(rng, kind, placed, SOFTER**attempt)
        pose = motion.after(base)
        own_frame = frame if kind in ("closed", "impacted") else pose
        if _lost(bone, number, points, pose, own_frame, others) <= LOST_SHARE[kind]:
            if kind == "impacted":
                bone.impactions_mm[number] = float(np.linalg.norm(motion.shift))
            return pose, own_frame
    return None


def _lost(
    bone: BrokenSolid,
    number: int,
    points: NDArray[np.float64],
    pose: Pose,
    frame: Pose,
    others: Sequence[Solid],
) -> float:
    """Return what share of points of a fragment would not be drawn: other bone is there, or the other side of a cut."""
    found = pose.forward(points)
    columns = (found[:, 0], found[:, 1], found[:, 2])
    is_lost = np.zeros(len(found), bool)
    if frame is not pose:
        is_lost |= bone.fragments_at(frame.backward(columns)) != number
    for numbers in bone.groups():
        other = bone.frames[numbers[0] - 1]
        if other is frame:
            continue
        owner = bone.fragments_at(other.backward(columns))
        for one in numbers:
            index = np.flatnonzero(owner == one)
            rest = bone.poses[one - 1].backward((found[index, 0], found[index, 1], found[index, 2]))
            is_lost[index] |= bone.body.depth(rest) > 0 if len(index) else False
    for solid in others:
        is_lost |= solid.depth(columns) > 0
    return float(is_lost.mean())
