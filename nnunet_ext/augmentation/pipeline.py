"""The augmentations of Ekman et al. 2025, Table 1, in the order in which a patch goes through them.

1. `SeedTorch`, with which all our trainers begin: both random generators follow NumPy's.
2. Where things lie. `ObliqueSlab` (global 3D rotation, before slicing), the slicing itself, then rotation and scaling
   of the slice in one interpolation, mirroring, transposing.
3. How the scanner is set. Contrast, brightness, Gaussian blur, sharpening.
4. What disturbs it. Streaks, then white noise, after the blur, so that it stays white.

The source gives no order; this one is chosen here. Steps 3 and 4 leave the segmentation alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import radians

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from label_gen.errors import UsageError
from nnunet_ext.augmentation.brightness import Brightness
from nnunet_ext.augmentation.intensity import PerChannel
from nnunet_ext.augmentation.magnification import Magnification
from nnunet_ext.augmentation.oblique_slab import OUTSIDE, ObliqueSlab
from nnunet_ext.augmentation.ranges import check_range
from nnunet_ext.augmentation.sharpening import Sharpening
from nnunet_ext.augmentation.streak_noise import StreakNoise
from nnunet_ext.augmentation.table import EkmanTable
from nnunet_ext.augmentation.white_noise import WhiteNoise
from nnunet_ext.triplanar.planes import Plane

__all__ = ["before_slicing", "intensity_transforms", "spatial_transforms"]


def before_slicing(*, planes: Sequence[Plane], table: EkmanTable | None = None) -> list[BasicTransform]:
    """Return what happens to a slab, thick or not, before a slice is taken of it.

    Args:
        planes: Orientations of the slices.
        table: Distributions; the defaults of `EkmanTable` by default. That the loader reads thick slabs with the
            probability `p_rotation_3d` is up to the caller.

    Returns:
        The transforms, in order.
    """
    table = table or EkmanTable()
    return [ObliqueSlab(planes=planes, angle_deg=table.rotation_3d_deg)]


def spatial_transforms(
    *, patch_size: Sequence[int], mirroring: bool = True, table: EkmanTable | None = None
) -> list[BasicTransform]:
    """Return rotation, scaling, mirroring and transposing of slices.

    The slice may be larger than the patch; the patch is its middle. Outside of the slice the image is 0 (nnU-Net's
    padding) and the segmentation `OUTSIDE`.

    Args:
        patch_size: Rows and columns of the patch.
        mirroring: Mirror and transpose. False where left and right, or up and down, tell things apart (the mandible of
            the source).
        table: Distributions; the defaults of `EkmanTable` by default.

    Returns:
        The transforms, in order.

    Raises:
        UsageError: The patch to transpose is not square.
    """
    table = table or EkmanTable()
    size = tuple(int(length) for length in patch_size)
    low, high = check_range("rotation_2d_deg", table.rotation_2d_deg, low=-180, high=180)
    transforms: list[BasicTransform] = [
        SpatialTransform(
            size,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_rotation=table.p_rotation_2d,
            rotation=(radians(low), radians(high)),
            p_scaling=table.p_scaling,
            scaling=Magnification(factor=table.scaling),
            p_synchronize_scaling_across_axes=1,
            mode_seg="nearest",  # as MATLAB turns label pictures, and a third of the time of nnU-Net's way
            border_mode_seg="constant",
            padding_value_seg=OUTSIDE,
        )
    ]
    if mirroring and table.p_mirror:
        transforms.append(MirrorTransform(allowed_axes=(0, 1)))
    if mirroring and table.p_transpose:
        if len(size) != 2 or size[0] != size[1]:
            raise UsageError(f"only square patches can be transposed; got: {list(size)}; set p_transpose to 0")
        transforms.append(TransposeAxesTransform(allowed_axes={0, 1}))
    return transforms


def intensity_transforms(
    *, intensity_range: PerChannel = None, hu_scale: PerChannel = None, table: EkmanTable | None = None
) -> list[BasicTransform]:
    """Return contrast, brightness, blur, sharpening, streaks and white noise of slices.

    Args:
        intensity_range: Width of the intensity range of each channel, normalised; see `intensity_scale`.
        hu_scale: What one HU is in each channel, normalised; see `intensity_scale`.
        table: Distributions; the defaults of `EkmanTable` by default.

    Returns:
        The transforms, in order; those that never happen are left out.
    """
    table = table or EkmanTable()
    contrast = ContrastTransform(
        contrast_range=check_range("contrast", table.contrast, low=0), preserve_range=False, synchronize_channels=False
    )
    blur = GaussianBlurTransform(blur_sigma=table.blur_sigma, synchronize_channels=True, synchronize_axes=True)
    brightness = Brightness(hu_scale=hu_scale, shift_hu=table.brightness_hu)
    streaks = StreakNoise(intensity_range=intensity_range, amplitude=table.streak_noise)
    noise = WhiteNoise(intensity_range=intensity_range, amplitude=table.white_noise)
    chances = [
        (contrast, table.p_contrast),
        (brightness, table.p_brightness),
        (blur, table.p_blur),
        (Sharpening(amount=table.sharpening), table.p_sharpening),
        (streaks, table.p_streak_noise),
        (noise, table.p_white_noise),
    ]
    return [RandomTransform(transform, apply_probability=p) for transform, p in chances if p > 0]
