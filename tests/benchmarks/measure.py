"""Run sides in processes of their own, one thread each, and remember what was measured.

This module imports nothing heavy: on Linux a child's peak memory starts at its parent's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Bench:
    """Cases and measurements of one run, each made once.

    Attributes:
        folder: Folder for the volumes.
        repeat: How often the fast sides run; times are medians.
        marches: Seeds that the naive recovery marches per pass; None for all.
    """

    def __init__(self, folder, repeat=3, marches=None):
        self.folder = Path(folder)
        self.repeat = repeat
        self.marches = marches
        self._done = {}

    def case(self, shape, spacing_mm, fragments):
        """Return the facts of a case, made if need be."""
        name = f"{'x'.join(map(str, shape))}_{spacing_mm:g}mm_{fragments}"
        folder = str(self.folder / name)
        say(f"  volume {'x'.join(map(str, shape))}, {spacing_mm:g} mm, {fragments} fragments")
        facts = self._once("make", folder=folder, shape=shape, spacing_mm=spacing_mm, fragments=fragments)
        return {**facts, "folder": folder}

    def time(self, role, case, **options):
        """Return time and memory of a side on a case."""
        options = {"repeat": self.repeat, **options}
        say(f"  {role} ...")
        row = self._once(role, folder=case["folder"], **options)
        say(f"  {role}: {row['cpu_s']:.2f} s processor, {row['peak_mb']:.0f} MB above the input")
        return {"what": role, **row}

    def compare(self, kind, case, first, second):
        """Return the comparison (`voxels` or `fragments`) of two results on a case."""
        return self._once(f"compare-{kind}", folder=case["folder"], first=first, second=second)

    def _once(self, role, **options):
        key = role, json.dumps(options, sort_keys=True)
        if key not in self._done:
            self._done[key] = run_side(role, options)
        return self._done[key]


def run_side(role, options):
    """Run a side in a process of its own and return its answer; its lines of progress go to standard error.

    Raises:
        RuntimeError: The process failed.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": path}
    command = [sys.executable, "-m", "tests.benchmarks.side", role, json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"benchmark side '{role}' failed with status {done.returncode}; its message stands above")
    return json.loads(done.stdout.splitlines()[-1])


def say(text):
    """Print a line of progress at once."""
    print(text, file=sys.stderr, flush=True)
