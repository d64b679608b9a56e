"""Which bone each number of a label file stands for: by names that the file carries, or by the look of its numbers."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

from label_gen.errors import DataError, UsageError
from label_gen.scheme import Bone, LabelScheme
from nnunet_ext.schemes import list_schemes, load_scheme
from nnunet_ext.stage1.bones import BONES, DISPLAY_NAMES, bone_called

__all__ = ["NUMBERINGS", "bones_of_numbers", "names_in"]

NUMBERINGS = ("auto", "anatomy", "totalsegmentator")
"""Ways to read the numbers of a label file, beside the names of label schemes."""

_TOTAL = {25: "sacrum", 26: "sacrum", 75: "left_femur", 76: "right_femur", 77: "left_hip", 78: "right_hip"}
"""Numbers of TotalSegmentator's class map `total`. Source: TotalSegmentator 2, `map_to_binary.class_map`."""

_TOTAL_LARGEST = 117
_MOST_FRAGMENTS = 20
"""More numbers in a band are taken for something else. Chosen here: bones of 100 real pelves have up to 6."""

_FRAGMENTS = ("pengwin2024", "pengwin2026")
_MOST_XML = 1 << 20
"""Bytes of an extension that are read. Chosen here: TotalSegmentator's 117 names take 15 kB."""


def names_in(path: Path) -> dict[int, str]:
    """Return the names that a label file says its numbers have; empty if it says none.

    Looked for in the NIfTI header's extension, where TotalSegmentator writes them, and in nnU-Net's `dataset.json`
    beside the file.

    Args:
        path: The file.
    """
    found = _names_in_header(path)
    return found if found else _names_beside(path)


def bones_of_numbers(
    numbers: Sequence[int], *, numbering: str | Path, names: Mapping[int, str], file: str
) -> dict[int, tuple[str, ...]]:
    """Return the bone that each number of a label file stands for.

    Args:
        numbers: The numbers in the file, 0 left out; at least one.
        numbering: `anatomy` (the numbers of `BONES`), `totalsegmentator`, a label scheme whose bands hold fragments, or
            `auto`: the names in the file if it has any for bones; else `anatomy` if no number is above 5; else the one
            reading that all numbers fit.
        names: What the file says that its numbers are called.
        file: Its name, for messages.

    Returns:
        By number, a name of `BONES`; both femora where the scheme does not number the sides apart. Structures that are
        none of the bones are left out where they have names.

    Raises:
        UsageError: There is no such numbering.
        DataError: The numbers do not fit, or fit several readings.
    """
    if str(numbering) == "anatomy":
        return _as_anatomy(numbers, file)
    if str(numbering) == "totalsegmentator":
        return _as_named(_TOTAL, numbers, file)
    if str(numbering) != "auto":
        if str(numbering) not in list_schemes() and not str(numbering).endswith(".toml"):
            known = ", ".join((*NUMBERINGS, *(name for name in list_schemes() if name != "free")))
            raise UsageError(f"unknown numbering '{numbering}' of bones; choose one of {known}, or a scheme file")
        return _as_fragments(numbers, load_scheme(numbering), file)
    named = {number: bone for number, name in names.items() if (bone := bone_called(name))}
    if named:
        return _as_named(named, numbers, file)
    if max(numbers) <= max(BONES.values()):
        return _as_anatomy(numbers, file)
    readings = [name for name in _FRAGMENTS if _looks_like(numbers, load_scheme(name))]
    if max(numbers) <= _TOTAL_LARGEST and {77, 78} & set(numbers):
        readings.append("totalsegmentator")
    if len(readings) == 1:
        return bones_of_numbers(numbers, numbering=readings[0], names={}, file=file)
    what = f"may be {' or '.join(readings)}" if readings else "are no known numbering of bones"
    raise DataError(
        f"'{file}' holds the numbers {_few(numbers)}, which {what}; expected are {_expected()}. Say how to read them "
        f"(--numbering {', '.join((*NUMBERINGS[1:], *_FRAGMENTS))}, or a scheme file)"
    )


def _as_anatomy(numbers: Sequence[int], file: str) -> dict[int, tuple[str, ...]]:
    bones = {number: bone for bone, number in BONES.items()}
    if unknown := [number for number in numbers if number not in bones]:
        raise DataError(f"'{file}' holds the numbers {_few(unknown)}, which are no bones; expected are {_expected()}")
    return {number: (bones[number],) for number in numbers}


def _as_named(named: Mapping[int, str], numbers: Sequence[int], file: str) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {number: (bone,) for number, bone in named.items() if number in numbers}
    if not found:
        raise DataError(
            f"'{file}' holds none of {', '.join(DISPLAY_NAMES.values())}; it holds the numbers {_few(numbers)}: "
            "give the file that holds the bones of the pelvis (--bones)"
        )
    return found


def _as_fragments(numbers: Sequence[int], scheme: LabelScheme, file: str) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for number in numbers:
        bone = _owner(number, scheme)
        parts = [bone_called(part) for part in bone.parts] if bone is not None else [None]
        known = tuple(part for part in parts if part is not None)
        if len(known) < len(parts):
            raise DataError(
                f"'{file}' holds the number {number}, which is none of the bones {', '.join(BONES)} by scheme "
                f"'{scheme.name}' ({scheme.describe_bands()}); choose another (--numbering)"
            )
        found[number] = known
    return found


def _looks_like(numbers: Sequence[int], scheme: LabelScheme) -> bool:
    """Tell whether numbers lie in the bands of a scheme, each band used from its start, without gaps, by few."""
    used: dict[int, list[int]] = {}
    for number in numbers:
        bone = _owner(number, scheme)
        if bone is None:
            return False
        used.setdefault(bone.first_id, []).append(number)
    return all(
        len(found) <= _MOST_FRAGMENTS and sorted(found) == list(range(first, first + len(found)))
        for first, found in used.items()
    )


def _owner(number: int, scheme: LabelScheme) -> Bone | None:
    return next((bone for bone in scheme.bones if number in bone.band), None)


def _names_in_header(path: Path) -> dict[int, str]:
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return {}
    import nibabel

    header = nibabel.load(path).header
    for extension in getattr(header, "extensions", ()):
        content = bytes(extension.get_content())[:_MOST_XML].strip(b"\0 \n")
        if b"<LabelTable>" not in content or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            continue
        try:
            labels = ElementTree.fromstring(content.decode("utf-8", "replace")).iter("Label")
            return {int(label.get("Key", "-1")): str(label.text).strip() for label in labels}
        except (ElementTree.ParseError, ValueError):
            continue
    return {}


def _names_beside(path: Path) -> dict[int, str]:
    file = path.parent / "dataset.json"
    try:
        labels = json.loads(file.read_text(encoding="utf-8"))["labels"]
        return {number: str(name) for name, number in labels.items() if isinstance(number, int) and number > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _expected() -> str:
    return ", ".join(f"{number} {DISPLAY_NAMES[bone]}" for bone, number in BONES.items())


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
