"""`abbc-postprocess`: predicted classes to cleaner ones, by rules per class."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.commands._cli import add_batch_options, make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult
    from nnunet_ext.predictions import DatasetClasses
    from postproc import ClassRule

__all__ = ["describe_classes", "main", "postprocess"]

PROG = "abbc-postprocess"


def postprocess(
    predictions: str | Path,
    output: str | Path,
    *,
    rules: str | Path = "ekman2025",
    classes: Mapping[str, str] | None = None,
    labels: Mapping[str, int] | None = None,
    segmentations: bool = False,
    workers: int = 1,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Apply rules per class to predictions of one or many cases.

    Writes `CASE.nii.gz` and the manifest `abbc-postprocess.json`, which tells what was dropped and filled per class.
    The order of the steps is told in `postproc.class_rules`.

    Args:
        predictions: A segmentation, nnU-Net's `.npz` of probabilities with the segmentation beside it, or a folder of
            them. Where both lie side by side the probabilities are used. To a segmentation the thresholds do not apply.
        output: A folder; for a single case also a file name.
        rules: Name of rules that come with the project, or a `.toml` file.
        classes: Names of classes of the data set by name of the rule, where they differ.
        labels: Class numbers by name; None to look them up in nnU-Net's `dataset.json` beside the predictions.
        segmentations: Use the segmentations and leave the probabilities beside them.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        overwrite: Redo finished cases instead of skipping them.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case; the details are the reports of `postproc.apply_class_rules`.

    Raises:
        UsageError: The input holds nothing usable, the output is inside it, the rules are wrong, or they do not fit
            the classes.
        SchemeError: `dataset.json` has no valid table of labels.
        VolumeFileError: The input folder cannot be read, or the manifest cannot be written.
    """
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import check_output, find_cases, output_path
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.predictions import DatasetClasses, are_probabilities, find_classes
    from nnunet_ext.rules import load_rules, match_rules
    from postproc.class_rules import check_rules

    rule_set = load_rules(rules)
    cases = find_cases(predictions, prefers_probabilities=not segmentations)
    check_output(output, predictions)
    known = find_classes(cases[0].path) if labels is None else DatasetClasses(dict(labels))
    matched = match_rules(rule_set, known.numbers, classes)
    check_rules(matched.rules, known.numbers)
    notes = []
    if matched.unused:
        notes.append(f"rules that no class has the name of, not used: {', '.join(matched.unused)}")
    if matched.unruled:
        notes.append(f"classes without a rule, left as they are: {', '.join(matched.unruled)}")
    if count := sum(not are_probabilities(case.path) for case in cases):
        notes.append(f"{count} of {len(cases)} cases are segmentations without probabilities: no threshold applies")
    tasks = []
    for case in cases:
        target = output_path(case, predictions, output)
        check_output(target, case.path)
        arguments = {"prediction": case.path, "output": target, "rules": matched.rules, "classes": known}
        tasks.append(Task(case.name, (target,), arguments))
    settings = {
        "rules": rule_set.name,
        "classes": [asdict(rule) for rule in matched.rules],
        "labels": known.numbers,
        "segmentations": segmentations,
    }
    return run_batch(
        _postprocess_case,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=Manifest(tasks[0].outputs[0].parent / f"{PROG}.json", PROG, settings),
        on_result=on_result,
        progress=progress,
        notes=notes,
    )


def _postprocess_case(
    prediction: Path, output: Path, rules: tuple[ClassRule, ...], classes: DatasetClasses
) -> dict[str, Any]:
    from nnunet_ext.predictions import read_prediction
    from nnunet_ext.volumes import Volume, naming, write_volume
    from postproc import apply_class_rules

    read = read_prediction(prediction, classes)
    with naming(prediction):
        ruled = apply_class_rules(read.array, read.grid.spacing_mm, rules, classes.numbers)
    write_volume(Volume.on_grid(ruled.labels, read.grid), output)
    return ruled.to_dict()


def describe_classes(details: Mapping[str, Any], verbose: bool) -> list[str]:
    """Return a line per class of which nothing is left.

    Args:
        details: The reports of `postproc.apply_class_rules`.
        verbose: Return a line for every class.
    """
    from postproc import ClassReport

    reports = [ClassReport(**row) for row in details.get("classes", ())]
    return [str(report) for report in reports if verbose or (report.before_mm3 and not report.after_mm3)]


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = (part.strip() for part in text.partition("="))
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"'{text}' is no pair; write NAME=VALUE")
    return name, value


def _numbered(text: str) -> tuple[str, int]:
    name, value = _pair(text)
    if not (value.isascii() and value.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' has no whole number behind the '='; write NAME=NUMBER")
    return name, int(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(
        PROG,
        "Clean predicted classes by rules per class: probability threshold, smallest object, contact with another "
        "class, n largest objects, filled holes.",
    )
    parser.add_argument(
        "-i", "--input", required=True, metavar="PRED", help="segmentations or nnU-Net's .npz: a file or a folder"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder, or file for a single case")
    parser.add_argument("--rules", default="ekman2025", help="rules: ekman2025 or a .toml file of the same form")
    parser.add_argument(
        "--classes",
        nargs="+",
        type=_pair,
        metavar="RULE=CLASS",
        help="which class of the data set a rule is for, where the names differ",
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        type=_numbered,
        metavar="NAME=NUMBER",
        help="numbers of the classes (else from dataset.json beside the input)",
    )
    parser.add_argument("--segmentations", action="store_true", help="do not use the .npz beside segmentations")
    add_batch_options(parser, scheme=False)
    options = parser.parse_args(argv)

    def show(result: CaseResult) -> None:
        report_case(PROG, result, options.verbose)
        for line in describe_classes(result.details, options.verbose):
            print(f"{PROG}: case {result.name}: {line}", file=sys.stderr)

    def work() -> int:
        batch = postprocess(
            options.input,
            options.output,
            rules=options.rules,
            classes=_table(options.classes, "--classes"),
            labels=_table(options.labels, "--labels"),
            segmentations=options.segmentations,
            workers=options.workers,
            overwrite=options.overwrite,
            on_result=show,
            progress=True,
        )
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


def _table(pairs: Sequence[tuple[str, Any]] | None, option: str) -> dict[str, Any] | None:
    """Return the pairs of an option as a table; no name may come twice."""
    from label_gen import UsageError

    if pairs is None:
        return None
    table = dict(pairs)
    if len(table) < len(pairs):
        name = next(name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1)
        raise UsageError(f"'{name}' is given twice; give it once ({option})")
    return table


if __name__ == "__main__":
    sys.exit(main())
