"""Table 1 of Ekman et al. 2025: how often each augmentation happens, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass, fields

from label_gen.errors import UsageError
from nnunet_ext.augmentation.ranges import Range

__all__ = ["EkmanTable"]


@dataclass(frozen=True, kw_only=True)
class EkmanTable:
    """Probabilities and distributions of the augmentations.

    Where the source gives a span over its applications, one value in it is chosen here; the span stands in brackets.

    Attributes:
        p_rotation_3d: Global rotation of the volume before slicing [0 to 50 %]; the middle, as reading a cube costs
            more than reading a slice.
        rotation_3d_deg: About each axis, degrees.
        p_rotation_2d: Rotation of the patch [20 to 25 %].
        rotation_2d_deg: Degrees [U(-20, 20) to U(-45, 45)]; together with the global rotation, patients lying askew.
        p_scaling: Scaling of the patch [20 to 100 %].
        scaling: Factor by which objects grow [U(0.7, 1.3) to U(0.6, 1.4)].
        p_mirror: Mirroring along each axis. nnU-Net's transform knows this one value or none.
        p_transpose: Swapping rows and columns; as for mirroring.
        p_white_noise: White noise [10 to 15 %].
        white_noise: Amplitude, share of the intensity range.
        p_streak_noise: Streak noise [10 to 20 %].
        streak_noise: Amplitude, share of the intensity range [U(0, 50 %) to U(0, 70 %)].
        p_brightness: Shift of the intensities [15 to 25 %].
        brightness_hu: HU [U(-30, 30) to U(-100, 100)].
        p_contrast: Intensities drawn away from the mean of the patch or towards it [15 to 25 %]. The source does not
            name the centre; the mean is nnU-Net's.
        contrast: Factor [U(0.95, 1.05), U(0.7, 1.3) or U(0.65, 1.5)].
        p_blur: Gaussian blur.
        blur_sigma: Pixels. The source gives a filter size of 3 pixels, and MATLAB's imgaussfilt has that size exactly
            for its default deviation of 0.5.
        p_sharpening: Sharpening [15 % for fetal MRI, otherwise none].
        sharpening: Amount.

    Raises:
        UsageError: A probability that is none, or one of mirroring or transposing other than 0 and 0.5.

    Source: Ekman et al. 2025, Table 1.
    """

    p_rotation_3d: float = 0.25
    rotation_3d_deg: Range = (-20.0, 20.0)
    p_rotation_2d: float = 0.25
    rotation_2d_deg: Range = (-30.0, 30.0)
    p_scaling: float = 0.5
    scaling: Range = (0.7, 1.3)
    p_mirror: float = 0.5
    p_transpose: float = 0.5
    p_white_noise: float = 0.15
    white_noise: Range = (0.0, 0.15)
    p_streak_noise: float = 0.15
    streak_noise: Range = (0.0, 0.5)
    p_brightness: float = 0.2
    brightness_hu: Range = (-100.0, 100.0)
    p_contrast: float = 0.2
    contrast: Range = (0.7, 1.3)
    p_blur: float = 0.25
    blur_sigma: float = 0.5
    p_sharpening: float = 0.0
    sharpening: Range = (0.7, 1.3)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("p_") and not 0 <= value <= 1:
                raise UsageError(f"{field.name} must be a probability, 0 to 1; got: {value}")
        for name in ("p_mirror", "p_transpose"):
            if getattr(self, name) not in (0, 0.5):
                raise UsageError(f"{name} must be 0 or 0.5; got: {getattr(self, name)}")
