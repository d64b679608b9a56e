"""`abbc-doctor`: would training run here, and what to do if not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nnunet_ext.commands._cli import BAD_DATA, DONE, make_parser, run_command

__all__ = ["main"]

PROG = "abbc-doctor"
DESCRIPTION = """Look at this installation (versions, GPU, memory, nnU-Net's folders and variables, trainers), and if
named, at a dataset and at a training on it. Each finding comes with its cure. Changes nothing. Exit status 1 if
training would fail."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 training would run, 1 it would fail, 2 wrong usage.
    """
    parser = make_parser(PROG, DESCRIPTION)
    parser.add_argument("-d", metavar="DATASET", help="number or name of a dataset: look at all its cases too")
    parser.add_argument("-c", metavar="CONFIG", help="configuration to train: check that training can start")
    parser.add_argument("-p", metavar="PLANS", help="plans to train with; nnUNetPlans if -c is given alone")
    parser.add_argument(
        "-tr", metavar="TRAINER", help="trainer to train with; looked for is nnUNetTrainerABBC if not given"
    )
    parser.add_argument("-f", type=_fold, metavar="FOLD", help="fold to train: a number, or all")
    parser.add_argument("-device", choices=("cuda", "cpu", "mps"), help="what to train on; the best that there is")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="cases looked at at the same time")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(argv)
    return run_command(PROG, options.verbose, lambda: _run(options))


def _fold(text: str) -> int | str:
    if text == "all" or (text.isascii() and text.isdigit()):
        return text if text == "all" else int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is no fold; give a number from 0, or all")


def _run(options: argparse.Namespace) -> int:
    import json
    import shutil

    from nnunet_ext.doctor.diagnosis import diagnose
    from nnunet_ext.doctor.report import as_object, as_table, would_fail

    findings = diagnose(
        dataset=options.d,
        plans=options.p,
        configuration=options.c,
        trainer=options.tr,
        fold=options.f,
        device=options.device,
        workers=options.workers,
        progress=True,
    )
    if options.json:
        print(json.dumps(as_object(findings), indent=2))
    else:
        width = shutil.get_terminal_size((120, 0)).columns if sys.stdout.isatty() else 120
        print(as_table(findings, width=width, details=options.verbose))
    return BAD_DATA if would_fail(findings) else DONE


if __name__ == "__main__":
    sys.exit(main())
