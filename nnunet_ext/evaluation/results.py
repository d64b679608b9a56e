"""What all evaluations share: which prediction belongs to which reference, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, Task

__all__ = ["Evaluation", "check_outputs", "find_pairs", "scores_content", "scores_file"]

PROG = "abbc-evaluate"


@dataclass(frozen=True)
class Evaluation:
    """Scores of all cases.

    Attributes:
        batch: What came of each case.
        content: What `scores.json` holds.
    """

    batch: BatchResult
    content: Mapping[str, Any]


def scores_file(output: str | Path, csv: str | Path | None) -> Path:
    """Return the file for the scores.

    Args:
        output: A file ending in `.json`, or a folder for `scores.json`.
        csv: A file ending in `.csv`, or None.

    Raises:
        UsageError: A file has another ending.
    """
    from label_gen.errors import UsageError

    target = Path(output) / "scores.json" if Path(output).is_dir() else Path(output)
    for option, file, suffix in (("-o", target, ".json"), ("--csv", csv, ".csv")):
        if file is not None and Path(file).suffix != suffix:
            raise UsageError(f"the output '{file}' has to end in {suffix} ({option})")
    return target


def check_outputs(*files: str | Path | None) -> None:
    """Check that files can be written, so that no work is lost.

    Args:
        *files: The files; None is passed over.

    Raises:
        VolumeFileError: One cannot be written.
    """
    from nnunet_ext.atomic import check_writable

    for file in files:
        if file is not None:
            check_writable(Path(file))


def find_pairs(
    prediction: str | Path, reference: str | Path, arguments: Mapping[str, Any]
) -> tuple[list[Task], list[str], list[str]]:
    """Find the cases of an evaluation.

    Args:
        prediction: A label volume, or a folder of them; or the output of `abbc-segment`.
        reference: The true labels: a volume, or a folder with volumes of the same names.
        arguments: What the function that scores a case takes beside `reference` and `prediction`.

    Returns:
        A task per reference, which cannot be run where the prediction is missing; the names of predictions without
        reference; and notes for the user.

    Raises:
        UsageError: An input holds nothing usable.
        VolumeFileError: An input folder cannot be read.
    """
    from nnunet_ext.batch import Task
    from nnunet_ext.cases import find_cases, pair_cases

    references, predictions = find_cases(reference), find_cases(prediction)
    pairs = pair_cases(reference, prediction, references, predictions)
    partners = {case.name: partner for case, partner in pairs.pairs}
    problem = f"no prediction of this name in '{Path(prediction).name}'; predict it, or leave the reference out"
    tasks = []
    for case in references:
        partner = partners.get(case.name)
        own = {"reference": case.path, "prediction": partner, **arguments}
        tasks.append(Task(case.name, (), own, "" if partner else problem))
    surplus = [case.name for case in pairs.surplus]
    notes = [f"predictions without reference were left out: {', '.join(surplus)}"] if surplus else []
    return tasks, surplus, notes


def scores_content(
    tasks: list[Task],
    batch: BatchResult,
    settings: Mapping[str, Any],
    surplus: list[str],
    summary: Mapping[str, Any],
    cases: Mapping[str, Mapping[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """Return what a scores file holds.

    Args:
        tasks: The cases.
        batch: What came of them.
        settings: Settings without paths.
        surplus: Names of predictions without reference.
        summary: Figures over all cases.
        cases: Figures of each case that is done.
        **more: What else stands at the top, after the command.
    """
    from nnunet_ext.manifest import NOTE, versions, without_paths

    entries: dict[str, Any] = {}
    for result, task in zip(batch.results, tasks, strict=True):
        if result.status == "done":
            entries[result.name] = {"status": "done", **cases[result.name]}
        else:
            entries[result.name] = {"status": "failed", "error": without_paths(result.error, task.paths)}
    return {
        "command": PROG,
        **more,
        "note": NOTE,
        "versions": versions(),
        "settings": settings,
        "summary": summary,
        "predictions_without_reference": surplus,
        "cases": entries,
    }
