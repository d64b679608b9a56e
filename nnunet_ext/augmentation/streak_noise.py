"""Streak noise: bright and dark lines that radiate from a point, as metal makes them in CT."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from numpy.typing import NDArray
from torch import Tensor

from label_gen.errors import UsageError
from nnunet_ext.augmentation.intensity import PerChannel, channel_ranges
from nnunet_ext.augmentation.ranges import Range, check_range, draw

__all__ = ["StreakNoise", "streak_pattern"]


def streak_pattern(
    shape: tuple[int, int],
    source: tuple[float, float],
    *,
    angles_rad: NDArray[np.float64],
    weights: NDArray[np.float64],
    half_widths: NDArray[np.float64],
    reach: float,
) -> NDArray[np.float32]:
    """Return straight streaks through one point, with zero mean and a largest magnitude of 1.

    A streak is a line through the source. Across it, the strength falls linearly to zero at the half-width; along it,
    as 1 / (1 + (distance / reach)^2). Then the bright or the dark part, whichever weighs more, is scaled down until the
    mean is zero: pixels that no streak touches stay exactly zero.

    Args:
        shape: Rows and columns.
        source: Row and column of the point, in or out of the picture.
        angles_rad: Direction of each streak; 0 runs along a row.
        weights: Strength of each streak, positive is bright.
        half_widths: Half-width of each streak, pixels.
        reach: Distance at which a streak has half its strength, pixels.

    Returns:
        The pattern, float32; all zero where it would be only bright or only dark.
    """
    rows = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(source[0])
    columns = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(source[1])
    pattern = np.zeros(shape, np.float32)
    for angle, weight, half_width in zip(angles_rad, weights, half_widths, strict=True):
        across = rows * np.float32(np.cos(angle) / half_width) - columns * np.float32(np.sin(angle) / half_width)
        np.abs(across, out=across)
        np.subtract(1, across, out=across)
        np.maximum(across, 0, out=across)
        across *= np.float32(weight)
        pattern += across
    pattern /= 1 + (rows**2 + columns**2) / np.float32(reach**2)
    bright = float(np.maximum(pattern, 0).sum(dtype=np.float64))
    dark = bright - float(pattern.sum(dtype=np.float64))
    if min(bright, dark) <= 0:
        return np.zeros(shape, np.float32)
    pattern *= np.where(pattern > 0, np.float32(min(1, dark / bright)), np.float32(min(1, bright / dark)))
    pattern /= np.abs(pattern).max()
    return pattern


class StreakNoise(ImageOnlyTransform):
    """Add the streaks of one piece of metal to a slice.

    The source names the amplitude and not the shape. The model is chosen here: half of 8 to 16 lines through a random
    point of the slice are bright and half are dark, each with a random angle, half-width and strength; they fade with
    the distance from the point (see `streak_pattern`). All channels get the same pattern, each times its own range.

    Args:
        intensity_range: Width of the intensity range of each channel, normalised intensities. None for a channel, or
            for all: the range of the patch.
        amplitude: Range of the largest change of a pixel, share of the intensity range.
        pairs: Smallest and largest number of bright lines, and of dark ones.
        half_width: Range of the half-width of a line, pixels.
        reach: Range of the distance at which lines have half their strength, share of the longer side.

    Raises:
        UsageError: A range that makes no sense; on use, no slice (channels, rows, columns), or another number of
            intensity ranges than of channels.

    Source: Ekman et al. 2025, Table 1, "Streak noise": U(0, 50 %) to U(0, 70 %) of intensity range; the narrower is
    chosen.
    """

    def __init__(
        self,
        *,
        intensity_range: PerChannel = None,
        amplitude: Range = (0.0, 0.5),
        pairs: tuple[int, int] = (4, 8),
        half_width: Range = (1.0, 4.0),
        reach: Range = (0.25, 1.0),
    ) -> None:
        super().__init__()
        self.intensity_range = intensity_range
        self.amplitude = check_range("amplitude", amplitude, low=0)
        self.pairs = tuple(int(end) for end in check_range("pairs", pairs, low=1))
        self.half_width = check_range("half_width", half_width, low=0.5)
        self.reach = check_range("reach", reach, low=1e-3)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the amplitude and the lines."""
        shape = tuple(data_dict["image"].shape[1:])
        if len(shape) != 2:
            raise UsageError(f"expected a slice (channels, rows, columns); got {len(shape)} axes after the channels")
        number = int(np.random.randint(self.pairs[0], self.pairs[1] + 1))
        strengths = np.random.uniform(0.3, 1.0, 2 * number)
        pattern = streak_pattern(
            shape,
            (draw((0, shape[0] - 1)), draw((0, shape[1] - 1))),
            angles_rad=np.random.uniform(0, np.pi, 2 * number),
            weights=strengths * np.repeat([1, -1], number),
            half_widths=np.random.uniform(*self.half_width, 2 * number),
            reach=draw(self.reach) * max(shape),
        )
        return {"amplitude": draw(self.amplitude), "pattern": torch.from_numpy(pattern)}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        ranges = channel_ranges(img, self.intensity_range)
        return torch.addcmul(img, params["pattern"].to(img.dtype), ranges, value=params["amplitude"])
