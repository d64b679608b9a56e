"""The statistics of a case: what the fragments are, where, how they meet, and which fracture lines to doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.atomic import write_csv, write_json
from nnunet_ext.fragment_names import FragmentName
from nnunet_ext.grids import check_same_grid
from nnunet_ext.manifest import NOTE
from nnunet_ext.outputs.segments import find_segments
from nnunet_ext.volumes import Volume
from postproc.confidence import InterfaceConfidence
from postproc.fragment_table import REACH_MM, FragmentTable, measure_fragments

__all__ = ["make_statistics", "write_statistics"]

DEFINITIONS = {
    "volume_mm3": "number of voxels times the volume of a voxel",
    "surface_mm2": "whole surface, contacts included: crossings along 13 directions (Crofton), without staircases",
    "mean_hu": "mean of the CT over the fragment's voxels",
    "centroid_lps_mm": "mean of the centres of its voxels; left, posterior, superior are positive",
    "box_lps_mm": "lowest and highest corner of the smallest box along the patient's axes that holds its voxels whole",
    "contact_mm2": "area on which two fragments touch, by the estimator of the surface",
    "smallest_gap_mm": f"smallest distance between voxel faces of two fragments, up to {REACH_MM:g} mm; 0: they touch",
    "confidence": (
        "mean over the interface of the largest border probability within 1.5 mm of it (across a gap: of the largest "
        "probability of border or background), 0 to 1: how sure the network was that the bone is broken there. Not "
        "calibrated; it tells nothing of fractures that were missed"
    ),
    "supported_share": "share of the interface on which that probability is at least 0.5",
}
"""What the figures mean; part of the file, so that nobody has to guess."""


def make_statistics(
    labels: Volume,
    names: Mapping[int, FragmentName],
    *,
    ct: Volume | None,
    confidence: Sequence[InterfaceConfidence] = (),
    events: Sequence[str] = (),
    scheme: str = "",
) -> dict[str, Any]:
    """Gather the statistics of a case.

    Interfaces are pairs of fragments of the same bone that touch, or are near each other and have a confidence; the
    least sure come first, those without a confidence last. Neighbours of a fragment are all
    that touch it or are near it, of any bone.

    Args:
        labels: Fragment numbers (z, y, x), 0 outside.
        names: Names by number, one for each fragment of the volume.
        ct: The CT in HU, on the same grid.
        confidence: What `postproc.confidence.interface_confidence` found.
        events: What was merged, split, dropped, as sentences.
        scheme: Name of the label scheme.

    Returns:
        Plain types, in the layout of `statistics.json`.

    Raises:
        DataError: A fragment has no name.
        GridError: CT and labels are on different grids.
    """
    find_segments(labels.array, names)
    if ct is not None:
        check_same_grid(ct.grid, labels.grid, "the CT", "the labels")
    table = measure_fragments(
        labels.array,
        labels.spacing_mm,
        image=None if ct is None else ct.array,
        origin=labels.origin,
        direction=labels.direction,
    )
    neighbours: dict[int, list[dict[str, Any]]] = {fragment.label: [] for fragment in table.fragments}
    for pair in table.pairs:
        measures = {"contact_mm2": round(pair.contact_mm2, 1), "smallest_gap_mm": round(pair.smallest_gap_mm, 2)}
        neighbours[pair.first].append({"label": pair.second, **measures})
        neighbours[pair.second].append({"label": pair.first, **measures})
    fragments = []
    for fragment in table.fragments:
        name = names[fragment.label]
        fragments.append(
            {
                "label": fragment.label,
                "segment_id": name.segment_id,
                "name": name.display_name,
                "bone": name.bone,
                "colour": name.hex_colour,
                "volume_mm3": round(fragment.volume_mm3, 1),
                "surface_mm2": round(fragment.surface_mm2, 1),
                "mean_hu": None if fragment.mean_value is None else round(fragment.mean_value, 1),
                "centroid_lps_mm": _rounded(fragment.centroid_mm),
                "box_lps_mm": [_rounded(corner) for corner in fragment.box_mm],
                "neighbours": sorted(neighbours[fragment.label], key=_closest),
            }
        )
    return {
        "note": NOTE,
        "scheme": scheme,
        "spacing_mm": list(labels.spacing_mm),
        "definitions": DEFINITIONS,
        "fragments": fragments,
        "interfaces": _interfaces(table, names, confidence),
        "decisions": list(events),
    }


def write_statistics(folder: str | Path, statistics: Mapping[str, Any]) -> None:
    """Write `statistics.json`, and the fragments as a table, `statistics.csv`.

    Args:
        folder: The folder; it is made if missing.
        statistics: What `make_statistics` made.

    Raises:
        VolumeFileError: A file cannot be written.
    """
    write_json(Path(folder) / "statistics.json", statistics)
    write_csv(Path(folder) / "statistics.csv", _rows(statistics))


def _interfaces(
    table: FragmentTable, names: Mapping[int, FragmentName], confidence: Sequence[InterfaceConfidence]
) -> list[dict[str, Any]]:
    known = {(min(item.first, item.second), max(item.first, item.second)): item for item in confidence}
    rows = []
    for pair in table.pairs:
        sure = known.get((pair.first, pair.second))
        if names[pair.first].bone != names[pair.second].bone or not (pair.contact_mm2 or sure):
            continue
        rows.append(
            {
                "first": pair.first,
                "second": pair.second,
                "contact_mm2": round(pair.contact_mm2, 1),
                "smallest_gap_mm": round(pair.smallest_gap_mm, 2),
                "confidence": None if sure is None else round(sure.confidence, 3),
                "supported_share": None if sure is None else round(sure.supported_share, 3),
            }
        )
    return sorted(rows, key=lambda row: (row["confidence"] is None, row["confidence"] or 0.0, row["first"]))


def _closest(neighbour: Mapping[str, Any]) -> tuple[float, float, int]:
    return (neighbour["smallest_gap_mm"], -neighbour["contact_mm2"], neighbour["label"])


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 2) for value in values]


def _rows(statistics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per fragment; the note stands in a column of its own, since CSV has no room for comments."""
    rows = []
    sure = {(row["first"], row["second"]): row["confidence"] for row in statistics["interfaces"]}
    for fragment in statistics["fragments"]:
        row = {key: value for key, value in fragment.items() if not isinstance(value, list)}
        for axis, place in zip("xyz", fragment["centroid_lps_mm"], strict=True):
            row[f"centroid_{axis}_mm"] = place
        for which, corner in zip(("min", "max"), fragment["box_lps_mm"], strict=True):
            row |= {f"box_{which}_{axis}_mm": place for axis, place in zip("xyz", corner, strict=True)}
        touching = [other for other in fragment["neighbours"] if other["contact_mm2"] > 0]
        row["touches"] = " ".join(str(other["label"]) for other in touching)
        row["near"] = " ".join(str(other["label"]) for other in fragment["neighbours"] if other not in touching)
        row["contact_mm2"] = round(sum(other["contact_mm2"] for other in touching), 1)
        doubts = [value for pair, value in sure.items() if fragment["label"] in pair and value is not None]
        row["lowest_confidence"] = min(doubts, default=None)
        row["note"] = statistics["note"]
        rows.append(row)
    return rows
