"""Run one function over many cases: past bad cases, in parallel, and again after an interruption."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from label_gen.errors import UsageError, VolumeFileError
from nnunet_ext._pool import run_in_processes
from nnunet_ext._worker import Outcome, run_case
from nnunet_ext.atomic import check_writable, remove_leftovers
from nnunet_ext.manifest import Manifest, without_paths

__all__ = ["BatchResult", "CaseResult", "Task", "run_batch"]

_SAVE_EVERY_S = 2.0
_SAVE_SHARE = 0.02
"""Part of the time that may go into saving the manifest, which grows with the cases."""


@dataclass(frozen=True)
class Task:
    """One case of a batch.

    Attributes:
        name: Name of the case.
        outputs: Files that the case is finished with; if all exist it is skipped.
        arguments: Keyword arguments of the function.
        problem: Why the case cannot be run at all (no partner, say); empty if it can.
    """

    name: str
    outputs: tuple[Path, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the task speaks of."""
        return (*self.outputs, *(value for value in self.arguments.values() if isinstance(value, Path)))


@dataclass(frozen=True)
class CaseResult:
    """What came of one case.

    Attributes:
        name: Name of the case.
        status: Done now, skipped because it was finished, or failed.
        error: What went wrong; empty unless failed.
        seconds: How long it took.
        details: What the function returned.
        trace: The traceback of the error.
    """

    name: str
    status: Literal["done", "skipped", "failed"]
    error: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    trace: str = ""


@dataclass(frozen=True)
class BatchResult:
    """What came of all cases.

    Attributes:
        results: One per case, in the order of the tasks.
        notes: What the user ought to know beyond the single cases.
    """

    results: tuple[CaseResult, ...]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """The cases that went wrong."""
        return tuple(result for result in self.results if result.status == "failed")

    @property
    def exit_status(self) -> int:
        """0 if all cases are done, 1 if one went wrong."""
        return 1 if self.failed else 0

    def count(self, status: str) -> int:
        """Return how many cases have a status."""
        return sum(result.status == status for result in self.results)


def run_batch(
    function: Callable[..., Mapping[str, Any]],
    tasks: Sequence[Task],
    *,
    workers: int = 1,
    overwrite: bool = False,
    manifest: Manifest | None = None,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
    notes: Sequence[str] = (),
    runner: Callable[..., Iterator[tuple[str, Outcome]]] | None = None,
) -> BatchResult:
    """Run a function over cases.

    A case that goes wrong, or whose worker process is killed, does not stop the others. On Ctrl-C, worker processes are
    ended, half-written files removed and the manifest written before the interrupt goes on.

    Args:
        function: Takes keyword arguments and returns what to tell about the case. With workers it has to be importable
            by name.
        tasks: The cases.
        workers: Processes to run cases in; 0 or 1 for this process.
        overwrite: Redo finished cases.
        manifest: Where results are noted.
        on_result: Called with each result as it comes.
        progress: Show a bar on stderr if that is a terminal.
        notes: What the user ought to know already.
        runner: Runs the cases instead of this machine: takes the function and the keyword arguments by case name, and
            yields case name and outcome as they come.

    Returns:
        The results, in the order of the tasks.

    Raises:
        UsageError: `workers` is negative.
        VolumeFileError: The manifest cannot be written.
    """
    if workers < 0:
        raise UsageError(f"the number of workers is {workers}; give 0 or more (--workers)")
    if manifest is not None:
        check_writable(manifest.path)
    by_name = {task.name: task for task in tasks}
    results: dict[str, CaseResult] = {}
    saved, pause = time.monotonic(), _SAVE_EVERY_S
    bar = tqdm(total=len(tasks), unit="case", file=sys.stderr, disable=not (progress and sys.stderr.isatty()))
    try:
        with closing(_run(function, tasks, workers, overwrite, manifest, runner)) as coming:
            for result in coming:
                results[result.name] = result
                bar.update()
                if on_result is not None:
                    with bar.external_write_mode(file=sys.stderr):
                        on_result(result)
                if manifest is not None:
                    manifest.record(result.name, _entry(result, by_name[result.name]))
                    if (started := time.monotonic()) - saved > pause:
                        with suppress(VolumeFileError):  # the save at the end tells
                            manifest.save()
                        saved = time.monotonic()
                        pause = max(_SAVE_EVERY_S, (saved - started) / _SAVE_SHARE)
    finally:
        bar.close()
        for name in by_name.keys() - results.keys():
            for output in by_name[name].outputs:
                remove_leftovers(output)
        if manifest is not None:
            manifest.save()
    all_notes = (*notes, *(manifest.notes() if manifest else ()))
    return BatchResult(tuple(results[task.name] for task in tasks), all_notes)


def _run(
    function: Callable[..., Mapping[str, Any]],
    tasks: Sequence[Task],
    workers: int,
    overwrite: bool,
    manifest: Manifest | None,
    runner: Callable[..., Iterator[tuple[str, Outcome]]] | None,
) -> Generator[CaseResult]:
    to_do: dict[str, Task] = {}
    for task in tasks:
        if task.problem:
            yield CaseResult(task.name, "failed", task.problem)
        elif task.outputs and not overwrite and all(output.exists() for output in task.outputs):
            maker = manifest.other_maker(task.name) if manifest else ""
            text = f"'{task.outputs[0]}' is there already, made by {maker}; choose another output (-o)"
            yield CaseResult(task.name, "failed", text) if maker else CaseResult(task.name, "skipped")
        else:
            to_do[task.name] = task
    if runner is not None or workers > 1:
        cases = {name: task.arguments for name, task in to_do.items()}
        coming = run_in_processes(function, cases, workers) if runner is None else runner(function, cases)
        for name, outcome in coming:
            if outcome.error:
                for output in to_do[name].outputs:
                    remove_leftovers(output)
            yield _result(name, outcome)
    else:
        for name, task in to_do.items():
            yield _result(name, run_case(function, task.arguments))


def _result(name: str, outcome: Outcome) -> CaseResult:
    status: Literal["done", "failed"] = "failed" if outcome.error else "done"
    return CaseResult(name, status, outcome.error, outcome.seconds, outcome.details, outcome.trace)


def _entry(result: CaseResult, task: Task) -> dict[str, Any]:
    """Return what the manifest tells of a case."""
    entry: dict[str, Any] = {"status": result.status}
    if result.error:
        entry["error"] = without_paths(result.error, task.paths)
    if result.status != "skipped":
        entry["seconds"] = round(result.seconds, 3)
    if result.details:
        entry["details"] = result.details
    return entry
