"""`abbc-env`: the shell line that lets nnU-Net find our trainers."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nnunet_ext.commands._cli import DONE, make_parser, run_command

__all__ = ["main"]

PROG = "abbc-env"

DESCRIPTION = """Print the line that lets nnUNetv2_train find the trainers of this package. Use it as
eval "$(abbc-env)" in the shell or in ~/.bashrc. Prediction needs no variable."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process by default.

    Returns:
        The exit status.
    """
    parser = make_parser(PROG, DESCRIPTION)
    parser.add_argument("--path", action="store_true", help="print the folder alone, for other shells than POSIX ones")
    arguments = parser.parse_args(argv)
    return run_command(PROG, arguments.verbose, lambda: _print(arguments.path))


def _print(path: bool) -> int:
    from nnunet_ext.environment import shell_line, trainer_folder

    print(trainer_folder() if path else shell_line())
    if not path:
        print(f"{PROG}: set {shell_line().removeprefix('export ')}", file=sys.stderr)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
