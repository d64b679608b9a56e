"""Sort slices into series of slices that lie alike, and say which of them can be a CT volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.dicom.headers import SliceHeader

__all__ = ["Series", "orientation_word", "slice_distance", "sort_series"]

MIN_SLICES = 3
"""Fewest slices of a volume. Chosen here: below three nobody can tell whether the slices are evenly spaced."""

_CT_CLASSES = {
    "": "not stated",
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_HU_TYPES = ("", "HU", "US")
"""Rescale types that may be HU: not stated, HU, unspecified. Source: DICOM PS3.3, C.11.1.1.2."""

_SAME_ORIENTATION = 1e-3
"""Largest difference of cosines within a stack: 0.25 mm at 250 mm from the centre. Chosen here."""

_SAME_SPACING = 1e-3
"""Largest difference of pixel spacings within a stack in mm: 0.25 mm over half of 512 columns. Chosen here."""


@dataclass(frozen=True)
class Series:
    """Slices that may form a volume: a DICOM series, or a part of one whose slices lie alike.

    Attributes:
        number: Number in the list, from 1.
        patient: Number of the patient in the list, from 1.
        slices: The slices, in the order of the files.
        problem: Why it cannot be a CT volume; empty if it may be one.
        aside: Other parts of the same DICOM series: number of slices and why they lie apart.
    """

    number: int
    patient: int
    slices: tuple[SliceHeader, ...]
    problem: str
    aside: tuple[tuple[int, str], ...] = ()


def sort_series(slices: Iterable[SliceHeader]) -> tuple[Series, ...]:
    """Sort slices into series and these into stacks of slices that lie alike.

    Args:
        slices: Slices and other objects, in the order of their files.

    Returns:
        The series, ordered by patient (in the order of files), series number and series UID.
    """
    groups: dict[tuple[object, ...], list[SliceHeader]] = {}
    for header in slices:
        where = header.series_uid or str(header.path.parent)
        groups.setdefault((header.patient, header.study, where), []).append(header)
    patients = list(dict.fromkeys(key[0] for key in groups))
    ordered = sorted(
        groups.values(),
        key=lambda group: (
            patients.index(group[0].patient),
            group[0].series_number if group[0].series_number is not None else 2**31,
            group[0].series_uid or str(group[0].path.parent),
        ),
    )
    found: list[Series] = []
    for group in ordered:
        stacks = _split(group)
        for stack, _ in stacks:
            others = tuple((len(other), why) for other, why in stacks if other is not stack)
            patient = patients.index(group[0].patient) + 1
            found.append(Series(len(found) + 1, patient, tuple(stack), _problem(stack), others))
    return tuple(found)


def _split(group: Sequence[SliceHeader]) -> list[tuple[list[SliceHeader], str]]:
    """Split a series into stacks of one kind, size, orientation and spacing, and these into phases; largest first."""
    stacks: list[list[SliceHeader]] = []
    for header in group:
        for stack in stacks:
            if _alike(stack[0], header):
                stack.append(header)
                break
        else:
            stacks.append([header])
    stacks = [phase for stack in stacks for phase in _phases(stack)]
    stacks.sort(key=len, reverse=True)
    return [(stack, _difference(stacks[0][0], stack[0])) for stack in stacks]


def _kind(header: SliceHeader) -> tuple[object, ...]:
    is_localizer = "LOCALIZER" in header.image_type
    return (header.sop_class, header.modality, is_localizer, header.is_grey, header.rescale_type.upper() in _HU_TYPES)


def _alike(first: SliceHeader, second: SliceHeader) -> bool:
    return (
        _kind(first) == _kind(second)
        and (first.rows, first.columns) == (second.rows, second.columns)
        and _close(first.orientation, second.orientation, _SAME_ORIENTATION)
        and _close(first.pixel_spacing, second.pixel_spacing, _SAME_SPACING)
    )


def _close(first: tuple[float, ...] | None, second: tuple[float, ...] | None, tolerance: float) -> bool:
    if first is None or second is None:
        return first is second
    return max(abs(a - b) for a, b in zip(first, second, strict=True)) <= tolerance


def _difference(first: SliceHeader, second: SliceHeader) -> str:
    """Say in what two slices of one DICOM series differ."""
    if not _close(first.orientation, second.orientation, _SAME_ORIENTATION):
        return "another ImageOrientationPatient"
    if (first.rows, first.columns) != (second.rows, second.columns):
        return "another number of Rows and Columns"
    if not _close(first.pixel_spacing, second.pixel_spacing, _SAME_SPACING):
        return "another PixelSpacing"
    return "another ImageType or RescaleType" if _kind(first) != _kind(second) else "another phase"


def _phases(stack: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Part the phases of a stack where slices repeat positions and every phase has them once, in like number."""
    positions = [header.position for header in stack]
    if len(set(positions)) == len(positions) or None in positions:
        return [stack]
    ordered = sorted(stack, key=lambda header: header.phase)
    phases = [list(phase) for _, phase in groupby(ordered, key=lambda header: header.phase)]
    each_once = all(len({header.position for header in phase}) == len(phase) for phase in phases)
    return phases if each_once and min(map(len, phases)) >= MIN_SLICES else [stack]


def _problem(stack: Sequence[SliceHeader]) -> str:
    """Return why a stack cannot be a CT volume."""
    first = stack[0]
    if first.sop_class == _SECONDARY_CAPTURE or first.sop_class.startswith(_SECONDARY_CAPTURE + "."):
        return "secondary capture (a picture of a screen)"
    if not first.rows or not first.columns:
        return f"no image ({first.modality})" if first.modality else "no image"
    if first.modality not in ("CT", ""):
        return f"not CT: Modality (0008,0060) is {first.modality}"
    if first.sop_class not in _CT_CLASSES:
        return "not CT: SOPClassUID (0008,0016) is of another kind"
    if not first.modality and not first.sop_class:
        return "neither Modality (0008,0060) nor SOPClassUID (0008,0016) says that it is CT"
    if "LOCALIZER" in first.image_type:
        return "localizer (a projection)"
    if not first.is_grey:
        return "not grey: PhotometricInterpretation (0028,0004) is not MONOCHROME2"
    if first.rescale_type.upper() not in _HU_TYPES or "PERFUSION" in first.image_type:
        return (
            f"not HU: RescaleType (0028,1054) is '{first.rescale_type}' or ImageType (0008,0008) names another quantity"
        )
    for value, tag in (
        (any(header.position for header in stack), "ImagePositionPatient (0020,0032)"),
        (first.orientation, "ImageOrientationPatient (0020,0037)"),
        (first.pixel_spacing, "PixelSpacing (0028,0030)"),
    ):
        if not value:
            return f"no valid {tag}: nobody knows where the images lie"
    if len(stack) < MIN_SLICES:
        return f"{len(stack)} slice{'s' * (len(stack) > 1)}; a volume has at least {MIN_SLICES}"
    return ""


def _normal(header: SliceHeader) -> NDArray[np.float64] | None:
    if header.orientation is None:
        return None
    return np.cross(header.orientation[:3], header.orientation[3:])


def slice_distance(one: Series) -> float | None:
    """Return the median distance of neighbouring slices along their normal in mm; None where it is not known.

    Args:
        one: The series.
    """
    normal = _normal(one.slices[0])
    positions = [header.position for header in one.slices if header.position is not None]
    if normal is None or len(positions) < 2:
        return None
    steps = np.diff(np.unique(np.round(np.array(positions) @ normal, 3)))
    return float(np.median(steps)) if len(steps) else None


def orientation_word(one: Series) -> str:
    """Return axial, coronal, sagittal or oblique; empty where it is not known.

    Args:
        one: The series.
    """
    normal = _normal(one.slices[0])
    if normal is None:
        return ""
    axis = int(np.abs(normal).argmax())
    return ("sagittal", "coronal", "axial")[axis] if abs(normal[axis]) > 0.999 else "oblique"
