"""What all commands share: options, messages and exit status. Imports nothing heavy, so that `--help` is quick."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from nnunet_ext import __version__

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["DONE", "INTERRUPTED", "add_batch_options", "make_parser", "report_case", "run_command", "sum_up"]

DONE = 0
BAD_DATA = 1
WRONG_USAGE = 2
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

NOTE = "Research use only, not a medical device."


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False):
            return action.help
        return super()._get_help_string(action)


def make_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every command.

    Args:
        prog: Name of the command.
        description: What it does, for `--help`.

    Returns:
        The parser, with `--help`, `--version` and `--verbose`.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description, epilog=NOTE, formatter_class=_Formatter)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--verbose", action="store_true", help="tell more, and show tracebacks of errors")
    return parser


def add_batch_options(parser: argparse.ArgumentParser, *, overwrite: bool = True, scheme: bool = True) -> None:
    """Add the options of commands that run over cases.

    Args:
        parser: The parser.
        overwrite: Add `--overwrite` too.
        scheme: Add `--scheme` too.
    """
    if scheme:
        parser.add_argument(
            "--scheme", default="pengwin2024", help="label scheme: pengwin2024, pengwin2026, free or a file"
        )
    parser.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="cases run at the same time; each needs its own memory"
    )
    if overwrite:
        parser.add_argument("--overwrite", action="store_true", help="redo finished cases instead of skipping them")


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0 upward")
    return number


def run_command(prog: str, verbose: bool, work: Callable[[], int]) -> int:
    """Run the work of a command and turn errors into messages and an exit status.

    Args:
        prog: Name of the command.
        verbose: Show the traceback of an error.
        work: Returns the exit status.

    Returns:
        0 done, 1 bad data, 2 wrong usage, 130 interrupted.
    """
    try:
        return work()
    except KeyboardInterrupt:
        print(f"{prog}: stopped; run the same command again to do the rest", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        from label_gen.errors import FractureError, SchemeError, UsageError

        if verbose:
            traceback.print_exc()
        if isinstance(error, FractureError):
            print(f"{prog}: error: {error}", file=sys.stderr)
            return WRONG_USAGE if isinstance(error, (UsageError, SchemeError)) else BAD_DATA
        text = f"unexpected {type(error).__name__}: {error}; please report it with the output of --verbose"
        print(f"{prog}: error: {text}", file=sys.stderr)
        return BAD_DATA


def report_case(prog: str, result: CaseResult, verbose: bool) -> None:
    """Print what went wrong with a case, if anything did, on stderr.

    Args:
        prog: Name of the command.
        result: What came of the case.
        verbose: Show the traceback.
    """
    if result.status == "failed":
        if verbose and result.trace:
            print(result.trace.rstrip(), file=sys.stderr)
        print(f"{prog}: error: case {result.name}: {result.error}", file=sys.stderr)


def sum_up(prog: str, batch: BatchResult) -> int:
    """Print how many cases are done, skipped and failed, if there are any, and the notes, on stderr.

    Args:
        prog: Name of the command.
        batch: What came of all cases.

    Returns:
        The exit status.
    """
    for note in batch.notes:
        print(f"{prog}: note: {note}", file=sys.stderr)
    parts = [f"{batch.count(status)} {status}" for status in ("done", "skipped", "failed") if batch.count(status)]
    if parts:
        print(f"{prog}: {', '.join(parts)}", file=sys.stderr)
    return batch.exit_status
