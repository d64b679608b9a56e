"""Predicted fragments against true ones: files in, scores out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnunet_ext.evaluation.results import Evaluation, check_outputs, find_pairs, scores_content, scores_file

if TYPE_CHECKING:
    from label_gen.scheme import LabelScheme
    from nnunet_ext.batch import CaseResult
    from postproc import CaseScores

__all__ = ["MATCHINGS", "evaluate"]

MATCHINGS = ("pengwin2024", "one-to-one")


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
        prediction: A label volume, or a folder of them; or the output of `abbc-segment`.
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
    from nnunet_ext.atomic import write_json
    from nnunet_ext.batch import run_batch
    from nnunet_ext.schemes import load_scheme
    from postproc import summarise_scores

    if matching not in MATCHINGS:
        raise UsageError(f"unknown matching '{matching}'; choose one of {', '.join(MATCHINGS)} (--matching)")
    loaded = load_scheme(scheme)
    target = scores_file(output, csv)
    tasks, surplus, notes = find_pairs(prediction, reference, {"scheme": loaded, "matching": matching})
    check_outputs(target, csv)
    batch = run_batch(_score_case, tasks, workers=workers, on_result=on_result, progress=progress, notes=notes)
    scores = {result.name: result.details["scores"] for result in batch.results if result.status == "done"}
    content = scores_content(
        tasks,
        batch,
        {"scheme": loaded.name, "matching": matching},
        surplus,
        summarise_scores(list(scores.values())),
        {name: case.to_dict() for name, case in scores.items()},
    )
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


def _write_tables(file: Path, cases: Mapping[str, Any]) -> None:
    """Write one row per fragment to the file, and one row per case beside it."""
    from nnunet_ext.atomic import write_csv

    done = {name: case for name, case in cases.items() if case["status"] == "done"}
    write_csv(file, [{"case": name, **row} for name, case in done.items() for row in case["fragments"]])
    write_csv(
        file.with_name(f"{file.stem}_cases.csv"),
        [{"case": name, "status": case["status"], **case.get("case", {})} for name, case in cases.items()],
    )
