"""What a command costs: run in a process of its own, with wall time, processor time and peak memory."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from label_gen.errors import DataError, VolumeFileError

__all__ = ["Cost", "main", "run_measured"]


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command in this process and note its peak memory; what `run_measured` starts.

    Args:
        argv: File for the note, module of the command, arguments of the command; those of the process if None.

    Returns:
        The exit status of the command.
    """
    note, command, *arguments = sys.argv[1:] if argv is None else argv
    status: int = importlib.import_module(f"nnunet_ext.commands.{command}").main(arguments)
    Path(note).write_text(json.dumps({"peak_mb": _peak_mb()}), encoding="utf-8")
    return status


def _peak_mb() -> float:
    """Return the largest resident memory of this process so far, millions of bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # unlike getrusage, this forgets the process that this one was forked from
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / 1e6 if sys.platform == "darwin" else largest * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
