"""A DICOM folder, zip or file as the series in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from label_gen.errors import DataError, UsageError
from nnunet_ext.dicom.archives import Unpacked, unpack
from nnunet_ext.dicom.finding import find_slices
from nnunet_ext.dicom.series import Series, sort_series

__all__ = ["Study", "open_study"]

_MOST_NAMED = 3


@dataclass(frozen=True)
class Study:
    """What a DICOM input holds.

    Attributes:
        series: All series, the numbers of the list in order.
        warnings: What was passed over.
        unpacked: Keeps the files of a zip; None for a folder.
    """

    series: tuple[Series, ...]
    warnings: tuple[str, ...]
    unpacked: Unpacked | None = field(default=None, repr=False)


def open_study(path: str | Path) -> Study:
    """Read the headers of all DICOM files of an input.

    Args:
        path: A folder (searched with its subfolders), a zip of one, or a single DICOM file.

    Returns:
        The series. Files of a zip live as long as the study's `unpacked`.

    Raises:
        UsageError: There is no such file or folder.
        DataError: It holds no DICOM.
        VolumeFileError: A file cannot be read or a DICOM file is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"there is no file or folder '{path}'; check the path")
    unpacked = unpack(path) if path.suffix.lower() == ".zip" and path.is_file() else None
    found = find_slices(unpacked.folder if unpacked else path)
    if not found.slices:
        zips = sum(name.lower().endswith(".zip") for name in found.foreign)
        raise DataError(
            f"'{path.name}' holds no DICOM file: {len(found.foreign)} other and {len(found.empty)} empty files"
            + (f"; {zips} of them zips, which have to be given one by one" if zips else "")
            + "; give the folder that the scanner or archive exported"
        )
    warnings = []
    if found.empty:
        warnings.append(
            f"{len(found.empty)} files of 0 bytes were passed over: {_few(found.empty)}; was the copy complete?"
        )
    if found.foreign:
        warnings.append(f"{len(found.foreign)} files that hold no DICOM object were passed over: {_few(found.foreign)}")
    return Study(sort_series(found.slices), tuple(warnings), unpacked)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
