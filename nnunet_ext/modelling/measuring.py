"""What a command or a block costs: wall time, processor time and peak memory."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from label_gen.errors import DataError, VolumeFileError
from nnunet_ext.peak_memory import peak_bytes, reset_peak

__all__ = ["Cost", "main", "measured", "run_measured"]


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    Attributes:
        wall_s: Seconds from start to end, loading the libraries included.
        processor_s: Seconds of processor time of all its threads and processes.
        peak_mb: Largest memory in use at a time by the process itself, millions of bytes; libraries included.
    """

    wall_s: float
    processor_s: float
    peak_mb: float


def run_measured(
    command: str, arguments: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
) -> Cost:
    """Run one of our commands in a process of its own.

    Args:
        command: Name of its module in `nnunet_ext.commands`.
        arguments: What is typed after its name.
        environment: Environment variables; those of this process if None.

    Returns:
        What it cost.

    Raises:
        DataError: The command failed; the text is what it said last.
        VolumeFileError: The process was killed, for lack of memory, say.
    """
    with tempfile.TemporaryDirectory() as folder:
        note, said = Path(folder) / "peak.json", Path(folder) / "said"
        line = [sys.executable, "-m", "nnunet_ext.modelling.measuring", str(note), command, *map(str, arguments)]
        started = time.perf_counter()
        with said.open("wb") as stream:
            process = subprocess.Popen(line, stdout=stream, stderr=subprocess.STDOUT, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode < 0:
            raise VolumeFileError(
                f"{command} was ended by signal {-process.returncode}; was there too little memory? Free some, or take "
                "a smaller case"
            )
        if process.returncode:
            last = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise DataError(f"{command} failed (status {process.returncode}): {' '.join(last)}")
        peak = json.loads(note.read_text(encoding="utf-8"))["peak_mb"]
    return Cost(round(wall, 3), round(usage.ru_utime + usage.ru_stime, 3), float(peak))


@contextmanager
def measured() -> Iterator[Callable[[], Cost]]:
    """Measure what a block costs in this process.

    Returns:
        To be called after the block: what it cost, libraries that were loaded before left out of the seconds but not
        out of the memory.
    """
    found: list[Cost] = []
    reset_peak()
    wall, processor = time.perf_counter(), time.process_time()
    yield lambda: found[0]
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    found.append(Cost(round(wall, 3), round(processor, 3), peak_bytes() / 1e6))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command in this process and note its peak memory; what `run_measured` starts.

    Args:
        argv: File for the note, module of the command, arguments of the command; those of the process if None.

    Returns:
        The exit status of the command.
    """
    note, command, *arguments = sys.argv[1:] if argv is None else argv
    status: int = importlib.import_module(f"nnunet_ext.commands.{command}").main(arguments)
    Path(note).write_text(json.dumps({"peak_mb": peak_bytes() / 1e6}), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
