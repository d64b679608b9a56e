"""Scores as tables of text, a row per case, for people at a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["COLUMNS", "STRUCTURE_COLUMNS", "format_structures", "format_table"]

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
"""Columns of the table of fragments and the figures of a case they show; distances in mm."""

STRUCTURE_COLUMNS = {
    "Dice": "dice",
    "IoU": "jaccard",
    "sens.": "sensitivity",
    "spec.": "specificity",
    "signed VS": "signed_volume_similarity",
    "ASD": "asd_mm",
    "HD95": "hd95_mm",
    "surf. 95%": "abs_surface_p95_mm",
    "surf. 50%": "abs_surface_median_mm",
    "signed 95%": "signed_surface_p95_mm",
    "signed 50%": "signed_surface_median_mm",
}
"""Columns of the table of structures and the figures of a volume they show; distances in mm."""

STATISTICS = ("mean", "sd", "median")


def format_table(content: Mapping[str, Any]) -> str:
    """Return the figures of the cases, and their mean, standard deviation and median, as a table of text.

    Args:
        content: What `scores.json` of fragments holds.
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
        rows += _statistics([], summary, COLUMNS)
    lines = _lines(rows, 1)
    lines.append(f"matching: {content['settings']['matching']}; distances in mm. {content['note']}")
    return "\n".join(lines)


def format_structures(content: Mapping[str, Any]) -> str:
    """Return the figures of whole structures as a table of text, by structure and region, and a row of slices' means.

    Args:
        content: What `scores.json` of structures holds.
    """
    rows = [["structure", "case", *STRUCTURE_COLUMNS]]
    failed = [name for name, case in content["cases"].items() if case["status"] != "done"]
    for structure, summary in content["summary"].items():
        for name, case in content["cases"].items():
            own = case["structures"].get(structure) if case["status"] == "done" else None
            if own is not None:
                infinite = {key.removeprefix("volume.") for key in own["infinite"] if key.startswith("volume.")}
                figures = {**own["volume"], **dict.fromkeys(infinite, math.inf)}
                rows.append([structure, name, *(_figure(figures.get(key)) for key in STRUCTURE_COLUMNS.values())])
        rows += _statistics([structure], summary["volume"], STRUCTURE_COLUMNS)
        rows.append(_row([structure, "mean 2D"], summary["slices"], "mean", STRUCTURE_COLUMNS))
        for region, figures in summary.get("regions", {}).items():
            rows.append(_row([f"{structure} {region}", "mean"], figures["volume"], "mean", STRUCTURE_COLUMNS))
            rows.append(_row([f"{structure} {region}", "mean 2D"], figures["slices"], "mean", STRUCTURE_COLUMNS))
    rows += [["-", name, "failed", *[""] * (len(STRUCTURE_COLUMNS) - 1)] for name in failed]
    lines = _lines(rows, 2)
    lines.append(f"2D: mean over slices; distances in mm; signed: too large is positive. {content['note']}")
    return "\n".join(lines)


def _statistics(head: Sequence[str], summary: Mapping[str, Any], columns: Mapping[str, str]) -> list[list[str]]:
    return [_row([*head, statistic], summary, statistic, columns) for statistic in STATISTICS]


def _row(head: Sequence[str], summary: Mapping[str, Any], statistic: str, columns: Mapping[str, str]) -> list[str]:
    return [*head, *(_figure(summary.get(key, {}).get(statistic)) for key in columns.values())]


def _lines(rows: Sequence[Sequence[str]], names: int) -> list[str]:
    """Return rows as lines of equal columns, the first ones to the left, with a rule under the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:names], widths[:names], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(row[names:], widths[names:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return lines


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
