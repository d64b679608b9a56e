"""Load label schemes: which fragment number belongs to which bone, from the TOML files in `datasets/schemes`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from label_gen.classes import ABBC
from label_gen.errors import SchemeError
from label_gen.scheme import Bone, LabelScheme
from nnunet_ext.package_data import list_tables, read_table

__all__ = ["list_schemes", "load_scheme"]

_WORDS = {"str": "text", "list": "list", "dict": "table"}


def list_schemes() -> tuple[str, ...]:
    """Return the names of the schemes that come with the project, sorted."""
    return list_tables("schemes")


def load_scheme(name: str | Path) -> LabelScheme:
    """Load a label scheme.

    Args:
        name: Name of a scheme that comes with the project, or a `.toml` file of the same layout.

    Returns:
        The scheme.

    Raises:
        SchemeError: There is no such scheme or file, it is no valid TOML, or an entry is missing or wrong.
    """
    file, table = read_table(name, kind="schemes", noun="scheme", error=SchemeError)
    return _build(file, table)


def _build(file: str, table: Mapping[str, Any]) -> LabelScheme:
    numbers = _numbers(file, "abbc", _get(file, table, "", "abbc", dict))
    if sorted(numbers.values()) != sorted(ABBC):
        raise SchemeError(
            f"scheme file '{file}': [abbc] numbers its classes {sorted(numbers.values())}; it needs four names, "
            f"numbered {', '.join(f'{c.value} ({c.name.lower()})' for c in ABBC)}"
        )
    bones = _get(file, table, "", "bones", list)
    try:
        return LabelScheme(
            name=_get(file, table, "", "name", str),
            bones=tuple(_bone(file, index, bone) for index, bone in enumerate(bones, 1)),
            anatomy=_numbers(file, "anatomy", _get(file, table, "", "anatomy", dict)),
            abbc=tuple(sorted(numbers, key=numbers.__getitem__)),
            description=_get(file, table, "", "description", str, ""),
        )
    except SchemeError as error:
        if file in str(error):
            raise
        raise SchemeError(f"scheme file '{file}': {error}") from error


def _bone(file: str, index: int, table: Any) -> Bone:
    where = f"[[bones]] number {index}"
    if not isinstance(table, Mapping):
        raise SchemeError(f"scheme file '{file}': {where} is {table!r}; a table headed [[bones]] is expected")
    ids = _get(file, table, where, "ids", list)
    if len(ids) != 2 or not all(_is_integer(i) for i in ids):
        raise SchemeError(f"scheme file '{file}': 'ids' of {where} is {ids}; write the band as ids = [first, last]")
    colour = _get(file, table, where, "colour", str, "#c8c8c8")
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise SchemeError(f"scheme file '{file}': 'colour' of {where} is '{colour}'; write it as \"#rrggbb\"")
    red, green, blue = bytes.fromhex(colour[1:])
    return Bone(
        name=_get(file, table, where, "name", str),
        first_id=ids[0],
        last_id=ids[1],
        display_name=_get(file, table, where, "display_name", str, ""),
        colour=(red, green, blue),
        totalsegmentator=tuple(map(str, _get(file, table, where, "totalsegmentator", list, []))),
        anatomy_names=tuple(map(str, _get(file, table, where, "anatomy", list, []))),
        snomed={str(key): str(code) for key, code in _get(file, table, where, "snomed", dict, {}).items()},
    )


def _get(file: str, table: Mapping[str, Any], where: str, key: str, kind: type, default: Any = None) -> Any:
    """Return an entry of a table, checked for its type."""
    place = f" in {where}" if where else ""
    value = table.get(key, default)
    if value is None:
        raise SchemeError(
            f"scheme file '{file}': '{key}' is missing{place}; add it as in the schemes that come with the project"
        )
    if not isinstance(value, kind):
        raise SchemeError(f"scheme file '{file}': '{key}'{place} is {value!r}; a {_WORDS[kind.__name__]} is expected")
    return value


def _numbers(file: str, key: str, table: Mapping[str, Any]) -> dict[str, int]:
    wrong = [name for name, number in table.items() if not _is_integer(number) or number < 0]
    if wrong:
        raise SchemeError(f"scheme file '{file}': '{wrong[0]}' in [{key}] is {table[wrong[0]]!r}; a number is expected")
    if len(set(table.values())) < len(table):
        raise SchemeError(f"scheme file '{file}': two names in [{key}] have the same number; give each its own")
    return dict(table)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
