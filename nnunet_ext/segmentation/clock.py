"""Seconds and peak memory of the stages of a case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nnunet_ext.peak_memory import peak_bytes, reset_peak

__all__ = ["Clock"]


class Clock:
    """Times the stages of one case, in the order in which they run."""

    def __init__(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Begin.

        Args:
            say: Called with a line about each stage as it begins.
        """
        reset_peak()
        self._say = say
        self._stages: list[dict[str, Any]] = []
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage.

        Args:
            name: What it does.
        """
        self._say(name)
        began = time.perf_counter()
        yield
        seconds = round(time.perf_counter() - began, 2)
        self._stages.append({"stage": name, "seconds": seconds, "peak_mb_so_far": round(peak_bytes() / 1e6)})

    def to_dict(self) -> dict[str, Any]:
        """Return stages, seconds in all and the peak of memory, as `run.json` has them."""
        return {
            "stages": list(self._stages),
            "seconds": round(time.perf_counter() - self._began, 2),
            "peak_mb": round(peak_bytes() / 1e6),
        }
