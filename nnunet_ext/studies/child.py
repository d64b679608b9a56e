"""A command of a study in a process of its own: seeded, its peak memory noted, ended when the study ends.

`python -m nnunet_ext.studies.child NOTE SEED MODULE:FUNCTION ARGUMENTS...` runs one command. With `--serve MODULE...`
the process loads the modules and forks a child for each command that comes as a line of JSON: for many short commands,
which would spend their time importing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["main", "run_entry", "serve", "tree_bytes"]

SAMPLE_S = 0.5
"""How often memory is looked at. Source: chosen here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, or serve.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status of the command.
    """
    first, *rest = sys.argv[1:] if argv is None else argv
    if first == "--serve":
        return serve(rest)
    seed, entry, *arguments = rest
    return run_entry(Path(first), int(seed), entry, arguments)


def run_entry(note: Path, seed: int, entry: str, arguments: Sequence[str]) -> int:
    """Run a command in this process, and note the largest memory that it and the processes below it took.

    Args:
        note: JSON file for `peak_ram_mb` and `peak_vram_mb`.
        seed: Of Python's, NumPy's and torch's random numbers.
        entry: `MODULE:FUNCTION`; it reads `sys.argv`, and returns an exit status or None.
        arguments: What is typed after its name.

    Returns:
        The exit status.
    """
    watch = _Watch()
    watch.start()
    module, _, function = entry.partition(":")
    sys.argv = [module.rsplit(".", 1)[-1], *arguments]
    status: Any = 1
    try:
        call = getattr(import_module(module), function)
        _seed(seed)
        status = call()
    except SystemExit as end:
        status = end.code
    except KeyboardInterrupt:
        status = 130
    except Exception:  # its last lines are what the study tells
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    figures = {"peak_ram_mb": round(watch.peak() / 1e6, 1), "peak_vram_mb": _peak_vram_mb()}
    note.write_text(json.dumps(figures), encoding="utf-8")
    return status if isinstance(status, int) else int(status is not None)


def serve(modules: Sequence[str]) -> int:
    """Load modules, then fork a child for each command that stdin asks for; answer on stdout when it has ended.

    nnU-Net's `progress.png` is left out: it takes longer than everything else in a training of two steps.

    A question is a line of JSON with `note`, `seed`, `entry`, `arguments`, `log` and `environment`; the answer one with
    `status` and `processor_s`.

    Args:
        modules: What to load.

    Returns:
        0, when stdin ends.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in modules:
        import_module(module)
    _load_trainers()
    _draw_no_progress()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            with open(asked["log"], "ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            os.environ.update(asked["environment"])
            _fork_workers()
            os._exit(run_entry(Path(asked["note"]), asked["seed"], asked["entry"], asked["arguments"]))
        _, status, usage = os.wait4(child, 0)
        used = round(usage.ru_utime + usage.ru_stime, 3)
        with suppress(BrokenPipeError):  # the study is gone, and stdin ends too
            print(json.dumps({"status": os.waitstatus_to_exitcode(status), "processor_s": used}), file=answers)
            answers.flush()
    return 0


def _load_trainers() -> None:
    """Load all of nnU-Net's trainers, which its search by name goes through."""
    if "nnunetv2" in sys.modules:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        with suppress(RuntimeError), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            recursive_find_trainer_class_by_name("nnUNetTrainer_that_is_not_there")


def _draw_no_progress() -> None:
    if "nnunetv2" in sys.modules:
        from nnunetv2.training.logging.nnunet_logger import LocalLogger

        LocalLogger.plot_progress_png = lambda self, folder: None


def _fork_workers() -> None:
    """Let nnU-Net's worker processes be forked where it spawns them: a spawned one imports torch first, for seconds."""
    original = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: original("fork" if method == "spawn" else method)  # type: ignore[assignment]


def _seed(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        import numpy as np

        np.random.seed(seed)  # nnU-Net and batchgenerators draw from it
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)


def _peak_vram_mb() -> float | None:
    """Return the most memory that torch held on all CUDA devices, without CUDA's own; None if it used none."""
    if "torch" not in sys.modules:
        return None
    import torch

    is_used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if not is_used:
        return None
    return round(sum(torch.cuda.max_memory_reserved(number) for number in range(torch.cuda.device_count())) / 1e6, 1)


class _Watch(threading.Thread):
    """Looks at the memory of this process and those below it, and ends them all when stdin's other end is closed."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._most = 0

    def run(self) -> None:
        poll = select.poll()
        poll.register(0, select.POLLHUP)
        while True:
            with suppress(OSError):
                if any(event & select.POLLHUP for _, event in poll.poll(SAMPLE_S * 1000)):
                    if os.getpgid(0) == os.getpid():
                        os.killpg(0, signal.SIGKILL)
                    os._exit(1)
            self._most = max(self._most, tree_bytes(os.getpid()))

    def peak(self) -> int:
        from nnunet_ext.peak_memory import peak_bytes

        return max(self._most, tree_bytes(os.getpid()), peak_bytes())


def tree_bytes(root: int) -> int:
    """Return the memory of a process and all below it, memory that they share counted once.

    Args:
        root: Number of the process.

    Returns:
        Bytes; 0 where the system does not tell (it is Linux that does).
    """
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parent = int(Path("/proc", name, "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
                below.setdefault(parent, []).append(int(name))
    total, waiting = 0, [root]
    while waiting:
        number = waiting.pop()
        waiting += below.get(number, [])
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc", str(number), "smaps_rollup").read_text(encoding="utf-8").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


if __name__ == "__main__":
    sys.exit(main())
