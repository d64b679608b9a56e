"""Read ABBC classes as a network leaves them: nnU-Net's `.npz` probabilities, or label volumes in its order."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.classes import ABBC
from label_gen.errors import DataError, GridError, SchemeError, VolumeFileError
from label_gen.scheme import LabelScheme
from nnunet_ext.cases import PROBABILITIES_SUFFIX, VOLUME_SUFFIXES, split_suffix
from nnunet_ext.grids import Grid
from nnunet_ext.volumes import read_grid, read_labels

__all__ = ["AbbcMap", "class_order", "load_probabilities", "read_abbc", "segmentation_beside"]

_KEYS = ("probabilities", "softmax")
_SLACK = 1e-3
"""How far a probability may leave 0 to 1: the rounding of float16 near 1 (5e-4), doubled."""


@dataclass(frozen=True)
class AbbcMap:
    """ABBC classes on a grid.

    Attributes:
        array: Either uint8, axes (z, y, x), numbered by `label_gen.ABBC`; or floating-point, axes (class, z, y, x),
            with the probabilities 0 to 1 of the classes in that order.
        grid: The voxel grid.
    """

    array: NDArray[Any]
    grid: Grid


def read_abbc(path: str | Path, scheme: LabelScheme, *, anatomy: Grid | None = None) -> AbbcMap:
    """Read ABBC classes or their probabilities.

    The order of the classes is looked up by name in the `dataset.json` beside the file or in the folder above it;
    without one it is that of `label_gen.ABBC`.

    Args:
        path: A label volume, or nnU-Net's `.npz` with `probabilities` of shape (4, z, y, x). The geometry of an `.npz`
            is that of the volume of the same name beside it, else that of the anatomy.
        scheme: Gives the names of the classes.
        anatomy: Grid of the case's anatomy volume, if there is one.

    Returns:
        The classes (integer) or their probabilities (float, in the precision of the file).

    Raises:
        VolumeFileError: The file cannot be read.
        DataError: The content is no ABBC map: wrong number of classes, values outside 0 to 1, NaN, no geometry.
        SchemeError: `dataset.json` does not name the four classes.
    """
    path = Path(path)
    order = class_order(path, scheme)
    if split_suffix(path.name)[1] != PROBABILITIES_SUFFIX:
        volume = read_labels(path)
        return AbbcMap(_renumber(path, volume.array, order), volume.grid)
    array = load_probabilities(path)
    _check(path, array)
    grid = _find_grid(path, anatomy)
    if array.shape[1:] != grid.shape:
        raise GridError(
            f"'{path}' holds probabilities of size {array.shape[:0:-1]} but the volume that gives their geometry "
            f"has {grid.shape[::-1]} voxels (x, y, z); put the segmentation that nnU-Net wrote with it beside it"
        )
    if order != tuple(ABBC):
        array = array[list(order)]
    return AbbcMap(array, grid)


def class_order(path: Path, scheme: LabelScheme) -> tuple[int, ...]:
    """Return the number that each class of `label_gen.ABBC` has in a file, by `dataset.json` if there is one.

    Args:
        path: The file.
        scheme: Gives the names of the classes.

    Returns:
        Four numbers, at the place of each class.

    Raises:
        SchemeError: `dataset.json` does not name the four classes, or numbers them otherwise than 0 to 3.
        VolumeFileError: `dataset.json` cannot be read.
    """
    for folder in (path.parent, path.absolute().parent.parent):
        file = folder / "dataset.json"
        if file.is_file():
            break
    else:
        return tuple(ABBC)
    try:
        labels = json.loads(file.read_text(encoding="utf-8"))["labels"]
        numbers = {str(name).lower(): number for name, number in labels.items() if name != "ignore"}
    except (OSError, UnicodeDecodeError) as error:
        raise VolumeFileError(f"cannot read '{file}': {error}; check it or take it away") from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SchemeError(
            f"'{file}' has no valid \"labels\" table of names and numbers; mend it or take it away"
        ) from error
    missing = [name for name in scheme.abbc if name.lower() not in numbers]
    if missing:
        raise SchemeError(
            f"'{file}' does not name the class '{missing[0]}' (it names {', '.join(numbers)}); the classes of scheme "
            f"'{scheme.name}' are {', '.join(scheme.abbc)}: pass ABBC classes, or choose another scheme (--scheme)"
        )
    order = tuple(numbers[name.lower()] for name in scheme.abbc)
    if len(numbers) != len(ABBC) or sorted(map(repr, order)) != sorted(repr(c.value) for c in ABBC):
        raise SchemeError(f"'{file}' numbers its classes {numbers}; four ABBC classes numbered 0 to 3 are expected")
    return order


def _renumber(path: Path, array: NDArray[Any], order: tuple[int, ...]) -> NDArray[np.uint8]:
    largest = int(array.max())
    if largest >= len(order):
        raise DataError(
            f"'{path}' holds the label {largest}; ABBC classes are 0 to {len(order) - 1}: pass the classes that "
            "abbc-generate-labels or the network made, not fragments or anatomy"
        )
    if order == tuple(ABBC):
        return array.astype(np.uint8, copy=False)
    table = np.zeros(len(order), np.uint8)
    table[list(order)] = np.arange(len(order), dtype=np.uint8)
    renumbered: NDArray[np.uint8] = table[array]
    return renumbered


def load_probabilities(path: Path) -> NDArray[Any]:
    """Read the array of an `.npz` that nnU-Net wrote with `--save_probabilities`.

    Args:
        path: The file.

    Returns:
        Probabilities as they are in the file, axes (class, z, y, x).

    Raises:
        VolumeFileError: The file cannot be read.
        DataError: It holds no probabilities.
    """
    try:
        # np.load closes a stream of its own too late where the archive is broken, and takes other files for pickles.
        with path.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise zipfile.BadZipFile("it is no .npz archive, or has no end")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                key = next((key for key in _KEYS if key in archive.files), None)
                if key is None:
                    raise DataError(
                        f"'{path}' holds {', '.join(archive.files) or 'nothing'} but no 'probabilities'; pass what "
                        "nnUNetv2_predict --save_probabilities wrote"
                    )
                array: NDArray[Any] = archive[key]
                return array
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise VolumeFileError(f"'{path}' is truncated or damaged ({error}); copy it again or predict again") from error
    except DataError:
        raise
    except OSError as error:
        raise VolumeFileError(
            f"cannot read '{path}': {error.strerror or error}; check the path and your permission to read it"
        ) from error
    except ValueError as error:
        raise VolumeFileError(f"cannot read '{path}': {error}; predict again with --save_probabilities") from error


def _check(path: Path, array: NDArray[Any]) -> None:
    if array.ndim != 4 or array.shape[0] != len(ABBC):
        raise DataError(
            f"'{path}' holds probabilities of shape {array.shape}; (4, z, y, x) is expected, one map per ABBC class: "
            "was it predicted with an ABBC model?"
        )
    if array.size == 0:
        raise DataError(f"'{path}' is empty: its shape is {array.shape}; predict again")
    if array.dtype.kind != "f":
        raise DataError(f"'{path}' holds {array.dtype} values; floating-point probabilities from 0 to 1 are expected")
    for number, channel in enumerate(array):
        smallest, largest = float(channel.min()), float(channel.max())
        if not (np.isfinite(smallest) and np.isfinite(largest)):
            raise DataError(f"'{path}' holds NaN or infinite values in class {number}; predict again")
        if smallest < -_SLACK or largest > 1 + _SLACK:
            raise DataError(
                f"'{path}' holds values from {smallest:g} to {largest:g} in class {number}; probabilities from 0 to 1 "
                "are expected: are these logits?"
            )


def segmentation_beside(path: Path) -> Path | None:
    """Return the volume that nnU-Net wrote with an `.npz`, which gives its geometry; None if there is none.

    Args:
        path: The `.npz`.
    """
    stem = split_suffix(path.name)[0]
    return next((file for suffix in VOLUME_SUFFIXES if (file := path.with_name(stem + suffix)).is_file()), None)


def _find_grid(path: Path, anatomy: Grid | None) -> Grid:
    if (beside := segmentation_beside(path)) is not None:
        return read_grid(beside)
    if anatomy is not None:
        return anatomy
    raise DataError(
        f"'{path}' has no geometry: put the segmentation that nnU-Net wrote with it beside it "
        f"('{split_suffix(path.name)[0]}.nii.gz'), or pass the anatomy volume of the case (-a)"
    )
