"""Turn volumes so that their array axes run along the patient's own, which left/right mirroring relies on."""

from __future__ import annotations

from nnunet_ext._simpleitk import sitk
from nnunet_ext.grids import Grid
from nnunet_ext.volumes import Volume

__all__ = ["LPS", "orientation_of", "turned", "turned_to_lps"]

LPS = "LPS"
"""Orientation of the datasets: x runs to the patient's left, y to the back (posterior), z upward (superior)."""


def orientation_of(grid: Grid) -> str:
    """Return the directions that the axes x, y, z of a grid lie nearest to, as three letters.

    Args:
        grid: The grid.

    Returns:
        One letter per axis, what it runs towards: L or R, P or A, S or I (left, right, posterior, anterior, superior,
        inferior).
    """
    return str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(grid.direction))


def turned(volume: Volume, orientation: str) -> Volume:
    """Return a volume with its axes swapped and flipped; voxels are moved, not interpolated.

    Args:
        volume: The volume. It may be oblique: each axis then comes to lie nearest to its direction.
        orientation: Three letters, as `orientation_of` gives them.
    """
    return Volume.from_image(sitk.DICOMOrient(volume.to_image(), orientation))


def turned_to_lps(volume: Volume) -> Volume:
    """Return a volume with its axes swapped and flipped to LPS; voxels are moved, not interpolated.

    Args:
        volume: As for `turned`.
    """
    return turned(volume, LPS)
