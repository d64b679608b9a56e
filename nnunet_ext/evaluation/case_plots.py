"""Scores of single cases as pictures: one bar per case and run, and boxes over all cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import UsageError
from nnunet_ext.evaluation.paper import (
    FAINT,
    INK,
    bar_style,
    caption,
    colour_of,
    legend,
    legend_columns,
    scatter_x,
    sheet,
)
from nnunet_ext.evaluation.score_values import (
    Scores,
    better,
    case_values,
    is_share,
    metric_label,
    natural,
    place_label,
    structures_of,
    unit_of,
)

__all__ = ["plot_boxes", "plot_cases"]

MAX_NAMES = 80
"""Most cases whose names stand under the bars. Source: chosen here: the names of more are too small to be read."""

LEGEND_LETTERS = 118.0
"""Letters for which there is room above a panel. Source: chosen here, measured."""

CUT_ABOVE = 0.6
"""Bars of shares do not start at 0 when all are larger than this. Source: chosen here: Dice of whole bones is 0.9 to
1, and the rest is what matters; the picture shows and says that the bars are cut."""

SAID = {1: "higher is better", -1: "lower is better", 0: "nearer to 0 is better"}


def plot_cases(
    path: str | Path,
    scores: Mapping[str, Scores],
    metric: str | Sequence[str] = "dice",
    structure: str | Sequence[str] | None = None,
    *,
    part: str = "volume",
    order: Literal["score", "name"] = "score",
    title: str = "",
) -> None:
    """Draw one bar per case and run, as Ekman et al. 2025 do in figures 10 and 14 to 18.

    Args:
        path: The file, ending in `.png`, `.svg` or `.pdf`.
        scores: Contents of scores files by the name of the run, in the order of the bars.
        metric: Name of a metric, or several: those of one unit share a panel, the first solid, the others striped.
        structure: Name of a structure (or bone, in scores of fragments), or several, one panel each. None for all
            structures, or for the whole case in scores of fragments.
        part: `volume`, `slices`, a region's name, or that and `/slices`.
        order: Cases from worst to best, by the mean over the runs of the first metric of the first structure, or by
            name.
        title: Line at the top.

    Raises:
        UsageError: There are no scores, or a metric, structure or part is in none of them.
        VolumeFileError: The file cannot be written.
    """
    metrics = [metric] if isinstance(metric, str) else list(metric)
    places = _places(scores, structure)
    tables = _tables(scores, metrics, places, part)
    cases = natural(dict.fromkeys(case for table in tables.values() for case in table))
    if order == "score":
        cases = _from_worst(cases, [tables[run, places[0], metrics[0]] for run in scores], metrics[0])
    units: dict[tuple[str, bool], list[str]] = {}
    for name in metrics:
        units.setdefault((unit_of(name), is_share(name)), []).append(name)
    panels = [(place, names) for place in places for names in units.values()]
    names_inch = 0.07 * max(map(len, cases)) if _are_upright(cases) else 0.2
    height = 0.6 + 2.55 * len(panels) + names_inch
    with sheet(path, len(panels), height_inch=height, title=title, sharex=True) as (figure, axes):
        is_cut = False
        for ax, (place, names) in zip(axes[:, 0], panels, strict=True):
            series = {
                (run, name): np.array([tables[run, place, name].get(case, math.nan) for case in cases])
                for run in scores
                for name in names
            }
            is_cut |= _draw_bars(ax, series, list(scores), names)
            ax.set(ylabel=" / ".join(map(metric_label, names)), title=place_label(place, part))
            handles = ax.containers
            columns = legend_columns(handles, LEGEND_LETTERS - 1.3 * len(ax.get_title(loc="left")))
            ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.01, 0.98), ncols=columns, handlelength=1.4)
        _name_cases(axes[-1, 0], cases)
        said = [f"{len(cases)} cases" + (", from worst to best" if order == "score" else "")]
        said += [SAID[better(metrics[0])]] if len(units) == 1 else []
        said += ["dashed: means", "\N{MULTIPLICATION X}: failed or undefined"]
        caption(figure, "; ".join(said + (["the bars are cut below"] if is_cut else [])))


def plot_boxes(
    path: str | Path,
    scores: Mapping[str, Scores],
    metrics: Sequence[str] = ("dice", "sensitivity", "specificity", "asd_mm"),
    structure: str | Sequence[str] | None = None,
    *,
    part: str = "volume",
    title: str = "",
) -> None:
    """Draw boxes of the scores of several runs beside each other, one panel per metric, a dot for every case.

    Args:
        path: The file, ending in `.png`, `.svg` or `.pdf`.
        scores: Contents of scores files by the name of the run.
        metrics: Names of the metrics. Source of the default: Lang, figure 7, shows these.
        structure: As for `plot_cases`; several structures stand in groups beside each other.
        part: As for `plot_cases`.
        title: Line at the top.

    Raises:
        UsageError: There are no scores, or a metric, structure or part is in none of them.
        VolumeFileError: The file cannot be written.
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    places = _places(scores, structure)
    tables = _tables(scores, metrics, places, part)
    runs = list(scores)
    boxes = len(runs) * len(places)
    rows = -(-len(metrics) // (4 if boxes <= 3 else 2 if boxes <= 12 else 1))
    columns = -(-len(metrics) // rows)
    with sheet(path, rows, columns, height_inch=0.95 + 2.9 * rows, title=title) as (figure, axes):
        for ax, name in zip(axes.flat, metrics, strict=False):
            for group, place in enumerate(places):
                for index, run in enumerate(runs):
                    values = np.array(list(tables[run, place, name].values()))
                    _draw_box(ax, group * (len(runs) + 1.0) + index, values, index)
            ax.set_title(metric_label(name))
            ax.grid(axis="y")
            middles = [group * (len(runs) + 1.0) + (len(runs) - 1) / 2 for group in range(len(places))]
            ax.set_xticks(middles, [place_label(place, part) if len(places) > 1 else "" for place in places])
            ax.tick_params(axis="x", length=0)
            ax.margins(y=0.08)
        for ax in axes.flat[len(metrics) :]:
            ax.set_visible(False)
        legend(figure, [_patch(run, index) for index, run in enumerate(runs)])
        text = f"{place_label(places[0], part)}; ".lstrip("; ") if len(places) == 1 else ""
        text += "box: quartiles, line: median, diamond: mean, whiskers: to 1.5 box lengths, dots: cases"
        left = sum(int((~np.isfinite(list(table.values()))).sum()) for table in tables.values())
        caption(figure, text + (f"; {left} failed or undefined values are left out" if left else ""))


def _places(scores: Mapping[str, Scores], structure: str | Sequence[str] | None) -> list[str | None]:
    """Return the structures to draw."""
    if not scores:
        raise UsageError("there are no scores to draw; name at least one scores file of abbc-evaluate")
    if isinstance(structure, str):
        return [structure]
    if structure:
        return list(structure)
    return list(dict.fromkeys(name for content in scores.values() for name in structures_of(content))) or [None]


def _tables(
    scores: Mapping[str, Scores], metrics: Sequence[str], places: Sequence[str | None], part: str
) -> dict[tuple[str, str | None, str], dict[str, float]]:
    """Return the values by case of every run, structure and metric."""
    if not metrics:
        raise UsageError("no metric was named; name one or several, dice, say")
    found = {}
    for run, content in scores.items():
        for place in places:
            for name in metrics:
                try:
                    found[run, place, name] = case_values(content, name, place, part=part)
                except UsageError as error:
                    raise UsageError(f"{run}: {error}") from None
    return found


def _from_worst(cases: Sequence[str], tables: Sequence[Mapping[str, float]], metric: str) -> list[str]:
    """Sort cases from worst to best by their mean over the runs; those without any value come first."""
    way = better(metric)

    def badness(case: str) -> float:
        values = [table[case] for table in tables if math.isfinite(table.get(case, math.nan))]
        if not values:
            return -math.inf
        mean = math.fsum(values) / len(values)
        return way * mean if way else -abs(mean)

    return sorted(cases, key=badness)


def _draw_bars(
    ax: Any, series: Mapping[tuple[str, str], NDArray[np.float64]], runs: Sequence[str], names: Sequence[str]
) -> bool:
    """Draw the bars of one panel; returns whether they are cut."""
    values = np.concatenate(list(series.values()))
    finite = values[np.isfinite(values)]
    low = 0.0
    if all(map(is_share, names)):
        low = _lower_end(finite)
        ax.set_ylim(low, 1.0)
    width = 0.82 / len(series)
    for place, ((run, name), heights) in enumerate(series.items()):
        colour, turn = colour_of(runs.index(run))
        x = np.arange(len(heights)) + (place - (len(series) - 1) / 2) * width
        is_known = np.isfinite(heights)
        style = bar_style(colour, turn + names.index(name))
        label = _legend_text(run, name, heights, len(runs), len(names))
        ax.bar(x[is_known], heights[is_known] - low, 0.92 * width, bottom=low, label=label, **style)
        if is_known.any():
            ax.axhline(heights[is_known].mean(), color=colour, lw=1.1, ls=(0, (5, 3)), alpha=0.9)
        if not is_known.all():  # an empty line would upset the layout
            feet = np.full(np.count_nonzero(~is_known), 0.05)
            ax.plot(
                x[~is_known], feet, "x", color=colour, ms=5.5, mew=1.8, zorder=6, transform=ax.get_xaxis_transform()
            )
    ax.grid(axis="y")
    ax.tick_params(axis="x", length=0)
    if low:  # a torn edge across the feet of the bars
        x = np.linspace(-0.5, len(heights) - 0.5, 12 * max(8, len(heights)) + 1)
        y = 0.028 + 0.009 * np.where(np.arange(len(x)) % 2, 1, -1)
        ax.plot(x, y, color="white", lw=2.6, transform=ax.get_xaxis_transform(), zorder=4)
    if len(finite) and finite.min() < 0:
        ax.axhline(0, color=INK, lw=0.8)
    return low > 0


def _lower_end(shares: NDArray[np.float64]) -> float:
    """Return where the axis of shares begins: at 0, or at a round number below all of them where they are high."""
    smallest = float(shares.min()) if len(shares) else 0.0
    if smallest <= CUT_ABOVE:
        return 0.0
    room = max(1.0 - smallest, 0.0005)
    step = next((s for s in (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001) if s < 0.6 * room), 0.0005)
    return math.floor((smallest - 0.3 * step) / step) * step


def _legend_text(run: str, name: str, values: NDArray[np.float64], runs: int, names: int) -> str:
    """Return run, metric where there are several, mean and standard deviation of the finite values."""
    known = values[np.isfinite(values)]
    parts = [run] if runs > 1 or names == 1 else []
    parts += [metric_label(name)] if names > 1 else []
    said = " ".join(parts)
    if not len(known):
        return f"{said}: no value"
    spread = f" \N{PLUS-MINUS SIGN} {known.std(ddof=1):.3f}" if len(known) > 1 else ""
    return f"{said}: {known.mean():.3f}{spread} (n = {len(known)})"


def _name_cases(ax: Any, cases: Sequence[str]) -> None:
    """Write the names of the cases under their bars, upright where they are many or long."""
    ax.set_xlim(-0.6, len(cases) - 0.4)
    if len(cases) > MAX_NAMES:
        ax.set_xticks([])
        return
    size = 8.5 if len(cases) <= 45 else 6
    ax.set_xticks(range(len(cases)), cases, rotation=90 if _are_upright(cases) else 0, fontsize=size)


def _are_upright(cases: Sequence[str]) -> bool:
    """Tell whether names are too many or too long to stand beside each other."""
    return len(cases) <= MAX_NAMES and len(cases) * (max(map(len, cases)) + 1) > 112


def _draw_box(ax: Any, x: float, values: NDArray[np.float64], run: int) -> None:
    """Draw box, mean and cases of one run."""
    known = values[np.isfinite(values)]
    if not len(known):
        ax.text(
            x,
            0.5,
            "no value",
            transform=ax.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="center",
            color=FAINT,
            size=8,
        )
        return
    colour, turn = colour_of(run)
    style = bar_style(colour, turn) | ({} if turn else {"facecolor": colour + "3a"})
    line = {"color": colour, "linewidth": 1.2}
    ax.boxplot(
        known,
        positions=[x],
        widths=0.62,
        showfliers=False,
        patch_artist=True,
        boxprops=style,
        medianprops={"color": colour, "linewidth": 2.2},
        whiskerprops=line,
        capprops=line,
        manage_ticks=False,
    )
    ax.plot(scatter_x(known, x, 0.2), known, "o", color=colour, ms=3.4, mew=0, alpha=0.65, zorder=3)
    ax.plot([x], [known.mean()], "D", color="white", mec=colour, mew=1.3, ms=5, zorder=4)


def _patch(run: str, index: int) -> Any:
    from matplotlib.patches import Patch

    return Patch(label=run, **bar_style(*colour_of(index)))
