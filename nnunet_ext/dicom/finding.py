"""Walk a folder and read the header of every DICOM file in it; what is not DICOM is counted and passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from label_gen.errors import VolumeFileError
from nnunet_ext.dicom.headers import SliceHeader, looks_like_dicom, read_headers

__all__ = ["Found", "files_under", "find_slices"]


@dataclass(frozen=True)
class Found:
    """The content of a folder.

    Attributes:
        slices: All slices and other DICOM objects, in the order of the file names.
        empty: Names of the files of 0 bytes.
        foreign: Names of the other files that are not DICOM.
    """

    slices: tuple[SliceHeader, ...]
    empty: tuple[str, ...]
    foreign: tuple[str, ...]


def files_under(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders in a fixed order, hidden ones left out.

    Args:
        folder: The folder, links to folders are not followed; or a single file.

    Raises:
        VolumeFileError: A folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise VolumeFileError(
            f"cannot read folder '{Path(error.filename or folder).name}': {error.strerror or error}; check your "
            "permission to read it"
        ) from error

    if not folder.is_dir():
        yield folder
    for parent, folders, names in os.walk(folder, onerror=fail) if folder.is_dir() else ():
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name)


def find_slices(folder: Path) -> Found:
    """Read the headers of all DICOM files under a folder.

    Args:
        folder: The folder, or a single file.

    Returns:
        What was found.

    Raises:
        VolumeFileError: A file or folder cannot be read, or a DICOM file is damaged before its pixels.
    """
    slices: list[SliceHeader] = []
    empty: list[str] = []
    foreign: list[str] = []
    for path in files_under(folder):
        headers = read_headers(path) if looks_like_dicom(path) else ()
        slices.extend(headers)
        if not headers:
            (foreign if path.stat().st_size else empty).append(path.name)
    return Found(tuple(slices), tuple(empty), tuple(foreign))
