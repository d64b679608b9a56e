"""The tables of a study: one row per finished cell, as CSV and Markdown, published values beside the own ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_ext.atomic import replacing, write_csv
from nnunet_ext.evaluation.score_values import structures_of
from nnunet_ext.studies.columns import VALIDATION, column_label, column_values, mean_and_sd, split_column
from nnunet_ext.studies.folder import StudyFolder
from nnunet_ext.studies.study import COSTS, Cell, Published, Study

__all__ = ["Finished", "read_finished", "value_of", "values_of", "write_tables"]

AXES = ("configuration", "trainer", "planner", "batch_size", "cases", "epochs", "folds")
"""What tells cells apart, as columns of the CSV table."""


@dataclass(frozen=True)
class Finished:
    """A finished cell.

    Attributes:
        cell: The cell.
        record: Its `record.json`.
        scores: Its `scores.json`.
    """

    cell: Cell
    record: Mapping[str, Any]
    scores: Mapping[str, Any]


def read_finished(study: Study, folder: StudyFolder) -> dict[str, Finished]:
    """Read what the finished cells left, in the order of the study.

    Args:
        study: The study.
        folder: Its folder.
    """
    found = {}
    for cell in study.cells:
        files = folder.record(cell.name), folder.cell(cell.name) / "scores.json"
        if all(file.is_file() for file in files):
            record, scores = (json.loads(file.read_text(encoding="utf-8")) for file in files)
            found[cell.name] = Finished(cell, record, scores)
    return found


def values_of(done: Finished, column: str, structure: str | None = None) -> dict[str, float]:
    """Return the values of a column that is a metric, by test case; by validation case for `validation.dice`.

    Args:
        done: The cell.
        column: The column.
        structure: One structure; the mean over all if None.
    """
    if split_column(column)[0] != VALIDATION:
        return column_values(done.scores, column, structure)
    folds = done.record["training"].values()
    return {
        case: float("nan") if value is None else float(value)
        for told in folds
        for case, value in told.get("validation_dice", {}).items()
    }


def value_of(done: Finished, column: str, structure: str | None = None) -> tuple[float | None, float | None]:
    """Return mean and standard deviation of a column; a cost has no standard deviation.

    Args:
        done: The cell.
        column: The column.
        structure: One structure; the mean over all if None.
    """
    if column in COSTS:
        cost = done.record["costs"][column]
        return (None if cost is None else float(cost)), None
    return mean_and_sd(values_of(done, column, structure))


def write_tables(study: Study, folder: StudyFolder) -> dict[str, Finished]:
    """Write `table.csv` and `table.md` of the cells that are finished.

    Args:
        study: The study.
        folder: Its folder.

    Returns:
        The finished cells.

    Raises:
        VolumeFileError: A file cannot be written.
    """
    found = read_finished(study, folder)
    write_csv(folder.path / "table.csv", [_row(study, done) for done in found.values()])
    with replacing(folder.path / "table.md") as temporary:
        temporary.write_text(_markdown(study, found), encoding="utf-8")
    return found


def _row(study: Study, done: Finished) -> dict[str, Any]:
    """Return a row of the CSV table: means and standard deviations over the test cases, then the costs."""
    cell = done.cell
    row: dict[str, Any] = {"cell": cell.name}
    row |= {key: getattr(cell, key) for key in AXES}
    row |= {
        "trainer": cell.trainer_name,
        "configuration": cell.configuration_name,
        "cases": len(done.record["settings"]["training_cases"]),
        "folds": " ".join(str(fold) for fold in cell.folds),
        "test_cases": len(done.scores.get("cases", {})),
    }
    structures = structures_of(done.scores)
    for column in study.metrics.columns:
        if column in COSTS:
            continue
        row[column], row[f"{column}.sd"] = value_of(done, column)
        if len(structures) > 1 and split_column(column)[0] != VALIDATION:
            for name in structures:
                row[f"{name}:{column}"], row[f"{name}:{column}.sd"] = value_of(done, column, name)
    return row | {cost: done.record["costs"][cost] for cost in COSTS}


def _markdown(study: Study, found: Mapping[str, Finished]) -> str:
    lines = [f"# {study.name}", "", study.description, ""]
    if study.reference:
        lines += [f"Repeats: {study.reference}", ""]
    if study.data.simulate:
        lines += [
            f"Cases are simulated {study.data.simulate} with CT that is made up, {study.data.spacing_mm:g} mm.",
            "",
        ]
    count = f"{len(found)} of {len(study.cells)} cells are finished."
    lines += [f"{count} Mean ± standard deviation over the test cases; a cell is one training.", ""]
    columns = [*study.metrics.columns, *(cost for cost in COSTS if cost not in study.metrics.columns)]
    shown = [column for column in columns if any(value_of(done, column)[0] is not None for done in found.values())]
    lines += _table(
        ["cell", "training cases", *map(column_label, shown)],
        [
            [name, str(len(done.record["settings"]["training_cases"])), *(_said(*value_of(done, c), c) for c in shown)]
            for name, done in found.items()
        ],
    )
    for table in study.published:
        lines += ["", f"## {table.title}, beside it", "", f"Published: {table.source}."]
        lines += [table.note] if table.note else []
        lines += ["", *_beside(table, found)]
    return "\n".join(lines) + "\n"


def _beside(table: Published, found: Mapping[str, Finished]) -> list[str]:
    """Return a published table with the own values beside."""
    columns = [column for column in table.columns if not column.endswith(".sd")]
    head = ["cell"]
    for column in columns:
        head += [f"{column_label(column)}, here", f"{column_label(column)}, published"]
    rows = []
    for name, numbers in [*table.rows.items(), *table.others.items()]:
        told = dict(zip(table.columns, numbers, strict=True))
        row = [name]
        for column in columns:
            own = _said(*value_of(found[name], column), column) if name in table.rows and name in found else ""
            row += [own, _said(told[column], told.get(f"{column}.sd"), column)]
        rows.append(row)
    return _table(head, rows)


def _said(value: float | None, sd: float | None, column: str) -> str:
    """Return a value for people; empty if there is none."""
    if value is None:
        return ""
    if column in COSTS:
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")
    text = f"{value:.4f}"
    return text if sd is None else f"{text} ± {sd:.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
