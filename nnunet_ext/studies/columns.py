"""The columns of a study's tables, `dice`, `slices.dice`, `validation.dice`, `training_s` say, and their values."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.evaluation.score_values import case_values, metric_label, place_label, structures_of
from nnunet_ext.studies.study import COSTS
from postproc.structure_scores import StructureScores

__all__ = ["VALIDATION", "check_column", "column_label", "column_values", "mean_and_sd", "split_column"]

VALIDATION = "validation"
"""The part that is the validation cases of the folds, by nnU-Net's own Dice, mean over structures."""

METRICS = tuple(item.name for item in fields(StructureScores))
"""The metrics that a table may show."""

_METRIC = re.compile(r"[a-z][a-z0-9_]*")
_PART = re.compile(r"[A-Za-z0-9_-]+(/slices)?")
_COST_LABELS = {
    "training_s": "training (s)",
    "processor_s": "processor time (s)",
    "peak_vram_mb": "peak VRAM (MB)",
    "peak_ram_mb": "peak RAM (MB)",
    "inference_s": "inference per volume (s)",
}


def split_column(column: str) -> tuple[str, str]:
    """Return part and metric of a column.

    Args:
        column: `METRIC` of whole volumes, `PART.METRIC`, or one of `COSTS`.

    Returns:
        The part (empty for costs), and the metric.

    Example:
        >>> split_column("dice"), split_column("head/slices.dice"), split_column("training_s")
        (('volume', 'dice'), ('head/slices', 'dice'), ('', 'training_s'))
    """
    if column in COSTS:
        return "", column
    part, dot, metric = column.rpartition(".")
    return (part if dot else "volume"), metric


def check_column(column: str) -> str:
    """Return what is wrong with a column; empty if nothing is.

    Args:
        column: As in `split_column`.

    Example:
        >>> check_column("head/slices.dice")
        ''
    """
    part, metric = split_column(column)
    if not part:
        return ""
    if part == VALIDATION:
        return "" if metric == "dice" else f"'{column}': of the validation there is 'validation.dice' only"
    if not _PART.fullmatch(part) or not _METRIC.fullmatch(metric) or metric not in METRICS:
        known = f"known metrics are {', '.join(METRICS)}; costs {', '.join(COSTS)}; validation.dice"
        return f"unknown column '{column}'; write METRIC, slices.METRIC, REGION.METRIC or REGION/slices.METRIC; {known}"
    return ""


def column_label(column: str) -> str:
    """Return what people call a column.

    Args:
        column: As in `split_column`.

    Example:
        >>> column_label("dice"), column_label("head/slices.dice"), column_label("validation.dice")
        ('Dice', 'Dice, head, per slice', 'Dice, validation')
    """
    part, metric = split_column(column)
    if not part:
        return _COST_LABELS[metric]
    place = VALIDATION if part == VALIDATION else place_label(None, part).lower()
    return metric_label(metric) + (f", {place}" if place else "")


def column_values(scores: Mapping[str, Any], column: str, structure: str | None = None) -> dict[str, float]:
    """Return a metric of each test case.

    Args:
        scores: What `abbc-evaluate --structures` wrote.
        column: A column that is a metric of test cases.
        structure: One structure; the mean over all that a case has a figure of if None.

    Returns:
        Values by case; NaN where there is none. Empty where the scores hold no such part.
    """
    part, metric = split_column(column)
    names = structures_of(scores) if structure is None else (structure,)
    tables = []
    for name in names:
        try:
            tables.append(case_values(scores, metric, name, part=part))
        except UsageError:
            continue
    found: dict[str, float] = {}
    for case in dict.fromkeys(case for table in tables for case in table):
        values = [table[case] for table in tables if case in table and math.isfinite(table[case])]
        found[case] = statistics.fmean(values) if values else math.nan
    return found


def mean_and_sd(values: Mapping[str, float]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation of the finite values; None where there are too few.

    Args:
        values: By case.

    Example:
        >>> mean_and_sd({"a": 1.0, "b": 3.0, "c": float("nan")})
        (2.0, 1.4142135623730951)
    """
    finite = [value for value in values.values() if math.isfinite(value)]
    if not finite:
        return None, None
    return statistics.fmean(finite), statistics.stdev(finite) if len(finite) > 1 else None
