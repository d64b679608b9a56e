"""Put an image file into a dataset without touching its bytes: as a hard link, a copy or a symbolic link."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from nnunet_ext.atomic import remove_leftovers, replacing, write_failure
from nnunet_ext.cases import split_suffix

__all__ = ["TRANSFERS", "can_hard_link", "is_usable_as_is", "transfer"]

TRANSFERS = ("link", "copy", "symlink")
"""Hard link where the file system allows, else copy; copy; symbolic link."""

_HEADER = 1 << 16


def is_usable_as_is(path: Path, ending: str) -> bool:
    """Say whether nnU-Net can read a file under another name.

    Args:
        path: An image file.
        ending: The file ending of the dataset.

    Returns:
        False if the file is of another type, or keeps its voxels in a second file.
    """
    if split_suffix(path.name)[1] != ending:
        return False
    with path.open("rb") as stream:
        head = stream.read(_HEADER)
    if ending == ".nrrd":
        return not re.search(rb"^data ?file *:", re.split(rb"\r?\n\r?\n", head)[0], re.IGNORECASE | re.MULTILINE)
    return ending != ".mha" or bool(re.search(rb"^ElementDataFile\s*=\s*LOCAL", head, re.MULTILINE))


def can_hard_link(path: Path, folder: Path) -> bool:
    """Say whether a file and a folder are on the same file system, as far as can be told without trying.

    Args:
        path: The file.
        folder: The folder; if it is missing, the nearest above it counts.
    """
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return path.stat().st_dev == place.stat().st_dev


def transfer(source: Path, target: Path, how: str) -> str:
    """Put a file where another name is wanted, so that it appears complete or not at all.

    Args:
        source: The file.
        target: The new name; what is there is replaced.
        how: One of `TRANSFERS`.

    Returns:
        What was done: `linked`, `copied` or `symlinked`.

    Raises:
        VolumeFileError: The target cannot be written.
    """
    if how in ("link", "symlink"):
        temporary = target.with_name(f".{secrets.token_hex(4)}.tmp.{target.name}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target)
            if how == "symlink":
                temporary.symlink_to(source.resolve())
            else:
                os.link(source.resolve(), temporary)
            target.unlink(missing_ok=True)  # renaming one link of a file onto another does nothing
            os.replace(temporary, target)
            return f"{how}ed"
        except OSError as error:
            if how == "symlink":
                raise write_failure(target, error) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
    return "copied"
