"""Overlap figures of one structure from counts of voxels: Dice to signed volume similarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["OVERLAP_FIGURES", "overlap_figures"]

OVERLAP_FIGURES = ("dice", "jaccard", "sensitivity", "specificity", "volume_similarity", "signed_volume_similarity")


def overlap_figures(
    shared: ArrayLike, predicted: ArrayLike, true: ArrayLike, total: ArrayLike
) -> dict[str, NDArray[np.float64]]:
    """Return the overlap figures of prediction and reference; a figure without a basis is NaN.

    With P and R the voxels of prediction and reference and T all voxels that count:

    - `dice`: 2 |P and R| / (|P| + |R|). Source: Dice 1945.
    - `jaccard`: |P and R| / |P or R|, also called IoU. Source: Jaccard 1912. Its mean over cases or slices is the mIoU
      of seed 002 (Pivi and Fusconi).
    - `sensitivity`: share of R that is found; `specificity`: share of the rest of T that is left alone, which is near 1
      in a large field of view whatever the prediction. Source: seed 004 (nnU-Net for femora), metrics.
    - `volume_similarity`: 1 - ||P| - |R|| / (|P| + |R|). Source: Taha and Hanbury 2015, equation 12.
    - `signed_volume_similarity`: 1 + (|P| - |R|) / (|P| + |R|): above 1 if the prediction is too large, below if too
      small. Source: seed 002, section 4.

    Args:
        shared: Number of voxels in both, a number or an array of numbers.
        predicted: Number in the prediction, of the same shape.
        true: Number in the reference.
        total: Number of all voxels that count.

    Returns:
        Float64 arrays of the shape of the arguments, by name.
    """
    both, p, r, t = (np.asarray(count, np.float64) for count in (shared, predicted, true, total))
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = (p - r) / (p + r)
        return {
            "dice": 2 * both / (p + r),
            "jaccard": both / (p + r - both),
            "sensitivity": both / r,
            "specificity": (t - p - r + both) / (t - r),
            "volume_similarity": 1 - np.abs(difference),
            "signed_volume_similarity": 1 + difference,
        }
