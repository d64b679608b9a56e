"""Where the slices of a series lie: their order, their regular grid, and every fault that keeps them off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError
from nnunet_ext.dicom.headers import SliceHeader

__all__ = ["Stack", "arrange", "same_place"]

SAME_POSITION_MM = 0.01
"""Slices nearer than this lie at one position. Chosen here: a hundredth of the thinnest slices there are."""

STEP_TOLERANCE = 0.05
"""Largest deviation of a slice from its even place, in slice distances. Chosen here: 0.05 mm at 1 mm."""

ROUNDING_MM = 0.101
"""Deviation that is always accepted. Chosen here: positions written to 0.1 mm are wrong by up to 0.05 mm, and so are
those of the first and last slice, by which the others are measured."""

DRIFT_PIXELS = 0.5
"""Largest sideways shift between the first and the last slice, in pixels, that counts as none. Chosen here: half a
pixel is the rounding of a nearest neighbour."""

_UNIT_TOLERANCE = 1e-2
_RIGHT_ANGLE_TOLERANCE = 1e-3
"""Largest cosine between rows and columns: 0.25 mm at 250 mm. Chosen here, as for the orientations of a stack."""

_MOST_NAMED = 3


@dataclass(frozen=True)
class Stack:
    """Slices in order along the normal of their planes.

    Attributes:
        slices: The slices; those at one position lie next to each other.
        axes: Unit vectors of the x, y and z axes of the grid as columns, in LPS; right-handed.
        pixel_mm: Distance of columns (x) and of rows (y) in mm.
        places: Position of each slice along the z axis in mm, from that of the first.
        shifts: Sideways position (x, y) of the first pixel of each slice in mm, from that of the first.
        step_mm: Usual distance of neighbouring slices in mm.
        faults: What keeps the slices from a regular grid; empty if nothing does.
        is_tilted: The slices shift sideways, as with a tilted gantry.
    """

    slices: tuple[SliceHeader, ...]
    axes: NDArray[np.float64]
    pixel_mm: tuple[float, float]
    places: NDArray[np.float64]
    shifts: NDArray[np.float64]
    step_mm: float
    faults: tuple[str, ...]
    is_tilted: bool

    @property
    def origin(self) -> tuple[float, float, float]:
        """Centre of the first pixel of the first slice in mm, LPS."""
        position = self.slices[0].position
        assert position is not None
        return (position[0], position[1], position[2])

    @property
    def direction(self) -> tuple[float, ...]:
        """Cosines as SimpleITK gives them, row-major."""
        return tuple(float(value) for value in self.axes.ravel())


def same_place(stack: Stack) -> tuple[tuple[int, int], ...]:
    """Return the pairs of neighbouring slices that lie at one position, by index.

    Args:
        stack: The stack.
    """
    return tuple((i, i + 1) for i in np.flatnonzero(np.diff(stack.places) < SAME_POSITION_MM).tolist())


def arrange(slices: Sequence[SliceHeader]) -> Stack:
    """Put slices in order and look for what keeps them from a regular grid.

    Names of files and instance numbers play no part, only positions do.

    Args:
        slices: Slices of one size, orientation and pixel spacing, in any order.

    Returns:
        The stack.

    Raises:
        DataError: A slice says not or wrongly where it lies.
    """
    for header in slices:
        _check(header)
    rows = np.array([header.orientation for header in slices], np.float64).mean(axis=0)
    x_axis = rows[:3] / np.linalg.norm(rows[:3])
    y_axis = rows[3:] - (rows[3:] @ x_axis) * x_axis
    y_axis /= np.linalg.norm(y_axis)
    axes = np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=1)
    positions = np.array([header.position for header in slices]) @ axes
    order = sorted(range(len(slices)), key=lambda i: (positions[i, 2], slices[i].instance_number, slices[i].name))
    positions = positions[order]
    ordered = tuple(slices[i] for i in order)
    places = positions[:, 2] - positions[0, 2]
    shifts = positions[:, :2] - positions[0, :2]
    spacing = ordered[0].pixel_spacing
    assert spacing is not None
    pixel_mm = (spacing[1], spacing[0])
    distinct = np.flatnonzero(np.diff(places, prepend=-np.inf) >= SAME_POSITION_MM)
    if len(distinct) < 2:
        raise DataError(
            f"all {len(ordered)} slices lie at one position ({_names(ordered)}): ImagePositionPatient (0020,0032); "
            "this is a series over time or a damaged export, not a volume"
        )
    step = _usual_step(places[distinct])
    tilt = _tilt(ordered, places, shifts, pixel_mm)
    faults = (*tilt, *_gaps(ordered, places, distinct, step))
    return Stack(ordered, axes, pixel_mm, places, shifts, step, faults, bool(tilt))


def _check(header: SliceHeader) -> None:
    """Check that a slice says where it lies."""
    for value, tag in (
        (header.position, "ImagePositionPatient (0020,0032)"),
        (header.orientation, "ImageOrientationPatient (0020,0037)"),
        (header.pixel_spacing, "PixelSpacing (0028,0030)"),
    ):
        if value is None:
            raise DataError(
                f"'{header.name}' has no valid {tag}: nobody can tell where it lies; export the series again"
            )
    assert header.orientation is not None
    assert header.pixel_spacing is not None
    first, second = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if max(abs(length - 1) for length in lengths) > _UNIT_TOLERANCE or abs(first @ second) > _RIGHT_ANGLE_TOLERANCE:
        raise DataError(
            f"'{header.name}' has an impossible ImageOrientationPatient (0020,0037): {header.orientation} are not two "
            "unit vectors at a right angle; export the series again"
        )
    if min(header.pixel_spacing) <= 0:
        raise DataError(
            f"'{header.name}' has an impossible PixelSpacing (0028,0030): {header.pixel_spacing} mm; export it again"
        )


def _usual_step(places: NDArray[np.float64]) -> float:
    """Return the distance of slices: the mean where all are even, else the median of the distances."""
    steps = np.diff(places)
    mean = float(steps.mean())
    even = np.abs(places - places[0] - mean * np.arange(len(places))).max() <= _allowed(mean)
    return mean if even else float(np.median(steps))


def _allowed(step: float) -> float:
    return max(STEP_TOLERANCE * step, ROUNDING_MM)


def _tilt(
    slices: Sequence[SliceHeader],
    places: NDArray[np.float64],
    shifts: NDArray[np.float64],
    pixel_mm: tuple[float, float],
) -> tuple[str, ...]:
    """Say whether slices are shifted sideways against each other."""
    farthest = int(np.abs(shifts / np.array(pixel_mm)).max(axis=1).argmax())
    if np.abs(shifts[farthest] / np.array(pixel_mm)).max() <= DRIFT_PIXELS:
        return ()
    slope = np.linalg.norm(shifts[-1]) / max(places[-1], SAME_POSITION_MM)
    even = shifts[-1] * (places / max(places[-1], SAME_POSITION_MM))[:, None]
    if np.abs(shifts - even).max() <= min(pixel_mm):
        angle = np.degrees(np.arctan(slope))
        return (
            f"the gantry is tilted: slices shift sideways by {slope:.3g} mm per mm (an angle of {angle:.1f} degrees; "
            f"'{slices[-1].name}' lies {np.linalg.norm(shifts[-1]):.1f} mm aside of '{slices[0].name}')",
        )
    return (
        f"slices are shifted sideways unevenly: '{slices[farthest].name}' lies "
        f"{np.linalg.norm(shifts[farthest]):.1f} mm aside of '{slices[0].name}' (ImagePositionPatient (0020,0032))",
    )


def _gaps(
    slices: Sequence[SliceHeader], places: NDArray[np.float64], distinct: NDArray[np.intp], step: float
) -> tuple[str, ...]:
    """Name the places where neighbouring slices are not as far apart as usual."""
    steps = np.diff(places[distinct])
    ideal = step * np.arange(len(distinct))
    if np.abs(places[distinct] - ideal).max() <= _allowed(step):
        return ()
    odd = np.flatnonzero(np.abs(steps - step) > _allowed(step))
    if not len(odd):
        return (f"slice distances drift: {steps.min():.4g} to {steps.max():.4g} mm",)
    named = [
        f"{steps[i]:.4g} mm between '{slices[distinct[i]].name}' and '{slices[distinct[i + 1]].name}' (slices {i + 1} "
        f"and {i + 2})"
        for i in odd[:_MOST_NAMED]
    ]
    more = f" and {len(odd) - _MOST_NAMED} more" if len(odd) > _MOST_NAMED else ""
    multiples = steps[odd] / step
    missing = int(np.rint(multiples).sum()) - len(odd) if np.abs(multiples - np.rint(multiples)).max() < 0.1 else 0
    what = f"; {missing} slice{'s' * (missing > 1)} may be missing" if missing > 0 else ""
    return (f"slices are unevenly spaced: {', '.join(named)}{more} where {step:.4g} mm are usual{what}",)


def _names(slices: Sequence[SliceHeader]) -> str:
    names = ", ".join(f"'{header.name}'" for header in slices[:_MOST_NAMED])
    return names + (", ..." if len(slices) > _MOST_NAMED else "")
