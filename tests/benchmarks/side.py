"""One side of a comparison: load a case, do one thing, save the result, report time and peak memory.

Runs as a process of its own (`python -m tests.benchmarks.side ROLE JSON`), so that its peak memory is its own.
"""

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from label_gen import generate_abbc
from postproc import recover_fragments
from tests.benchmarks.cases import SCHEME, Case, make_case
from tests.benchmarks.compare import compare_fragments, compare_voxels
from tests.benchmarks.literal_recipe import listing_classes, naive_recovery

BYTES_PER_RSS = 1 if sys.platform == "darwin" else 1024


def peak_mb():
    """Return the peak resident memory of this process in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_RSS / 1e6


def resident_mb():
    """Return the resident memory of this process now, or its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_mb()
    return pages * resource.getpagesize() / 1e6


def _generate(mode):
    return lambda case, options: (
        ("labels",),
        lambda labels: (generate_abbc(labels, case.spacing_mm, scheme=SCHEME, mode=mode).abbc, {}),
    )


def _recover(engine):
    def work(case, abbc, anatomy):
        found = recover_fragments(abbc, case.spacing_mm, anatomy=anatomy, scheme=SCHEME, engine=engine)
        return found.labels, {"fragments": len(found.fragments)}

    return lambda case, options: (("abbc", "anatomy"), lambda *volumes: work(case, *volumes))


def _listing(case, options):
    def say(text):
        print(f"    {text}", file=sys.stderr, flush=True)

    return ("labels",), lambda labels: (listing_classes(labels, case.spacing_mm, say), {})


def _naive_recovery(case, options):
    def work(abbc):
        owners, seconds = naive_recovery(abbc, case.spacing_mm, options.get("marches"))
        return owners, {"seeds": case.abbc_cores, "march_s": seconds}

    return ("abbc",), work


SIDES = {
    "generate": _generate("default"),
    "generate-literal": _generate("literal"),
    "listing": _listing,
    "recover-fmm": _recover("fmm"),
    "recover-watershed": _recover("watershed"),
    "recover-naive": _naive_recovery,
}
"""By role: from case and options, the names of the inputs and the function from inputs to (result, facts)."""


def measure_side(role, folder, repeat=1, **options):
    """Do one side's work on a case.

    Args:
        role: Key of `SIDES`.
        folder: Folder of the case; the result is saved there as `ROLE.npy`.
        repeat: Run so often; times are medians, memory is the peak of all.
        **options: For the side.

    Returns:
        `cpu_s`, `wall_s`, `peak_mb` above the loaded input, `mb_per_mvox`, and the side's own facts.
    """
    case = Case.read(folder)
    names, work = SIDES[role](case, options)
    inputs = [case.load(name) for name in names]
    before = resident_mb()
    if repeat > 1:
        # A corner of the volume first: what is imported on first use is not part of the work.
        corner = tuple(slice(n // 2 - n // 8, n // 2 + n // 8) for n in case.shape)
        if all(volume[corner].any() for volume in inputs):
            work(*(np.ascontiguousarray(volume[corner]) for volume in inputs))
    times = []
    result, facts = None, {}
    for _ in range(repeat):
        result = None
        began = time.process_time(), time.perf_counter()
        result, facts = work(*inputs)
        times.append((time.process_time() - began[0], time.perf_counter() - began[1]))
    peak = peak_mb() - before
    np.save(case.folder / f"{role}.npy", result)
    cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
    return {"cpu_s": cpu, "wall_s": wall, "peak_mb": peak, "mb_per_mvox": peak / case.mega_voxels, **facts}


OTHERS = {"make": make_case, "compare-voxels": compare_voxels, "compare-fragments": compare_fragments}
"""Work that is not measured but kept out of the starting process, so that it stays small."""


def main(arguments):
    """Do what the arguments say and print the answer as JSON."""
    role, options = arguments[0], json.loads(arguments[1])
    answer = OTHERS[role](**options) if role in OTHERS else measure_side(role, **options)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
