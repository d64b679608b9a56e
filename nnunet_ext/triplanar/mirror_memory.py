"""Test-time mirroring asks for the same slices twice; the memory hands out the second time what the first one gave."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

__all__ = ["MirrorMemory"]

AXES = (0, 1, 2)
FLIPS = tuple(frozenset(axes) for count in range(4) for axes in combinations(AXES, count))


class MirrorMemory:
    """Results of stacks of slices of one volume and its mirror images.

    nnU-Net's predictor mirrors a volume in every combination of axes and calls the network once for each. A flip along
    the slice axis of a stack only reverses the order of its slices: of the eight results of a stack, four are the
    other four in reverse. Source: chosen here; it halves the work of mirrored prediction.

    A result is kept until it was used a second time. Nothing is kept across volumes or across weights.
    """

    def __init__(self) -> None:
        self._reference: Tensor | None = None
        self._weights: object = None
        self._results: dict[tuple[int, frozenset[int]], Tensor] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._reference, self._weights = None, None
        self._results.clear()

    def recognise(self, volume: Tensor, weights: object) -> frozenset[int]:
        """Say how a volume is mirrored against the one in memory; a volume that is new replaces that.

        Args:
            volume: Input of the network, shape (batch, channels, axis 0, axis 1, axis 2).
            weights: Anything that compares unequal once the network's weights have changed.

        Returns:
            The axes (0, 1, 2) along which `volume` is the reference flipped; none for a new volume.
        """
        reference = self._reference
        if (
            reference is not None
            and weights == self._weights
            and (reference.shape, reference.dtype, reference.device) == (volume.shape, volume.dtype, volume.device)
        ):
            for axes in FLIPS:
                if torch.equal(_flip(reference, axes), volume):
                    return axes
        self.clear()
        self._reference, self._weights = volume.clone(), weights
        return frozenset()

    def take(self, slice_axis: int, flipped: frozenset[int]) -> Tensor | None:
        """Return the result of a stack for a mirrored volume if it is known, and forget it.

        Args:
            slice_axis: The stack.
            flipped: What `recognise` returned for the volume.

        Returns:
            Result in the frame of the mirrored volume, or None.
        """
        result = self._results.pop((slice_axis, flipped - {slice_axis}), None)
        return None if result is None else _flip(result, flipped & {slice_axis})

    def keep(self, slice_axis: int, flipped: frozenset[int], result: Tensor) -> None:
        """Remember the result of a stack.

        Args:
            slice_axis: The stack.
            flipped: What `recognise` returned for the volume.
            result: Shape (batch, classes, axis 0, axis 1, axis 2), in the frame of the mirrored volume.
        """
        self._results[slice_axis, flipped - {slice_axis}] = _flip(result, flipped & {slice_axis})


def _flip(tensor: Tensor, axes: Sequence[int] | frozenset[int]) -> Tensor:
    return tensor.flip([axis + 2 for axis in sorted(axes)]) if axes else tensor
