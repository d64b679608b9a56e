"""Long work in stages: each notes its settings and what came of it, is skipped if finished, goes on if interrupted."""

from __future__ import annotations

import importlib.metadata
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError, VolumeFileError
from nnunet_ext.atomic import write_json
from nnunet_ext.manifest import versions

__all__ = ["Stages"]


class Stages:
    """The stages of one folder, each with a record `records/NAME.json`.

    A record holds `settings`, `inputs` (which run of each stage before it was used), `status` (`started` or `done`),
    `run` (a number that says which run it was), `seconds` and `result`.
    """

    def __init__(self, folder: Path, *, redo: Sequence[str] = (), say: Callable[[str], None] = print) -> None:
        """Look at a folder.

        Args:
            folder: Where the records lie.
            redo: Stages to be done anew even if they are finished, or were made with other settings.
            say: Called with a line about each stage.
        """
        self.folder = folder / "records"
        self._redo = set(redo)
        self._say = say

    def record(self, name: str) -> dict[str, Any] | None:
        """Return the record of a stage; None if it was never begun.

        Raises:
            VolumeFileError: The record cannot be read.
        """
        file = self.folder / f"{name}.json"
        if not file.is_file():
            return None
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise VolumeFileError(f"cannot read '{file}': {error}; remove it to do the stage again") from error

    def result(self, name: str) -> dict[str, Any]:
        """Return the result of a finished stage; empty if it is not finished."""
        record = self.record(name)
        return dict(record["result"]) if record and record["status"] == "done" else {}

    def run(
        self,
        name: str,
        settings: Mapping[str, Any],
        work: Callable[[bool], Mapping[str, Any]],
        *,
        after: Sequence[str] = (),
        may_grow: Sequence[str] = (),
        is_cheap: bool = False,
    ) -> dict[str, Any]:
        """Do a stage, unless it is finished with these settings and on the results that are there.

        Args:
            name: Its name.
            settings: What it depends on, plain types.
            work: Does it; told whether to begin anew, it returns the result. Otherwise it goes on from what is there.
            after: Stages whose results it uses.
            may_grow: Settings that may become larger without beginning anew, a number of epochs, say.
            is_cheap: Do it again without being asked if its settings or inputs changed.

        Returns:
            The result.

        Raises:
            UsageError: It was made with other settings, or of other results, and is not to be redone.
        """
        inputs = {stage: self._run_of(stage) for stage in after}
        plain = json.loads(json.dumps({"settings": dict(settings), "inputs": inputs}))
        before = self.record(name)
        anew = before is None or name in self._redo
        if before is not None and not anew:
            difference = _difference(before, plain, may_grow)
            if before["status"] == "done" and {key: before[key] for key in plain} == plain:
                self._say(f"{name}: finished before")
                return dict(before["result"])
            if difference and not is_cheap:
                raise UsageError(
                    f"the stage '{name}' was made otherwise: {difference}; redo it (--redo {name}), or make the models "
                    "in another folder (-o)"
                )
            anew = bool(difference)
        self._say(f"{name}: {'begins' if anew else 'goes on'}")
        started, spent = time.monotonic(), 0.0 if anew or before is None else float(before.get("seconds", 0.0))
        run = secrets.token_hex(8) if anew or before is None or before["status"] == "done" else before["run"]
        trained_by = {library: importlib.metadata.version(library) for library in ("torch", "nnunetv2")}
        head = {"stage": name, **plain, "versions": versions() | trained_by, "run": run}
        self._write(name, {**head, "status": "started", "seconds": spent, "result": {}})
        self._redo.discard(name)
        try:
            result = dict(work(anew))
        except BaseException:
            seconds = spent + time.monotonic() - started
            self._write(name, {**head, "status": "started", "seconds": round(seconds, 1), "result": {}})
            raise
        seconds = round(spent + time.monotonic() - started, 1)
        self._write(name, {**head, "status": "done", "seconds": seconds, "result": result})
        self._say(f"{name}: done in {seconds:.0f} s")
        return result

    def _run_of(self, name: str) -> str:
        record = self.record(name)
        if record is None or record["status"] != "done":
            raise UsageError(f"the stage '{name}' has to be done first; leave out --stage, or name it too")
        return str(record["run"])

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_json(self.folder / f"{name}.json", content)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], may_grow: Sequence[str]) -> str:
    """Return in words what differs between a record and now, but for what grew; empty if nothing does."""
    for key in sorted({*before["settings"], *now["settings"]}):
        old, new = before["settings"].get(key), now["settings"].get(key)
        grew = key in may_grow and isinstance(old, (int, float)) and isinstance(new, (int, float)) and new >= old
        if old != new and not grew:
            return f"{key} was {old!r}, now it is {new!r}"
    for stage, run in now["inputs"].items():
        if before["inputs"].get(stage) != run:
            return f"the stage '{stage}' was done again since"
    return ""
