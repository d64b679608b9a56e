"""Assemble the slices of a series to a volume, or refuse and name the slice at fault."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError
from nnunet_ext.dicom.headers import SliceHeader
from nnunet_ext.dicom.pixels import read_slices
from nnunet_ext.dicom.resampling import resample_stack
from nnunet_ext.dicom.stack import Stack, arrange, same_place
from nnunet_ext.volumes import Volume

__all__ = ["Assembled", "assemble"]

_OVERLAP_SHARE = 1.5
"""Slice distance over thickness from which on a warning says that thin gaps were not imaged. Chosen here."""


_LEAST_TILT = 0.5
"""Gantry tilt in degrees that counts. Chosen here: 3.5 mm over 400 mm of slices."""


@dataclass(frozen=True)
class Assembled:
    """A series as a volume.

    Attributes:
        volume: HU; int16, or float32 where they are not whole numbers.
        instances: The file of each slice; empty where slices are frames, or were resampled.
        warnings: What was mended or looks odd.
        facts: Harmless technical facts about the series.
    """

    volume: Volume
    instances: tuple[Path, ...]
    warnings: tuple[str, ...]
    facts: Mapping[str, Any]


def assemble(slices: Sequence[SliceHeader], *, resample_irregular: bool = False) -> Assembled:
    """Read the slices of a series into a volume.

    Args:
        slices: Slices of one size, orientation and pixel spacing, in any order.
        resample_irregular: Where slices are tilted or unevenly spaced, interpolate them onto a regular grid instead of
            refusing them.

    Returns:
        The volume, slices along +z of its grid.

    Raises:
        DataError: Slices differ at one position, or lie irregularly and `resample_irregular` is false.
        VolumeFileError: A file is damaged.
    """
    stack = arrange(slices)
    stack, warnings = _without_repeats(stack)
    if stack.faults and not resample_irregular:
        raise DataError(
            f"the slices do not form a regular volume: {'; '.join(stack.faults)}. Export the series again, complete "
            "and without tilt, or accept interpolated slices with --resample-irregular"
        )
    warnings += _look(stack)
    facts = _facts(stack)
    if stack.faults:
        volume, notes = resample_stack(stack)
        return Assembled(volume, (), (*warnings, *stack.faults, *notes), {**facts, "is_resampled": True})
    array = _fill(stack)
    spacing = (stack.step_mm, stack.pixel_mm[1], stack.pixel_mm[0])
    volume = Volume(array, spacing, stack.origin, stack.direction)
    is_single = all(header.frame is None for header in stack.slices)
    instances = tuple(header.path for header in stack.slices) if is_single else ()
    return Assembled(volume, instances, tuple(warnings), facts)


def _fill(stack: Stack) -> NDArray[Any]:
    """Read all slices into one array, which is the only copy of them; it becomes float32 once a slice asks for it."""
    planes = read_slices(stack.slices)
    first = next(planes)  # before memory is taken: what a damaged header announces may be huge
    array = np.empty((len(stack.slices), *first.shape), first.dtype)
    array[0] = first
    for index, plane in enumerate(planes, 1):
        if plane.dtype != array.dtype and array.dtype == np.int16:
            array = array.astype(np.float32)
        array[index] = plane
    return array


def _without_repeats(stack: Stack) -> tuple[Stack, list[str]]:
    """Drop slices that repeat another, pixel by pixel; refuse others at its position."""
    surplus = set()
    for first, second in same_place(stack):
        one, other = stack.slices[first], stack.slices[second]
        is_beside = np.abs(stack.shifts[first] - stack.shifts[second]).max() > min(stack.pixel_mm) / 2
        first_pixels, second_pixels = read_slices((one, other))
        if is_beside or not np.array_equal(first_pixels, second_pixels):
            raise DataError(
                f"'{one.name}' and '{other.name}' are different slices at one position (ImagePositionPatient "
                f"(0020,0032), {stack.places[first]:.4g} mm from the first slice): the series holds several phases or "
                "reconstructions, or is damaged; part them, or take the wrong files away"
            )
        surplus.add(second)
    if not surplus:
        return stack, []
    kept = [header for index, header in enumerate(stack.slices) if index not in surplus]
    names = ", ".join(f"'{stack.slices[index].name}'" for index in sorted(surplus)[:3])
    more = ", ..." if len(surplus) > 3 else ""
    return arrange(kept), [f"{len(surplus)} repeated slices, alike in every pixel, were left out: {names}{more}"]


def _look(stack: Stack) -> list[str]:
    """Return what is odd about slices without keeping them from being read."""
    warnings = []
    without = [header.name for header in stack.slices if header.intercept is None]
    if without:
        warnings.append(
            f"RescaleIntercept (0028,1052) is missing in {len(without)} slices ('{without[0]}', say): stored values "
            "were taken for HU"
        )
    if any("lossy" in dict(header.facts) for header in stack.slices):
        warnings.append("the images were compressed with losses (LossyImageCompression (0028,2110)): edges may be off")
    tilt = dict(stack.slices[0].facts).get("gantry_tilt", "")
    angle = abs(float(tilt)) if re.fullmatch(r"[+-]?[\d.]+", tilt) else 0.0
    if angle > _LEAST_TILT and not stack.is_tilted and abs(stack.axes[2, 2]) > np.cos(np.radians(_LEAST_TILT)):
        warnings.append(
            f"GantryDetectorTilt (0018,1120) is {tilt} degrees, but the slices neither lean nor shift: if they were "
            "not set straight by the scanner, shapes are sheared"
        )
    thickness = stack.slices[0].thickness_mm
    if thickness and stack.step_mm > _OVERLAP_SHARE * thickness:
        warnings.append(
            f"slices are {stack.step_mm:.4g} mm apart but only {thickness:.4g} mm thick: what lies between was not "
            "imaged"
        )
    return warnings


def _facts(stack: Stack) -> dict[str, Any]:
    """Return what may stand in a run's record: nothing of the patient, no UID, no date."""
    first = stack.slices[0]
    facts: dict[str, Any] = {"modality": first.modality or "CT", **dict(first.facts)}
    facts["n_slices"] = len(stack.slices)
    facts["slice_distance_mm"] = round(stack.step_mm, 4)
    if first.thickness_mm is not None:
        facts["slice_thickness_mm"] = first.thickness_mm
    facts["image_type"] = "/".join(first.image_type)
    return facts
