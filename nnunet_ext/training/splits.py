"""`splits_final.json`: which cases a fold trains on and which it validates on, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from label_gen.errors import DataError
from nnunet_ext.training.folders import read_json

__all__ = ["MIN_CASES_TO_SPLIT", "few", "find_leaks", "read_splits", "unknown_cases"]

MIN_CASES_TO_SPLIT = 5
"""Cases that nnU-Net needs to make its five folds itself."""

_CURE = 'write it as a list of {"train": [...], "val": [...]}, or remove it to let nnU-Net make one'


def few(names: Iterable[Any], most: int = 5) -> str:
    """Return the first of some names as text.

    Args:
        names: The names.
        most: How many to tell.

    Example:
        >>> few(["a", "b", "c"], 2)
        'a, b, ... (3 in all)'
    """
    listed = [str(name) for name in names]
    return ", ".join(listed) if len(listed) <= most else f"{', '.join(listed[:most])}, ... ({len(listed)} in all)"


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """Read a `splits_final.json`.

    Args:
        path: The file.

    Returns:
        For each fold the case names under `train` and `val`.

    Raises:
        VolumeFileError: The file cannot be read.
        DataError: It is no JSON, of another layout, or a fold trains or validates on nothing.
    """
    content = read_json(path, _CURE)
    if not isinstance(content, list) or not content:
        raise DataError(f"'{path}' is no list of folds; {_CURE}")
    for number, fold in enumerate(content):
        for part in ("train", "val"):
            names = fold.get(part) if isinstance(fold, Mapping) else None
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise DataError(f"'{path}': fold {number} has no list of case names '{part}'; {_CURE}")
            if not names:
                raise DataError(f"'{path}': '{part}' of fold {number} is empty; {_CURE}")
    return [{part: list(fold[part]) for part in ("train", "val")} for fold in content]


def find_leaks(splits: list[dict[str, list[str]]], group_of: Mapping[str, str] | None = None) -> dict[int, list[str]]:
    """Return, for each fold that has any, what it both trains and validates on.

    Args:
        splits: The folds.
        group_of: The patient of each case, where known; a case without is a patient of its own.

    Returns:
        Names of cases, or of patients, by fold.
    """
    groups = group_of or {}
    found = {}
    for number, fold in enumerate(splits):
        train, val = ({groups.get(name, name) for name in fold[part]} for part in ("train", "val"))
        if train & val:
            found[number] = sorted(train & val)
    return found


def unknown_cases(splits: list[dict[str, list[str]]], cases: Iterable[str]) -> list[str]:
    """Return the names in the folds that are no cases, sorted.

    Args:
        splits: The folds.
        cases: Names of the cases that there are.
    """
    return sorted({name for fold in splits for part in fold.values() for name in part} - set(cases))
