"""Left and right: which labels of a dataset are mirror twins, and mirroring that swaps them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor

__all__ = ["LEFT_RIGHT_AXIS", "MirrorSides", "find_twins"]

LEFT_RIGHT_AXIS = 2
"""The axis of volumes (z, y, x) that runs from one side of the patient to the other."""

_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)


def find_twins(labels: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    """Return the labels that are each other's mirror image.

    Args:
        labels: The `labels` of nnU-Net's dataset.json.

    Returns:
        Pairs of numbers, for names that differ by the words left and right only.

    Example:
        >>> find_twins({"background": 0, "sacrum": 1, "left_hip": 2, "right_hip": 3})
        ((2, 3),)
    """
    swapped = {"left": "right", "right": "left"}
    twins = []
    for name, number in labels.items():
        other = _SIDE.sub(lambda found: swapped[found.group().lower()], name.lower())
        twin = {key.lower(): value for key, value in labels.items()}.get(other)
        if other != name.lower() and isinstance(number, int) and isinstance(twin, int) and number < twin:
            twins.append((number, twin))
    return tuple(twins)


class MirrorSides(BasicTransform):
    """Mirror left and right, and swap the labels that are each other's mirror image.

    Args:
        axis: Spatial axis that runs from left to right.
        twins: Pairs of labels.
        probability: Of mirroring at all.
    """

    def __init__(self, *, axis: int, twins: Sequence[tuple[int, int]], probability: float = 0.5) -> None:
        super().__init__()
        self.axis = axis
        self.twins = tuple(twins)
        self.probability = probability

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Decide whether to mirror."""
        return {"mirror": bool(torch.rand(1) < self.probability)}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        return img.flip(self.axis + 1) if params["mirror"] else img

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        if not params["mirror"]:
            return segmentation
        mirrored = segmentation.flip(self.axis + 1)
        result = mirrored.clone()
        for one, other in self.twins:
            result[mirrored == one] = other
            result[mirrored == other] = one
        return result
