"""Run the commands of a study, each in a process of its own, and tell what they cost."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from label_gen.errors import DataError
from nnunet_ext.manifest import without_paths

__all__ = ["ENTRIES", "Cost", "run_entry_measured", "spoken"]

ENTRIES = {
    "nnUNetv2_train": "nnunetv2.run.run_training:run_training_entry",
    "abbc-plan-and-preprocess": "nnunet_ext.commands.plan_and_preprocess:main",
    "abbc-study-cases": "nnunet_ext.studies.simulating:main",
    "abbc-plan-finetuning": "nnunet_ext.commands.plan_finetuning:main",
    "abbc-predict": "nnunet_ext.commands.predict:main",
    "abbc-evaluate": "nnunet_ext.commands.evaluate:main",
}
"""The commands that a study runs, and what they call."""

_PRELOADED = (
    "nnunetv2.run.run_training",
    "nnunet_ext.planning.planners",
    "nnunet_ext.triplanar.predictor",
)


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    Attributes:
        wall_s: Seconds from start to end, loading the libraries included.
        processor_s: Seconds of processor time of all its threads and processes.
        peak_ram_mb: Most memory that it and the processes below it took at a time, millions of bytes, what they share
            counted once; looked at twice a second.
        peak_vram_mb: Most memory that torch held on the GPU, millions of bytes, without CUDA's own; None without GPU.
    """

    wall_s: float
    processor_s: float
    peak_ram_mb: float
    peak_vram_mb: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain types."""
        return asdict(self)


def spoken(command: str, arguments: Sequence[str | Path]) -> str:
    """Return a command as it is typed.

    Args:
        command: Its name.
        arguments: What is typed after it.
    """
    import shlex

    return shlex.join([command, *map(str, arguments)])


def run_entry_measured(
    command: str,
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    log: Path,
    seed: int = 0,
    warm: bool = False,
) -> Cost:
    """Run a command in a process of its own.

    Args:
        command: One of `ENTRIES`.
        arguments: What is typed after its name.
        environment: All environment variables.
        log: File to which its words are added.
        seed: Of its random numbers.
        warm: Fork it from a process that has the libraries loaded already.

    Returns:
        What it cost.

    Raises:
        DataError: It failed; the text holds its last words.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note.json"
        started = time.perf_counter()
        run = _run_warm if warm else _run_cold
        status, processor_s = run(note, seed, ENTRIES[command], [str(word) for word in arguments], environment, log)
        wall = time.perf_counter() - started
        figures = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if status:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = without_paths(" ".join(word.strip() for word in words[-2:]))
        ended = f"status {status}" if status > 0 else f"ended by signal {-status}; was there too little memory?"
        raise DataError(
            f"{command} failed ({ended}): {last}; see {log.parent.name}/{log.name}, mend that, and run the same "
            "command again: it goes on from there"
        )
    return Cost(round(wall, 3), round(processor_s, 3), figures["peak_ram_mb"], figures["peak_vram_mb"])


def _run_cold(
    note: Path, seed: int, entry: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> tuple[int, float]:
    line = [sys.executable, "-m", "nnunet_ext.studies.child", str(note), str(seed), entry, *arguments]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT, env=dict(environment),
            start_new_session=True,
        )  # fmt: skip
    try:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        assert process.stdin is not None
        process.stdin.close()  # also tells a process that outlives us, were we killed, to end
    return process.returncode, usage.ru_utime + usage.ru_stime


_server: subprocess.Popen[str] | None = None


def _run_warm(
    note: Path, seed: int, entry: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> tuple[int, float]:
    global _server
    if _server is None or _server.poll() is not None:
        line = [sys.executable, "-m", "nnunet_ext.studies.child", "--serve", *_PRELOADED]
        _server = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(environment),
            start_new_session=True,
        )
        atexit.register(_end_server)
    assert _server.stdin is not None
    assert _server.stdout is not None
    asked = {"note": str(note), "seed": seed, "entry": entry, "arguments": list(arguments), "log": str(log)}
    try:
        _server.stdin.write(json.dumps({**asked, "environment": dict(environment)}) + "\n")
        _server.stdin.flush()
        answer = _server.stdout.readline()
    except BaseException:
        _end_server()
        raise
    if not answer:
        status = _server.wait()
        raise DataError(f"the process that runs the commands ended (status {status}); run the same command again")
    found = json.loads(answer)
    return int(found["status"]), float(found["processor_s"])


def _end_server() -> None:
    """Close the server's stdin, by which it and its child end."""
    global _server
    if _server is not None:
        for stream in (_server.stdin, _server.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        _server.wait()
        _server = None
