"""Draw the scores of a command: bars and boxes of the cases, improvement on a baseline, and a page of overlays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.atomic import check_writable
from nnunet_ext.cases import find_cases, pair_cases

__all__ = ["draw_scores", "read_scores"]

RUN = "prediction"
"""What the run is called in the pictures."""

FIGURES = {
    True: {"bars": ("dice", "jaccard"), "boxes": ("dice", "sensitivity", "specificity", "asd_mm"), "order": "dice"},
    False: {
        "bars": ("fragment_iou", "fragment_dice"),
        "boxes": ("fragment_iou", "fragment_dice", "recall", "fragment_assd_mm"),
        "order": "fragment_iou",
    },
}
"""Figures that are drawn of structures (true) and of fragments."""


def read_scores(file: str | Path) -> dict[str, Any]:
    """Read a scores file of `abbc-evaluate`.

    Args:
        file: The file.

    Returns:
        Its content.

    Raises:
        UsageError: There is no such file.
        DataError: It is no scores file.
        VolumeFileError: It cannot be read.
    """
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"there is no file '{file}'; give the scores of another run (--baseline)") from error
    except OSError as error:
        raise VolumeFileError(f"cannot read '{file}': {error.strerror or error}; check your permission") from error
    except ValueError as error:
        raise DataError(f"'{file}' is no JSON file: {error}; give a scores file of abbc-evaluate") from error
    if not isinstance(content, dict) or not {"summary", "cases"} <= content.keys():
        raise DataError(f"'{file}' has no 'summary' and 'cases'; give a scores file of abbc-evaluate")
    return content


def draw_scores(
    folder: str | Path,
    content: Mapping[str, Any],
    *,
    prediction: str | Path,
    reference: str | Path,
    images: str | Path | None = None,
    baseline: Mapping[str, Any] | None = None,
) -> list[str]:
    """Draw the scores of an evaluation of structures or fragments.

    Args:
        folder: Where `cases.png`, `boxes.png`, `improvement.png` (with a baseline) and `overlays.html` go.
        content: What the scores file holds.
        prediction: The predictions, as given to the evaluation.
        reference: The references.
        images: The CTs behind the overlays: a volume, or a folder with volumes of the same names; none if None.
        baseline: What the scores file of the run to improve on holds.

    Returns:
        The names of the files.

    Raises:
        UsageError: No case is done, an input holds nothing usable, or the baseline shares no case.
        VolumeFileError: A file cannot be read or written.
        DataError: A CT is on another grid than its reference.
    """
    from nnunet_ext.evaluation.overlays import OverlayCase, write_overlays
    from nnunet_ext.evaluation.plots import plot_boxes, plot_cases, plot_improvement

    folder = Path(folder)
    check_writable(folder / "cases.png")
    if not any(case["status"] == "done" for case in content["cases"].values()):
        raise UsageError("no case is done, so there is nothing to draw; mend the cases, or leave --plots out")
    is_structures = content.get("kind") == "structures"
    figures = FIGURES[is_structures]
    order = str(figures["order"])
    plot_cases(folder / "cases.png", {RUN: content}, figures["bars"])
    plot_boxes(folder / "boxes.png", {RUN: content}, figures["boxes"])
    files = ["cases.png", "boxes.png"]
    if baseline is not None:
        plot_improvement(folder / "improvement.png", baseline, content, order, names=("baseline", RUN))
        files.append("improvement.png")
    references = find_cases(reference)
    found = {
        case.name: path for case, path in pair_cases(reference, prediction, references, find_cases(prediction)).pairs
    }
    pictures = _images(images)
    cases = [
        OverlayCase(
            case.name,
            case.path,
            {RUN: found[case.name]},
            pictures.get(case.name, pictures.get("") if len(references) == 1 else None),
            _score(content["cases"][case.name], order),
        )
        for case in references
        if content["cases"][case.name]["status"] == "done"
    ]
    labels = _labels(content["settings"]) if is_structures else None
    write_overlays(folder / "overlays.html", cases, metric=order, labels=labels, match=not is_structures)
    return [*files, "overlays.html"]


def _images(images: str | Path | None) -> dict[str, Path]:
    """Return the CTs by case name; a single file under an empty name."""
    if images is None:
        return {}
    found = find_cases(images)
    if not Path(images).is_dir():
        return {"": found[0].path}
    return {case.name.removesuffix("_0000"): case.path for case in found}


def _score(case: Mapping[str, Any], figure: str) -> float | None:
    """Return the figure of a case, the mean over its structures."""
    if "case" in case:
        value = case["case"].get(figure)
        return None if value is None else float(value)
    values = [own["volume"][figure] for own in case["structures"].values() if own["volume"][figure] is not None]
    return math.fsum(values) / len(values) if values else None


def _labels(settings: Mapping[str, Any]) -> dict[int, str] | None:
    """Return names of the labels, from the structures that have each; None for all labels under their numbers."""
    if settings["structures"] == "all":
        return None
    names: dict[int, str] = {}
    for name, labels in settings["structures"].items():
        for label in labels:
            names.setdefault(label, name if len(labels) == 1 else f"{name} ({label})")
    return names
