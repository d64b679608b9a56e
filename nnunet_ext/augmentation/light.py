"""Light augmentation: mirroring and intensities of nnU-Net's recipe, without what interpolates or filters a patch."""

from __future__ import annotations

from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

__all__ = ["lighten"]

HEAVY = (SpatialTransform, SimulateLowResolutionTransform, GaussianBlurTransform)


def lighten(pipeline: Any) -> BasicTransform:
    """Return a pipeline without rotation, scaling, lower resolution and blur.

    What stays is noise, brightness, contrast, gamma, mirroring and the preparation of targets. Patches must be read in
    the size that the network gets.

    Args:
        pipeline: What nnU-Net's `get_training_transforms` returns.

    Returns:
        The pipeline of the transforms that stay, in their order.

    Source: chosen here for simulated cases, which differ in pose, size, sharpness and slice thickness from the start,
    and for machines on which the network needs every core.
    """
    kept = [t for t in pipeline.transforms if not isinstance(getattr(t, "transform", t), HEAVY)]
    return ComposeTransforms(kept)
