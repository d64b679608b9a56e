"""Read checkpoints without trusting them: checked byte by byte, the one before in place of a damaged one.

nnU-Net's own files and keys, so that its commands go on working. The files of a fold, in the order they are tried:

    checkpoint_final.pth      the end of the training
    checkpoint_latest.pth     the last save
    checkpoint_previous.pth   the save before it (ours)
    checkpoint_best.pth       the best moving average of the pseudo Dice

Each holds nnU-Net's keys and `abbc`: the true name of the trainer, the version of this layout and of this package.
`trainer_name` says `nnUNetTrainer`, because the plans carry the network: so plain `nnUNetv2_predict` works on it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.serialization import safe_globals

from label_gen.errors import DataError, VolumeFileError
from nnunet_ext import __version__

__all__ = ["BEST", "CHECKPOINT_VERSION", "FILE_NAMES", "FINAL", "LATEST", "PREVIOUS", "check_sums", "fallbacks"]
__all__ += ["find_intact", "root_reason", "run_start", "safe_load_checkpoint", "stamp"]

CHECKPOINT_VERSION = 1
"""Version of the layout of our checkpoints; a file with a greater one is refused."""

FINAL = "checkpoint_final.pth"
LATEST = "checkpoint_latest.pth"
PREVIOUS = "checkpoint_previous.pth"
BEST = "checkpoint_best.pth"
FILE_NAMES = (FINAL, LATEST, PREVIOUS, BEST)
"""The files of a fold in the order to try them."""

_TO_PREDICT = ("network_weights", "init_args", "trainer_name")
_TO_TRAIN = ("network_weights", "optimizer_state", "grad_scaler_state", "logging", "current_epoch", "init_args")


def stamp(trainer: str) -> dict[str, Any]:
    """Return what our checkpoints hold beyond nnU-Net's keys, under the key `abbc`.

    Args:
        trainer: True name of the trainer class.
    """
    return {"trainer": trainer, "checkpoint_version": CHECKPOINT_VERSION, "package_version": __version__}


def safe_load_checkpoint(path: str | Path, *, to_train: bool = True) -> dict[str, Any]:
    """Read a checkpoint of ours or of a stock nnU-Net 2.8 trainer without running code that it may hold.

    Args:
        path: The file.
        to_train: It has to hold all that a training goes on from; otherwise what a prediction needs is enough, as in
            published models without the state of the optimizer.

    Returns:
        The checkpoint, tensors on the CPU.

    Raises:
        VolumeFileError: The file is missing, unreadable, damaged (checksums are compared), or holds other things than
            tensors, numbers and text.
        DataError: It was written by a newer version of this package.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise VolumeFileError(f"'{path}' is damaged: it is empty")
        check_sums(path)
        with safe_globals(_NUMPY_TYPES):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (VolumeFileError, MemoryError):
        raise
    except OSError as error:
        raise VolumeFileError(f"cannot read '{path}': {error.strerror or error}") from error
    except Exception as error:  # whatever the unpickler stumbles over
        raise VolumeFileError(f"'{path}' is damaged or no checkpoint: {root_reason(error)}") from error
    _check_content(checkpoint, path, _TO_TRAIN if to_train else _TO_PREDICT)
    return dict(checkpoint)


def _check_content(checkpoint: Any, path: Path, keys: Sequence[str]) -> None:
    if not isinstance(checkpoint, Mapping):
        raise VolumeFileError(f"'{path}' is no checkpoint: it holds a {type(checkpoint).__name__}, not a dictionary")
    ours = checkpoint.get("abbc")
    version = ours.get("checkpoint_version", 0) if isinstance(ours, Mapping) else 0
    if isinstance(ours, Mapping) and version > CHECKPOINT_VERSION:
        raise DataError(
            f"'{path}' has checkpoint version {version} and was written by nnunet-abbc {ours.get('package_version')}; "
            f"this is nnunet-abbc {__version__}, which reads versions up to {CHECKPOINT_VERSION}: "
            "update it (pip install --upgrade nnunet-abbc)"
        )
    missing = [key for key in keys if key not in checkpoint]
    if missing:
        raise VolumeFileError(f"'{path}' is damaged or no checkpoint of nnU-Net: it lacks {', '.join(missing)}")


def fallbacks(path: Path) -> tuple[Path, ...]:
    """Return a checkpoint and those of its folder to fall back on, in the order to try them; some may be missing.

    Args:
        path: The checkpoint that is wanted.
    """
    if path.name not in FILE_NAMES:
        return (path,)
    return tuple(path.with_name(name) for name in FILE_NAMES[FILE_NAMES.index(path.name) :])


def find_intact(
    paths: Sequence[Path], *, warn: Callable[[str], None], newest_run: bool = False
) -> tuple[Path, dict[str, Any]]:
    """Read the first checkpoint that is whole, and say which ones are not.

    Args:
        paths: Checkpoints in the order to try them. The first is wanted; others may be missing.
        warn: Told about each damaged file, with its name and the reason, and about a file that was passed over.
        newest_run: Prefer a newer file further down of a training begun later, or of more epochs of the same one:
            someone started anew in the folder of an earlier training, or made a finished one longer.

    Returns:
        The file and its content.

    Raises:
        VolumeFileError: None is whole.
        DataError: One was written by a newer version of this package.
    """
    tried: list[str] = []
    found: tuple[Path, dict[str, Any]] | None = None
    for path in (paths[0], *(path for path in paths[1:] if path.exists())):
        if found is not None and not (newest_run and _modified(path) > _modified(found[0])):
            continue
        try:
            checkpoint = safe_load_checkpoint(path)
        except VolumeFileError as error:
            tried.append(str(error))
            warn(f"{error}. It is passed over.")
            continue
        if found is None:
            found = path, checkpoint
        elif run_start(checkpoint) > run_start(found[1]):
            warn(f"'{found[0]}' is of an earlier training in this folder; taking '{path.name}'.")
            found = path, checkpoint
        elif run_start(checkpoint) == run_start(found[1]) and checkpoint["current_epoch"] > found[1]["current_epoch"]:
            warn(f"'{path.name}' has more epochs than '{found[0].name}'; taking that.")
            found = path, checkpoint
    if found is None:
        raise VolumeFileError(
            f"no usable checkpoint in '{paths[0].parent}': {'; '.join(tried)}. Copy one back from the mirror "
            "(ABBC_CHECKPOINT_MIRROR) or from a backup, or start anew without --c"
        )
    if tried:
        warn(f"Taking '{found[0].name}' instead ({found[1]['current_epoch']} epochs).")
    return found


def run_start(checkpoint: Mapping[str, Any]) -> float:
    """Return when the training of a checkpoint began, in seconds since 1970; 0 if it has no epoch.

    Args:
        checkpoint: The checkpoint.
    """
    starts = checkpoint["logging"].get("epoch_start_timestamps") or [0.0]
    return float(starts[0])


def check_sums(path: Path) -> None:
    """Compare the checksum of every part of a checkpoint file; torch does not when it loads one.

    Args:
        path: The file.

    Raises:
        VolumeFileError: A checksum is wrong.
        BadZipFile: The file is no archive, or cut off.
    """
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise VolumeFileError(f"'{path}' is damaged: wrong checksum in '{bad}'")


def root_reason(error: BaseException) -> str:
    """Return in one line what is behind an error.

    Args:
        error: The error.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _numpy_types() -> Iterable[Any]:
    """Yield what stock checkpoints need to make NumPy numbers: their types, and the function under both its names."""
    rebuild: Any = np.float64(0).__reduce__()[0]
    yield np.dtype
    yield from {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):  # NumPy 2 and 1

        def scalar(*arguments: Any) -> Any:
            return rebuild(*arguments)

        scalar.__module__, scalar.__qualname__ = module, "scalar"
        yield scalar


_NUMPY_TYPES = list(_numpy_types())
