"""Smooth solids given by formulas in world millimetres, so that one anatomy can be sampled on any grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FAR",
    "Body",
    "Part",
    "Points",
    "Pose",
    "Waves",
    "cone",
    "ellipsoid",
    "rotation_matrix",
    "smooth_max",
    "smooth_min",
]

Field: TypeAlias = NDArray[np.floating[Any]]
"""Values of a formula at points."""

Points: TypeAlias = tuple[Field, Field, Field]
"""Coordinates x, y, z in mm, LPS, as three arrays of one shape."""

FAR = -12.0
"""Depth given to points that no part comes near, in mm. Source: chosen here, beyond every blend radius in use."""


def smooth_max(a: Field, b: Field, radius_mm: float) -> Field:
    """Return the larger of two depths, blended where they differ by less than `radius_mm`.

    Args:
        a: Depths in mm, positive inside.
        b: Depths in mm, same shape.
        radius_mm: Width of the blend; 0 gives the plain maximum.

    Returns:
        Depths in mm of the union of both solids.

    Source: Quilez, "smooth minimum" (polynomial, quadratic), 2013.
    """
    if radius_mm <= 0:
        return np.maximum(a, b)
    overlap = np.maximum(radius_mm - np.abs(a - b), 0.0)
    return np.maximum(a, b) + overlap * overlap * (0.25 / radius_mm)


def smooth_min(a: Field, b: Field, radius_mm: float) -> Field:
    """Return the smaller of two depths, blended as in `smooth_max`: the solids' intersection."""
    return -smooth_max(-a, -b, radius_mm)


@dataclass(frozen=True)
class Pose:
    """A rigid motion of a solid from its rest place to the place where it is found.

    Attributes:
        rotation: 3 x 3 matrix.
        centre: Point that the rotation keeps, x, y, z in mm.
        shift: Motion of the centre, x, y, z in mm.
    """

    rotation: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    centre: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    shift: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def forward(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where points of the resting solid, (n, 3) in mm, are found."""
        moved: NDArray[np.float64] = (points - self.centre) @ self.rotation.T + self.centre + self.shift
        return moved

    def backward(self, points: Points) -> Points:
        """Return the rest places of found points."""
        offsets = [p - float(c + s) for p, c, s in zip(points, self.centre, self.shift, strict=True)]
        r = self.rotation
        x, y, z = (
            offsets[0] * float(r[0, i]) + offsets[1] * float(r[1, i]) + offsets[2] * float(r[2, i]) + float(c)
            for i, c in enumerate(self.centre)
        )
        return x, y, z

    def after(self, first: Pose) -> Pose:
        """Return the motion that makes `first` and then this one."""
        rotation = self.rotation @ first.rotation
        end = self.forward((first.centre + first.shift)[None])[0]
        return Pose(rotation, first.centre, end - first.centre)


def rotation_matrix(axis: ArrayLike, angle_rad: float) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix of a right-handed rotation about an axis (Rodrigues' formula)."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(np.asarray(axis, float))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: NDArray[np.float64] = np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross
    return turned


@dataclass(frozen=True)
class Waves:
    """Smooth band-limited noise: a sum of plane waves with random directions and phases.

    Attributes:
        vectors: (n, 3) wave vectors x, y, z in rad per mm.
        phases: (n,) in rad.
        amplitudes: (n,) in mm, or in the unit of what the noise is added to.
    """

    vectors: NDArray[np.float64]
    phases: NDArray[np.float64]
    amplitudes: NDArray[np.float64]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, amplitude: float, wavelengths_mm: tuple[float, float], count: int = 8
    ) -> Waves:
        """Draw waves whose sum has a standard deviation of `amplitude`, long waves being the stronger ones."""
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = np.geomspace(*wavelengths_mm, count)
        weights = lengths / np.sqrt((lengths**2).sum() / 2)
        return cls(directions * (2 * np.pi / lengths)[:, None], rng.uniform(0, 2 * np.pi, count), amplitude * weights)

    def __call__(self, points: Points) -> Field:
        """Return the noise at points."""
        x, y, z = points
        total: Field = np.zeros(np.shape(x + y + z), np.float32)
        for (kx, ky, kz), phase, amplitude in zip(self.vectors, self.phases, self.amplitudes, strict=True):
            total += np.float32(amplitude) * np.cos(x * float(kx) + y * float(ky) + z * float(kz) + float(phase))
        return total


@dataclass(frozen=True)
class Part:
    """A formula for the depth below a surface, and the box outside of which it need not be asked.

    Attributes:
        depth: Depth in mm at points, positive inside, near enough to a distance close to the surface.
        low: Corner of the box with the smallest x, y, z in mm.
        high: Corner with the largest.
        blend_mm: Radius of the blend with the parts before it.
        is_carved: Whether the part is taken away instead of added.
    """

    depth: Callable[[Points], Field]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    blend_mm: float = 4.0
    is_carved: bool = False

    def is_near(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
        """Return whether the part can matter inside a box."""
        margin = self.blend_mm + 3.0
        return bool(np.all(self.low - margin <= high) and np.all(self.high + margin >= low))


def cone(
    start: ArrayLike, end: ArrayLike, start_radius: float, end_radius: float, blend_mm: float = 4.0, carve: bool = False
) -> Part:
    """Make a rod with round ends whose radius changes evenly from one end to the other."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    along = b - a
    length2 = max(float(along @ along), 1e-9)

    def depth(points: Points) -> Field:
        ox, oy, oz = (p - float(c) for p, c in zip(points, a, strict=True))
        t = np.clip((ox * float(along[0]) + oy * float(along[1]) + oz * float(along[2])) / length2, 0.0, 1.0)
        dx, dy, dz = ox - t * float(along[0]), oy - t * float(along[1]), oz - t * float(along[2])
        inside: Field = start_radius + t * (end_radius - start_radius) - np.sqrt(dx * dx + dy * dy + dz * dz)
        return inside

    low = np.minimum(a - start_radius, b - end_radius)
    high = np.maximum(a + start_radius, b + end_radius)
    return Part(depth, low, high, blend_mm, carve)


def ellipsoid(centre: ArrayLike, radii: ArrayLike, blend_mm: float = 4.0, carve: bool = False) -> Part:
    """Make an ellipsoid with axes along x, y, z (depth to first order)."""
    c, r = np.asarray(centre, float), np.asarray(radii, float)

    def depth(points: Points) -> Field:
        q = [(p - float(o)) / float(s) for p, o, s in zip(points, c, r, strict=True)]
        norm = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
        slope = np.sqrt(sum((v / float(s)) ** 2 for v, s in zip(q, r, strict=True)))
        return np.where(norm < 1e-3, float(r.min()), norm * (1 - norm) / np.maximum(slope, 1e-9))

    return Part(depth, c - r, c + r, blend_mm, carve)


@dataclass(frozen=True)
class Body:
    """A solid put together from parts, in order, in its own frame, and placed in the world.

    Attributes:
        parts: The parts; each is blended with, or carved from, what the ones before it made.
        pose: Motion from the body's frame to the world.
        scale: Size in the world over size in the frame.
        roughness: Noise added to the depth, in mm, or None.
    """

    parts: Sequence[Part]
    pose: Pose
    scale: float = 1.0
    roughness: Waves | None = None

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the corners x, y, z in mm of a box in the world that holds the body."""
        added = [part for part in self.parts if not part.is_carved]
        low = np.min([part.low for part in added], axis=0)
        high = np.max([part.high for part in added], axis=0)
        corners = np.array([[(low, high)[(i >> k) & 1][k] for k in range(3)] for i in range(8)])
        placed = self.pose.forward(corners * self.scale)
        return placed.min(axis=0) - 3.0, placed.max(axis=0) + 3.0

    def depth(self, points: Points) -> Field:
        """Return the depth in mm at points of the world: positive inside, `FAR` far outside."""
        if points[0].size == 0:
            return np.zeros(np.shape(points[0]), np.float32)
        x, y, z = (p / self.scale for p in self.pose.backward(points))
        own: Points = (x, y, z)
        low, high = np.array([p.min() for p in own]), np.array([p.max() for p in own])
        total: Field = np.full(np.shape(x), FAR, np.float32)
        for part in self.parts:
            if part.is_near(low, high):
                value = part.depth(own)
                join = smooth_min if part.is_carved else smooth_max
                total = join(total, -value if part.is_carved else value, part.blend_mm)
        if self.roughness is not None:
            near = np.nonzero(total > FAR / 4)
            total[near] += self.roughness((x[near], y[near], z[near])).astype(total.dtype)
        return total * self.scale
