"""The connected pieces of fragments, and the report on what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from label_gen.classes import ABBC
from label_gen.grid import Box

__all__ = ["PieceReport", "Pieces", "find_pieces", "report_pieces"]


@dataclass(frozen=True)
class PieceReport:
    """What label generation did with one connected piece of a fragment.

    Attributes:
        fragment_id: Number of the fragment in the input.
        bone: Bone that the scheme gives the number to.
        piece: 1 for the fragment's largest 26-connected piece, 2 for the next.
        volume_mm3: Volume of the piece.
        thickness_mm: Twice the largest distance from a voxel of the piece to the nearest voxel outside it, less one
            mean voxel: about the diameter of the largest ball that fits in.
        core_voxels: Voxels of its core.
        border_voxels: Voxels of its border.
        fallback: How its core was found: `none` (ordinary rule), `thin` (too thin for the rule), `close` (within the
            clearance of contacts), `crowded` (every voxel touches another fragment), `touching` (as before, and its
            core could not be kept from touching another), `deepest` (literal mode: one voxel kept), or `satellite` (a
            piece below the size that gets a core, beside a larger piece of its fragment).
    """

    fragment_id: int
    bone: str
    piece: int
    volume_mm3: float
    thickness_mm: float
    core_voxels: int
    border_voxels: int
    fallback: str


@dataclass(frozen=True)
class Pieces:
    """The 26-connected pieces of compact fragment labels. Index 0 of every table is background.

    Attributes:
        labels: Piece numbers (z, y, x), 0 outside.
        fragment: Compact number of the fragment of each piece.
        rank: 1 for the largest piece of its fragment, 2 for the next.
        voxels: Size of each piece.
        boxes: Box of each piece.
    """

    labels: NDArray[Any]
    fragment: NDArray[np.int64]
    rank: NDArray[np.int64]
    voxels: NDArray[np.int64]
    boxes: Sequence[Box]

    def __len__(self) -> int:
        return len(self.voxels) - 1

    def need_core(self, min_voxels: float) -> NDArray[np.bool_]:
        """Return which pieces get a core: the largest of each fragment, and all from a size on."""
        needs: NDArray[np.bool_] = (self.rank == 1) | (self.voxels >= min_voxels - 1e-6)
        needs[0] = False
        return needs


def find_pieces(fragments: NDArray[Any]) -> Pieces:
    """Return the 26-connected pieces of every fragment.

    Args:
        fragments: Compact fragment numbers (z, y, x), 0 outside.
    """
    labels = cc3d.connected_components(fragments, connectivity=26)
    statistics = cc3d.statistics(labels)
    voxels = statistics["voxel_counts"].astype(np.int64)
    voxels[0] = 0
    fragment = np.zeros(len(voxels), np.int64)
    bone = np.flatnonzero(labels)
    fragment[labels.ravel()[bone]] = fragments.ravel()[bone]
    rank = np.zeros(len(voxels), np.int64)
    seen: dict[int, int] = {}
    for piece in np.argsort(-voxels[1:], kind="stable") + 1:
        owner = int(fragment[piece])
        rank[piece] = seen[owner] = seen.get(owner, 0) + 1
    return Pieces(labels, fragment, rank, voxels, statistics["bounding_boxes"])


def report_pieces(
    pieces: Pieces,
    classes: NDArray[np.uint8],
    max_depth: NDArray[np.float32],
    fallbacks: Mapping[int, str],
    ids: NDArray[Any],
    bone_of: Mapping[int, str],
    spacing_mm: Sequence[float],
) -> tuple[PieceReport, ...]:
    """Return a report per piece, ordered by fragment number and size.

    Args:
        pieces: The pieces.
        classes: ABBC classes on the same grid.
        max_depth: Largest depth of each piece in millimetres.
        fallbacks: Fallback by piece number; the others are `none`.
        ids: Fragment number in the input by compact number less one.
        bone_of: Name of the bone by fragment number in the input.
        spacing_mm: Spacing in array order, in millimetres.
    """
    counts = {
        kind: np.bincount(pieces.labels[classes == kind], minlength=len(pieces) + 1)
        for kind in (ABBC.CORE, ABBC.BORDER)
    }
    voxel_mm3 = float(np.prod(spacing_mm))
    mean_voxel = voxel_mm3 ** (1 / 3)
    reports = []
    for piece in range(1, len(pieces) + 1):
        fragment_id = int(ids[pieces.fragment[piece] - 1])
        reports.append(
            PieceReport(
                fragment_id=fragment_id,
                bone=bone_of[fragment_id],
                piece=int(pieces.rank[piece]),
                volume_mm3=round(float(pieces.voxels[piece]) * voxel_mm3, 3),
                thickness_mm=round(2 * float(max_depth[piece]) - mean_voxel, 3),
                core_voxels=int(counts[ABBC.CORE][piece]),
                border_voxels=int(counts[ABBC.BORDER][piece]),
                fallback=fallbacks.get(piece, "none"),
            )
        )
    return tuple(sorted(reports, key=lambda report: (report.fragment_id, report.piece)))
