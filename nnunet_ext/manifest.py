"""The manifest of a command: a JSON file beside the results with versions, settings and what came of each case."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from label_gen.errors import VolumeFileError
from nnunet_ext import __version__
from nnunet_ext.atomic import write_json

__all__ = ["Manifest", "versions", "without_paths"]

NOTE = "Research use only, not a medical device."

_LIBRARIES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "cc3d": "connected-components-3d",
    "edt": "edt",
    "skfmm": "scikit-fmm",
    "SimpleITK": "SimpleITK",
}


def versions() -> dict[str, str]:
    """Return the versions of Python, of this project, and of the libraries that the results depend on."""
    found = {"python": platform.python_version(), "nnunet-abbc": __version__}
    for name, distribution in _LIBRARIES.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def without_paths(text: str, paths: Iterable[Path] = ()) -> str:
    """Cut the folders out of a text, which may name users and patients, and keep the file names.

    Args:
        text: An error message, say.
        paths: Paths that the text may hold, relative ones too. Other absolute paths are found by their look.

    Returns:
        The text with file names only.
    """
    known = {form for path in paths for form in (path, path.absolute(), path.parent, path.absolute().parent)}
    for path in sorted(known, key=lambda path: len(str(path)), reverse=True):
        if path.parent != path:
            text = text.replace(f"{path}/", "").replace(str(path), path.name) if len(path.parts) > 1 else text
    return re.sub(r"(?<![\w./])/(?:[^\s/'\":;,]+/)+", "", text)


class Manifest:
    """The manifest of one command in one output folder. Cases of earlier runs are kept."""

    def __init__(self, path: Path, command: str, settings: Mapping[str, Any], seed: int | None = None) -> None:
        """Read the manifest of earlier runs, if there is one.

        Args:
            path: The JSON file.
            command: Name of the command.
            settings: The settings of this run, without paths.
            seed: The seed of this run, if it draws random numbers.

        Raises:
            VolumeFileError: There is such a file but it is no manifest.
        """
        self.path = path
        self._head = {
            "command": command,
            "note": NOTE,
            "versions": versions(),
            "settings": dict(settings),
            "seed": seed,
        }
        self._settings = dict(settings)
        self._earlier = self._read()
        self._new: dict[str, dict[str, Any]] = {}
        self._made_otherwise: list[str] = []

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            cases = json.loads(self.path.read_text(encoding="utf-8"))["cases"]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VolumeFileError(
                f"'{self.path}' is no readable manifest of earlier runs ({type(error).__name__}); move it away"
            ) from error
        return dict(cases)

    def record(self, name: str, entry: Mapping[str, Any]) -> None:
        """Note what came of a case. What is known of a finished case that is now skipped is kept.

        Args:
            name: The case.
            entry: `status` (done, skipped or failed) and whatever else is to be told.
        """
        earlier = self._earlier.get(name, {})
        if entry["status"] == "skipped" and earlier.get("status") == "done":
            if earlier.get("settings", self._settings) != self._settings:
                self._made_otherwise.append(name)
            return
        self._new[name] = {**entry, "settings": self._settings} if entry["status"] == "done" else dict(entry)

    def other_maker(self, name: str) -> str:
        """Return which other command made a case in this folder, by its manifest; empty if none did.

        Args:
            name: The case.
        """
        if self._earlier.get(name, {}).get("status") in ("done", "skipped"):
            return ""
        for path in sorted(self.path.parent.glob("abbc-*.json")):
            if path == self.path:
                continue
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                if content["cases"].get(name, {}).get("status") == "done":
                    return str(content["command"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
        return ""

    def notes(self) -> tuple[str, ...]:
        """Return what the user ought to know: finished cases that were made with other settings."""
        names = self._made_otherwise
        if not names:
            return ()
        few = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return (f"finished cases made with other settings: {few}; redo them with --overwrite",)

    def save(self) -> None:
        """Write the manifest; cases that another process noted meanwhile are kept.

        Raises:
            VolumeFileError: The file cannot be written.
        """
        cases = self._read() | self._new
        write_json(self.path, {**self._head, "cases": {name: cases[name] for name in sorted(cases)}})
