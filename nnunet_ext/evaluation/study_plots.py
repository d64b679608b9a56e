"""What a study found as pictures: a metric by the number of training cases, and bars of time, memory and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from label_gen.errors import UsageError
from nnunet_ext.evaluation.paper import FAINT, INK, bar_style, caption, colour_of, legend, scatter_x, sheet
from nnunet_ext.evaluation.score_values import is_share, metric_label

__all__ = ["plot_bars", "plot_curve"]

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Marks of the curves, beside their colours. Source: chosen here."""

Published = tuple[float, float | None]
"""A published mean, and its standard deviation where it is given."""


def plot_curve(
    path: str | Path,
    curves: Mapping[str, Mapping[float, Sequence[float]]],
    metric: str = "dice",
    *,
    published: Mapping[str, Mapping[float, Published]] | None = None,
    label: str = "training cases",
    title: str = "",
) -> None:
    """Draw a metric by the number of training cases, as Ekman et al. 2025 do in figure 11.

    Lines join the means, whiskers are one standard deviation, small dots the test cases. Published means stand beside
    them in grey, with dashed lines.

    Args:
        path: The file, ending in `.png`, `.svg` or `.pdf`.
        curves: By name of the configuration and number of training cases: the values of the test cases. NaN and
            infinite ones are left out, and counted.
        metric: Name of the metric.
        published: Mean and standard deviation of others, by their name and number of training cases.
        label: What stands at the lower axis.
        title: Line at the top.

    Raises:
        UsageError: There is no value to draw.
        VolumeFileError: The file cannot be written.
    """
    finite = {
        name: {x: np.array([v for v in values if math.isfinite(v)]) for x, values in sorted(curve.items())}
        for name, curve in curves.items()
    }
    if not any(len(values) for curve in finite.values() for values in curve.values()):
        raise UsageError("there is no value to draw; pass the values of the test cases by number of training cases")
    missing = sum(len(curves[n][x]) - len(values) for n, curve in finite.items() for x, values in curve.items())
    places = sorted({x for curve in (*finite.values(), *(published or {}).values()) for x in curve})
    ratio = min((b / a for a, b in pairwise(places) if a > 0), default=2.0)
    is_log = places[0] > 0 and places[-1] / places[0] >= 5
    with sheet(path, height_inch=5.0, title=title) as (figure, axes):
        ax = axes[0, 0]
        reach = (0.5 * min(ratio - 1, 0.5)) if is_log else 0.3 * min(np.diff(places), default=1.0)
        names = [*finite, *(published or {})]
        for index, name in enumerate(names):
            shift = (index - (len(names) - 1) / 2) / max(len(names), 2) * reach

            def moved(x: float, shift: float = shift) -> float:
                return x * (1 + shift) if is_log else x + shift

            if index < len(finite):
                _draw_own(ax, name, finite[name], moved, index, reach / max(len(names), 2) * 0.28, is_log=is_log)
            else:
                _draw_published(ax, name, (published or {})[name], moved, index - len(finite))
        if is_log:
            ax.set_xscale("log")
        ax.set_xticks(places, [f"{x:g}" for x in places])
        ax.minorticks_off()
        ax.grid(axis="y")
        ax.margins(x=0.05)
        ax.set(xlabel=label, ylabel=metric_label(metric))
        if is_share(metric):
            ax.set_ylim(None, min(1.0, ax.get_ylim()[1]) if ax.get_ylim()[1] <= 1 else 1.0)
        legend(figure, ax.get_legend_handles_labels()[0])
        text = "marks: means, whiskers: one standard deviation, dots: test cases"
        caption(figure, text + (f"; {missing} failed or undefined values are left out" if missing else ""))


def plot_bars(
    path: str | Path,
    table: Mapping[str, Mapping[str, float | None]],
    quantities: Sequence[str] | Mapping[str, str],
    *,
    groups: Mapping[str, str] | None = None,
    spread: Mapping[str, Mapping[str, float | None]] | None = None,
    published: Mapping[str, Mapping[str, float | None]] | None = None,
    title: str = "",
) -> None:
    """Draw one row per configuration and one panel per quantity: time, memory and scores, as Lang in figures 4 to 6.

    Quantities between 0 and 1, such as Dice, are drawn as marks on an axis that need not start at 0; all others as
    bars from 0.

    Args:
        path: The file, ending in `.png`, `.svg` or `.pdf`.
        table: By name of the configuration and of the quantity: the value, None where there is none.
        quantities: Names of the quantities to draw, or what to write over their panels by name.
        groups: Group of each configuration, `2d` or `3d_fullres`, say: each has a colour.
        spread: Standard deviations, in the layout of `table`; drawn as whiskers.
        published: Values of others, in the layout of `table`; drawn as hollow diamonds.
        title: Line at the top.

    Raises:
        UsageError: There is no configuration or no quantity.
        VolumeFileError: The file cannot be written.
    """
    if not table or not quantities:
        raise UsageError("there is nothing to draw; pass at least one configuration and one quantity")
    labels = dict(quantities) if isinstance(quantities, Mapping) else {name: metric_label(name) for name in quantities}
    names = list(table)
    kinds = list(dict.fromkeys((groups or {}).get(name, "") for name in names))
    columns = min(len(labels), 3)
    rows = -(-len(labels) // columns)
    height = 0.75 + rows * (0.75 + 0.26 * max(len(names), 2))
    with sheet(path, rows, columns, height_inch=height, title=title, sharey=True) as (figure, axes):
        for ax, (key, label) in zip(axes.flat, labels.items(), strict=False):
            for place, name in enumerate(names):
                kind = kinds.index((groups or {}).get(name, ""))
                deviation = ((spread or {}).get(name) or {}).get(key)
                _draw_quantity(ax, place, table[name].get(key), deviation, kind, is_mark=is_share(key))
                other = ((published or {}).get(name) or {}).get(key)
                if other is not None and math.isfinite(other):
                    ax.plot([other], [place], "D", mfc="none", mec=INK, ms=8.5, mew=1.1, zorder=5)
            ax.set_title(label)
            ax.grid(axis="x")
            ax.tick_params(axis="y", length=0)
            if is_share(key):
                ax.margins(x=0.07)
                low, high = ax.get_xlim()
                ax.set_xlim(low, high + 0.3 * (high - low))  # the numbers stand at the right
            else:
                ax.margins(x=0.0)
                ax.set_xlim(0.0, 1.22 * max(ax.get_xlim()[1], 1e-9))
        for ax in axes[:, 0]:
            ax.set_yticks(range(len(names)), names)
            ax.set_ylim(len(names) - 0.4, -0.6)
        for ax in axes.flat[len(labels) :]:
            ax.set_visible(False)
        handles = [_patch(kind, index) for index, kind in enumerate(kinds) if kind]
        if any((published or {}).values()):
            handles.append(_mark("published"))
        legend(figure, handles)
        caption(figure, "whiskers: one standard deviation" if any((spread or {}).values()) else "")


def _draw_own(
    ax: Any, name: str, curve: Mapping[float, Any], moved: Any, index: int, reach: float, *, is_log: bool
) -> None:
    """Draw means, standard deviations and test cases of one configuration."""
    colour, turn = colour_of(index)
    known = {x: values for x, values in curve.items() if len(values)}
    for x, values in known.items():
        width = reach * moved(x) if is_log else reach
        ax.plot(scatter_x(values, moved(x), width), values, "o", color=colour, ms=3, mew=0, alpha=0.4, zorder=2)
    means = [values.mean() for values in known.values()]
    spread = [values.std(ddof=1) if len(values) > 1 else 0.0 for values in known.values()]
    ax.errorbar(
        [moved(x) for x in known],
        means,
        spread,
        label=name,
        color=colour,
        ls=("-", (0, (6, 2, 1, 2)))[turn % 2],
        lw=1.9,
        marker=MARKERS[index % len(MARKERS)],
        ms=6.5,
        mec="white",
        mew=0.8,
        capsize=3,
        elinewidth=1.2,
        zorder=4,
    )


def _draw_published(ax: Any, name: str, curve: Mapping[float, Published], moved: Any, index: int) -> None:
    """Draw published means and standard deviations."""
    ax.errorbar(
        [moved(x) for x in sorted(curve)],
        [curve[x][0] for x in sorted(curve)],
        [curve[x][1] or 0.0 for x in sorted(curve)],
        label=name,
        color=FAINT,
        ls=(0, (4, 2)),
        lw=1.3,
        marker=MARKERS[(index + 3) % len(MARKERS)],
        mfc="white",
        ms=6,
        capsize=3,
        elinewidth=1.0,
        zorder=3,
    )


def _draw_quantity(ax: Any, y: int, value: float | None, spread: float | None, kind: int, *, is_mark: bool) -> None:
    """Draw one value of one configuration, with its number."""
    colour, turn = colour_of(kind)
    if value is None or not math.isfinite(value):
        ax.annotate(
            "none",
            (0, y),
            (4, 0),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            size=8,
            color=FAINT,
        )
        return
    if is_mark:
        ax.errorbar([value], [y], xerr=[spread or 0.0], fmt="o", color=colour, ms=7, mec="white", mew=0.8, capsize=3)
    else:
        ax.barh([y], [value], 0.72, xerr=[spread] if spread else None, ecolor=INK, **bar_style(colour, turn))
    if is_mark:
        ax.text(0.995, y, f"{value:.4f}", transform=ax.get_yaxis_transform(), ha="right", va="center", size=8)
    else:
        end = (value + (spread or 0.0), y)
        ax.annotate(f"{value:.3g}", end, (5, 0), textcoords="offset points", va="center", size=8)


def _patch(label: str, index: int) -> Any:
    from matplotlib.patches import Patch

    return Patch(label=label, **bar_style(*colour_of(index)))


def _mark(label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker="D", mfc="none", mec=INK, ms=8.5, mew=1.1, label=label)
