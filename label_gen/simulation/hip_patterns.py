"""How hip bones break: rami, wing, crest, columns and wall of the socket, and behind at the sacrum.

Source: chosen here after the classifications of Letournel (socket) and Tile (ring); weights are those of a teaching
collection rather than of a population, sizes are clipped by what a bone gives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from label_gen.simulation.landmarks import BoneShape
from label_gen.simulation.proposals import Pattern, Proposal, bent, nearest, tilted, unit
from label_gen.simulation.surfaces import Ball, Common, Plane, Stepped

__all__ = ["HIP_PATTERNS", "propose_ramus_crack"]

WALL_MM = 31.0
"""Distance of the rim of the socket from its centre. Source: chosen here: radius of the socket and half its wall."""


def _frame(shape: BoneShape) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the directions up (from foramen to socket), to the front and to the outside of a hip bone."""
    outside = np.array([shape.side, 0.0, 0.0])
    marks = shape.landmarks
    up = unit(marks["socket"] - marks["foramen"]) if "foramen" in marks else np.array([0.0, 0.0, 1.0])
    up = unit(up - 0.7 * (up @ outside) * outside)
    front = np.array([0.0, -1.0, 0.0])
    front = unit(front - (front @ up) * up)
    return up, front, unit(np.cross(up, front) * (1.0 if np.cross(up, front) @ outside > 0 else -1.0))


def _pubic_rami(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut both rami; the part at the symphysis comes off. The step between the cuts falls into the foramen."""
    up, _, _ = _frame(shape)
    foramen, symphysis = shape.landmarks["foramen"], shape.landmarks["symphysis"]
    # More to the middle than the ring runs, so that the front of the wing stays behind the surface.
    along = unit(symphysis - foramen) - 0.8 * np.array([shape.side, 0.0, 0.0])
    along = unit(along - (along @ up) * up)
    centre = float(foramen @ up)
    plane = Plane.through(foramen, tilted(rng, along, 12.0))
    step = float(np.clip(rng.normal(0.0, 9.0), -16.0, 16.0))
    return Proposal("pubic_rami", Stepped(plane, up, centre, step, 9.0), symphysis, size, (-16.0, 22.0))


def _segment(rng: np.random.Generator, shape: BoneShape, size: float, upper: bool) -> Proposal:
    """Cut a ramus twice; the piece between comes off."""
    middle, along, side = _ramus(rng, shape, upper)
    length = 0.5 * max(9.0, size / 260.0)
    planes = [
        Plane.through(middle - length * along, tilted(rng, along, 14.0)),
        Plane.through(middle + length * along, -tilted(rng, along, 14.0)),
        Plane.through(shape.landmarks["foramen"], side),
    ]
    name = "superior_ramus" if upper else "inferior_ramus"
    return Proposal(name, Common(planes), middle, size, (-14.0, 8.0), 0.8)


def _ramus(
    rng: np.random.Generator, shape: BoneShape, upper: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return a place in a ramus, the direction in which it runs, and the direction to it from the foramen."""
    up, _, _ = _frame(shape)
    marks = shape.landmarks
    start = marks["socket"] if upper else marks["tuber"]
    along = unit(marks["symphysis"] - start)
    side = up if upper else -up
    place = start + float(rng.uniform(0.5, 0.75) if upper else rng.uniform(0.4, 0.65)) * (marks["symphysis"] - start)
    there = shape.points[(shape.points - marks["foramen"]) @ side > 6.0]
    slice_ = there[np.abs((there - place) @ along) < 2.5]
    slice_ = slice_[np.linalg.norm(slice_ - place, axis=1) < 35.0] if len(slice_) else slice_
    return nearest(shape.points, slice_.mean(axis=0) if len(slice_) else place), along, side


def propose_ramus_crack(rng: np.random.Generator, shape: BoneShape) -> tuple[Proposal, NDArray[np.float64]] | None:
    """Propose a break through one ramus, which parts nothing as the ring holds; and its middle."""
    if not {"foramen", "symphysis", "tuber", "socket"} <= set(shape.landmarks):
        return None
    upper = bool(rng.random() < 0.6)
    middle, along, _ = _ramus(rng, shape, upper)
    name = "superior_ramus" if upper else "inferior_ramus"
    return Proposal(name, Plane.through(middle, tilted(rng, along, 25.0))), middle


def _wing(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut the wing from crest to crest."""
    up, front, _ = _frame(shape)
    socket = shape.landmarks["socket"]
    angle = np.radians(rng.uniform(-75.0, 75.0))
    normal = tilted(rng, np.cos(angle) * up + np.sin(angle) * front, 8.0)
    above = shape.points[(shape.points - socket) @ up > 40.0]
    seed = above[int(np.argmax(above @ normal))]
    reach = float((seed - socket) @ normal)
    surface = bent(rng, socket + 0.75 * reach * normal, normal, (50.0, 200.0))
    return Proposal("iliac_wing", surface, seed, size, (30.0 - 0.75 * reach, 0.24 * reach))


def _avulsion(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Tear off a piece of the crest, or one of its spines."""
    up, front, _ = _frame(shape)
    marks = shape.landmarks
    angle = np.radians(rng.uniform(-80.0, 80.0))
    above = shape.points[(shape.points - marks["socket"]) @ up > 50.0]
    edge = above[int(np.argmax(above @ (np.cos(angle) * up + np.sin(angle) * front)))]
    options = [marks["front_spine"], marks["front_spine"], marks["crest"], marks["back_spine"], edge]
    seed = options[int(rng.integers(len(options)))]
    normal = tilted(rng, seed - marks["socket"] - 35.0 * up, 15.0)
    return Proposal(
        "crest_avulsion",
        bent(rng, seed - 8.0 * normal, normal, (40.0, 150.0), closing=True),
        seed,
        size,
        (-30.0, 8.0),
        0.8,
    )


def _tuber(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Tear off a piece of the seat."""
    seed = shape.landmarks["tuber"]
    normal = tilted(rng, seed - shape.landmarks["socket"], 18.0)
    return Proposal(
        "ischial_avulsion", bent(rng, seed - 10.0 * normal, normal, closing=True), seed, size, (-30.0, 9.0), 0.8
    )


def _anterior_column(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut from the front of the wing through the socket and the foramen to the lower ramus."""
    up, front, outside = _frame(shape)
    marks = shape.landmarks
    is_low = size < 55_000.0
    end = marks["socket"] + 32.0 * front + 34.0 * up if is_low else marks["front_spine"]
    if not is_low:
        end = end + float(rng.uniform(0.0, 0.9)) * (marks["crest"] - marks["front_spine"])
    axis = unit(end - marks["foramen"])
    normal = np.cross(outside, axis)
    normal = tilted(rng, normal * np.sign(normal @ front), 8.0)
    middle = marks["socket"] if is_low else 0.5 * (marks["socket"] + marks["foramen"])
    surface = bent(rng, middle, normal, (90.0, 300.0))
    return Proposal("anterior_column", surface, marks["symphysis"], size, (-18.0, 18.0))


def _posterior_column(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut from the sciatic notch through the socket and the foramen to the lower ramus."""
    up, front, outside = _frame(shape)
    marks = shape.landmarks
    down = unit(marks["foramen"] - marks["socket"])
    behind = np.cross(outside, down)
    behind = tilted(rng, behind * -np.sign(behind @ front), 8.0)
    rise = np.radians(rng.uniform(4.0, 22.0))
    below = tilted(rng, -np.cos(rise) * up - np.sin(rise) * front, 6.0)
    surface = Common([Plane.through(marks["socket"], behind), Plane.through(marks["socket"] + 6.0 * up, below)])
    return Proposal("posterior_column", surface, marks["tuber"], size, (-14.0, 16.0))


def _transverse(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut across both columns; pubis and ischium come off together."""
    up, _, _ = _frame(shape)
    marks = shape.landmarks
    surface = bent(rng, marks["socket"] - 4.0 * up, tilted(rng, -up, 14.0), (80.0, 300.0))
    return Proposal("transverse_acetabular", surface, marks["tuber"], size, (-18.0, 18.0))


def _posterior_wall(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Break off the back rim of the socket."""
    up, front, outside = _frame(shape)
    socket = shape.landmarks["socket"]
    way = unit(-front + 0.55 * outside + float(rng.uniform(-0.3, 0.8)) * up)
    seed = nearest(shape.points, socket + WALL_MM * way)
    radius = 1.1 * (size / 2.0) ** (1 / 3)
    surface = Common(
        [Ball(seed + 2.0 * outside, radius), Plane.through(seed - 0.55 * radius * way, tilted(rng, way, 12.0))]
    )
    return Proposal("posterior_wall", surface, seed, size, (-9.0, 8.0), 0.8)


def _crescent(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut off the back of the ilium at the joint with the sacrum."""
    up, _, _ = _frame(shape)
    seed = shape.landmarks["back_spine"]
    normal = tilted(rng, seed - shape.landmarks["socket"] - float(rng.uniform(0.0, 50.0)) * up, 12.0)
    return Proposal("crescent", bent(rng, seed - 30.0 * normal, normal), seed, size, (-28.0, 26.0))


_RING = ("socket", "foramen", "symphysis", "tuber")
_WING = ("socket", "front_spine", "back_spine")

HIP_PATTERNS = (
    Pattern("pubic_rami", 5.0, (4.0, 40.0), _RING, _pubic_rami),
    Pattern("superior_ramus", 1.2, (1.5, 16.0), _RING, lambda rng, shape, size: _segment(rng, shape, size, True)),
    Pattern("inferior_ramus", 0.8, (1.2, 12.0), _RING, lambda rng, shape, size: _segment(rng, shape, size, False)),
    Pattern("iliac_wing", 1.5, (8.0, 115.0), _WING, _wing),
    Pattern("crest_avulsion", 0.7, (0.3, 9.0), _WING, _avulsion),
    Pattern("ischial_avulsion", 0.3, (0.8, 12.0), ("socket", "tuber"), _tuber),
    Pattern("anterior_column", 1.8, (22.0, 120.0), (*_RING, "front_spine"), _anterior_column),
    Pattern("posterior_column", 1.4, (25.0, 120.0), _RING, _posterior_column),
    Pattern("transverse_acetabular", 1.4, (45.0, 140.0), ("socket", "tuber"), _transverse),
    Pattern("posterior_wall", 1.0, (1.0, 20.0), ("socket",), _posterior_wall),
    Pattern("crescent", 0.7, (10.0, 80.0), _WING, _crescent),
)
"""Patterns of hip bones."""
