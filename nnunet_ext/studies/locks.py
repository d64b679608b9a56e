"""Locks between processes that work in one folder: whoever holds one, and ends however it ends, gives it back."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from label_gen.errors import UsageError

__all__ = ["hold", "take_one"]

POLL_S = 0.5
"""How often a lock that is held is tried again. Source: chosen here."""


@contextmanager
def hold(file: Path, *, busy: str = "") -> Iterator[None]:
    """Hold a lock while the body runs.

    Args:
        file: The lock.
        busy: What to say if another process holds it; waits for it if empty.

    Raises:
        UsageError: Another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            raise UsageError(busy) from error
        yield


@contextmanager
def take_one(folder: Path, names: Sequence[int]) -> Iterator[int]:
    """Take one of several things that processes share, GPUs say; wait until one is free.

    Args:
        folder: Where the locks lie.
        names: The numbers of the things.

    Yields:
        The number that was taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for name in names:
            with (folder / f"gpu-{name}").open("ab") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield name
                return
        time.sleep(POLL_S)
