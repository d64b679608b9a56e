"""Run cases in worker processes, and go on when one of these is killed."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from nnunet_ext._worker import Outcome, run_case, start_worker

__all__ = ["run_in_processes"]

_KILLED = (
    "its worker process ended unexpectedly, most often killed by the system for want of memory; use fewer --workers, "
    "or a machine with more memory"
)


def run_in_processes(
    function: Callable[..., Mapping[str, Any]], cases: Mapping[str, Mapping[str, Any]], workers: int
) -> Iterator[tuple[str, Outcome]]:
    """Run a function over cases in worker processes.

    When a process is killed nobody can say whose case it was. So the cases under way are run again, one at a time; the
    one that kills its process again is the bad one.

    Args:
        function: A function of a module.
        cases: Keyword arguments of the function, by case name.
        workers: Number of processes.

    Yields:
        Case name and outcome, as they come.
    """
    waiting = deque(cases)
    while waiting:
        suspects: list[str] = []
        yield from _run_until_broken(function, cases, waiting, workers, suspects)
        if len(suspects) == 1:
            yield suspects[0], Outcome(_KILLED, 0.0)
            continue
        for name in suspects:
            culprit: list[str] = []
            yield from _run_until_broken(function, cases, deque([name]), 1, culprit)
            if culprit:
                yield name, Outcome(_KILLED, 0.0)


def _run_until_broken(
    function: Callable[..., Mapping[str, Any]],
    cases: Mapping[str, Mapping[str, Any]],
    waiting: deque[str],
    workers: int,
    suspects: list[str],
) -> Iterator[tuple[str, Outcome]]:
    """Run cases until none waits or a process is killed; the cases then under way are added to the suspects."""
    running: dict[Future[Outcome], str] = {}
    with _pool(min(workers, len(waiting)), workers) as pool:
        while (waiting or running) and not suspects:
            while waiting and len(running) < workers:
                name = waiting.popleft()
                try:
                    running[pool.submit(run_case, function, cases[name])] = name
                except BrokenProcessPool:
                    suspects.append(name)
                    break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                name = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    suspects.append(name)
                else:
                    yield name, outcome
    suspects.extend(running.values())


@contextmanager
def _pool(processes: int, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes that end with the block, at once if it is left by an error or an interrupt."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    threads = max(1, _processor_count() // workers)
    pool = ProcessPoolExecutor(processes, context, start_worker, (reader, threads))
    try:
        yield pool
        pool.shutdown()
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


def _processor_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
