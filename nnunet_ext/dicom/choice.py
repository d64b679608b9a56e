"""Choose one of several series by a stated rule, and list them so that people can choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from label_gen.errors import DataError, UsageError
from nnunet_ext.dicom.series import Series, orientation_word, slice_distance

__all__ = ["SeriesSummary", "choose_series", "summarise_series"]

_MOST_LINES = 12
"""Most series that a message lists. Chosen here."""


@dataclass(frozen=True)
class SeriesSummary:
    """One line of the list of series. For the screen: description and UID belong in no output file.

    Attributes:
        number: Number to choose it by, from 1.
        uid: Series UID, which chooses it too where no other line has the same; may be empty.
        patient: Number of the patient within the list, from 1.
        modality: `CT`, `MR`, `RTSTRUCT` and so on.
        description: Description of the series.
        orientation: `axial`, `coronal`, `sagittal`, `oblique`, or empty.
        slices: Number of slices.
        rows: Number of rows.
        columns: Number of columns.
        spacing_mm: Distance of slices (median), rows and columns in mm; None where they are not known.
        thickness_mm: Slice thickness in mm.
        kernel: Convolution kernel.
        image_type: Values of the image type, joined by slashes.
        problem: Why it cannot be used; empty if it may be.
        is_chosen: It is what is read where nothing is said.
    """

    number: int
    uid: str = field(repr=False)
    patient: int
    modality: str
    description: str = field(repr=False)
    orientation: str
    slices: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float, float] | None
    thickness_mm: float | None
    kernel: str
    image_type: str
    problem: str
    is_chosen: bool

    def __str__(self) -> str:
        """Return the line that a list on the screen shows; `*` marks what is read where nothing is said."""
        parts = [f"{self.modality or '?'} {self.orientation}".strip()]
        parts.append(f"{self.slices} image{'s' * (self.slices != 1)}")
        if self.rows:
            parts.append(f"{self.columns} x {self.rows}")
        if self.spacing_mm is not None:
            z, y, x = self.spacing_mm
            parts.append(f"{x:.3g} x {y:.3g} x {z:.3g} mm")
        if self.thickness_mm is not None:
            parts.append(f"{self.thickness_mm:.3g} mm thick")
        parts += [f"kernel {self.kernel}"] if self.kernel else []
        parts += [text for text in (self.image_type, f"patient {self.patient}", self.description) if text]
        parts += [f"not usable: {self.problem}"] if self.problem else []
        parts += [f"UID {self.uid}"] if self.uid else []
        return f"{'*' if self.is_chosen else ' '} {self.number:3d}  {', '.join(parts)}"


def choose_series(found: Sequence[Series], series: str | int | None) -> tuple[Series, tuple[str, ...]]:
    """Choose a series.

    Where nothing is said and several series may be CT volumes of one patient, the one wins that is ORIGINAL before
    DERIVED, then has the most slices, then the smallest distance of slices, then the first number in the list. Series
    of several patients are never chosen from.

    Args:
        found: The series.
        series: Number in the list, or series UID; None to choose by the rule.

    Returns:
        The series, and warnings about the choice.

    Raises:
        UsageError: There is no such series.
        DataError: No series can be a CT volume, the one asked for cannot, or there are several patients.
    """
    if series is not None:
        chosen = _named(found, str(series).strip())
        if chosen.problem:
            raise DataError(f"series {chosen.number} cannot be read as a CT volume: {chosen.problem}; {_list(found)}")
        return chosen, _aside_warnings(chosen)
    usable = [one for one in found if not one.problem]
    if not usable:
        raise DataError(f"no series here can be read as a CT volume; {_list(found)}")
    if len({one.patient for one in usable}) > 1:
        raise DataError(
            f"the files belong to several patients; {_list(usable)}; choose one by its number or UID (--series), or "
            "part the files"
        )
    chosen = min(usable, key=_rank)
    notes = list(_aside_warnings(chosen))
    if len(usable) > 1:
        studies = len({one.slices[0].study for one in usable})
        notes.insert(
            0,
            f"series {chosen.number} was chosen of {len(usable)} CT series"
            + (f" of {studies} studies" if studies > 1 else "")
            + " (original before derived, then most slices, then thinnest); choose another with --series; "
            + _list(usable),
        )
    return chosen, tuple(notes)


def _named(found: Sequence[Series], name: str) -> Series:
    matching = [one for one in found if name and name in (str(one.number), one.slices[0].series_uid)]
    if not matching:
        raise UsageError(f"there is no series '{name}' (--series); {_list(found)}")
    usable = [one for one in matching if not one.problem] or matching
    if len(usable) > 1:
        numbers = ", ".join(str(one.number) for one in usable)
        raise UsageError(
            f"the UID fits several stacks of slices, numbers {numbers} in the list; give the number (--series)"
        )
    return usable[0]


def _aside_warnings(chosen: Series) -> tuple[str, ...]:
    return tuple(
        f"{count} image{'s' * (count > 1)} of the same DICOM series left out: {why or 'lies apart'}"
        for count, why in chosen.aside
    )


def _rank(one: Series) -> tuple[object, ...]:
    return ("DERIVED" in one.slices[0].image_type, -len(one.slices), slice_distance(one) or 1e9, one.number)


def _list(found: Sequence[Series]) -> str:
    several = len({one.patient for one in found}) > 1
    parts = []
    for one in found[:_MOST_LINES]:
        parts.append(
            f"{one.number}: {len(one.slices)} image{'s' * (len(one.slices) > 1)}"
            + (f" of patient {one.patient}" if several else "")
            + (f", {one.problem}" if one.problem else f", {one.slices[0].columns} x {one.slices[0].rows}")
        )
    more = f"; and {len(found) - _MOST_LINES} more" if len(found) > _MOST_LINES else ""
    return f"found: {'; '.join(parts)}{more}" if parts else "no DICOM object was found"


def summarise_series(found: Sequence[Series]) -> tuple[SeriesSummary, ...]:
    """Return the list of series that people choose from.

    Args:
        found: The series.

    Returns:
        One summary per series, in their order; `is_chosen` marks what `choose_series` takes where nothing is said.
    """
    try:
        default = choose_series(found, None)[0]
    except DataError:
        default = None
    lines = []
    for one in found:
        first, distance = one.slices[0], slice_distance(one)
        spacing = None
        if distance is not None and first.pixel_spacing is not None:
            spacing = (distance, first.pixel_spacing[0], first.pixel_spacing[1])
        lines.append(
            SeriesSummary(
                number=one.number,
                uid=first.series_uid,
                patient=one.patient,
                modality=first.modality,
                description=first.description,
                orientation=orientation_word(one),
                slices=len(one.slices),
                rows=first.rows,
                columns=first.columns,
                spacing_mm=spacing,
                thickness_mm=first.thickness_mm,
                kernel=dict(first.facts).get("kernel", ""),
                image_type="/".join(first.image_type),
                problem=one.problem,
                is_chosen=one is default,
            )
        )
    return tuple(lines)
