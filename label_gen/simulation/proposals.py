"""A proposed fracture, and what all patterns need to propose one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from label_gen._shapes import rotation_matrix
from label_gen.simulation.landmarks import BoneShape
from label_gen.simulation.surfaces import Bent, Plane, Surface

__all__ = ["Pattern", "Proposal", "bent", "nearest", "tilted", "unit"]


@dataclass(frozen=True)
class Proposal:
    """A surface that may part a fragment off.

    Attributes:
        pattern: Name of the pattern.
        surface: The smooth form of the surface; the new fragment lies beyond.
        seed: A place x, y, z in mm in the new fragment, or None for the largest piece beyond.
        target_mm3: Size wanted, or None for what the surface gives.
        slack_mm: How far the surface may be moved back and on to get that size.
        roughness_mm: Standard deviation of the roughness, or None for any.
    """

    pattern: str
    surface: Surface
    seed: NDArray[np.float64] | None = None
    target_mm3: float | None = None
    slack_mm: tuple[float, float] = (0.0, 0.0)
    roughness_mm: float | None = None


@dataclass(frozen=True)
class Pattern:
    """A way in which a bone breaks.

    Attributes:
        name: Its name.
        weight: How often it is tried against the others.
        sizes_cm3: Smallest and largest fragment that it makes.
        needs: Landmarks without which it cannot be placed.
        propose: Draws one of its fractures for a wanted size in mm3.
    """

    name: str
    weight: float
    sizes_cm3: tuple[float, float]
    needs: tuple[str, ...]
    propose: Callable[[np.random.Generator, BoneShape, float], Proposal]


def unit(vector: ArrayLike) -> NDArray[np.float64]:
    """Return a vector of length 1."""
    v = np.asarray(vector, float)
    return v / float(np.linalg.norm(v))


def tilted(rng: np.random.Generator, vector: ArrayLike, degrees: float) -> NDArray[np.float64]:
    """Return a direction turned at random, by an angle with a standard deviation in degrees."""
    return rotation_matrix(rng.normal(size=3), float(np.radians(rng.normal(0.0, degrees)))) @ unit(vector)


def nearest(points: NDArray[np.float64], to: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the one of points (n, 3) that lies nearest to a place."""
    closest: NDArray[np.float64] = points[int(np.argmin(((points - to) ** 2).sum(axis=1)))]
    return closest


def bent(
    rng: np.random.Generator,
    point: ArrayLike,
    normal: NDArray[np.float64],
    radii_mm: tuple[float, float] = (60.0, 250.0),
    closing: bool = False,
) -> Bent:
    """Return a surface through a point that bends about some axis.

    Args:
        rng: Source of all randomness.
        point: The point x, y, z in mm.
        normal: Unit normal there.
        radii_mm: Range of the radius of curvature.
        closing: The surface bends round the new fragment; else either way.
    """
    along = np.cross(normal, rng.normal(size=3))
    along /= np.linalg.norm(along)
    sign = 1.0 if rng.random() < 0.5 and not closing else -1.0
    radius = sign * float(rng.uniform(*radii_mm))
    return Bent(Plane.through(point, normal), along, float(np.asarray(point, float) @ along), radius)
