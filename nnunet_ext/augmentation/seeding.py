"""One seed for both random generators that a pipeline draws from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform

__all__ = ["SeedTorch"]


class SeedTorch(BasicTransform):
    """Seed PyTorch's CPU generator from NumPy's, for each patch; leaves the patch as it is.

    Of batchgeneratorsv2's transforms some draw from NumPy and some (`RandomTransform`, `MirrorTransform`) from PyTorch.
    nnU-Net's loaders seed NumPy anew in each worker process and leave PyTorch's generator in the state in which all of
    them were forked: without this, they would all mirror their first patch alike, and their second, and so on. With
    this transform in front, NumPy's seed alone says what happens to a patch.
    """

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Seed, and return the patch."""
        torch.default_generator.manual_seed(int(np.random.randint(2**31)))
        return data_dict
