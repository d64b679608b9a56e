"""How femora break: head, neck, between and at the trochanters, and the shaft by torsion, bending and a wedge.

Source: chosen here after the AO classification; weights are those of a hip clinic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from label_gen._shapes import Points
from label_gen.simulation.landmarks import BoneShape
from label_gen.simulation.proposals import Pattern, Proposal, bent, nearest, tilted, unit
from label_gen.simulation.surfaces import Common, Plane, Spiral, Surface, Turned

__all__ = ["FEMUR_PATTERNS"]


def _neck(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut the neck; the head comes off."""
    head, neck = shape.landmarks["head"], shape.landmarks["neck"]
    normal = tilted(rng, head - neck, 13.0)
    return Proposal("femoral_neck", bent(rng, neck, normal), head, size, (-12.0, 10.0))


def _between_trochanters(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Cut from the greater to the lesser trochanter; head and neck come off."""
    marks = shape.landmarks
    line = marks["lesser_trochanter"] - marks["trochanter"]
    normal = np.cross((0.0, 1.0, 0.0), line)
    normal = tilted(rng, normal * np.sign(normal @ (marks["head"] - marks["trochanter"])), 9.0)
    middle = marks["trochanter"] + 0.5 * line
    return Proposal("pertrochanteric", bent(rng, middle, normal), marks["head"], size, (-10.0, 14.0))


def _greater_trochanter(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Tear off the greater trochanter."""
    seed = shape.landmarks["trochanter"]
    normal = tilted(rng, seed - shape.landmarks["neck"] + np.array([0.0, 0.0, 8.0]), 12.0)
    return Proposal(
        "greater_trochanter", bent(rng, seed - 14.0 * normal, normal, closing=True), seed, size, (-16.0, 12.0), 0.8
    )


def _lesser_trochanter(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Tear off the lesser trochanter."""
    marks = shape.landmarks
    seed, along = marks["lesser_trochanter"], unit(marks["shaft_end"] - marks["shaft"])
    out = seed - marks["shaft"]
    normal = tilted(rng, out - (out @ along) * along, 12.0)
    return Proposal(
        "lesser_trochanter", bent(rng, seed - 9.0 * normal, normal, closing=True), seed, size, (-14.0, 8.0), 0.8
    )


def _head(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Split a cap off the head."""
    head = shape.landmarks["head"]
    normal = tilted(rng, (-shape.side, -0.2, -0.9), 20.0)
    seed = nearest(shape.points, head + 20.0 * normal)
    return Proposal("femoral_head", Plane.through(head + 12.0 * normal, normal), seed, size, (-10.0, 9.0), 0.8)


def _shaft(shape: BoneShape, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a place on the axis of the shaft at which it may break, and the direction of the axis, down."""
    first, last = shape.landmarks["shaft"], shape.landmarks["shaft_end"]
    along = unit(last - first)
    # The ends of the axis are where it was measured: the bone goes on.
    lowest = max(shape.heights_mm[0], float(last[2]) + 12.0)
    highest = min(shape.heights_mm[1], float(first[2]) + 5.0)
    height = float(rng.uniform(min(lowest, highest), highest))
    return first + along * ((height - first[2]) / along[2]), along


def _end(shape: BoneShape, surface: Surface) -> tuple[Surface, NDArray[np.float64]]:
    """Return the surface turned so that the smaller end of the bone lies beyond, and a place in that end."""
    points: Points = (shape.points[:, 0], shape.points[:, 1], shape.points[:, 2])
    beyond = surface(points)
    if np.count_nonzero(beyond > 0) * 2 < len(beyond):
        return surface, shape.points[int(np.argmax(beyond))]
    return Turned(surface), shape.points[int(np.argmin(beyond))]


def _spiral(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Twist the shaft apart."""
    centre, along = _shaft(shape, rng)
    u = unit(np.cross(along, rng.normal(size=3)))
    pitch = float(rng.uniform(45.0, 95.0)) * (1.0 if rng.random() < 0.5 else -1.0)
    surface, seed = _end(shape, Spiral(centre, np.stack([along, u, np.cross(along, u)]), pitch, 14.0))
    return Proposal("spiral_shaft", surface, seed, None, roughness_mm=0.8)


def _across(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Bend the shaft apart: across or oblique."""
    centre, along = _shaft(shape, rng)
    surface, seed = _end(shape, bent(rng, centre, tilted(rng, along, 28.0), (40.0, 150.0)))
    return Proposal("shaft", surface, seed)


def _wedge(rng: np.random.Generator, shape: BoneShape, size: float) -> Proposal:
    """Break a wedge out of one side of the shaft."""
    centre, along = _shaft(shape, rng)
    out = unit(np.cross(along, rng.normal(size=3)))
    seed = nearest(shape.points, centre + 12.0 * out)
    slant = float(rng.uniform(0.5, 1.1))
    planes = [
        Plane.through(centre - 3.0 * out, tilted(rng, out + slant * along, 8.0)),
        Plane.through(centre - 3.0 * out, tilted(rng, out - slant * along, 8.0)),
    ]
    return Proposal("shaft_wedge", Common(planes), seed, size, (-8.0, 9.0), 0.8)


_SHAFT = ("shaft", "shaft_end")

FEMUR_PATTERNS = (
    Pattern("femoral_neck", 2.0, (25.0, 80.0), ("head", "neck"), _neck),
    Pattern("pertrochanteric", 2.0, (45.0, 150.0), ("head", "trochanter", "lesser_trochanter"), _between_trochanters),
    Pattern("greater_trochanter", 1.2, (3.0, 30.0), ("trochanter", "neck"), _greater_trochanter),
    Pattern("lesser_trochanter", 1.0, (0.4, 4.5), ("lesser_trochanter", *_SHAFT), _lesser_trochanter),
    Pattern("femoral_head", 0.4, (2.0, 25.0), ("head",), _head),
    Pattern("spiral_shaft", 1.5, (30.0, 300.0), _SHAFT, _spiral),
    Pattern("shaft", 1.0, (30.0, 300.0), _SHAFT, _across),
    Pattern("shaft_wedge", 0.6, (2.0, 25.0), _SHAFT, _wedge),
)
"""Patterns of femora."""
