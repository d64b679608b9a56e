"""The TOML files that come with the project, schemes, recipes and rules, by name; or files of the user's own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from label_gen.errors import FractureError

__all__ = ["data_folder", "list_tables", "read_table"]

_PACKAGE = Path(__file__).resolve().parent


def data_folder(kind: str) -> Path:
    """Return a folder of data: in the installed package, or in the checkout of an editable install.

    Args:
        kind: `schemes`, `recipes`, `rules`, `studies` or `training`.
    """
    installed = _PACKAGE / "_datasets" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / "datasets" / kind


def list_tables(kind: str) -> tuple[str, ...]:
    """Return the names of the files that come with the project, sorted.

    Args:
        kind: As in `data_folder`.
    """
    return tuple(sorted(path.stem for path in data_folder(kind).glob("*.toml")))


def read_table(name: str | Path, *, kind: str, noun: str, error: type[FractureError]) -> tuple[str, dict[str, Any]]:
    """Read a TOML file that comes with the project, or one of the user's.

    Args:
        name: A name out of `list_tables`, or a file ending in `.toml`.
        kind: As in `data_folder`.
        noun: What such a file is called in messages.
        error: What to raise.

    Returns:
        The file's name, and its content.

    Raises:
        error: There is no such name or file, or it is no valid TOML.
    """
    path = Path(name)
    known = ", ".join(list_tables(kind)) or "none"
    if path.suffix != ".toml":
        if str(name) not in list_tables(kind):
            raise error(f"unknown {noun} '{name}'; known are {known}, or pass a file ending in .toml")
        path = data_folder(kind) / f"{name}.toml"
    try:
        with path.open("rb") as stream:
            return path.name, tomllib.load(stream)
    except OSError as reason:
        raise error(
            f"cannot read the {noun} file '{name}': {reason.strerror or reason}; check the path, or use one of the "
            f"known {kind}: {known}"
        ) from reason
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise error(f"{noun} file '{path.name}' is no valid TOML: {reason}; mend that line") from reason
