"""Read what an nnU-Net of any classes predicted: segmentations or probabilities, and what the classes are called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from label_gen.errors import DataError, GridError, SchemeError, UsageError, VolumeFileError
from nnunet_ext.cases import PROBABILITIES_SUFFIX, split_suffix
from nnunet_ext.grids import Grid
from nnunet_ext.probabilities import load_probabilities, segmentation_beside
from nnunet_ext.volumes import read_grid, read_labels

__all__ = ["DatasetClasses", "Prediction", "are_probabilities", "find_classes", "read_prediction"]


@dataclass(frozen=True)
class DatasetClasses:
    """The classes of a data set.

    Attributes:
        numbers: Number of each class by name, background included.
        count: How many classes there are, background included; None where that is not known.
        has_regions: Some names stand for several numbers at once; the channels of probabilities are these regions.
    """

    numbers: dict[str, int]
    count: int | None = None
    has_regions: bool = False


@dataclass(frozen=True)
class Prediction:
    """What was predicted for a case.

    Attributes:
        array: Unsigned integer class numbers (z, y, x), or floating-point probabilities (class, z, y, x).
        grid: The voxel grid.
    """

    array: NDArray[Any]
    grid: Grid


def are_probabilities(path: Path) -> bool:
    """Tell whether a file holds probabilities, by its name.

    Args:
        path: The file.
    """
    return split_suffix(path.name)[1] == PROBABILITIES_SUFFIX


def find_classes(path: Path) -> DatasetClasses:
    """Look the classes up in the `dataset.json` beside a prediction, where nnU-Net writes it, or in the folder above.

    Args:
        path: The file.

    Returns:
        The classes, without nnU-Net's `ignore`.

    Raises:
        UsageError: There is no `dataset.json`.
        VolumeFileError: It cannot be read.
        SchemeError: It has no valid table of labels.
    """
    folders = (path.absolute().parent, path.absolute().parent.parent)
    file = next((folder / "dataset.json" for folder in folders if (folder / "dataset.json").is_file()), None)
    if file is None:
        raise UsageError(
            f"there is no dataset.json beside '{path.name}' or in the folder above, which tells the numbers of the "
            "classes; copy it there, or give the numbers with --labels NAME=NUMBER"
        )
    wrong = f"'{file}' has no valid \"labels\" table of names and numbers; mend it or give --labels NAME=NUMBER"
    try:
        labels = json.loads(file.read_text(encoding="utf-8"))["labels"]
        entries = {str(name): value for name, value in labels.items() if name != "ignore"}
    except (OSError, UnicodeDecodeError) as error:
        raise VolumeFileError(f"cannot read '{file}': {error}; check it or give --labels NAME=NUMBER") from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SchemeError(wrong) from error
    values = [n for value in entries.values() for n in (value if isinstance(value, list) else [value])]
    if not values or not all(type(n) is int and n >= 0 for n in values):
        raise SchemeError(wrong)
    numbers = {name: value for name, value in entries.items() if not isinstance(value, list)}
    return DatasetClasses(numbers, max(values) + 1, len(numbers) < len(entries))


def read_prediction(path: Path, classes: DatasetClasses) -> Prediction:
    """Read a segmentation or nnU-Net's probabilities.

    Args:
        path: A label volume, or nnU-Net's `.npz` with the segmentation of the same name beside it, which gives the
            geometry.
        classes: The classes that it ought to have.

    Returns:
        The classes or their probabilities, in the precision of the file, and the grid.

    Raises:
        VolumeFileError: The file cannot be read.
        DataError: The content does not fit the classes, or there is no geometry.
    """
    if not are_probabilities(path):
        volume = read_labels(path)
        largest = int(volume.array.max())
        if classes.count is not None and largest >= classes.count:
            raise DataError(
                f"'{path}' holds the label {largest}, but the classes in its dataset.json end at {classes.count - 1}; "
                "pass what the network of that data set predicted"
            )
        return Prediction(volume.array, volume.grid)
    if classes.has_regions:
        raise DataError(
            f"'{path}' holds probabilities of regions (dataset.json gives several numbers to one name), which cannot "
            "be turned into classes by thresholds; pass the segmentations (--segmentations)"
        )
    array = load_probabilities(path)
    if array.ndim != 4 or array.dtype.kind != "f" or (classes.count is not None and len(array) != classes.count):
        expected = "class" if classes.count is None else str(classes.count)
        raise DataError(
            f"'{path}' holds {array.dtype} values of shape {array.shape}; floating-point probabilities of shape "
            f"({expected}, z, y, x) are expected, one map per class of dataset.json"
        )
    beside = segmentation_beside(path)
    if beside is None:
        raise DataError(
            f"'{path}' has no geometry: put the segmentation that nnU-Net wrote with it beside it "
            f"('{split_suffix(path.name)[0]}.nii.gz')"
        )
    grid = read_grid(beside)
    if array.shape[1:] != grid.shape:
        raise GridError(
            f"'{path}' holds probabilities of size {array.shape[:0:-1]} but '{beside.name}' beside it has "
            f"{grid.shape[::-1]} voxels (x, y, z); put the segmentation that nnU-Net wrote with it there"
        )
    return Prediction(array, grid)
