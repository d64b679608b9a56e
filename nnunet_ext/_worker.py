"""What a worker process of a batch does: run one case, keep to its share of threads, end when the batch ends."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["Outcome", "run_case", "start_worker"]

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True)
class Outcome:
    """What came of one case.

    Attributes:
        error: What went wrong; empty if nothing did.
        seconds: How long it took.
        details: What the function returned.
        trace: The traceback of the error.
    """

    error: str
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)
    trace: str = ""


def start_worker(lifeline: Connection, threads: int) -> None:
    """Prepare a worker process. To be called before NumPy is imported, whose threads are counted at its import.

    Args:
        lifeline: End of a pipe whose other end the batch holds. When that closes, because the batch was stopped or
            killed, the process ends at once.
        threads: How many threads the libraries may use.
    """
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.poll(None)
    finally:
        os._exit(1)


def run_case(function: Callable[..., Mapping[str, Any]], arguments: Mapping[str, Any]) -> Outcome:
    """Run a function on one case and turn every error into a text.

    Args:
        function: Returns what to tell about the case.
        arguments: Its keyword arguments.

    Returns:
        What came of it.
    """
    from label_gen.errors import FractureError

    started = time.perf_counter()
    try:
        details = function(**arguments)
    except Exception as error:
        if isinstance(error, FractureError):
            text = str(error)
        elif isinstance(error, MemoryError):
            text = "out of memory; use fewer --workers, or a machine with more memory"
        else:
            text = f"unexpected {type(error).__name__}: {error}; please report it with the output of --verbose"
        return Outcome(text, time.perf_counter() - started, trace=traceback.format_exc())
    return Outcome("", time.perf_counter() - started, details)
