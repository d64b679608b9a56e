"""Which cases take part, and in which fold: drawn by patient, so that no patient is on both sides of a fold."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from label_gen.errors import UsageError
from nnunet_ext.training.splits import few

__all__ = ["check_folds", "make_folds", "patients_of", "read_names", "select_cases"]


def patients_of(names: Iterable[str], patterns: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    r"""Find the patient of each case in its name.

    Args:
        names: Names of the cases.
        patterns: Regular expressions with a group `patient` that fit whole names; the first that fits counts.

    Returns:
        The patient of each case, and the cases that no expression fits, which count as patients of their own.

    Example:
        >>> patients_of(["07_L", "07_R", "x"], [r"(?P<patient>\d+)_[LR]"])
        ({'07_L': '07', '07_R': '07', 'x': 'x'}, ('x',))
    """
    found, unread = {}, []
    for name in names:
        match = next((match for pattern in patterns if (match := re.fullmatch(pattern, name))), None)
        found[name] = str(match["patient"]) if match else name
        if patterns and not match:
            unread.append(name)
    return found, tuple(unread)


def read_names(words: Sequence[str], option: str) -> tuple[str, ...]:
    """Return case names, given one by one or as text files with a name per line.

    Args:
        words: Names, and files.
        option: The option they come from, for messages.

    Returns:
        The names, in order, each once.

    Raises:
        UsageError: A file cannot be read.
    """
    names: list[str] = []
    for word in words:
        path = Path(word)
        if not path.is_file():
            names.append(word)
            continue
        try:
            names += [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read '{word}' as a list of case names, one per line ({option}): {error}"
            ) from error
    return tuple(dict.fromkeys(names))


def check_folds(folds: int) -> None:
    """Check the number of folds.

    Raises:
        UsageError: There are fewer than two.
    """
    if folds < 2:
        raise UsageError(f"{folds} folds are wanted; a cross-validation has 2 or more (--folds)")


def select_cases(
    patients: Mapping[str, str],
    *,
    cases: Sequence[str] = (),
    number: int | None = None,
    test: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, str]:
    """Choose the cases that take part.

    Args:
        patients: The patient of each case of the source.
        cases: Only these, where given.
        number: At most so many training cases, patient by patient in an order that depends on the seed alone: those
            drawn for a smaller number are among those drawn for a larger one.
        test: Cases set apart for testing.
        seed: Of the order.

    Returns:
        `Tr` for training or `Ts` for testing, by case, in the order of the source.

    Raises:
        UsageError: A case does not exist, nothing is left to train on, or a patient has cases on both sides.
    """
    for option, names in (("--cases", cases), ("--test", test)):
        if strange := [name for name in names if name not in patients]:
            raise UsageError(f"there is no case {few(strange)} ({option}); the source has {few(patients)}")
    chosen = {name: "Ts" for name in patients if name in set(test)}
    train = [name for name in patients if (not cases or name in set(cases)) and name not in chosen]
    both = {patients[name] for name in train} & {patients[name] for name in chosen}
    if both:
        others = [name for name in train if patients[name] in both]
        raise UsageError(
            f"patient {few(sorted(both))} would be in training and in testing; add {few(others)} to --test, or leave "
            "them out with --cases"
        )
    if number is not None:
        if number < 1:
            raise UsageError(f"the number of cases is {number}; 1 or more are needed (-n)")
        order = sorted({patients[name] for name in train})
        random.Random(seed).shuffle(order)
        train = sorted(train, key=lambda name: (order.index(patients[name]), name))[:number]
    if not train:
        raise UsageError("no case is left to train on; take names out of --test, or give others with --cases")
    chosen.update(dict.fromkeys(train, "Tr"))
    return {name: chosen[name] for name in patients if name in chosen}


def make_folds(patients: Mapping[str, str], folds: int, seed: int) -> list[dict[str, list[str]]]:
    """Make the folds of a cross-validation, grouped by patient, of as equal size as the patients allow.

    Args:
        patients: The patient of each training case.
        folds: How many folds; fewer are made where there are fewer patients.
        seed: Of the order in which patients are dealt out.

    Returns:
        nnU-Net's `splits_final.json`. With a single patient, one fold that validates on what it trains on.

    Raises:
        UsageError: Fewer than two folds are wanted.

    Example:
        >>> make_folds({"a": "a", "b": "b"}, 5, seed=0)
        [{'train': ['b'], 'val': ['a']}, {'train': ['a'], 'val': ['b']}]
    """
    check_folds(folds)
    members: dict[str, list[str]] = {}
    for name in sorted(patients):
        members.setdefault(patients[name], []).append(name)
    if len(members) == 1:
        everyone = sorted(patients)
        return [{"train": everyone, "val": everyone}]
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda patient: -len(members[patient]))
    sides: list[list[str]] = [[] for _ in range(min(folds, len(members)))]
    for patient in order:
        min(sides, key=len).extend(members[patient])
    return [{"train": sorted(set(patients) - set(side)), "val": sorted(side)} for side in sides]
