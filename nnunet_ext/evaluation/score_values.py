"""The values of a metric, case by case, out of what a scores file holds: of whole structures, or of fragments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from label_gen.errors import UsageError

__all__ = ["Scores", "better", "case_values", "gain", "is_share", "metric_label", "natural", "place_label"]
__all__ += ["structures_of", "unit_of"]

Scores = Mapping[str, Any]
"""What a `scores.json` of `abbc-evaluate` holds."""

NAMES = {
    "dice": "Dice",
    "jaccard": "Jaccard (IoU)",
    "iou": "IoU",
    "hd95_mm": "HD95 (mm)",
    "asd_mm": "ASD (mm)",
    "assd_mm": "ASSD (mm)",
    "abs_surface_p95_mm": "Surface distance, 95th percentile (mm)",
    "abs_surface_median_mm": "Surface distance, median (mm)",
    "signed_surface_p95_mm": "Signed surface distance, 95th percentile (mm)",
    "signed_surface_median_mm": "Signed surface distance, median (mm)",
    "volume_similarity": "Volume similarity",
    "signed_volume_similarity": "Signed volume similarity",
    "f1": "F1",
    "fragment_iou": "Fragment IoU",
    "fragment_dice": "Fragment Dice",
    "fragment_hd95_mm": "Fragment HD95 (mm)",
    "fragment_assd_mm": "Fragment ASSD (mm)",
    "anatomy_iou": "Bone IoU",
    "anatomy_dice": "Bone Dice",
    "anatomy_hd95_mm": "Bone HD95 (mm)",
    "anatomy_assd_mm": "Bone ASSD (mm)",
}
"""What people call the metrics."""

SHARES = re.compile(r"(.*[._])?(dice|jaccard|iou|sensitivity|specificity|recall|precision|f1|volume_similarity)$")
"""Metrics that lie between 0 and 1."""
LESS_IS_BETTER = re.compile(r".*(_mm|_errors|_s|_seconds|_gib)$|(missed|surplus|uncounted)_fragments$")
"""Metrics of which the smaller is better."""


def metric_label(metric: str) -> str:
    """Return what people call a metric.

    Args:
        metric: Its name in a scores file.

    Example:
        >>> metric_label("hd95_mm"), metric_label("merge_errors")
        ('HD95 (mm)', 'Merge errors')
    """
    if metric in NAMES:
        return NAMES[metric]
    words = re.sub(r"_(mm3|mm2|mm|s|gib)$", lambda found: f" ({found[1].replace('gib', 'GiB')})", metric)
    return (words[:1].upper() + words[1:]).replace("_", " ")


def place_label(structure: str | None, part: str = "volume") -> str:
    """Return what people call a structure and the part of it that is meant.

    Args:
        structure: Its name in a scores file, or None for the whole case.
        part: As for `case_values`.

    Example:
        >>> place_label("left_femur", "head/slices")
        'Left femur, head, per slice'
    """
    words = [] if structure is None else [structure.replace("_", " ")]
    words += [{"slices": "per slice"}.get(word, word.replace("_", " ")) for word in part.split("/") if word != "volume"]
    said = ", ".join(words)
    return said[:1].upper() + said[1:]


def unit_of(metric: str) -> str:
    """Return the unit in brackets of a metric's label, empty for a plain number.

    Args:
        metric: Its name in a scores file.
    """
    found = re.search(r"\((mm.?|s|GiB)\)$", metric_label(metric))
    return found[1] if found else ""


def is_share(metric: str) -> bool:
    """Tell whether a metric lies between 0 and 1.

    Args:
        metric: Its name in a scores file; a part and a dot may stand before it, as in `slices.dice`.
    """
    return SHARES.fullmatch(metric) is not None and "signed_" not in metric


def better(metric: str) -> int:
    """Return 1 where the larger value of a metric is the better one, -1 the smaller, 0 the one nearer to zero.

    Args:
        metric: Its name in a scores file.

    Example:
        >>> better("dice"), better("hd95_mm"), better("signed_volume_similarity")
        (1, -1, 0)
    """
    if "signed_" in metric:
        return 0
    return -1 if LESS_IS_BETTER.fullmatch(metric) else 1


def gain(metric: str, before: float, after: float) -> float:
    """Return by how much a value is better than another, positive for an improvement, in the unit of the metric.

    Args:
        metric: Its name in a scores file.
        before: The value to improve on.
        after: The other value.

    Example:
        >>> gain("hd95_mm", 3.0, 2.0), gain("dice", 0.75, 0.5), gain("signed_volume_similarity", -0.5, 0.25)
        (1.0, -0.25, 0.25)
    """
    way = better(metric)
    return way * (after - before) if way else abs(before) - abs(after)


def structures_of(scores: Scores) -> tuple[str, ...]:
    """Return the structures of a scores file in the order they are met; none for scores of fragments.

    Args:
        scores: What the file holds.
    """
    cases = scores.get("cases", {}).values()
    return tuple(dict.fromkeys(name for case in cases for name in case.get("structures", {})))


def case_values(scores: Scores, metric: str, structure: str | None = None, *, part: str = "volume") -> dict[str, float]:
    """Return a metric of every case.

    Args:
        scores: What a scores file holds.
        metric: Name of the metric, `dice` or `fragment_iou`, say.
        structure: Name of a structure, or of a bone in scores of fragments. None for the only structure there is, or
            for the figures of the whole case in scores of fragments.
        part: `volume`, `slices` (means over the slices), a region's name, or that and `/slices`; for structures only.

    Returns:
        Values by case, in the order of the file. NaN where a case has failed or the value is undefined; infinite where
        the file says so.

    Raises:
        UsageError: No case has such a structure, part or metric; the message names those there are.
    """
    cases: Mapping[str, Mapping[str, Any]] = scores.get("cases", {})
    names = structures_of(scores)
    if names and structure is None:
        if len(names) > 1:
            raise UsageError(f"the scores are of several structures: {', '.join(names)}; name one of them")
        structure = names[0]
    tables = {name: _table(case, structure, part) for name, case in cases.items()}
    if not any(metric in (table or ()) for table in tables.values()):
        _refuse(cases, names, metric, structure, part)
    return {name: _value(cases[name], table, metric, structure, part) for name, table in tables.items()}


def _table(case: Mapping[str, Any], structure: str | None, part: str) -> Mapping[str, Any] | None:
    """Return the figures of one case, None where it has none."""
    if "structures" not in case:
        return case.get("case") if structure is None else case.get("anatomy", {}).get(structure)
    found = case["structures"].get(structure)
    if found is None or part in ("volume", "slices"):
        return None if found is None else found.get(part)
    region, _, way = part.partition("/")
    table: Mapping[str, Any] | None = found.get("regions", {}).get(region, {}).get(way or "volume")
    return table


def _value(
    case: Mapping[str, Any], table: Mapping[str, Any] | None, metric: str, structure: str | None, part: str
) -> float:
    value = (table or {}).get(metric)
    if value is not None:
        return float(value)
    if "structures" in case:
        region, _, way = part.partition("/")
        where = part if part in ("volume", "slices") else f"regions.{region}.{way or 'volume'}"
        infinite = (case["structures"].get(structure) or {}).get("infinite", ())
    else:
        where = "case" if structure is None else f"anatomy.{structure}"
        infinite = case.get("infinite", ())
    return math.inf if f"{where}.{metric}" in infinite else math.nan


def _refuse(
    cases: Mapping[str, Mapping[str, Any]], names: Sequence[str], metric: str, structure: str | None, part: str
) -> None:
    """Raise the error that says what the scores do not hold."""
    done = [case for case in cases.values() if case.get("status", "done") == "done"]
    if not done:
        raise UsageError(f"the scores hold no finished case, {len(cases)} failed; nothing can be drawn of them")
    tables = [table for case in done if (table := _table(case, structure, part)) is not None]
    if tables:
        known = ", ".join(dict.fromkeys(key for table in tables for key in table))
        raise UsageError(f"the scores hold no metric '{metric}'; known are {known}")
    if names and structure in names:
        regions = [r for case in done for r in case["structures"].get(structure, {}).get("regions", {})]
        known = ", ".join(dict.fromkeys(["volume", "slices", *regions]))
        raise UsageError(f"the scores of '{structure}' have no part '{part}'; known are {known}")
    known = ", ".join(names or dict.fromkeys(bone for case in done for bone in case.get("anatomy", {}))) or "none"
    raise UsageError(f"the scores hold no structure '{structure}'; known are {known}")


def natural(names: Iterable[str]) -> list[str]:
    """Sort names as people do, numbers in them by their value.

    Args:
        names: The names.

    Example:
        >>> natural(["case_10", "case_9"])
        ['case_9', 'case_10']
    """

    def key(name: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]

    return sorted(names, key=key)
