"""What the percentages and Hounsfield units of Table 1 are in nnU-Net's normalised intensities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from label_gen.errors import UsageError

__all__ = ["PATCH_RANGE_HU", "IntensityScale", "channel_ranges", "channel_units_per_hu", "intensity_scale"]

PATCH_RANGE_HU = 2000.0
"""Where the unit of a channel is not known, the intensity range of its patch counts as so many HU.
Source: chosen here; CT of bone spans about -500 to 1500 HU."""

PerChannel = Sequence[float | None] | None
"""One number per channel; None for a channel, or all, that takes it from the patch itself."""


class IntensityScale(NamedTuple):
    """Scales of the channels of a dataset, in normalised intensities.

    Attributes:
        intensity_range: Width of the intensity range of each channel; None where a patch's own range is to be used.
        hu_scale: What one HU is in each channel; None where the channel is no CT.
    """

    intensity_range: tuple[float | None, ...]
    hu_scale: tuple[float | None, ...]


def intensity_scale(
    properties: Mapping[str, Mapping[str, Any]], normalization_schemes: Sequence[str]
) -> IntensityScale:
    """Read the scales of the channels from nnU-Net's plans.

    nnU-Net clips CT to the 0.5 and 99.5 percentile of the foreground and divides by its standard deviation: the
    width between the percentiles is the intensity range, the reciprocal of the deviation one HU. All other channels
    are normalised case by case.

    Args:
        properties: `foreground_intensity_properties_per_channel` of the plans.
        normalization_schemes: `normalization_schemes` of the configuration, one name per channel.

    Returns:
        The scales.

    Raises:
        UsageError: The plans lack the properties of a CT channel.

    Example:
        >>> ct = {"mean": 300, "std": 250, "percentile_00_5": -100, "percentile_99_5": 1400}
        >>> intensity_scale({"0": ct}, ["CTNormalization"])
        IntensityScale(intensity_range=(6.0,), hu_scale=(0.004,))
    """
    ranges: list[float | None] = []
    units: list[float | None] = []
    for channel, scheme in enumerate(normalization_schemes):
        if scheme != "CTNormalization":
            ranges.append(None)
            units.append(None)
            continue
        try:
            found = properties[str(channel)]
            low, high, deviation = (float(found[key]) for key in ("percentile_00_5", "percentile_99_5", "std"))
        except KeyError as error:
            raise UsageError(
                f"the plans lack {error} of foreground_intensity_properties_per_channel for CT channel {channel}; "
                "run abbc-plan-and-preprocess again"
            ) from error
        deviation = max(deviation, 1e-8)
        ranges.append((high - low) / deviation)
        units.append(1 / deviation)
    return IntensityScale(tuple(ranges), tuple(units))


def channel_ranges(image: Tensor, known: PerChannel) -> Tensor:
    """Return the intensity range of each channel.

    Args:
        image: Shape (channels, ...).
        known: The ranges; None where the range of the patch itself counts.

    Returns:
        Shape (channels, 1, ...), as `image` but for that.

    Raises:
        UsageError: Another number of ranges than of channels.
    """
    return _fill(image, known, 1.0)


def channel_units_per_hu(image: Tensor, known: PerChannel) -> Tensor:
    """Return what one HU is in each channel.

    Args:
        image: Shape (channels, ...).
        known: The units; None where the range of the patch counts as `PATCH_RANGE_HU`.

    Returns:
        Shape (channels, 1, ...), as `image` but for that.

    Raises:
        UsageError: Another number of units than of channels.
    """
    return _fill(image, known, 1 / PATCH_RANGE_HU)


def _fill(image: Tensor, known: PerChannel, share_of_range: float) -> Tensor:
    values = [None] * len(image) if known is None else list(known)
    if len(values) != len(image):
        raise UsageError(f"expected one intensity scale per channel, {len(image)}; got {len(values)}")
    filled = [float(c.max() - c.min()) * share_of_range if v is None else v for v, c in zip(values, image, strict=True)]
    return torch.tensor(filled, dtype=image.dtype).view(-1, *[1] * (image.ndim - 1))
