"""Find the CTs of an input: volume files, zips and DICOM folders, each under a name that is safe as a file name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from label_gen.errors import UsageError, VolumeFileError
from nnunet_ext.cases import VOLUME_SUFFIXES, split_suffix

__all__ = ["CtCase", "find_ct_cases"]

ARCHIVE_SUFFIX = ".zip"


@dataclass(frozen=True)
class CtCase:
    """One CT.

    Attributes:
        name: Name from the file or folder, made of `A-Z a-z 0-9 . _ -`; never from DICOM tags.
        path: The file or folder.
    """

    name: str
    path: Path


def find_ct_cases(path: str | Path) -> tuple[CtCase, ...]:
    """Find the CTs in a file or folder.

    A volume file, a zip, a DICOM file and a folder with DICOM files directly in it are one case each. In another
    folder, every volume file and zip is a case, and so is every subfolder that holds DICOM; subfolders of one and the
    same study (same patient, same StudyInstanceUID) are one case together, that of the folder.

    Args:
        path: The file or folder.

    Returns:
        The cases, sorted by name. Other characters of a name become `_`.

    Raises:
        UsageError: There is no such file, nothing usable in it, DICOM files and volumes side by side, or two cases of
            one name.
        VolumeFileError: A folder cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"there is no file or folder '{path}'; check the path")
    if not path.is_dir():
        return (_single_file(path),)
    from nnunet_ext.dicom.headers import looks_like_dicom

    entries = _entries(path)
    files = [entry for entry in entries if not entry.is_dir()]
    volumes = [file for file in files if split_suffix(file.name)[1] in VOLUME_SUFFIXES]
    zips = [file for file in files if file.suffix.lower() == ARCHIVE_SUFFIX]
    others = (file for file in files if file not in volumes and file not in zips)
    if any(looks_like_dicom(file) for file in others):
        if volumes or zips:
            raise UsageError(
                f"'{path}' holds DICOM files and also '{(volumes + zips)[0].name}'; put them into folders of their own"
            )
        return (CtCase(_safe(path.resolve().name), path),)
    cases = [CtCase(case.name, case.path) for case in _volume_cases(path, volumes)]
    cases += [CtCase(_safe(file.name[: -len(ARCHIVE_SUFFIX)]), file) for file in zips]
    folders = [(entry, study) for entry in entries if entry.is_dir() and (study := _first_study(entry)) is not None]
    is_one_study = len({study for _, study in folders}) == 1 and any(folders[0][1] if folders else ())
    if folders and not cases and len(folders) == 1:
        (inner,) = (folder for folder, _ in folders)
        deeper = find_ct_cases(inner)
        return (CtCase(_safe(path.resolve().name), path),) if len(deeper) == 1 and deeper[0].path.is_dir() else deeper
    if len(folders) > 1 and is_one_study:
        if cases:
            raise UsageError(
                f"'{path}' holds a DICOM study and also '{cases[0].path.name}'; put them into other folders"
            )
        return (CtCase(_safe(path.resolve().name), path),)
    cases += [CtCase(_safe(folder.name), folder) for folder, _ in folders]
    if not cases:
        accepted = ", ".join((*VOLUME_SUFFIXES, ARCHIVE_SUFFIX))
        raise UsageError(f"nothing usable in '{path}'; accepted are {accepted}, and folders of DICOM files")
    return _distinct(cases)


def _single_file(path: Path) -> CtCase:
    if split_suffix(path.name)[1] in VOLUME_SUFFIXES:
        name = split_suffix(path.name)[0]
    elif path.suffix.lower() == ARCHIVE_SUFFIX:
        name = path.name[: -len(ARCHIVE_SUFFIX)]
    else:
        from nnunet_ext.dicom.headers import looks_like_dicom

        if not looks_like_dicom(path):
            accepted = ", ".join((*VOLUME_SUFFIXES, ARCHIVE_SUFFIX))
            raise UsageError(f"'{path}' is of an unknown file type; accepted are {accepted}, and DICOM")
        name = path.stem if path.suffix.lower() in (".dcm", ".dicom", ".ima") else path.name
    return CtCase(_safe(name.removesuffix("_0000")), path)


def _volume_cases(folder: Path, volumes: list[Path]) -> list[CtCase]:
    """Return the cases of volume files; nnU-Net's `_0000` goes, unless `_0001` and so on lie beside it."""
    if not volumes:
        return []
    numbers = {
        re.sub(r"_\d{4}$", "", split_suffix(file.name)[0]) for file in volumes if _channel(file) not in ("", "0000")
    }
    cases = []
    for file in volumes:
        stem = split_suffix(file.name)[0]
        base = stem.removesuffix("_0000")
        cases.append(CtCase(_safe(stem if base in numbers else base), file))
    return cases


def _channel(file: Path) -> str:
    match = re.search(r"_(\d{4})$", split_suffix(file.name)[0])
    return match[1] if match else ""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise VolumeFileError(
            f"cannot read '{folder}': {error.strerror or error}; check your permission to read it"
        ) from error


def _first_study(folder: Path) -> tuple[str, ...] | None:
    """Return what tells the study of the first image under a folder; empty texts if unknown, None without DICOM."""
    from nnunet_ext.dicom.finding import files_under
    from nnunet_ext.dicom.headers import looks_like_dicom, read_headers

    found = None
    for file in files_under(folder):
        if not looks_like_dicom(file):
            continue
        try:
            headers = read_headers(file)
        except VolumeFileError:
            found = found or ("", "")
            continue
        if headers and headers[0].study:
            return (*headers[0].patient, headers[0].study)
        if headers:
            found = found or ("", "")
    return found


def _safe(name: str) -> str:
    """Return a name of safe characters."""
    safe = re.sub("[^A-Za-z0-9._-]+", "_", name).strip("._-")
    return safe or "case"


def _distinct(cases: list[CtCase]) -> tuple[CtCase, ...]:
    by_name: dict[str, CtCase] = {}
    for case in cases:
        if case.name in by_name:
            raise UsageError(
                f"'{by_name[case.name].path.name}' and '{case.path.name}' both give the case name '{case.name}'; "
                "rename one"
            )
        by_name[case.name] = case
    return tuple(by_name[name] for name in sorted(by_name))
