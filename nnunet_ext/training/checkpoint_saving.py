"""Write a checkpoint so that it is there whole or not at all, and keep the one before it."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from label_gen.errors import VolumeFileError
from nnunet_ext.atomic import remove_leftovers, replacing
from nnunet_ext.training.checkpoints import FILE_NAMES, LATEST, PREVIOUS, check_sums, root_reason

__all__ = ["remove_half_written", "save_checkpoint_file"]

_SECOND_NAME = f".second.tmp.{PREVIOUS}"


def save_checkpoint_file(checkpoint: Mapping[str, Any], path: Path, *, keep_previous: bool = True) -> None:
    """Write a checkpoint so that whatever happens, the file before it or the new one is there, and whole.

    The new file is written under a temporary name, read again and compared by its checksums, and renamed. A
    `checkpoint_latest.pth` that is there already becomes `checkpoint_previous.pth`.

    Args:
        checkpoint: What to save. NumPy numbers are saved as plain ones, so that a plain `weights_only` load reads it.
        path: The file.
        keep_previous: Keep the file before; false where that one is damaged or of another training.

    Raises:
        VolumeFileError: It cannot be written, for lack of space, say. What was there before is untouched.
    """
    content = {key: value if key == "network_weights" else _plain(value) for key, value in checkpoint.items()}
    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as stream:
                torch.save(content, stream)
            check_sums(temporary)
            if path.name == LATEST and keep_previous and path.exists():
                _keep(path, path.with_name(PREVIOUS))
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:  # torch hides a full disk in a RuntimeError
        raise VolumeFileError(f"cannot save '{path}': {root_reason(error)}; {_free_space(path)}") from error


def remove_half_written(folder: Path) -> None:
    """Remove what a killed training left of a checkpoint it was writing.

    Args:
        folder: The folder of the fold.
    """
    for name in FILE_NAMES:
        remove_leftovers(folder / name)
    with suppress(OSError):
        (folder / _SECOND_NAME).unlink(missing_ok=True)


def _keep(latest: Path, previous: Path) -> None:
    """Make the latest checkpoint the previous one too, without a moment in which there is no latest."""
    second_name = latest.with_name(_SECOND_NAME)
    try:
        second_name.unlink(missing_ok=True)
        os.link(latest, second_name)
        os.replace(second_name, previous)  # does nothing, and leaves the name, if both are one file already
        second_name.unlink(missing_ok=True)
    except OSError:  # no hard links here: rename; the start of the next training mends a kill in the moment between
        os.replace(latest, previous)


def _plain(value: Any) -> Any:
    """Return nested containers with plain numbers in place of NumPy's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if type(value) is list:
        return [_plain(item) for item in value]
    if type(value) is tuple:
        return tuple(_plain(item) for item in value)
    return value


def _free_space(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free / 1e6:.0f} MB are free there"
    except OSError:
        return "the free space is unknown"
