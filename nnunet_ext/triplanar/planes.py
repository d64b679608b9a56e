"""Slice orientations by their anatomical names, and where they lie in nnU-Net's preprocessed arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from label_gen.errors import UsageError

__all__ = ["ORIENTATIONS", "Plane", "find_planes"]


class Plane(NamedTuple):
    """One stack of slices.

    Attributes:
        slice_axis: The array axis from slice to slice.
        row_axis: The array axis down the rows of a slice.
        column_axis: The array axis along its columns.
    """

    slice_axis: int
    row_axis: int
    column_axis: int


ORIENTATIONS = {"axial": Plane(0, 1, 2), "coronal": Plane(1, 2, 0), "sagittal": Plane(2, 0, 1)}
"""The orientations in arrays (z, y, x). Rows and columns follow the slice axis in cyclic order, so that a cyclic
permutation of a volume's axes permutes the three stacks and turns none of them."""


def find_planes(orientations: Sequence[str], transpose_forward: Sequence[int]) -> tuple[Plane, ...]:
    """Return the stacks of slices in a preprocessed array.

    nnU-Net permutes the axes of all cases of a dataset alike (`transpose_forward` of the plans). The slices are named
    anatomically and keep their rows and columns whatever that permutation is: the network sees the same pictures.

    Args:
        orientations: Names out of `ORIENTATIONS`, each at most once.
        transpose_forward: For each axis of the preprocessed array, the axis (z, y, x) of the volume it was.

    Returns:
        For each orientation, its axes in the preprocessed array.

    Raises:
        UsageError: No orientation, one that does not exist, or one twice; or no permutation of 0, 1, 2.

    Example:
        >>> find_planes(["axial", "sagittal"], [2, 0, 1])
        (Plane(slice_axis=1, row_axis=2, column_axis=0), Plane(slice_axis=0, row_axis=1, column_axis=2))
    """
    names = ", ".join(ORIENTATIONS)
    if not orientations or len(set(orientations)) < len(orientations) or not set(orientations) <= set(ORIENTATIONS):
        got = ", ".join(orientations) or "none"
        raise UsageError(f"orientations must be one or more of {names}, each once; got: {got}")
    if sorted(transpose_forward) != [0, 1, 2]:
        raise UsageError(f"transpose_forward must be a permutation of 0, 1, 2; got: {list(transpose_forward)}")
    where = [list(transpose_forward).index(axis) for axis in range(3)]
    return tuple(Plane(*(where[axis] for axis in ORIENTATIONS[name])) for name in orientations)
