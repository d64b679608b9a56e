"""Scores of a case: its table of fragments, figures of the case and of each bone, and their summary over cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import SchemeError, UsageError
from label_gen.grid import check_spacing
from label_gen.scheme import LabelScheme
from postproc.fragment_scores import CaseVolumes, FragmentScore, score_one_to_one, score_pengwin2024
from postproc.one_to_one import InstanceMatch, match_fragments, total_match

__all__ = ["CaseScores", "Matching", "describe", "evaluate_fragments", "summarise_scores"]

Matching = Literal["pengwin2024", "one-to-one"]
"""Ways to decide which predicted fragment is compared with which true one."""
Figure = float | int | None

MIN_IOU = 0.5
"""Smallest IoU of a one-to-one match. Source: Kirillov et al. 2019 (panoptic quality), section 4.1."""
MIN_PIECE_MM3 = 500.0
"""Smallest piece in a split error. Source: chosen here: PENGWIN 2026 leaves out smaller fragments of the reference."""
SHAPE_FIGURES = ("iou", "dice", "hd95_mm", "assd_mm")


@dataclass(frozen=True)
class CaseScores:
    """Scores of one case. None is an undefined figure; the distance to something absent may be infinite.

    Attributes:
        matching: How fragments were matched.
        fragments: Table of fragments.
        case: Figures of the case by name.
        anatomy: Figures of each bone of the scheme by name.
    """

    matching: Matching
    fragments: tuple[FragmentScore, ...]
    case: dict[str, Figure]
    anatomy: dict[str, dict[str, Figure]]

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values for JSON.

        Infinite figures become None, as undefined ones are; `infinite` lists their names (`case.NAME`,
        `anatomy.BONE.NAME`).
        """
        tables = {"case": self.case, **{f"anatomy.{bone}": figures for bone, figures in self.anatomy.items()}}
        return {
            "matching": self.matching,
            "fragments": [_finite(asdict(fragment)) for fragment in self.fragments],
            "case": _finite(self.case),
            "anatomy": {bone: _finite(figures) for bone, figures in self.anatomy.items()},
            "infinite": [f"{where}.{name}" for where, table in tables.items() for name in _infinite_names(table)],
        }


def evaluate_fragments(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    scheme: LabelScheme,
    matching: Matching = "pengwin2024",
    min_iou: float = MIN_IOU,
    min_piece_mm3: float = MIN_PIECE_MM3,
) -> CaseScores:
    """Compare predicted fragments with the true ones.

    Figures of the case:

    - `fragment_iou`, `fragment_dice`, `fragment_hd95_mm`, `fragment_assd_mm`: means over the fragments of the
      reference. With `one-to-one`, a missed fragment has IoU and Dice 0, HD95 2R and ASSD R, R being the largest
      distance of one of its voxels from its centroid. With `pengwin2024`, as `postproc.pengwin2024` says: R is in
      voxels, and the fragments of a bone without any predicted fragment do not count.
    - `anatomy_iou`, `anatomy_dice`, `anatomy_hd95_mm`, `anatomy_assd_mm`: means over bones, all fragments of a bone
      merged. With `one-to-one`, IoU and Dice over the bones of either volume (0 for a bone in only one), distances
      over the bones of the reference (2R and R for a missed one). With `pengwin2024`, over all bones of the scheme.
    - `recall`, `precision`, `f1`, `matched_fragments`, `missed_fragments`, `surplus_fragments`, `merge_errors`,
      `split_errors`: from the one-to-one matching with both values of `matching`; see `postproc.one_to_one`.
    - `reference_fragments`, `prediction_fragments`: how many there are.
    - `uncounted_fragments`: fragments of the reference that the fragment means leave out.
    - `topology_consistent`: 1 when every bone has as many fragments as in the reference, else 0.

    Figures without a basis, such as the recall of an empty reference, are None. Each bone has the same figures, those
    of the merged bone without `anatomy_`, and its volumes `reference_mm3` and `prediction_mm3`.

    Args:
        prediction: Integer fragment labels (z, y, x); 0 is background.
        reference: True fragment labels of the same shape.
        spacing_mm: Spacing in array order (z, y, x), in millimetres.
        scheme: Bands of the bones.
        matching: `pengwin2024` for the figures of that challenge's evaluator, or `one-to-one`.
        min_iou: Smallest IoU of a one-to-one match, above 0, up to 1.
        min_piece_mm3: Smallest piece that counts in a split error.

    Returns:
        The scores, with one row per fragment of the reference; with `one-to-one` also one per surplus fragment.

    Raises:
        DataError: A volume is not a 3D array of non-negative integers.
        GridError: The shapes differ.
        SchemeError: A label is in no band of the scheme.
        UsageError: The spacing or an option makes no sense.
    """
    spacing = check_spacing(spacing_mm)
    _check_options(matching, min_iou, min_piece_mm3)
    volumes = CaseVolumes.of(prediction, reference, spacing, scheme)
    for what, places in (("prediction", volumes.overlap.prediction), ("reference", volumes.overlap.reference)):
        try:
            scheme.check_ids(list(places))
        except SchemeError as error:
            raise SchemeError(f"{what}: {error}") from None
    if matching == "one-to-one":
        volumes = volumes.in_canonical_axes()
    min_piece_voxels = min_piece_mm3 / volumes.mm3(1)
    matches = {
        bone.name: match_fragments(volumes.overlap, bone, min_iou=min_iou, min_piece_voxels=min_piece_voxels)
        for bone in scheme.bones
    }
    rows, bones = score_one_to_one(volumes, matches) if matching == "one-to-one" else score_pengwin2024(volumes)
    anatomy: dict[str, dict[str, Figure]] = {}
    for name, match in matches.items():
        own = [row for row in rows if row.bone == name]
        anatomy[name] = {**asdict(bones[name]), **_fragment_figures(own), **_instance_figures([match])}
    case: dict[str, Figure] = {
        **_fragment_figures(rows),
        **{f"anatomy_{name}": _mean(anatomy[bone][name] for bone in anatomy) for name in SHAPE_FIGURES},
        **_instance_figures(list(matches.values())),
    }
    return CaseScores(matching, tuple(rows), case, anatomy)


def summarise_scores(scores: Sequence[CaseScores]) -> dict[str, Any]:
    """Sum up the scores of several cases.

    Args:
        scores: Scores of the cases, all with the same matching.

    Returns:
        `cases` (how many), `matching`, and three tables: `case` (by figure), `anatomy` (by bone and figure) and
        `fragments` (by figure, over the rows of all cases together). Each entry has `mean`, `sd` (of a sample; None
        below two values) and `median` of the finite values, `n` (how many those are), and how many were left out:
        `infinite` and `undefined`. All values fit JSON.

    Raises:
        UsageError: The cases were matched in different ways.
    """
    matchings = sorted({score.matching for score in scores})
    if len(matchings) > 1:
        raise UsageError(f"scores of one matching only can be summed up. Got: {', '.join(matchings)}")
    anatomy: dict[str, list[Mapping[str, Figure]]] = {}
    for score in scores:
        for bone, figures in score.anatomy.items():
            anatomy.setdefault(bone, []).append(figures)
    rows = [asdict(row) for score in scores for row in score.fragments if row.status != "surplus"]
    return {
        "cases": len(scores),
        "matching": matchings[0] if matchings else None,
        "case": describe([score.case for score in scores]),
        "anatomy": {bone: describe(tables) for bone, tables in anatomy.items()},
        "fragments": describe([{name: row[name] for name in SHAPE_FIGURES} for row in rows]),
    }


def _check_options(matching: str, min_iou: float, min_piece_mm3: float) -> None:
    if matching not in get_args(Matching):
        raise UsageError(f"matching must be one of {', '.join(get_args(Matching))}. Got: {matching!r}")
    if not 0 < min_iou <= 1:
        raise UsageError(f"min_iou must be above 0 and at most 1. Got: {min_iou}")
    if not (math.isfinite(min_piece_mm3) and min_piece_mm3 >= 0):
        raise UsageError(f"min_piece_mm3 must be a volume of 0 or more. Got: {min_piece_mm3}")


def _fragment_figures(rows: Sequence[FragmentScore]) -> dict[str, Figure]:
    """Return the means over the fragments of the reference, and how many of those do not count."""
    own = [row for row in rows if row.status != "surplus"]
    means: dict[str, Figure] = {f"fragment_{name}": _mean(getattr(row, name) for row in own) for name in SHAPE_FIGURES}
    return {**means, "uncounted_fragments": sum(row.iou is None for row in own)}


def _instance_figures(matches: Sequence[InstanceMatch]) -> dict[str, Figure]:
    """Return the figures that come from the one-to-one matching of one or more bones."""
    match = total_match(matches)
    return {
        "recall": match.recall,
        "precision": match.precision,
        "f1": match.f1,
        "matched_fragments": len(match.pairs),
        "missed_fragments": len(match.missed),
        "surplus_fragments": len(match.surplus),
        "merge_errors": match.merge_errors,
        "split_errors": match.split_errors,
        "reference_fragments": len(match.reference_ids),
        "prediction_fragments": len(match.prediction_ids),
        "topology_consistent": int(all(len(m.reference_ids) == len(m.prediction_ids) for m in matches)),
    }


def _mean(values: Iterable[Figure]) -> float | None:
    """Return the mean of the defined values, infinite when one of them is; None without any.

    The sum is exact before it is rounded, so that the order of the values does not matter.
    """
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def describe(tables: Sequence[Mapping[str, Figure]]) -> dict[str, dict[str, Figure]]:
    """Return mean, standard deviation, median and counts of every figure of some tables.

    Args:
        tables: Figures by name; None and NaN are undefined.

    Returns:
        For each figure `mean`, `sd` and `median` of its finite values, their number `n`, and how many are `infinite`
        and `undefined`.
    """
    names = dict.fromkeys(name for table in tables for name in table)
    result: dict[str, dict[str, Figure]] = {}
    for name in names:
        values = [table.get(name) for table in tables]
        defined = np.array([value for value in values if value is not None and not math.isnan(value)], np.float64)
        finite = defined[np.isfinite(defined)]
        result[name] = {
            "mean": float(finite.mean()) if len(finite) else None,
            "sd": float(finite.std(ddof=1)) if len(finite) > 1 else None,
            "median": float(np.median(finite)) if len(finite) else None,
            "n": len(finite),
            "infinite": len(defined) - len(finite),
            "undefined": len(values) - len(defined),
        }
    return result


def _finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with None in place of values that JSON does not know."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in figures.items()}


def _infinite_names(figures: Mapping[str, Figure]) -> list[str]:
    return [name for name, value in figures.items() if value is not None and math.isinf(value)]
