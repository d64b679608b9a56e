"""White noise whose amplitude is a share of the intensity range."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from torch import Tensor

from nnunet_ext.augmentation.intensity import PerChannel, channel_ranges
from nnunet_ext.augmentation.ranges import Range, check_range, draw

__all__ = ["WhiteNoise"]


class WhiteNoise(ImageOnlyTransform):
    """Add to each pixel its own random number between minus and plus an amplitude.

    The source names the distribution of the amplitude but not that of the pixels. Chosen here: uniform, so that the
    amplitude is what its name says, the largest change of a pixel (standard deviation: 0.58 of it). Channels get
    independent noise of the same relative amplitude.

    Args:
        intensity_range: Width of the intensity range of each channel, normalised intensities. None for a channel, or
            for all: the range of the patch.
        amplitude: Range of the amplitude, share of the intensity range.

    Raises:
        UsageError: A range that makes no sense; on use, another number of intensity ranges than of channels.

    Source: Ekman et al. 2025, Table 1, "White noise": U(0, 15 %) of intensity range.
    """

    def __init__(self, *, intensity_range: PerChannel = None, amplitude: Range = (0.0, 0.15)) -> None:
        super().__init__()
        self.intensity_range = intensity_range
        self.amplitude = check_range("amplitude", amplitude, low=0)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the amplitude and the noise of each pixel, -1 to 1."""
        noise = 2 * np.random.random_sample(tuple(data_dict["image"].shape)).astype(np.float32) - 1
        return {"amplitude": draw(self.amplitude), "noise": torch.from_numpy(noise)}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        ranges = channel_ranges(img, self.intensity_range)
        return torch.addcmul(img, params["noise"].to(img.dtype), ranges, value=params["amplitude"])
