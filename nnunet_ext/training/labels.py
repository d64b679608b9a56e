"""The labels of a dataset.json: those that nnU-Net can train, the ABBC classes, the bones of a scheme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from label_gen.classes import ABBC
from label_gen.errors import DataError, SchemeError
from label_gen.scheme import LabelScheme

__all__ = ["check_abbc_labels", "check_anatomy_labels", "check_dataset_json", "label_numbers"]

IGNORE = "ignore"
"""nnU-Net's name for voxels that are not to be learned."""

_KEYS = ("labels", "channel_names", "numTraining", "file_ending")
_CURE = "make the dataset with abbc-prepare-dataset, or mend dataset.json"


def label_numbers(dataset_json: Mapping[str, Any]) -> dict[str, int]:
    """Return the labels that are single numbers, by name; regions of several labels and `ignore` are left out.

    Args:
        dataset_json: The dataset.json.
    """
    labels = dataset_json.get("labels", {})
    return {str(name): number for name, number in labels.items() if _is_whole(number) and name != IGNORE}


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def check_dataset_json(dataset_json: Any, name: str) -> None:
    """Check what nnU-Net demands of a dataset.json.

    Args:
        dataset_json: Its content.
        name: Name of the dataset, for messages.

    Raises:
        DataError: A key is missing or of the wrong kind.
        SchemeError: The labels do not start with background 0 or leave numbers out.
    """
    if not isinstance(dataset_json, Mapping):
        raise DataError(f"the dataset.json of {name} is no table of keys; {_CURE}")
    missing = [key for key in _KEYS if key not in dataset_json]
    if missing:
        raise DataError(f"the dataset.json of {name} lacks {', '.join(missing)}; {_CURE}")
    for key, kind in zip(_KEYS, (Mapping, Mapping, int, str), strict=True):
        if not isinstance(dataset_json[key], kind) or dataset_json[key] in ({}, ""):
            raise DataError(f"'{key}' in the dataset.json of {name} is {dataset_json[key]!r}; {_CURE}")
    labels = dataset_json["labels"]
    numbers: set[int] = set()
    for label, value in labels.items():
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        if not values or not all(_is_whole(number) for number in values):
            raise SchemeError(f"label '{label}' in the dataset.json of {name} is {value!r}; a number is expected")
        numbers |= set(values)
    if labels.get("background") != 0:
        raise SchemeError(f"the labels of {name} are {_say(labels)}; 'background' must be there, numbered 0; {_CURE}")
    if sorted(numbers) != list(range(len(numbers))):
        raise SchemeError(
            f"the labels of {name} are {_say(labels)}; nnU-Net needs the numbers 0, 1, 2, ... without gaps; {_CURE}"
        )
    if IGNORE in labels and labels[IGNORE] != max(numbers):
        raise SchemeError(f"the labels of {name} are {_say(labels)}; '{IGNORE}' must have the largest number; {_CURE}")


def check_abbc_labels(dataset_json: Mapping[str, Any]) -> None:
    """Check that a dataset has exactly the ABBC classes, in whatever order, and maybe an ignore label.

    Args:
        dataset_json: The dataset.json.

    Raises:
        SchemeError: The labels are others.
    """
    labels = dataset_json.get("labels", {})
    expected = {member.name.lower() for member in ABBC}
    numbers = label_numbers(dataset_json)
    named = {name.lower() for name in numbers}
    if named != expected or len(set(labels) - {IGNORE}) != len(ABBC) or len(set(numbers.values())) != len(ABBC):
        raise SchemeError(
            f"this dataset has the labels {_say(labels)}; the ABBC trainers need {', '.join(sorted(expected))}, each "
            "with a number of its own: make the ABBC dataset with abbc-prepare-dataset, or train these labels with "
            "nnUNetTrainerBones (bones) or nnU-Net's own nnUNetTrainer"
        )


def check_anatomy_labels(dataset_json: Mapping[str, Any], scheme: LabelScheme) -> None:
    """Check that the labels of a dataset are bones of a scheme.

    Args:
        dataset_json: The dataset.json.
        scheme: The scheme.

    Raises:
        SchemeError: A label is no bone of the scheme.
    """
    bones = dict.fromkeys((*scheme.anatomy, *(bone.name for bone in scheme.bones)))
    strange = sorted(set(dataset_json.get("labels", {})) - {"background", IGNORE} - set(bones))
    if strange:
        raise SchemeError(
            f"the labels {', '.join(strange)} are no bones of scheme '{scheme.name}', which has "
            f"{', '.join(bones)}; make the dataset with abbc-prepare-dataset and the scheme that fits"
        )


def _say(labels: Any) -> str:
    if not isinstance(labels, Mapping):
        return repr(labels)
    return ", ".join(f"{name} {number}" for name, number in labels.items()) or "none"
