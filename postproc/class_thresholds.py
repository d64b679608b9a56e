"""Class probabilities to class numbers, with a threshold per class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError

__all__ = ["decide_classes"]

SLACK = 1e-3
"""How far a probability may leave 0 to 1: the rounding of float16 near 1 (5e-4), doubled."""


def decide_classes(probabilities: NDArray[Any], thresholds: Mapping[int, float]) -> NDArray[Any]:
    """Decide the class of every voxel.

    A voxel belongs to the class whose probability reaches its threshold; where several do, to the most probable of
    them, and among equals to the smaller number. A class without a threshold has the voxels where it is the most
    probable of all, background included, as nnU-Net decides. What is left is background.

    Args:
        probabilities: Floating-point, 0 to 1, axes (class, z, y, x); class 0 is the background.
        thresholds: Thresholds above 0, by class number.

    Returns:
        Class numbers (z, y, x), in the smallest unsigned type that holds them.

    Raises:
        DataError: The array has another shape, fewer classes than thresholds name, or values outside 0 to 1.
    """
    if probabilities.ndim != 4 or len(probabilities) < 2 or probabilities.size == 0:
        raise DataError(
            f"probabilities must have shape (class, z, y, x), class 0 being the background. Got: {probabilities.shape}"
        )
    count = len(probabilities)
    if max(thresholds, default=0) >= count:
        raise DataError(f"probabilities hold the classes 0 to {count - 1} only; there is no class {max(thresholds)}")
    labels = np.zeros(probabilities.shape[1:], np.min_scalar_type(count - 1))
    for z, into in enumerate(labels):
        planes = probabilities[:, z]
        smallest, largest = float(planes.min()), float(planes.max())
        if not (smallest >= -SLACK and largest <= 1 + SLACK):  # NaN too
            raise DataError(
                f"probabilities must lie between 0 and 1. Got: {smallest:g} to {largest:g} in slice {z}; "
                "give probabilities, not logits"
            )
        likeliest = planes.argmax(axis=0) if len(thresholds) < count - 1 else None
        best = np.zeros_like(planes[0])
        for number in range(1, count):
            is_class = planes[number] >= thresholds[number] if number in thresholds else likeliest == number
            is_class &= planes[number] > best
            np.copyto(best, planes[number], where=is_class)
            into[is_class] = number
    return labels
