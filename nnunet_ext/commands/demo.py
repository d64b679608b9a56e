"""`abbc-demo`: from the CT of a simulated patient to fragments, or a set of virtual patients to train on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nnunet_ext.commands._cli import make_parser, report_case, run_command, sum_up
from nnunet_ext.demo import DEFAULT_SEED, run_demo
from nnunet_ext.virtual_patients import write_patients

__all__ = ["main"]

PROG = "abbc-demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, "Simulate the CT of a fractured pelvis and find its fragments.")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for everything the demo writes")
    parser.add_argument(
        "--seed", type=int, metavar="N", help=f"another number, another patient ({DEFAULT_SEED}; of many the first: 1)"
    )
    parser.add_argument("--spacing", type=float, default=1.0, metavar="MM", help="edge of the voxels")
    parser.add_argument(
        "--patients", type=int, metavar="N", help="write N patients (images/, labels/) to train on instead"
    )
    parser.add_argument("--overwrite", action="store_true", help="do everything anew")
    options = parser.parse_args(argv)

    def say(text: str) -> None:
        print(text, flush=True)

    def work() -> int:
        if options.patients is not None:
            return sum_up(
                PROG,
                write_patients(
                    options.output,
                    options.patients,
                    first_seed=1 if options.seed is None else options.seed,
                    spacing_mm=options.spacing,
                    overwrite=options.overwrite,
                    on_result=lambda result: report_case(PROG, result, options.verbose),
                    progress=True,
                ),
            )
        seed = DEFAULT_SEED if options.seed is None else options.seed
        demo = run_demo(options.output, seed=seed, spacing_mm=options.spacing, overwrite=options.overwrite, say=say)
        return demo.status

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
