"""Measure label generation and recovery against their naive forms: `python -m tests.benchmarks`."""

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict

from tests.benchmarks.figures import FIGURES, FULL, QUICK
from tests.benchmarks.measure import Bench, say

COLUMNS = ("processor s", "wall s", "peak MB", "MB/Mvoxel")
KEYS = ("cpu_s", "wall_s", "peak_mb", "mb_per_mvox")


def main(arguments=None):
    """Measure what the command line asks for and print it.

    Returns:
        Exit status: 0, or 1 where the literal mode does not equal the listing.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure label generation and recovery against their naive forms, side by side. The whole takes "
        "about a quarter of an hour and 8 GB; peak memory is counted above the loaded input, in 10^6 bytes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="tiny volumes, to see that everything runs")
    parser.add_argument("--only", metavar="NAME", choices=FIGURES, action="append", help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--marches", type=int, metavar="N", help="march N seeds per pass only, extrapolate to all")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of the fast sides; medians are shown")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args(arguments)

    sections = {}
    with tempfile.TemporaryDirectory(prefix="abbc-benchmark-") as folder:
        bench = Bench(folder, repeat=1 if options.quick else options.repeat, marches=options.marches)
        for name in options.only or FIGURES:
            say(f"{name}:")
            sections[name] = FIGURES[name](bench, QUICK if options.quick else FULL)
            print(format_section(sections[name]), flush=True)
    machine = f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}"
    print(f"\nOne thread per side; {machine}.")
    if options.json:
        figures = {name: asdict(section) for name, section in sections.items()}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "quick": options.quick, "figures": figures}, file, indent=1)
    return 0 if all(section.is_equal for section in sections.values()) else 1


def format_section(section):
    """Return a section as text: its title, its rows under headings, its notes."""
    width = max(len(row["what"]) for row in section.rows)
    lines = ["", section.title, "  ".join([" " * width, *(f"{column:>11}" for column in COLUMNS)])]
    for row in section.rows:
        cells = [f"{row[key]:11.2f}" if key in row else f"{'':11}" for key in KEYS]
        lines.append("  ".join([f"{row['what']:{width}}", *cells]).rstrip())
    return "\n".join([*lines, *(f"  {note}" for note in section.notes)])


if __name__ == "__main__":
    sys.exit(main())
