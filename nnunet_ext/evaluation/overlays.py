"""Predictions over the CT as one HTML file: errors and contours of every slice, worst cases first, then the best."""

from __future__ import annotations

import html
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.atomic import check_writable, replacing
from nnunet_ext.evaluation.overlay_cases import OverlayCase, ShownCase, choose_cases, read_case
from nnunet_ext.evaluation.score_values import metric_label
from nnunet_ext.manifest import NOTE, without_paths
from nnunet_ext.report.excerpt import MAX_VOXELS
from nnunet_ext.report.images import as_text, encode_slices
from nnunet_ext.sealed_page import as_data, fill_page

__all__ = ["MAX_BYTES", "OverlayCase", "write_overlays"]

MAX_BYTES = 40_000_000
"""Largest page. Source: chosen here: browsers open it within seconds, and eight femora in CT take half of it."""

SLICE_BYTES = 4_000_000
"""Most that the CT of one case takes. Source: chosen here: slices of 16 million voxels look well with that."""

FRAME_BYTES = 8_000
"""What names, lists and hashes of the page take. Source: chosen here: a dozen cases with long names take half."""

PACKAGE = "nnunet_ext.evaluation"
SCRIPTS = (("nnunet_ext.report", "contours.js"), (PACKAGE, "volumes.js"), (PACKAGE, "overlays.js"))
"""The page's scripts, in the order in which they need each other."""
ASSETS = (*SCRIPTS, (PACKAGE, "overlays.css"), (PACKAGE, "overlays.html"))


def write_overlays(
    path: str | Path,
    cases: Sequence[OverlayCase],
    *,
    metric: str = "dice",
    labels: Mapping[int, str] | None = None,
    match: bool = False,
    worst: int = 6,
    best: int = 2,
    title: str = "Predictions against the reference",
    max_voxels: int = MAX_VOXELS,
    max_bytes: int = MAX_BYTES,
) -> list[str]:
    """Write a page that shows where predictions are wrong, slice by slice, of the worst cases and the best.

    The reader chooses case, model, plane and structure, scrolls by wheel, slider, keys or fingers, and switches
    between errors (true and false positives, false negatives) and contours. A strip under each picture shows the
    error of every slice. Volumes are cut to the labels and a margin, and coarsened where they are large; the page says
    so, and which cases are left out.

    Args:
        path: The file, ending in `.html`.
        cases: All cases with their scores; of those not shown no volume is read.
        metric: What the scores are: it tells whether the higher or the lower is better.
        labels: Names of the labels that count; None for all, under their numbers.
        match: Numbers of predicted labels mean nothing, as those of fragments: each takes the number of the
            reference's label that it overlaps most, one to one.
        worst: How many of the worst cases are shown.
        best: How many of the best.
        title: Headline.
        max_voxels: Voxels shown of a case; the finest axes are coarsened until no more are left.
        max_bytes: Largest page. Cases that do not fit are left out, the last ones first.

    Returns:
        Names of the cases that are shown, in their order.

    Raises:
        UsageError: There is no case, no room for one, or an option makes no sense.
        GridError: Volumes of a case lie on different grids.
        DataError: A volume is no label volume.
        VolumeFileError: A file cannot be read or written.
    """
    target = Path(path)
    if target.suffix != ".html":
        raise UsageError(f"the output '{target.name}' has to end in .html")
    if not cases:
        raise UsageError("there is no case to show; give at least one with reference and predictions")
    check_writable(target)
    models = list(cases[0].predictions)
    chosen = choose_cases(cases, metric, worst, best)
    numbers = None if labels is None else [int(number) for number in labels]
    room = max_bytes - FRAME_BYTES - sum(len(_asset(name, package)) for package, name in ASSETS)
    shown: list[tuple[OverlayCase, str, dict[str, Any]]] = []
    volumes: list[str] = []
    for place, (case, rank) in enumerate(chosen):
        read = read_case(case, models, labels=numbers, match=match, max_voxels=max_voxels)
        about, volume = _describe(case, read, room // (len(chosen) - place))
        size = len(volume) + len(as_data(about))
        if size > room:
            break
        room -= size
        shown.append((case, rank, about))
        volumes.append(volume)
    if not shown:
        raise UsageError(
            f"a page of {max_bytes} bytes has no room for case '{chosen[0][0].name}'; allow more bytes or fewer voxels"
        )
    page = _page(title, metric, models, labels, shown, volumes, len(cases))
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return [case.name for case, _, _ in shown]


def _describe(case: OverlayCase, read: ShownCase, room: int) -> tuple[dict[str, Any], str]:
    """Return what the page's script reads first about a case, and its volumes as text."""
    excerpt = read.excerpt
    bits = 8 * excerpt.indices.dtype.itemsize
    packed = as_text(zlib.compress(excerpt.indices.astype(f"<u{bits // 8}").tobytes(), 9))
    budget = min(SLICE_BYTES, max(int(0.74 * (room - len(packed))), 1))  # base64 makes four bytes of three
    slices = None if excerpt.grey is None else encode_slices(excerpt.grey, budget)
    about = {
        "name": without_paths(case.name),
        "shape": list(excerpt.indices.shape),
        "spacing": [round(step, 6) for step in excerpt.spacing_mm],
        "full": [round(step, 6) for step in read.spacing_mm],
        "bits": bits,
        "kinds": [list(kind) for kind in read.kinds],
        "counts": list(read.counts),
    }
    return about, as_data({"labels": packed, "slices": slices})


def _page(
    title: str,
    metric: str,
    models: Sequence[str],
    labels: Mapping[int, str] | None,
    shown: Sequence[tuple[OverlayCase, str, dict[str, Any]]],
    volumes: Sequence[str],
    total: int,
) -> str:
    """Return the page."""
    numbers = sorted({number for _, _, about in shown for kind in about["kinds"] for number in kind if number})
    names = {number: str((labels or {}).get(number, f"label {number}")).replace("_", " ") for number in numbers}
    content = {
        "models": [without_paths(model) for model in models],
        "structures": [{"number": number, "name": name} for number, name in names.items()],
        "cases": [about for _, _, about in shown],
    }
    buttons = [f'<button type="button" data-model="{n}">{html.escape(m)}</button>' for n, m in enumerate(models)]
    all_models = '<button type="button" data-model="-1">Side by side</button>'
    options = [f'<option value="{number}">{html.escape(name)}</option>' for number, name in names.items()]
    blocks = [f'<script type="application/json" id="volume-{n}">{text}</script>' for n, text in enumerate(volumes)]
    parts = {
        "title": html.escape(without_paths(title)),
        "summary": html.escape(f"{len(shown)} of {_counted(total, 'case')} shown; {' / '.join(models)}"),
        "note": html.escape(NOTE),
        "ordered": html.escape(f"by {metric_label(metric)}"),
        "cases": _case_list(shown, metric),
        "models": all_models + "".join(buttons),
        "one_model": "hidden" if len(models) == 1 else "",
        "model_key": "; M: model" if len(models) > 1 else "",
        "structures": '<option value="0">all</option>' + "".join(options),
        "one_structure": "hidden" if len(names) <= 1 else "",
        "left_out": html.escape(_left_out(shown, total)),
        "data": as_data(content),
        "volumes": "\n".join(blocks),
    }
    script = "\n".join(_asset(name, package) for package, name in SCRIPTS)
    return fill_page(_asset("overlays.html"), _asset("overlays.css"), script, parts)


def _case_list(shown: Sequence[tuple[OverlayCase, str, dict[str, Any]]], metric: str) -> str:
    """Return the list of cases; a line parts the worst from the best."""
    kinds = [rank.split()[0] for _, rank, _ in shown]
    breaks = [False, *(first != second for first, second in pairwise(kinds))]
    rows = []
    for place, ((case, rank, about), kind, is_break) in enumerate(zip(shown, kinds, breaks, strict=True)):
        score = "no score" if rank == "no score" else f"{metric_label(metric)} {case.score:.4g}"
        rows.append(
            f'<li{" class=break" if is_break else ""}><button type="button" data-case="{place}">'
            f'<span class="rank {kind}">{html.escape(rank)}</span>{html.escape(about["name"])}'
            f"<small>{html.escape(score)}</small></button></li>"
        )
    return "".join(rows)


def _left_out(shown: Sequence[tuple[OverlayCase, str, dict[str, Any]]], total: int) -> str:
    """Say what the page does not show."""
    said = ["Shown is the part of each volume that holds labels, and a margin."]
    missing = total - len(shown)
    if missing:
        said.append(f"Left out: {_counted(missing, 'case')} between the worst and the best.")
    coarse = [
        f"{about['name']} {_steps(about['spacing'])} instead of {_steps(about['full'])}"
        for _, _, about in shown
        if any(new > 1.01 * old for new, old in zip(about["spacing"], about["full"], strict=True))
    ]
    if coarse:
        said.append(f"Coarsened (z, y, x), so that thin errors may be missing: {'; '.join(coarse)}.")
        said.append("Dice of a whole case is that of its full volume.")
    return " ".join(said)


def _steps(spacing_mm: Sequence[float]) -> str:
    return " x ".join(f"{step:.2f}" for step in spacing_mm) + " mm"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _asset(name: str, package: str = PACKAGE) -> str:
    return files(package).joinpath("assets", name).read_text(encoding="utf-8")
