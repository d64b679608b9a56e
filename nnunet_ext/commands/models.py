"""`abbc-train-models`: the models that ship with the package, made from nothing in stages."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nnunet_ext.commands._cli import DONE, make_parser, run_command

__all__ = ["main"]

PROG = "abbc-train-models"

DESCRIPTION = """Simulate fractured pelves, train a network of whole bones and one of ABBC classes on them, pack, test
and describe them. Stages that are finished are skipped, an interrupted one goes on: run the same command again. Stages:
simulate-training, simulate-test, prepare, plan-bones, plan-abbc, train-bones, train-abbc, pack, test-bones, test-abbc,
test-real, cost, card."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, DESCRIPTION)
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="WORK", help="folder for cases, trainings, packed models and the card")
    add("--profile", default="cpu", metavar="PROFILE", help="cpu, gpu, or a TOML file of your own")
    add("--set", dest="changes", nargs="+", default=[], metavar="KEY=VALUE", help="change settings of the profile, "
        "abbc.epochs=50 say")  # fmt: skip
    add("--anatomies", nargs="+", default=[], metavar="LABELS", help="label volumes of whole bones, or folders of "
        "them, beside parametric pelves")  # fmt: skip
    add("--test-anatomies", nargs="+", default=[], metavar="NAME", help="names or patterns of those only tested on")
    add("--real", metavar="FOLDER", help="real fractured pelves to test on: NAME_bone_ct.nii.gz, NAME_labels.nii.gz")
    add("--training-cases", metavar="FOLDER", help="simulated cases to train on, instead of simulating them")
    add("--test-cases", metavar="FOLDER", help="simulated cases to test on, instead of simulating them")
    add("--compare", nargs="+", default=[], metavar="WORK", help="other folders made so, for the card's table")
    add("--stage", nargs="+", metavar="STAGE", help="only these stages")
    add("--redo", nargs="+", default=[], metavar="STAGE", help="do these stages anew")
    add("--ship", metavar="FOLDER", help="put models and card where the package looks: nnunet_ext/pretrained")
    options = parser.parse_args(argv)

    def work() -> int:
        from nnunet_ext.modelling.making import make_models

        make_models(
            options.output,
            profile=options.profile,
            changes=options.changes,
            anatomies=options.anatomies,
            test_anatomies=options.test_anatomies,
            real=options.real,
            training_cases=options.training_cases,
            test_cases=options.test_cases,
            compare=options.compare,
            stages=options.stage,
            redo=options.redo,
            ship=options.ship,
            say=lambda text: print(f"{PROG}: {text}", file=sys.stderr, flush=True),
        )
        return DONE

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
