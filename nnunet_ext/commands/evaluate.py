"""`abbc-evaluate`: predicted fragments, or whole structures, against true ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nnunet_ext.commands._cli import add_batch_options, make_parser, report_case, run_command, sum_up
from nnunet_ext.evaluation.fragments import MATCHINGS, evaluate
from nnunet_ext.evaluation.results import Evaluation
from nnunet_ext.evaluation.structures import evaluate_structures
from nnunet_ext.evaluation.tables import format_structures, format_table

__all__ = ["Evaluation", "evaluate", "evaluate_structures", "format_structures", "format_table", "main"]

PROG = "abbc-evaluate"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, "Compare predicted bone fragments, or whole structures, with the true ones.")
    parser.add_argument(
        "-p", "--prediction", required=True, help="predicted labels: a volume, a folder, or what abbc-segment wrote"
    )
    parser.add_argument("-r", "--reference", required=True, help="true labels: a volume or a folder")
    parser.add_argument("-o", "--output", required=True, metavar="SCORES", help="file for the scores, ending in .json")
    parser.add_argument(
        "--matching", choices=MATCHINGS, default="pengwin2024", help="how predicted and true fragments are paired"
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        help="also one row per fragment (FILE_cases.csv: per case); with --structures one per case, structure and "
        "region (FILE_slices.csv: per slice)",
    )
    _add_structure_options(parser)
    _add_picture_options(parser)
    add_batch_options(parser, overwrite=False)
    options = parser.parse_args(argv)

    def work() -> int:
        _check(options)
        baseline = None
        if options.baseline is not None:
            from nnunet_ext.evaluation.pictures import read_scores

            baseline = read_scores(options.baseline)
        evaluation = _evaluate(options)
        print((format_table if options.structures is None else format_structures)(evaluation.content))
        if options.plots is not None:
            from nnunet_ext.evaluation.pictures import draw_scores

            inputs = {"prediction": options.prediction, "reference": options.reference, "images": options.images}
            files = draw_scores(options.plots, evaluation.content, baseline=baseline, **inputs)
            print(f"drawn in {options.plots}: {', '.join(files)}")
        return sum_up(PROG, evaluation.batch)

    return run_command(PROG, options.verbose, work)


def _add_structure_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("whole structures")
    group.add_argument(
        "--structures",
        metavar="WHICH",
        help="score whole structures, not fragments: all, NAME=LABEL,NAME=LABEL+LABEL, or a dataset.json",
    )
    group.add_argument(
        "--region",
        action="append",
        metavar="NAME=MASKS",
        help="also within masks: a folder with one per case, or one file for all; may be repeated",
    )
    group.add_argument(
        "--end-slices", type=int, metavar="N", help="also within the N slices at either end of the true structure"
    )
    group.add_argument(
        "--slice-axis", type=int, choices=(0, 1, 2), help="axis that slices follow each other along: 0 is z (default)"
    )


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures")
    group.add_argument("--plots", metavar="FOLDER", help="draw bars and boxes of the cases, and a page of overlays")
    group.add_argument("--baseline", metavar="SCORES", help="draw the improvement on the scores of another run too")
    group.add_argument("--images", metavar="CTS", help="CTs behind the overlays: a volume or a folder")


def _check(options: argparse.Namespace) -> None:
    from label_gen.errors import UsageError

    structure_options = {
        "--region": options.region,
        "--end-slices": options.end_slices,
        "--slice-axis": options.slice_axis,
    }
    for option, value in structure_options.items():
        if options.structures is None and value is not None:
            raise UsageError(f"{option} is for whole structures; give --structures all, say, or leave it out")
    for option, value in {"--baseline": options.baseline, "--images": options.images}.items():
        if options.plots is None and value is not None:
            raise UsageError(f"{option} is for pictures; give a folder for them (--plots), or leave it out")


def _evaluate(options: argparse.Namespace) -> Evaluation:
    common = {
        "csv": options.csv,
        "workers": options.workers,
        "on_result": lambda result: report_case(PROG, result, options.verbose),
        "progress": True,
    }
    inputs = (options.prediction, options.reference, options.output)
    if options.structures is None:
        return evaluate(*inputs, scheme=options.scheme, matching=options.matching, **common)
    return evaluate_structures(
        *inputs,
        structures=options.structures,
        regions=_regions(options.region or ()),
        end_slices=options.end_slices,
        slice_axis=options.slice_axis or 0,
        **common,
    )


def _regions(words: Sequence[str]) -> dict[str, str]:
    from label_gen.errors import UsageError

    regions: dict[str, str] = {}
    for word in words:
        name, equals, masks = word.partition("=")
        if not equals or not masks or name in regions:
            raise UsageError(f"'{word}' is no region; give each once, as NAME=FOLDER or NAME=FILE (--region)")
        regions[name] = masks
    return regions


if __name__ == "__main__":
    sys.exit(main())
