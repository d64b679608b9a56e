"""What is scored, and where: structures and regions by name, from words, a table or a dataset.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.cases import find_cases

__all__ = ["END_REGIONS", "StructureChoice", "choose_structures", "find_regions"]

END_REGIONS = ("first_end", "last_end", "ends", "between")
"""Names of the regions that end slices make: the lowest and the highest slices, both together, and the slices between
them."""

_NAME = re.compile(r"[^\s/\\=,+]+")
_FORMS = "all, NAME=LABEL,NAME=LABEL+LABEL, or a dataset.json (--structures)"


@dataclass(frozen=True)
class StructureChoice:
    """Structures to score.

    Attributes:
        labels: Label numbers of each structure by name; None for every label that a case has, named by its number.
        ignore: Label of voxels of the reference that do not count, as nnU-Net has it; None without.
    """

    labels: Mapping[str, tuple[int, ...]] | None = field(default=None)
    ignore: int | None = None


def choose_structures(structures: str | Path | Mapping[str, int | Sequence[int]]) -> StructureChoice:
    """Read what is to be scored.

    Args:
        structures: `all`; `NAME=LABEL,NAME=LABEL+LABEL`; a `dataset.json` of nnU-Net, whose regions of several labels
            are structures too; or a table of label numbers by name.

    Returns:
        The choice.

    Raises:
        UsageError: The words make no sense, or there is no such file.
        DataError: The dataset.json has no usable labels.
        VolumeFileError: It cannot be read.
    """
    if isinstance(structures, Mapping):
        return StructureChoice(_checked({name: _numbers(name, value) for name, value in structures.items()}))
    text = str(structures)
    if text == "all":
        return StructureChoice()
    if text.endswith(".json"):
        return _of_dataset(Path(text))
    labels: dict[str, tuple[int, ...]] = {}
    for word in text.split(","):
        name, equals, numbers = word.strip().partition("=")
        parts = numbers.split("+")
        if not equals or not all(part.isascii() and part.isdigit() for part in parts):
            raise UsageError(f"'{word}' names no structure; expected {_FORMS}")
        if name in labels:
            raise UsageError(f"the structure '{name}' is named twice in '{text}'; give each name once (--structures)")
        labels[name] = _numbers(name, [int(part) for part in parts])
    return StructureChoice(_checked(labels))


def _numbers(name: str, value: Any) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not numbers or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise UsageError(f"the labels of structure '{name}' are {value!r}; whole numbers from 1 upward are expected")
    return tuple(sorted(set(numbers)))


def _checked(labels: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    if not labels:
        raise UsageError(f"no structure is named; expected {_FORMS}")
    for name in labels:
        if not _NAME.fullmatch(str(name)):
            raise UsageError(f"'{name}' is no name of a structure: it is empty or has one of ' /\\=,+' in it")
    return labels


def _of_dataset(file: Path) -> StructureChoice:
    from nnunet_ext.training.labels import IGNORE

    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"there is no file '{file}'; expected {_FORMS}") from error
    except OSError as error:
        raise VolumeFileError(f"cannot read '{file}': {error.strerror or error}; check your permission") from error
    except ValueError as error:
        raise DataError(f"'{file}' is no JSON file: {error}; give the dataset.json of an nnU-Net dataset") from error
    table = content.get("labels") if isinstance(content, Mapping) else None
    if not isinstance(table, Mapping) or not table:
        raise DataError(f"'{file}' has no table 'labels'; give the dataset.json of an nnU-Net dataset")
    try:
        named = {
            str(name).replace(" ", "_"): _numbers(str(name), value)
            for name, value in table.items()
            if name != IGNORE and value not in (0, [0])
        }
        return StructureChoice(_checked(named), table.get(IGNORE))
    except UsageError as error:
        raise DataError(f"'{file}': {error}") from error


def find_regions(regions: Mapping[str, str | Path], names: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Find the masks of regions.

    Args:
        regions: A folder with a mask for each case, or one mask for all, by name.
        names: The cases.

    Returns:
        The file of every region, by case and name of the region; absent where a folder has none for the case.

    Raises:
        UsageError: A name is not usable or taken, or there is no such file or folder.
        VolumeFileError: A folder cannot be read.
    """
    found: dict[str, dict[str, Path]] = {name: {} for name in names}
    for region, source in regions.items():
        if not _NAME.fullmatch(region) or region in (*END_REGIONS, "volume", "slices"):
            taken = ", ".join((*END_REGIONS, "volume", "slices"))
            raise UsageError(
                f"a region cannot be named '{region}': it is empty, has one of ' /\\=,+', or is of {taken}"
            )
        cases = {case.name: case.path for case in find_cases(source)}
        for name in names:
            if not Path(source).is_dir():
                found[name][region] = Path(source)
            elif name in cases:
                found[name][region] = cases[name]
    return found
