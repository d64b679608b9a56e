"""Brightness: a shift of all intensities by so many Hounsfield units."""

from __future__ import annotations

from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from torch import Tensor

from nnunet_ext.augmentation.intensity import PerChannel, channel_units_per_hu
from nnunet_ext.augmentation.ranges import Range, check_range, draw

__all__ = ["Brightness"]


class Brightness(ImageOnlyTransform):
    """Add one random number to all pixels.

    Args:
        hu_scale: What one HU is in each channel, in normalised intensities (1 / standard deviation of nnU-Net's CT
            normalisation). None for a channel, or for all: the range of the patch counts as `PATCH_RANGE_HU`.
        shift_hu: Range of the shift, HU. All channels of a patch get the same.

    Raises:
        UsageError: A range that makes no sense; on use, another number of scales than of channels.

    Source: Ekman et al. 2025, Table 1, "Brightness": U(-30, 30) to U(-100, 100) HU; the wider is chosen, because bone
    and metal span thousands of HU.
    """

    def __init__(self, *, hu_scale: PerChannel = None, shift_hu: Range = (-100.0, 100.0)) -> None:
        super().__init__()
        self.hu_scale = hu_scale
        self.shift_hu = check_range("shift_hu", shift_hu)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the shift."""
        return {"shift_hu": draw(self.shift_hu)}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        return torch.add(img, channel_units_per_hu(img, self.hu_scale), alpha=params["shift_hu"])
