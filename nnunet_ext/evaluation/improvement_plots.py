"""What a run improves over a baseline, case by case, and whether the hard cases gain most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import UsageError
from nnunet_ext.evaluation.paper import FAINT, INK, PALETTE, bar_style, caption, sheet
from nnunet_ext.evaluation.score_values import (
    Scores,
    case_values,
    gain,
    is_share,
    metric_label,
    natural,
    place_label,
    structures_of,
    unit_of,
)

__all__ = ["plot_improvement"]

MAX_NAMES = 40
"""Most cases whose names stand beside their bars. Source: chosen here: the names of more are too small to be read."""

NAMED_DOTS = 3
"""Dots of the largest changes that are named. Source: chosen here."""

GAIN, LOSS = PALETTE[0], PALETTE[1]


def plot_improvement(
    path: str | Path,
    baseline: Scores,
    other: Scores,
    metric: str = "dice",
    structure: str | Sequence[str] | None = None,
    *,
    part: str = "volume",
    names: tuple[str, str] = ("baseline", "other"),
    against: Literal["baseline", "other", "mean"] = "baseline",
    title: str = "",
) -> None:
    """Draw the improvement of every case as a bar, and against its score, as Ekman et al. 2025 in figures 12 and 13.

    Positive values are improvements, of distances too. A case that happened to score low in the baseline is likely to
    gain by chance alone (regression to the mean), so a slope against the baseline's score says little by itself;
    `against="mean"` is free of that. Source: Bland and Altman 1994, "Regression towards the mean"; Oldham 1962.

    Args:
        path: The file, ending in `.png`, `.svg` or `.pdf`.
        baseline: Contents of the scores file to improve on.
        other: Contents of the other one. Cases that only one of the two has a value for are left out, and counted.
        metric: Name of the metric.
        structure: Name of a structure, or several, one row each; None for all, or for the whole case in scores of
            fragments.
        part: `volume`, `slices`, a region's name, or that and `/slices`.
        names: What the two runs are called.
        against: Score on the lower axis of the right panel: the baseline's, the other's (as in figure 13), or the
            mean of both.
        title: Line at the top.

    Raises:
        UsageError: The scores share no case with a value, or have no such metric, structure or part.
        VolumeFileError: The file cannot be written.
    """
    places: list[str | None] = [structure] if isinstance(structure, str) else list(structure or structures_of(baseline))
    places = places or [None]
    tables = [_pairs(baseline, other, metric, place, part, names) for place in places]
    cases = max(len(table) for table in tables)
    row_inch = max(2.9, 0.9 + 0.2 * cases) if cases <= MAX_NAMES else 4.4
    with sheet(
        path, len(places), 2, height_inch=0.8 + row_inch * len(places), title=title, width_ratios=(1.15, 1.0)
    ) as (figure, axes):
        for (left, right), place, table in zip(axes, places, tables, strict=True):
            gains = np.array([gain(metric, *pair) for pair in table.values()])
            _draw_gains(left, list(table), gains)
            label = f"improvement of {metric_label(metric)}"
            left.set(xlabel=label, title=", ".join(filter(None, (place_label(place, part), _verdict(gains, metric)))))
            before, after = (np.array(column) for column in zip(*table.values(), strict=True))
            x = {"baseline": before, "other": after, "mean": (before + after) / 2}[against]
            _draw_dots(right, x, gains, list(table))
            whose = {"baseline": names[0], "other": names[1], "mean": "mean of both"}[against]
            right.set(xlabel=f"{metric_label(metric)}, {whose}", ylabel=label)
        known = {case for content in (baseline, other) for case in content.get("cases", {})}
        missing = len(known) * len(places) - sum(map(len, tables))
        text = f"{names[1]} over {names[0]}; positive: {names[1]} is better"
        caption(figure, text + (f"; {missing} cases without both values are left out" if missing else ""))


def _pairs(
    baseline: Scores, other: Scores, metric: str, place: str | None, part: str, names: tuple[str, str]
) -> dict[str, tuple[float, float]]:
    """Return both values of every case that has them."""
    tables = []
    for name, content in zip(names, (baseline, other), strict=True):
        try:
            tables.append(case_values(content, metric, place, part=part))
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
    before, after = tables
    pairs = {case: (before[case], after[case]) for case in natural(before) if case in after}
    found = {case: pair for case, pair in pairs.items() if all(map(math.isfinite, pair))}
    if not found:
        raise UsageError(
            f"'{names[0]}' and '{names[1]}' share no case with a value of '{metric}'; compare scores of the same "
            f"cases. Got: {', '.join(natural(before)[:3]) or 'none'}; and {', '.join(natural(after)[:3]) or 'none'}"
        )
    return found


def _verdict(gains: NDArray[np.float64], metric: str) -> str:
    """Return mean, standard deviation, and how many cases got better and worse."""
    digits = 4 if is_share(metric) else 2
    spread = f" \N{PLUS-MINUS SIGN} {gains.std(ddof=1):.{digits}f}" if len(gains) > 1 else ""
    mean = f"{gains.mean():+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    said = f"{mean}{spread} {unit_of(metric)}".strip()
    return f"{said} ({(gains > 0).sum()} better, {(gains < 0).sum()} worse)"


def _draw_gains(ax: Any, cases: Sequence[str], gains: NDArray[np.float64]) -> None:
    """Draw a bar per case, the largest gain at the top."""
    order = np.argsort(gains, kind="stable")
    y = np.arange(len(order))
    for is_kind, colour, pattern in ((gains[order] >= 0, GAIN, 0), (gains[order] < 0, LOSS, 1)):
        ax.barh(y[is_kind], gains[order][is_kind], 0.76, **bar_style(colour, pattern))
    ax.axvline(0, color=INK, lw=0.9)
    ax.axvline(gains.mean(), color=FAINT, lw=1.1, ls=(0, (5, 3)))
    ax.grid(axis="x")
    ax.set_ylim(-0.7, len(y) - 0.3)
    ax.tick_params(axis="y", length=0)
    if len(y) <= MAX_NAMES:
        ax.set_yticks(y, [cases[index] for index in order], fontsize=8.5 if len(y) <= 30 else 7)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(y)} cases")


def _draw_dots(ax: Any, x: NDArray[np.float64], gains: NDArray[np.float64], cases: Sequence[str]) -> None:
    """Draw a dot per case, a line of least squares where there are enough, and name the largest changes."""
    ax.axhline(0, color=INK, lw=0.9)
    for is_kind, colour, marker in ((gains >= 0, GAIN, "o"), (gains < 0, LOSS, "v")):
        ax.plot(x[is_kind], gains[is_kind], marker, color=colour, ms=6, mec="white", mew=0.7)
    if len(x) >= 4 and np.ptp(x) > 0:
        slope, start = np.polyfit(x, gains, 1)
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, slope * ends + start, color=FAINT, lw=1.1, ls=(0, (5, 3)), zorder=1)
    middle = (x.min() + x.max()) / 2
    for index in np.argsort(-np.abs(gains), kind="stable")[:NAMED_DOTS]:
        is_right = x[index] > middle
        ax.annotate(
            cases[index],
            (x[index], gains[index]),
            (-7 if is_right else 7, 0),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="center",
            size=8,
            color=FAINT,
        )
    ax.grid()
    ax.margins(0.09)
