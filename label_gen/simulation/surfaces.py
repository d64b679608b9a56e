"""The surfaces along which bones break: planes, bent, stepped and spiral ones, and the roughness of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from label_gen._shapes import Field, Points, Waves

__all__ = ["Ball", "Bent", "Common", "Plane", "Rough", "Spiral", "Stepped", "Surface", "Turned", "draw_roughness"]

Surface: TypeAlias = Callable[[Points], Field]
"""The distance in mm beyond a surface at points, to first order: above 0 on the side of the new fragment."""

ROUGHNESS_MM = (0.5, 1.8)
"""Range of the standard deviation of a surface about its smooth form. Source: chosen here; about the relief of
fractures of cancellous bone in CT, and of what a radiologist still calls a line."""

WAVELENGTHS_MM = (3.5, 60.0)
"""Shortest and longest wavelength of the roughness. Source: chosen here: from a few trabeculae to a bone's width."""

N_WAVES = 14
"""Waves of a surface, evenly spread in the logarithm of their length."""

HURST = 0.6
"""Power of the wavelength with which amplitudes grow. Source: fracture surfaces are self-affine, of an exponent about
0.8 (Bouchaud et al., 1990); less is chosen here, as wood and bone break more jagged than metals."""

RIM_MM = 4.0
"""Distance from a rough surface within which distances are exact; further away only the sign is."""


@dataclass(frozen=True)
class Plane:
    """A plane.

    Attributes:
        normal: Unit normal x, y, z, towards the new fragment.
        offset: Distance from the origin along the normal in mm.
    """

    normal: NDArray[np.float64]
    offset: float

    @classmethod
    def through(cls, point: ArrayLike, normal: ArrayLike) -> Plane:
        """Lay a plane through a point, x, y, z in mm; the normal need not have length 1."""
        unit = _unit(normal)
        return cls(unit, float(np.asarray(point, float) @ unit))

    def __call__(self, points: Points) -> Field:
        """Return the distance in mm beyond the plane."""
        x, y, z = points
        nx, ny, nz = (float(n) for n in self.normal)
        beyond: Field = x * nx + y * ny + z * nz - self.offset
        return beyond


@dataclass(frozen=True)
class Bent:
    """A surface that leaves its tangential plane by the square of the distance.

    Attributes:
        plane: The plane.
        along: Unit vector x, y, z in which the surface curves.
        centre: Distance along `along` at which it touches the plane, in mm.
        radius_mm: Radius of curvature there; below 0 the surface bends away from the new fragment.
    """

    plane: Plane
    along: NDArray[np.float64]
    centre: float
    radius_mm: float

    def __call__(self, points: Points) -> Field:
        """Return the distance in mm beyond the surface."""
        t = Plane(self.along, self.centre)(points) / self.radius_mm
        bent: Field = (self.plane(points) + (0.5 * self.radius_mm) * t * t) / np.sqrt(1.0 + t * t)
        return bent


@dataclass(frozen=True)
class Stepped:
    """A plane whose offset changes from one level to another.

    Attributes:
        plane: The plane on the near side of the step.
        across: Unit vector x, y, z in which the step is crossed.
        centre: Distance along `across` at which it lies, in mm.
        height_mm: How much further along the normal the surface is behind the step.
        width_mm: Width of the step.
    """

    plane: Plane
    across: NDArray[np.float64]
    centre: float
    height_mm: float
    width_mm: float

    def __call__(self, points: Points) -> Field:
        """Return the distance in mm beyond the surface."""
        t = np.clip(Plane(self.across, self.centre)(points) / self.width_mm + 0.5, 0.0, 1.0)
        slope = 1.5 * self.height_mm / self.width_mm * 4.0 * t * (1.0 - t)
        beyond: Field = (self.plane(points) - self.height_mm * t * t * (3.0 - 2.0 * t)) / np.sqrt(1.0 + slope * slope)
        return beyond


@dataclass(frozen=True)
class Spiral:
    """A screw surface round the axis of a shaft, closed by a seam along it: the fracture by torsion.

    Attributes:
        centre: Point of the axis at half height, x, y, z in mm.
        frame: Rows: the axis, the direction opposite to the seam, and the third, of a right-handed frame.
        pitch_mm: Height of one turn; below 0 the screw is left-handed.
        radius_mm: Radius of the shaft, at which distances are right.
    """

    centre: NDArray[np.float64]
    frame: NDArray[np.float64]
    pitch_mm: float
    radius_mm: float

    def __call__(self, points: Points) -> Field:
        """Return the distance in mm beyond the surface."""
        height, u, v = (Plane(row, float(row @ self.centre))(points) for row in self.frame)
        angle = np.arctan2(v, u)
        steep = float(np.hypot(1.0, self.pitch_mm / (2 * np.pi * self.radius_mm)))
        beyond = (height - self.pitch_mm / (2 * np.pi) * angle) / steep
        # Beyond the seam the surface is a turn higher or lower; where the sign changes there, the seam is a surface.
        other = beyond + np.sign(angle) * self.pitch_mm / steep
        to_seam = np.hypot(u, v) * (np.pi - np.abs(angle))
        return np.where(beyond * other < 0, np.sign(beyond) * np.minimum(np.abs(beyond), to_seam), beyond)


@dataclass(frozen=True)
class Ball:
    """A sphere; the new fragment lies inside.

    Attributes:
        centre: Its centre x, y, z in mm.
        radius_mm: Its radius.
    """

    centre: NDArray[np.float64]
    radius_mm: float

    def __call__(self, points: Points) -> Field:
        """Return the distance in mm beyond the surface."""
        x, y, z = (p - float(c) for p, c in zip(points, self.centre, strict=True))
        inside: Field = self.radius_mm - np.sqrt(x * x + y * y + z * z)
        return inside


@dataclass(frozen=True)
class Turned:
    """The other side of a surface.

    Attributes:
        surface: The surface.
    """

    surface: Surface

    def __call__(self, points: Points) -> Field:
        """Return the distance in mm on the near side of the surface."""
        near: Field = -self.surface(points)
        return near


@dataclass(frozen=True)
class Common:
    """What lies beyond several surfaces at once.

    Attributes:
        surfaces: The surfaces.
    """

    surfaces: Sequence[Surface]

    def __call__(self, points: Points) -> Field:
        """Return the distance in mm beyond the last of the surfaces to be passed."""
        beyond = self.surfaces[0](points)
        for surface in self.surfaces[1:]:
            beyond = np.minimum(beyond, surface(points))
        return beyond


@dataclass(frozen=True)
class Rough:
    """A rough surface, asked for its roughness only where that can matter.

    Attributes:
        smooth: The smooth form.
        roughness: Deviation from it.
        offset_mm: How far the surface is moved towards the new fragment.
    """

    smooth: Surface
    roughness: Waves
    offset_mm: float = 0.0

    def __call__(self, points: Points) -> Field:
        """Return the distance in mm beyond the surface: exact within `RIM_MM`, the right sign everywhere."""
        beyond = self.smooth(points)
        if self.offset_mm:
            beyond = beyond - self.offset_mm
        near = np.nonzero(np.abs(beyond) < np.abs(self.roughness.amplitudes).sum() + RIM_MM)
        beyond[near] += self.roughness((points[0][near], points[1][near], points[2][near]))
        return beyond


def draw_roughness(rng: np.random.Generator, deviation_mm: float | None = None) -> Waves:
    """Draw the roughness of a surface.

    Args:
        rng: Source of all randomness.
        deviation_mm: Standard deviation from the smooth form in mm; None draws it from `ROUGHNESS_MM`.

    Returns:
        Self-affine noise with wavelengths of `WAVELENGTHS_MM`.
    """
    deviation = float(rng.uniform(*ROUGHNESS_MM)) if deviation_mm is None else deviation_mm
    waves = Waves.draw(rng, 1.0, WAVELENGTHS_MM, N_WAVES)
    weights = np.geomspace(*WAVELENGTHS_MM, N_WAVES) ** HURST
    return Waves(waves.vectors, waves.phases, deviation * weights / np.sqrt((weights**2).sum() / 2))


def _unit(vector: ArrayLike) -> NDArray[np.float64]:
    """Return a vector of length 1."""
    v = np.asarray(vector, float)
    return v / float(np.linalg.norm(v))
