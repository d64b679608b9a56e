"""Audit: what the way from fragments to ABBC classes and back keeps of every fragment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from label_gen import FREE_SCHEME, GeneratedABBC, LabelScheme, PieceReport, generate_abbc
from label_gen.grid import bounding_box, canonical_axes, check_spacing
from label_gen.pieces import find_pieces
from postproc.overlap import label_overlap
from postproc.recover import RecoveredFragments, recover_fragments
from postproc.thresholds import Thresholds

__all__ = ["CaseAudit", "PieceAudit", "anatomy_of", "audit_round_trip"]


@dataclass(frozen=True)
class PieceAudit:
    """What became of one connected piece of a fragment.

    Attributes:
        report: What label generation did with it.
        round_trip_iou: Largest intersection over union with a recovered fragment.
        status: `kept`; `merged` (its recovered fragment is also that of another piece that should stand alone);
            `split` (it is the main part of two or more recovered fragments); `lost` (nothing of it was recovered); or
            `satellite` (too small to get a core beside a larger piece of its fragment: it stands for no fragment).
        recovered_id: Number of the recovered fragment that holds most of it, 0 where it is lost.
    """

    report: PieceReport
    round_trip_iou: float
    status: Literal["kept", "merged", "split", "lost", "satellite"]
    recovered_id: int


@dataclass(frozen=True)
class CaseAudit:
    """Audit of a case.

    Attributes:
        pieces: One record per piece, by fragment number and size.
        recovered: The recovered fragments.
    """

    pieces: tuple[PieceAudit, ...]
    recovered: RecoveredFragments

    @property
    def expected(self) -> int:
        """How many fragments should be recovered: pieces that got a core of their own."""
        return sum(piece.status != "satellite" for piece in self.pieces)

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat record per piece."""
        return [
            asdict(piece.report)
            | {
                "round_trip_iou": round(piece.round_trip_iou, 5),
                "status": piece.status,
                "recovered_id": piece.recovered_id,
            }
            for piece in self.pieces
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain types."""
        ious = [piece.round_trip_iou for piece in self.pieces if piece.status != "satellite"]
        return {
            "expected_fragments": self.expected,
            "recovered_fragments": len(self.recovered.fragments),
            "mean_round_trip_iou": round(float(np.mean(ious)), 5),
            "worst_round_trip_iou": round(min(ious), 5),
            "status": dict(Counter(piece.status for piece in self.pieces)),
            "warnings": list(self.recovered.warnings),
            "pieces": self.rows(),
        }


def audit_round_trip(
    labels: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    scheme: LabelScheme = FREE_SCHEME,
    mode: Literal["default", "literal"] = "default",
    generated: GeneratedABBC | None = None,
    thresholds: Mapping[str, Thresholds] | None = None,
) -> CaseAudit:
    """Generate ABBC classes, recover the fragments with the true anatomy, and compare.

    This is the ceiling of everything that comes after: no network trained on the classes can do better on the case.

    Args:
        labels: Integer fragment numbers (z, y, x), 0 outside bone.
        spacing_mm: Voxel spacing in array order (z, y, x), in millimetres.
        scheme: Which number belongs to which bone.
        mode: Mode of the label generation.
        generated: Its result, where it exists already.
        thresholds: Thresholds of the recovery, as for `recover_fragments`.

    Returns:
        A record per connected piece.

    Raises:
        DataError: `labels` is not a 3D volume of non-negative integers, or holds no fragment.
        SchemeError: A number is in no band of the scheme.
    """
    generated = generated or generate_abbc(labels, spacing_mm, scheme=scheme, mode=mode)
    recovered = recover_fragments(
        generated.abbc, spacing_mm, anatomy=anatomy_of(labels, scheme), scheme=scheme, thresholds=thresholds
    )
    box = bounding_box(labels) or (slice(0), slice(0), slice(0))
    order = canonical_axes(labels[box], check_spacing(spacing_mm))
    work = np.ascontiguousarray(labels[box].transpose(order))
    pieces = find_pieces(work)
    overlap = label_overlap(np.ascontiguousarray(recovered.labels[box].transpose(order)), pieces.labels)
    report_of = {(report.fragment_id, report.piece): report for report in generated.pieces}
    reports = {p: report_of[int(pieces.fragment[p]), int(pieces.rank[p])] for p in range(1, len(pieces) + 1)}

    shares: dict[int, dict[int, int]] = {piece: {} for piece in reports}
    sources: dict[int, dict[int, int]] = {}
    for (piece, fragment), voxels in overlap.shared_voxels.items():
        shares[piece][fragment] = sources.setdefault(fragment, {})[piece] = voxels
    holder = {piece: _largest(share) for piece, share in shares.items()}
    held = Counter(holder[piece] for piece, report in reports.items() if report.fallback != "satellite")
    parts = Counter(_largest(source) for source in sources.values())
    audits = []
    for piece, report in reports.items():
        status: Literal["kept", "merged", "split", "lost", "satellite"] = "kept"
        if report.fallback == "satellite":
            status = "satellite"
        elif not holder[piece]:
            status = "lost"
        elif held[holder[piece]] > 1:
            status = "merged"
        elif parts[piece] > 1:
            status = "split"
        iou = max((overlap.iou(piece, fragment) for fragment in shares[piece]), default=0.0)
        audits.append(PieceAudit(report, iou, status, holder[piece]))
    audits.sort(key=lambda audit: (audit.report.fragment_id, audit.report.piece))
    return CaseAudit(tuple(audits), recovered)


def _largest(shares: Mapping[int, int]) -> int:
    """Return the key with the most voxels, the smaller of equals; 0 where there is none."""
    return max(shares, key=lambda key: (shares[key], -key), default=0)


def anatomy_of(labels: NDArray[Any], scheme: LabelScheme) -> NDArray[np.uint8]:
    """Return the true anatomy: for every voxel the anatomy number of its fragment's bone.

    Args:
        labels: Fragment numbers (z, y, x) in the bands of the scheme, 0 elsewhere.
        scheme: The scheme. Where a band covers several bones, the first of them is taken.

    Returns:
        Anatomy numbers (z, y, x).
    """
    table = np.zeros(int(labels.max()) + 1, np.uint8)
    for bone in scheme.bones:
        table[bone.first_id : bone.last_id + 1] = scheme.anatomy[bone.parts[0]]
    anatomy: NDArray[np.uint8] = table[labels]
    return anatomy
