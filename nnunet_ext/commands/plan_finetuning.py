"""`abbc-plan-finetuning`: plan and preprocess a dataset so that the weights of a trained model fit it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from nnunet_ext.commands._cli import DONE, make_parser, run_command

__all__ = ["main"]

PROG = "abbc-plan-finetuning"

DESCRIPTION = """Plan and preprocess a dataset as a trained model was (TotalSegmentator's, say), lay the model's weights
beside the plans, and print the command that trains on from them: nnUNetv2_train ... -tr nnUNetTrainerFineTune
-pretrained_weights FILE. With -tr nnUNetTrainerFineTuneFrozen the encoder stays as it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process by default.

    Returns:
        The exit status.
    """
    parser = make_parser(PROG, DESCRIPTION)
    add = parser.add_argument
    add("-d", type=int, required=True, metavar="ID", help="dataset ID")
    add("-w", "--weights", required=True, metavar="MODEL", help="folder of the model, with plans.json and fold_N, or "
        "bones or abbc, which ship, or the number of one of TotalSegmentator's models in its own folder (294: hip "
        "bones and femora)")  # fmt: skip
    add("-c", default="3d_fullres", metavar="CONFIG", help="configuration of the model")
    add("-overwrite_plans_name", default="FineTuningPlans", metavar="NAME", help="name of the new plans")
    add("--axes", metavar="XYZ", help="where the model's arrays x, y, z run, RAS say; if not given, that of "
        "TotalSegmentator for its models, that of the dataset for others")  # fmt: skip
    add("-np", type=int, default=4, metavar="N", help="processes for fingerprint and preprocessing")
    add("--no_pp", action="store_true", help="plan, do not preprocess")
    add("--no_pbar", action="store_true", help="no progress bars")
    options = parser.parse_args(argv)

    def work() -> int:
        from nnunet_ext.planning.finetuning import plan_finetuning

        made = plan_finetuning(
            options.d,
            options.weights,
            configuration=options.c,
            plans_name=options.overwrite_plans_name,
            axes=options.axes,
            processes=options.np,
            preprocess=not options.no_pp,
            verbose=options.verbose,
            progress=not options.no_pbar,
        )
        if made.flipped_axes:
            axes = ", ".join(map(str, made.flipped_axes))
            print(
                f"{PROG}: the model's arrays run the other way along axis {axes}; its kernels were flipped",
                file=sys.stderr,
            )
        print(shlex.join(made.command()))
        return DONE

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
