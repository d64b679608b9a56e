"""The plots of a study: the metric by number of training cases, costs, boxes over the test cases, trainings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

from nnunet_ext.studies.columns import column_label, split_column
from nnunet_ext.studies.folder import StudyFolder
from nnunet_ext.studies.study import COSTS, Cell, Published, Study
from nnunet_ext.studies.tables import Finished, value_of, values_of

__all__ = ["draw_study", "series_of"]

MOST_TRAININGS = 8
"""Trainings in one picture; more go into others. Source: chosen here; the colours that can be told apart."""

Entry = TypeVar("Entry")


def draw_study(study: Study, folder: StudyFolder, found: Mapping[str, Finished]) -> list[str]:
    """Draw what can be drawn of the finished cells into `plots/`.

    Args:
        study: The study.
        folder: Its folder.
        found: The finished cells.

    Returns:
        The names of the files.

    Raises:
        VolumeFileError: A file cannot be written.
    """
    from nnunet_ext.evaluation.plots import plot_bars, plot_boxes, plot_curve, plot_training

    if not found:
        return []
    place, made = folder.path / "plots", []
    metrics = [c for c in study.metrics.columns if split_column(c)[0]]
    series = series_of(study)
    groups = {name: done.cell.configuration for name, done in found.items()}
    for column in metrics:
        metric = split_column(column)[1]
        name = column.replace("/", "-").replace(".", "-")
        curves: dict[str, dict[float, list[float]]] = {}
        for cell, done in found.items():
            values = [value for value in values_of(done, column).values() if math.isfinite(value)]
            if values:
                cases = float(len(done.record["settings"]["training_cases"]))
                curves.setdefault(series[cell], {})[cases] = values
        if any(len(curve) > 1 for curve in curves.values()):
            made.append(f"{name}-by-cases.png")
            others = _published_curves(study, series, column)
            plot_curve(place / made[-1], curves, metric, published=others or None, title=column_label(column))
    if metrics[:1] and split_column(metrics[0])[0] == "volume":
        made += _draw_improvements(study, folder, found, series)
    columns = [c for c in [*metrics[:1], *COSTS] if any(value_of(done, c)[0] is not None for done in found.values())]
    if columns:
        table = {name: {c: value_of(done, c)[0] for c in columns} for name, done in found.items()}
        spread = {name: {c: value_of(done, c)[1] for c in columns} for name, done in found.items()}
        published = _published_bars(study, found, columns)
        made.append("bars.png")
        words = {c: column_label(c) for c in columns}
        plot_bars(place / made[-1], table, words, groups=groups, spread=spread, published=published, title=study.name)
    whole = [c for c in metrics if split_column(c)[0] == "volume"]
    scores = {name: done.scores for name, done in found.items() if any(values_of(done, c) for c in whole)}
    for file, some in _pages("boxes", scores) if whole else ():
        made.append(file)
        plot_boxes(place / file, some, [split_column(c)[1] for c in whole])
    logs = {}
    for name, done in found.items():
        for trained in sorted((folder.cell(name) / "results").glob("*/*/fold_*")):
            logs[f"{name}, {trained.name}" if len(done.cell.folds) > 1 else name] = trained
    for file, some_logs in _pages("trainings", logs):
        made.append(file)
        plot_training(place / file, some_logs)
    return made


def _pages(name: str, entries: Mapping[str, Entry]) -> Iterator[tuple[str, dict[str, Entry]]]:
    """Share out what is drawn into pictures of `MOST_TRAININGS`: `NAME.png`, or `NAME-1.png`, `NAME-2.png`, ..."""
    items = list(entries.items())
    for start in range(0, len(items), MOST_TRAININGS):
        number = f"-{start // MOST_TRAININGS + 1}" if len(items) > MOST_TRAININGS else ""
        yield f"{name}{number}.png", dict(items[start : start + MOST_TRAININGS])


def _draw_improvements(
    study: Study, folder: StudyFolder, found: Mapping[str, Finished], series: Mapping[str, str]
) -> list[str]:
    """Draw, for each curve, what the largest training set improves on the smallest, case by case."""
    from nnunet_ext.evaluation.plots import plot_improvement

    made = []
    for name in dict.fromkeys(series[cell] for cell in found):
        own = {done.cell.cases: done for cell, done in found.items() if series[cell] == name and done.cell.cases}
        if len(own) > 1:
            small, large = own[min(own)], own[max(own)]
            file = f"improvement-{re.sub(r'[^A-Za-z0-9_.+-]+', '-', name)}.png"
            names = (small.cell.name, large.cell.name)
            metric = split_column(study.metrics.columns[0])[1]
            plot_improvement(folder.path / "plots" / file, small.scores, large.scores, metric, names=names, title=name)
            made.append(file)
    return made


def series_of(study: Study) -> dict[str, str]:
    """Return the curve that each cell belongs to: what tells cells apart beside the number of training cases.

    Labels that other ones imply are left out, bare numbers first.

    Args:
        study: The study.
    """
    cells = study.cells
    keys = [key for key in _labels(cells) if key not in ("cases", "name")]
    varying = [key for key in keys if _differ(cells, [key]) > 1]
    numbers = [key for key in varying if all(cell.labels.get(key, "0").isdigit() for cell in cells)]
    for key in (*reversed(numbers), *reversed([key for key in varying if key not in numbers])):
        fewer = [other for other in varying if other != key]
        if _differ(cells, fewer) == _differ(cells, varying):
            varying = fewer
    return {
        cell.name: " ".join(cell.labels[key] for key in varying if cell.labels.get(key)) or study.name for cell in cells
    }


def _differ(cells: tuple[Cell, ...], keys: list[str]) -> int:
    """Return how many cells some labels tell apart."""
    return len({tuple(cell.labels.get(key) for key in keys) for cell in cells})


def _labels(cells: tuple[Cell, ...]) -> list[str]:
    return list(dict.fromkeys(key for cell in cells for key in cell.labels))


def _published_curves(
    study: Study, series: Mapping[str, str], column: str
) -> dict[str, dict[float, tuple[float, float | None]]]:
    """Return published means and standard deviations by source and number of training cases."""
    by_name = {cell.name: cell for cell in study.cells}
    found: dict[str, dict[float, tuple[float, float | None]]] = {}
    for table in study.published:
        for name, numbers in table.rows.items():
            told = dict(zip(table.columns, numbers, strict=True))
            value, cases = told.get(column), by_name[name].cases if name in by_name else None
            if value is not None and cases:
                curve = f"{series[name]}, {_short(table)}"
                found.setdefault(curve, {})[float(cases)] = (value, told.get(f"{column}.sd"))
    return found


def _published_bars(
    study: Study, found: Mapping[str, Finished], columns: list[str]
) -> dict[str, dict[str, float | None]] | None:
    bars: dict[str, dict[str, float | None]] = {}
    for table in study.published:
        for name, numbers in table.rows.items():
            told = dict(zip(table.columns, numbers, strict=True))
            values = {c: told[c] for c in columns if told.get(c) is not None}
            if name in found and values:
                bars.setdefault(name, {}).update(values)
    return bars or None


def _short(table: Published) -> str:
    return table.source.split(",")[0]
