"""One-to-one matching: which predicted fragment is which true fragment, and what was missed, added, merged, split."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from label_gen.scheme import Bone
from postproc.overlap import LabelOverlap

__all__ = ["InstanceMatch", "match_fragments", "total_match"]


@dataclass(frozen=True)
class InstanceMatch:
    """Matching of the fragments of one bone, or of several bones together.

    Attributes:
        reference_ids: True fragments, ascending.
        prediction_ids: Predicted fragments, ascending.
        pairs: Predicted fragment by true fragment, for the matched ones.
        merge_errors: See `match_fragments`.
        split_errors: See `match_fragments`.
    """

    reference_ids: tuple[int, ...]
    prediction_ids: tuple[int, ...]
    pairs: dict[int, int]
    merge_errors: int
    split_errors: int

    @property
    def missed(self) -> tuple[int, ...]:
        """True fragments without a match."""
        return tuple(label for label in self.reference_ids if label not in self.pairs)

    @property
    def surplus(self) -> tuple[int, ...]:
        """Predicted fragments without a match."""
        taken = set(self.pairs.values())
        return tuple(label for label in self.prediction_ids if label not in taken)

    @property
    def recall(self) -> float | None:
        """Matched share of the true fragments; None without any."""
        return len(self.pairs) / len(self.reference_ids) if self.reference_ids else None

    @property
    def precision(self) -> float | None:
        """Matched share of the predicted fragments; None without any."""
        return len(self.pairs) / len(self.prediction_ids) if self.prediction_ids else None

    @property
    def f1(self) -> float | None:
        """Twice the matches over the fragments of both sides; None when neither side has any."""
        total = len(self.reference_ids) + len(self.prediction_ids)
        return 2 * len(self.pairs) / total if total else None


def match_fragments(overlap: LabelOverlap, bone: Bone, *, min_iou: float, min_piece_voxels: float) -> InstanceMatch:
    """Match the fragments of a bone one to one, and count merge and split errors.

    The matching maximises the sum of the IoU over the pairs with an IoU of at least `min_iou`. From 0.5 upwards the
    choice is unique, save when two fragments are exactly half of a third one each: then the one whose first voxel
    comes first in the volume is taken.

    A *merge error*: a predicted fragment covers more than half of the voxels of each of n >= 2 true fragments of the
    bone; it counts n - 1.

    A *split error*: n >= 2 predicted fragments of the bone each lie with more than half of their voxels in the same
    true fragment and share at least `min_piece_voxels` with it, and together they cover more than half of it; it
    counts n - 1.

    A fragment can thus be part of one merge and of one split error at most.

    Args:
        overlap: Contingency table of the case.
        bone: Bone with its band.
        min_iou: Smallest IoU of a match, above 0, up to 1.
        min_piece_voxels: Smallest common volume for a predicted fragment to count as a piece in a split error.

    Returns:
        The matching.

    Source: one-to-one matching with a threshold on IoU as in panoptic quality (Kirillov et al. 2019, section 4.1);
        definitions of merge and split errors chosen here: "more than half" gives every fragment one owner at most.
    """
    reference_ids = tuple(label for label in overlap.reference if label in bone.band)
    prediction_ids = tuple(label for label in overlap.prediction if label in bone.band)
    rows = sorted(reference_ids, key=lambda label: overlap.reference[label].first_voxel)
    columns = sorted(prediction_ids, key=lambda label: overlap.prediction[label].first_voxel)
    iou = overlap.iou_table(rows, columns)
    iou[iou < min_iou] = 0
    is_row, is_column = np.count_nonzero(iou, axis=1) > 0, np.count_nonzero(iou, axis=0) > 0
    rows, columns = list(itertools.compress(rows, is_row)), list(itertools.compress(columns, is_column))
    iou = iou[np.ix_(is_row, is_column)]
    chosen = zip(*(side.tolist() for side in linear_sum_assignment(iou, maximize=True)), strict=True)
    pairs = {rows[i]: columns[j] for i, j in chosen if iou[i, j] > 0}
    return InstanceMatch(
        reference_ids,
        prediction_ids,
        dict(sorted(pairs.items())),
        _merge_errors(overlap, reference_ids, prediction_ids),
        _split_errors(overlap, reference_ids, prediction_ids, min_piece_voxels),
    )


def total_match(matches: Sequence[InstanceMatch]) -> InstanceMatch:
    """Return the matching of several bones as one."""
    return InstanceMatch(
        tuple(label for match in matches for label in match.reference_ids),
        tuple(label for match in matches for label in match.prediction_ids),
        {true: predicted for match in matches for true, predicted in match.pairs.items()},
        sum(match.merge_errors for match in matches),
        sum(match.split_errors for match in matches),
    )


def _merge_errors(overlap: LabelOverlap, reference_ids: Sequence[int], prediction_ids: Sequence[int]) -> int:
    swallowed = dict.fromkeys(prediction_ids, 0)
    known = set(reference_ids)
    for (reference_id, prediction_id), shared in overlap.shared_voxels.items():
        if reference_id in known and prediction_id in swallowed:
            swallowed[prediction_id] += 2 * shared > overlap.reference[reference_id].voxels
    return sum(max(0, count - 1) for count in swallowed.values())


def _split_errors(
    overlap: LabelOverlap, reference_ids: Sequence[int], prediction_ids: Sequence[int], min_piece_voxels: float
) -> int:
    pieces: dict[int, list[int]] = {label: [] for label in reference_ids}
    known = set(prediction_ids)
    for (reference_id, prediction_id), shared in overlap.shared_voxels.items():
        is_piece = shared >= min_piece_voxels and 2 * shared > overlap.prediction[prediction_id].voxels
        if reference_id in pieces and prediction_id in known and is_piece:
            pieces[reference_id].append(shared)
    return sum(
        max(0, len(shares) - 1)
        for reference_id, shares in pieces.items()
        if 2 * sum(shares) > overlap.reference[reference_id].voxels
    )
