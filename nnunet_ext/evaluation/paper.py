"""The paper that plots are drawn on: sizes, colours, patterns, plain axes, and a file that appears whole or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import UsageError
from nnunet_ext.atomic import replacing

__all__ = ["FAINT", "GRID", "HATCHES", "INK", "PALETTE", "SUFFIXES", "WIDTH_INCH", "bar_style", "caption", "colour_of"]
__all__ += ["legend", "legend_columns", "scatter_x", "sheet"]

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5a4fa2")
"""Colours of runs, in their order. Source: Okabe and Ito 2008, colours that readers with colour blindness can tell
apart; their yellow is too pale on white, a violet stands in its place (chosen here)."""

HATCHES = ("", "////", "....", "xxxx")
"""Patterns of the second, third, ... time that the colours are gone through. Source: chosen here."""

INK, FAINT, GRID = "#111827", "#5b6472", "#e3e7ec"
"""Colours of words, of words beside, and of the lines behind the data."""

WIDTH_INCH, RESOLUTION_DPI = 9.6, 150
"""Width of a plot and dots per inch. Source: chosen here: words of 8 points stay readable where a README shows it."""

LETTERS_PER_INCH = 14.0
"""Letters of a legend in an inch. Source: chosen here, measured with the font that matplotlib brings."""

SUFFIXES = (".png", ".svg", ".pdf")

_STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#9aa3af",
    "axes.labelcolor": INK,
    "axes.titlepad": 7.0,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.8,
    "svg.hashsalt": "nnunet-abbc",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}


@contextmanager
def sheet(
    path: str | Path,
    rows: int = 1,
    columns: int = 1,
    *,
    height_inch: float,
    width_inch: float = WIDTH_INCH,
    title: str = "",
    **options: Any,
) -> Iterator[tuple[Any, Any]]:
    """Yield an empty figure and its panels; what the block draws is written to a file when the block ends.

    The same drawing gives the same bytes.

    Args:
        path: The file, ending in `.png`, `.svg` or `.pdf`.
        rows: Panels from top to bottom.
        columns: Panels from left to right.
        height_inch: Height of the figure.
        width_inch: Its width.
        title: Line at the top.
        options: For matplotlib's `subplots`.

    Yields:
        The figure, and an array of axes (rows, columns).

    Raises:
        UsageError: The type of the file is unknown.
        VolumeFileError: The file cannot be written.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(f"cannot draw '{target.name}': unknown type of picture; expected one of {', '.join(SUFFIXES)}")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    undated: dict[str, Any] = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[kind]
    with rc_context(_STYLE):
        figure = Figure(figsize=(width_inch, height_inch), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False, **options)
        yield figure, panels
        if title and figure.legends:  # above the legend, which lies above the panels
            figure.legends[0].set_title(title, prop=FontProperties(size=12.5, weight="bold"))
            figure.legends[0].set_alignment("left")
        elif title:
            figure.suptitle(title, x=0.012, ha="left", size=12.5, weight="bold")
        with replacing(target) as temporary:
            figure.savefig(temporary, dpi=RESOLUTION_DPI, format=kind[1:], metadata=undated)


def colour_of(index: int) -> tuple[str, int]:
    """Return the colour of a run, and which pattern tells it from earlier ones of that colour.

    Args:
        index: Place of the run, from 0.
    """
    return PALETTE[index % len(PALETTE)], index // len(PALETTE)


def bar_style(colour: str, pattern: int = 0) -> dict[str, Any]:
    """Return how a bar is drawn: solid, or pale with lines in its colour.

    Args:
        colour: Of the bar, `#rrggbb`.
        pattern: Place in `HATCHES`, which are gone through again and again; 0 for a solid bar.
    """
    hatch = HATCHES[pattern % len(HATCHES)]
    if not hatch:
        return {"facecolor": colour, "edgecolor": colour, "linewidth": 0.6}
    return {"facecolor": colour + "2e", "edgecolor": colour, "linewidth": 0.6, "hatch": hatch}


def legend(figure: Any, handles: Sequence[Any]) -> None:
    """Put a legend of all panels above them, in as many columns as there is room for.

    Args:
        figure: The figure.
        handles: What it shows; none for no legend.
    """
    if handles:
        columns = legend_columns(handles, LETTERS_PER_INCH * figure.get_figwidth())
        figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=1.6)


def legend_columns(handles: Sequence[Any], letters: float) -> int:
    """Return how many entries of a legend fit beside each other, all rows as even as may be.

    Args:
        handles: What it shows, at least one.
        letters: Room, in letters.
    """
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(int(letters / (longest + 6)), len(handles)))
    return -(-len(handles) // -(-len(handles) // columns))


def caption(figure: Any, text: str) -> None:
    """Write a line of small words under the panels.

    Args:
        figure: The figure.
        text: The words; empty for none.
    """
    if text:
        figure.supxlabel(text, x=0.012, ha="left", size=8, color=FAINT)


def scatter_x(values: NDArray[np.float64], x: float, reach: float) -> NDArray[np.float64]:
    """Return places for dots beside each other, so that those of equal height do not hide each other.

    Args:
        values: Heights (n,), finite.
        x: The middle.
        reach: How far a dot may lie from it.

    Returns:
        Places (n,) in the order of the values: neighbours in height go to different sides, in the same way each time.
    """
    steps = (0.5 + np.arange(len(values)) * 0.6180339887) % 1.0  # the golden ratio spreads any number of dots evenly
    places = np.empty(len(values))
    places[np.argsort(values, kind="stable")] = x + reach * (2 * steps - 1)
    return places
