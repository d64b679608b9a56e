"""Sharpening by an unsharp mask, as MATLAB's imsharpen does it."""

from __future__ import annotations

from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import blur_dimension
from torch import Tensor

from nnunet_ext.augmentation.ranges import Range, check_range, draw

__all__ = ["Sharpening"]


class Sharpening(ImageOnlyTransform):
    """Add what a Gaussian blur would take away, times a random amount.

    batchgeneratorsv2's own sharpening adds a Laplacian, which is another scale of "amount".

    Args:
        amount: Range of the amount; 0 changes nothing.
        sigma: Standard deviation of the blur, pixels. 1 is the default of imsharpen; the source gives none.

    Raises:
        UsageError: A range or deviation that makes no sense.

    Source: Ekman et al. 2025, Table 1, "Sharpening": U(0.7, 1.3), only fetal MRI; so no default pipeline has it.
    """

    def __init__(self, *, amount: Range = (0.7, 1.3), sigma: float = 1.0) -> None:
        super().__init__()
        self.amount = check_range("amount", amount, low=0)
        self.sigma = check_range("sigma", (sigma, sigma), low=0.1)[0]

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the amount."""
        return {"amount": draw(self.amount)}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        blurred: Tensor = img
        for axis in range(img.ndim - 1):
            blurred = blur_dimension(blurred, self.sigma, axis)
        return torch.lerp(blurred, img, 1 + params["amount"])
