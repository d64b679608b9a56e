"""The folders that nnU-Net's environment variables name, and the datasets in them, with errors that help."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, UsageError, VolumeFileError

__all__ = ["FOLDER_VARIABLES", "check_free_space", "find_dataset", "free_bytes", "list_datasets", "nnunet_folder"]
__all__ += ["read_json", "say_bytes"]

FOLDER_VARIABLES = {
    "nnUNet_raw": "the datasets that abbc-prepare-dataset makes",
    "nnUNet_preprocessed": "plans and preprocessed cases",
    "nnUNet_results": "trained models",
}
"""nnU-Net's environment variables for folders, and what lies in each folder."""


def nnunet_folder(variable: str, *, may_be_missing: bool = False, writable: bool = False) -> Path:
    """Return the folder that an environment variable of nnU-Net names.

    Args:
        variable: `nnUNet_raw`, `nnUNet_preprocessed` or `nnUNet_results`.
        may_be_missing: Accept a folder that is not there yet, as nnU-Net makes it when it writes.
        writable: Check that files can be made in it, or where it is missing, in the nearest folder above it.

    Returns:
        The folder.

    Raises:
        UsageError: The variable is not set, or names no folder.
        VolumeFileError: The folder cannot be written to.
    """
    value = os.environ.get(variable, "")
    cure = f"set it to the folder for {FOLDER_VARIABLES[variable]}: export {variable}=FOLDER"
    if not value:
        raise UsageError(f"the environment variable {variable} is not set; {cure}")
    folder = Path(value)
    if not folder.is_dir():
        if folder.exists():
            raise UsageError(f"{variable} is '{value}', which is a file and no folder; {cure}")
        if not may_be_missing:
            raise UsageError(f"{variable} is '{value}', a folder that does not exist; make it (mkdir -p), or {cure}")
    if writable:
        place = _nearest(folder)
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            raise VolumeFileError(
                f"{variable} is '{value}', and nothing can be written there: {error.strerror or error}; mend that, or "
                f"{cure}"
            ) from error
    return folder


def _nearest(folder: Path) -> Path:
    """Return a folder, or the nearest above it that exists."""
    return next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path("/"))


def free_bytes(folder: Path) -> int:
    """Return how many bytes are free where a folder is, or will be.

    Args:
        folder: The folder; it may be missing.
    """
    return shutil.disk_usage(_nearest(folder)).free


def say_bytes(count: float) -> str:
    """Return a number of bytes for people.

    Args:
        count: Bytes.

    Example:
        >>> say_bytes(3.2e9), say_bytes(51e6)
        ('3.2 GB', '51.0 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def check_free_space(variable: str, needed: int, purpose: str) -> None:
    """Check that the folder of a variable has room.

    Args:
        variable: The environment variable.
        needed: Bytes.
        purpose: What takes them, for the message.

    Raises:
        VolumeFileError: There is less room.
        UsageError: The variable is not set.
    """
    folder = nnunet_folder(variable, may_be_missing=True)
    free = free_bytes(folder)
    if free < needed:
        raise VolumeFileError(
            f"too little disk in {variable} ('{folder}'): {purpose} take about {say_bytes(needed)}, "
            f"{say_bytes(free)} are free; make space, or name a folder on a larger disk: export {variable}=FOLDER"
        )


def read_json(path: Path, cure: str) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        cure: What makes or mends it, for the message.

    Returns:
        Its content.

    Raises:
        VolumeFileError: It is missing or cannot be read.
        DataError: It is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VolumeFileError(f"cannot read '{path}': {error.strerror or error}; {cure}") from error
    except ValueError as error:
        raise DataError(f"'{path}' is no valid JSON: {error}; {cure}") from error


def list_datasets() -> dict[str, list[str]]:
    """Return the names of the datasets, each with the variables in whose folders it is. Unset ones are passed over."""
    found: dict[str, list[str]] = {}
    for variable in FOLDER_VARIABLES:
        folder = os.environ.get(variable, "")
        if folder and Path(folder).is_dir():
            for entry in sorted(Path(folder).iterdir()):
                if re.fullmatch(r"Dataset\d{3}_.+", entry.name) and entry.is_dir():
                    found.setdefault(entry.name, []).append(variable)
    return found


def find_dataset(dataset: int | str) -> str:
    """Return the name of a dataset, found as nnU-Net does, by its number in all three folders.

    Args:
        dataset: The number, or the name `DatasetXXX_Name`.

    Returns:
        The name `DatasetXXX_Name`.

    Raises:
        UsageError: There is no such dataset, or two have the number, or it is neither number nor name.
    """
    known = list_datasets()
    text = str(dataset)
    if text in known:
        return text
    has = f"there are {', '.join(known)}" if known else "there are none"
    look = "check -d and nnUNet_raw, or make the dataset with abbc-prepare-dataset"
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"there is no dataset '{text}'; give a number or a name like Dataset003_Pelvis; {has}; {look}")
    names = [name for name in known if int(name[7:10]) == int(text)]
    if not names:
        raise UsageError(f"there is no dataset number {int(text)} in the folders of {_said()}; {has}; {look}")
    if len(names) > 1:
        where = "; ".join(f"{name} in {' and '.join(known[name])}" for name in names)
        raise UsageError(f"several datasets have the number {int(text)}: {where}; rename or remove all but one")
    return names[0]


def _said() -> str:
    return ", ".join(variable for variable in FOLDER_VARIABLES if os.environ.get(variable)) or "nnU-Net (none is set)"
