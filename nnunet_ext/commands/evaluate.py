"""`abbc-evaluate`: predicted fragments against true ones."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnunet_ext.commands._cli import add_batch_options, make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from label_gen.scheme import LabelScheme
    from nnunet_ext.batch import BatchResult, CaseResult, Task
    from postproc import CaseScores

__all__ = ["Evaluation", "evaluate", "format_table", "main"]

PROG = "abbc-evaluate"
MATCHINGS = ("pengwin2024", "one-to-one")

COLUMNS = {
    "true": "reference_fragments",
    "found": "prediction_fragments",
    "IoU": "fragment_iou",
    "Dice": "fragment_dice",
    "HD95": "fragment_hd95_mm",
    "ASSD": "fragment_assd_mm",
    "recall": "recall",
    "prec.": "precision",
    "F1": "f1",
    "merged": "merge_errors",
    "split": "split_errors",
    "bone IoU": "anatomy_iou",
}
"""Columns of the printed table and the figures of a case they show; distances in mm."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of all cases.

    Attributes:
        batch: What came of each case.
        content: What `scores.json` holds.
    """

    batch: BatchResult
    content: Mapping[str, Any]


def evaluate(
    prediction: str | Path,
    reference: str | Path,
    output: str | Path,
    *,
    scheme: str | Path = "pengwin2024",
    matching: Literal["pengwin2024", "one-to-one"] = "pengwin2024",
    csv: str | Path | None = None,
    workers: int = 1,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Compare predicted fragments with true ones, case by case, and sum up.

    Args:
        prediction: A label volume, or a folder of them.
        reference: The true labels: a volume, or a folder with volumes of the same names. A case without prediction has
            failed; a prediction without reference is noted.
        output: The file for the scores, ending in `.json`, or a folder for `scores.json`.
        scheme: Name of a label scheme, or a `.toml` file.
        matching: `pengwin2024` (the official evaluator, quirks included) or `one-to-one`.
        csv: A file ending in `.csv` for the table of fragments; a table of cases goes beside it as `NAME_cases.csv`.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        The scores.

    Raises:
        UsageError: An input holds nothing usable, an output would replace one, or an option makes no sense.
        SchemeError: There is no such scheme, or it is wrong.
        VolumeFileError: An input folder cannot be read, or an output cannot be written.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.atomic import check_writable, write_json
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import find_cases, pair_cases
    from nnunet_ext.schemes import load_scheme

    if matching not in MATCHINGS:
        raise UsageError(f"unknown matching '{matching}'; choose one of {', '.join(MATCHINGS)} (--matching)")
    loaded = load_scheme(scheme)
    target = Path(output) / "scores.json" if Path(output).is_dir() else Path(output)
    for option, file, suffix in (("-o", target, ".json"), ("--csv", csv, ".csv")):
        if file is not None and Path(file).suffix != suffix:
            raise UsageError(f"the output '{file}' has to end in {suffix} ({option})")
    references, predictions = find_cases(reference), find_cases(prediction)
    pairs = pair_cases(reference, prediction, references, predictions)
    partners = {case.name: partner for case, partner in pairs.pairs}
    tasks = []
    for case in references:
        partner = partners.get(case.name)
        arguments = {"reference": case.path, "prediction": partner, "scheme": loaded, "matching": matching}
        problem = f"no prediction of this name in '{Path(prediction).name}'; predict it, or leave the reference out"
        tasks.append(Task(case.name, (), arguments, "" if partner else problem))
    for file in (target, csv):
        if file is not None:
            check_writable(Path(file))
    surplus = [case.name for case in pairs.surplus]
    notes = [f"predictions without reference were left out: {', '.join(surplus)}"] if surplus else []
    batch = run_batch(_score_case, tasks, workers=workers, on_result=on_result, progress=progress, notes=notes)
    content = _content(batch, tasks, {"scheme": loaded.name, "matching": matching}, surplus)
    write_json(target, content)
    if csv is not None:
        _write_tables(Path(csv), content["cases"])
    return Evaluation(batch, content)


def _score_case(
    reference: Path, prediction: Path, scheme: LabelScheme, matching: Literal["pengwin2024", "one-to-one"]
) -> dict[str, CaseScores]:
    from nnunet_ext.volumes import check_same_grid, naming, read_labels
    from postproc import evaluate_fragments

    true = read_labels(reference, allow_empty=False)
    found = read_labels(prediction)
    check_same_grid(found.grid, true.grid, str(prediction), str(reference))
    with naming(f"{prediction} against {reference}"):
        scores = evaluate_fragments(found.array, true.array, true.spacing_mm, scheme=scheme, matching=matching)
    return {"scores": scores}


def _content(
    batch: BatchResult, tasks: Sequence[Task], settings: Mapping[str, Any], surplus: Sequence[str]
) -> dict[str, Any]:
    """Return what the scores file holds."""
    from nnunet_ext.manifest import NOTE, versions, without_paths
    from postproc import summarise_scores

    cases = {}
    for result, task in zip(batch.results, tasks, strict=True):
        if result.status == "done":
            cases[result.name] = {"status": "done", **result.details["scores"].to_dict()}
        else:
            cases[result.name] = {"status": "failed", "error": without_paths(result.error, task.paths)}
    scores = [result.details["scores"] for result in batch.results if result.status == "done"]
    return {
        "command": PROG,
        "note": NOTE,
        "versions": versions(),
        "settings": settings,
        "summary": summarise_scores(scores),
        "predictions_without_reference": list(surplus),
        "cases": cases,
    }


def _write_tables(file: Path, cases: Mapping[str, Any]) -> None:
    """Write one row per fragment to the file, and one row per case beside it."""
    from nnunet_ext.atomic import write_csv

    done = {name: case for name, case in cases.items() if case["status"] == "done"}
    write_csv(file, [{"case": name, **row} for name, case in done.items() for row in case["fragments"]])
    write_csv(
        file.with_name(f"{file.stem}_cases.csv"),
        [{"case": name, "status": case["status"], **case.get("case", {})} for name, case in cases.items()],
    )


def format_table(content: Mapping[str, Any]) -> str:
    """Return the figures of the cases, and their mean, standard deviation and median, as a table of text.

    Args:
        content: What `scores.json` holds.
    """
    rows = [["case", *COLUMNS]]
    for name, case in content["cases"].items():
        if case["status"] == "done":
            infinite = {key.removeprefix("case.") for key in case.get("infinite", ()) if key.startswith("case.")}
            figures = {**case["case"], **dict.fromkeys(infinite, math.inf)}
            rows.append([name, *(_figure(figures.get(key)) for key in COLUMNS.values())])
        else:
            rows.append([name, "failed", *[""] * (len(COLUMNS) - 1)])
    summary = content["summary"]["case"]
    if summary:
        for statistic in ("mean", "sd", "median"):
            values = (summary.get(key, {}).get(statistic) for key in COLUMNS.values())
            rows.append([statistic, *map(_figure, values)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    lines.append(f"matching: {content['settings']['matching']}; distances in mm. {content['note']}")
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, "Compare predicted bone fragments with the true ones.")
    parser.add_argument("-p", "--prediction", required=True, help="predicted fragments: a volume or a folder")
    parser.add_argument("-r", "--reference", required=True, help="true fragments: a volume or a folder")
    parser.add_argument("-o", "--output", required=True, metavar="SCORES", help="file for the scores, ending in .json")
    parser.add_argument(
        "--matching", choices=MATCHINGS, default="pengwin2024", help="how predicted and true fragments are paired"
    )
    parser.add_argument("--csv", metavar="FILE", help="also one row per fragment; one per case goes to FILE_cases.csv")
    add_batch_options(parser, overwrite=False)
    options = parser.parse_args(argv)

    def work() -> int:
        evaluation = evaluate(
            options.prediction,
            options.reference,
            options.output,
            scheme=options.scheme,
            matching=options.matching,
            csv=options.csv,
            workers=options.workers,
            on_result=lambda result: report_case(PROG, result, options.verbose),
            progress=True,
        )
        print(format_table(evaluation.content))
        return sum_up(PROG, evaluation.batch)

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
