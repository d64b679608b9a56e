"""Where a key stands in the text of a TOML file: a small scan, for messages that name the line."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["line_of"]

_HEADER = re.compile(r"\s*\[(\[)?\s*([^\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def line_of(text: str, path: Sequence[str | int], value: object = None) -> int:
    r"""Return the line, counted from 1, where an entry of a TOML file stands.

    Args:
        text: The file, valid TOML.
        path: Keys from the outside in, tables of an array by their number from 0: `("grid", 0, "trainer")`.
        value: A text or number in the entry; its line is returned where the entry goes over several.

    Returns:
        The line of the entry, or else of the nearest table that holds it, or else 1.

    Example:
        >>> line_of('a = 1\n[[b]]\nc = 2\n[[b]]\nc = 3\n', ("b", 1, "c"))
        5
    """
    wanted = tuple(str(part) for part in path)
    best, best_line = 0, 1
    counts: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        if header:
            table = _table(header, counts)
            found = table
        elif key:
            found = (*table, *_parts(key[1]))
        else:
            continue
        length = len(found) if wanted[: len(found)] == found else 0
        if length > best:
            best, best_line = length, number
    if value is None:
        return best_line
    told = re.compile(rf"""(?<![\w.-])["']?{re.escape(str(value))}["']?(?![\w.-])""")
    for number in range(best_line, len(lines) + 1):
        if number > best_line and (_HEADER.fullmatch(lines[number - 1]) or _KEY.match(lines[number - 1])):
            break
        if told.search(lines[number - 1].split(" #")[0]):
            return number
    return best_line


def _table(header: re.Match[str], counts: dict[tuple[str, ...], int]) -> tuple[str, ...]:
    """Return the path of a table header; each part that is an array of tables is followed by its present number."""
    path: tuple[str, ...] = ()
    parts = _parts(header[2])
    for place, part in enumerate(parts, 1):
        path = (*path, part)
        if header[1] and place == len(parts):
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, str(counts[path]))
    return path


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(text))
