"""The voxel grid of a volume, and whether two volumes share it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from label_gen.errors import GridError

__all__ = ["IDENTITY", "Grid", "check_same_grid"]

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
"""Direction of a volume whose axes x, y, z run along the patient's left, posterior, superior."""

SPACING_TOLERANCE = 1e-4
"""Relative. NIfTI keeps spacing as float32 (6e-8); 1e-4 moves the far end of 500 voxels by 0.05 voxels. Chosen here."""

ORIGIN_TOLERANCE = 0.01
"""In voxels of the finest axis. An origin of 1000 mm in float32 is right to 6e-5 mm. Chosen here."""

DIRECTION_TOLERANCE = 1e-3
"""Absolute, per cosine. NIfTI may keep the rotation as a float32 quaternion without its first part, which near half
turns (the usual LPS to RAS turn is one) is right to 3e-4 only. Chosen here."""


@dataclass(frozen=True)
class Grid:
    """Size and place of a voxel grid.

    Attributes:
        shape: Number of voxels, in array order (z, y, x).
        spacing_mm: Distance of voxel centres in mm, in array order (z, y, x).
        origin: Centre of the first voxel in mm; x, y, z in LPS (left, posterior, superior are positive).
        direction: Cosines as SimpleITK gives them: row-major 3 x 3, columns are the x, y and z axes of the grid in LPS.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY


def check_same_grid(first: Grid, second: Grid, first_name: str = "first", second_name: str = "second") -> None:
    """Check that two volumes have the same voxel grid.

    Args:
        first: Grid of one volume.
        second: Grid of the other.
        first_name: What the message calls the first (a file, say).
        second_name: What the message calls the second.

    Raises:
        GridError: Size, spacing, origin or direction differ by more than the rounding of the file formats. The message
            gives every differing property with both values.
    """
    differences = []
    if first.shape != second.shape:
        differences.append(_say("size", first.shape[::-1], second.shape[::-1], "voxels (x, y, z)"))
    if not all(math.isclose(a, b, rel_tol=SPACING_TOLERANCE) for a, b in _zip(first.spacing_mm, second.spacing_mm)):
        differences.append(_say("spacing", first.spacing_mm[::-1], second.spacing_mm[::-1], "mm (x, y, z)"))
    largest = ORIGIN_TOLERANCE * min(first.spacing_mm)
    if any(abs(a - b) > largest for a, b in _zip(first.origin, second.origin)):
        differences.append(_say("origin", first.origin, second.origin, "mm (LPS)"))
    if any(abs(a - b) > DIRECTION_TOLERANCE for a, b in _zip(first.direction, second.direction)):
        differences.append(_say("direction", first.direction, second.direction, ""))
    if differences:
        raise GridError(
            f"'{first_name}' and '{second_name}' are on different grids: {'; '.join(differences)}. "
            "Resample one onto the grid of the other, or pass the files that belong together"
        )


def _zip(first: tuple[float, ...], second: tuple[float, ...]) -> zip[tuple[float, float]]:
    return zip(first, second, strict=True)


def _say(what: str, first: tuple[float, ...], second: tuple[float, ...], unit: str) -> str:
    one, other = (", ".join(f"{value:.7g}" for value in values) for values in (first, second))
    return f"{what} ({one}) against ({other}) {unit}".rstrip()
