"""Copy checkpoints to another folder or URL while the training goes on; a slow or broken mirror never stops it."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations

from label_gen.errors import UsageError
from nnunet_ext.training.checkpoints import root_reason

__all__ = ["CheckpointMirror", "open_mirror"]

_Work = Callable[[str], None] | None
"""Writes a file under the name it is given; None for removing the file."""


def open_mirror(target: str) -> tuple[Any, str]:
    """Return the file system and root of a mirror, after checking what can be checked before a training starts.

    Args:
        target: A folder, or a URL that fsspec knows (`s3://bucket/folder`, say). A local folder is made.

    Returns:
        The fsspec file system and the path of the root in it.

    Raises:
        UsageError: The protocol is unknown, its Python package is missing, or the local folder cannot be written to.
    """
    setting = f"the mirror of checkpoints ABBC_CHECKPOINT_MIRROR is '{_shown(target)}'"
    protocol = target.split("://")[0].split("::")[0] if "://" in target else "file"
    try:
        if protocol == "file" and "://" not in target:
            target = str(Path(target).expanduser().absolute())
        system, root = fsspec.core.url_to_fs(target)
    except ImportError as error:
        module = str(known_implementations.get(protocol, {}).get("class", "fsspec")).split(".")[0]
        package = f"pip install {module}" if module != "fsspec" else f"install what it asks for ({error})"
        raise UsageError(f"{setting}, but {error}: {package}, or unset the variable") from error
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(
            f"{setting}, which fsspec cannot open: {root_reason(error)}; give a folder or a URL such as s3://bucket/folder"
        ) from error
    if isinstance(system, LocalFileSystem):
        probe = Path(root) / ".abbc-probe"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise UsageError(f"{setting}, which cannot be written to: {root_reason(error)}; give another") from error
    return system, root.rstrip("/")


def _shown(target: str) -> str:
    """Return a URL without the password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//***@", target)


class CheckpointMirror:
    """A mirror that is fed by a thread of its own, so that saving never waits for it.

    Of each file only the newest version is copied: one that was superseded while it waited is left out. A file is
    copied under a temporary name and then moved, so that the mirror never holds half a file. What failed is tried again
    with the next request.
    """

    def __init__(self, target: str, folder: str) -> None:
        """Open the mirror.

        Args:
            target: As for `open_mirror`.
            folder: Folder in the mirror that files are named in.

        Raises:
            UsageError: As for `open_mirror`.
        """
        self.target = _shown(target)
        self._system, root = open_mirror(target)
        self.root = f"{root}/{folder}"
        self._changed = threading.Condition()
        self._pending: dict[str, _Work] = {}
        self._failed: dict[str, _Work] = {}
        self._busy = ""
        self._messages: list[str] = []
        self._thread: threading.Thread | None = None

    @property
    def local_root(self) -> Path | None:
        """The folder of the files, if the mirror is on this machine."""
        return Path(self.root) if isinstance(self._system, LocalFileSystem) else None

    def copy_file(self, source: Path, name: str) -> None:
        """Have a file copied, as it is when its turn comes; for files that are only ever replaced whole.

        Args:
            source: The file.
            name: Its name in the mirror, folders separated by `/`.
        """
        self._request(name, lambda temporary: self._put(source, temporary))

    def copy_text(self, source: Path, name: str) -> None:
        """Have a small file copied as it is now; nothing happens if it is missing.

        Args:
            source: The file.
            name: Its name in the mirror.
        """
        try:
            content = source.read_bytes()
        except OSError:
            return
        self._request(name, lambda temporary: self._system.pipe_file(temporary, content))

    def remove(self, name: str) -> None:
        """Have a file removed from the mirror once everything requested before is there.

        Args:
            name: Its name in the mirror.
        """
        self._request(name, None)

    def messages(self) -> list[str]:
        """Return what went wrong since the last call; to be logged by the caller's own thread."""
        with self._changed:
            found, self._messages = self._messages, []
        return found

    def wait(self, seconds: float) -> tuple[str, ...]:
        """Wait until everything is copied; what failed before is tried once more.

        Args:
            seconds: Wait no longer than this.

        Returns:
            The files that are not copied: still waiting, being copied, or failed.
        """
        end = time.monotonic() + seconds
        with self._changed:
            self._retry()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._pending or self._busy), max(0.0, end - time.monotonic()))
            names = {*self._pending, *self._failed, *([self._busy] if self._busy else [])}
        return tuple(sorted(names))

    def _request(self, name: str, work: _Work) -> None:
        with self._changed:
            self._pending.pop(name, None)
            self._pending[name] = work
            self._failed.pop(name, None)
            self._retry()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="abbc-checkpoint-mirror", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _retry(self) -> None:
        """Put what failed before back in front of what waits."""
        self._pending = {**self._failed, **self._pending}
        self._failed = {}

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._pending))
                name = self._busy = next(iter(self._pending))
                work = self._pending.pop(name)
                is_too_early = work is None and bool(self._failed)
            problem = ""
            try:
                if not is_too_early:
                    self._do(name, work)
            except Exception as error:  # whatever a file system raises: the training has to go on
                problem = f"{type(error).__name__}: {root_reason(error)}"
            with self._changed:
                self._busy = ""
                if (problem or is_too_early) and name not in self._pending:
                    self._failed[name] = work
                if problem:
                    self._messages.append(f"cannot mirror {name} to {self.target}: {_shown(problem)}")
                self._changed.notify_all()

    def _do(self, name: str, work: _Work) -> None:
        place = f"{self.root}/{name}"
        if work is None:
            if self._system.exists(place):
                self._system.rm_file(place)
            return
        folder, _, last = place.rpartition("/")
        self._system.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.tmp.{last}"
        work(temporary)
        try:
            self._system.mv(temporary, place)
        except OSError as error:  # some cannot rename to a name that is taken
            if error.errno != errno.EEXIST:
                raise
            self._system.rm_file(place)
            self._system.mv(temporary, place)

    def _put(self, source: Path, temporary: str) -> None:
        before = source.stat().st_size
        self._system.put_file(str(source), temporary)
        arrived = int(self._system.size(temporary))
        if arrived != before and not (source.exists() and arrived == source.stat().st_size):  # replaced meanwhile
            raise OSError(f"{arrived} bytes arrived of {before}")
