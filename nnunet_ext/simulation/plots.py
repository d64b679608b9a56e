"""The statistics of a set of fragments as a picture: bars and curves, those of real cases drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from label_gen.simulation.statistics import TARGETS, SetStatistics

__all__ = ["draw_statistics"]

HERE, REAL, INK, FAINT = "#0072b2", "#d55e00", "#111827", "#6b7280"
"""Colours of the set, of real cases, and of lines and words beside. Source: Okabe and Ito 2008."""

RESOLUTION_DPI = 130


def draw_statistics(path: Path, statistics: SetStatistics) -> None:
    """Draw fragments per case and per bone, volumes of minor fragments, and contacts into a PNG file.

    Args:
        path: The file.
        statistics: Of the set.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from nnunet_ext.atomic import replacing

    figure = Figure(figsize=(11.0, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    for axes, draw in zip(panels.flat, (_per_case, _per_bone, _volumes, _contacts), strict=True):
        draw(axes, statistics)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{statistics.fragments} fragments of {statistics.cases} cases (blue) beside {TARGETS.fragments} of "
        f"{TARGETS.cases} real ones (orange)",
        size=13,
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=RESOLUTION_DPI, format="png", metadata={"Software": None})


def _per_case(axes: Any, statistics: SetStatistics) -> None:
    counts = np.array(list(statistics.per_case))
    shares = 100 * np.array(list(statistics.per_case.values())) / max(statistics.cases, 1)
    low, high = TARGETS.range_per_case
    axes.axvspan(low - 0.5, high + 0.5, color=REAL, alpha=0.12, lw=0, label="range of real cases")
    axes.bar(counts, shares, color=HERE, width=0.8)
    axes.axvline(TARGETS.mean_per_case, color=REAL, lw=2, label=f"real mean {TARGETS.mean_per_case}")
    axes.axvline(statistics.mean_per_case, color=INK, lw=2, ls="--", label=f"mean {statistics.mean_per_case:.2f}")
    axes.set(xlabel="fragments in a case", ylabel="% of cases", title="Fragments per case")
    axes.set_xticks(range(min(low, counts.min()), max(high, counts.max()) + 1))
    axes.legend(frameon=False, fontsize=8)


def _per_bone(axes: Any, statistics: SetStatistics) -> None:
    place, ticks, names = 0.0, [], []
    bones = list(dict.fromkeys((*TARGETS.shares, *statistics.shares)))
    for bone in bones:
        here, real = statistics.shares.get(bone, ()), TARGETS.shares.get(bone, ())
        count = max(len(here), len(real), 1)
        axes.bar(place + np.arange(len(here)), 100 * np.array(here), color=HERE, width=0.8)
        axes.plot(place + np.arange(len(real)), 100 * np.array(real), "_", color=REAL, ms=11, mew=2.5)
        ticks.append(place + (count - 1) / 2)
        names.append(bone.replace("_", "\n"))
        place += count + 1.0
    axes.set_xticks(ticks, names)
    axes.set(ylabel="% of cases", title="Bones with a 1st, 2nd, 3rd ... fragment (from left to right)")


def _volumes(axes: Any, statistics: SetStatistics) -> None:
    volumes = np.array(statistics.minor_volumes_mm3) / 1000
    if len(volumes):
        axes.plot(volumes, 100 * (np.arange(len(volumes)) + 0.5) / len(volumes), color=HERE, lw=2, label="this set")
    ranks = sorted(TARGETS.minor_mm3)
    axes.plot([TARGETS.minor_mm3[rank] / 1000 for rank in ranks], ranks, "o", color=REAL, ms=8, label="real cases")
    axes.set_xscale("log")
    axes.set(xlabel="cm3", ylabel="% that are smaller", title="Volumes of minor fragments")
    axes.legend(frameon=False, fontsize=8)


def _contacts(axes: Any, statistics: SetStatistics) -> None:
    low, high = TARGETS.contact_range
    axes.axvspan(100 * low, 100 * high, color=REAL, alpha=0.25, lw=0, label="range of five real cases")
    axes.hist(100 * np.array(statistics.contact_shares), bins=np.arange(0.0, 105.0, 5.0), color=HERE, alpha=0.85)
    axes.set(xlabel="% of the surface near a neighbour", ylabel="cases", title="Surface that touches its neighbour")
    axes.set_xlim(0, 100)
    axes.yaxis.get_major_locator().set_params(integer=True)
    if statistics.kind_shares:
        said = "\n".join(f"{kind} {100 * share:.0f} %" for kind, share in statistics.kind_shares.items())
        axes.text(0.98, 0.8, f"fractures\n{said}", transform=axes.transAxes, ha="right", va="top", size=8, color=FAINT)
    axes.legend(frameon=False, fontsize=8)
