"""How much memory a case needs at most, told beforehand by a linear model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_ext.grids import Grid

__all__ = ["Forecast", "forecast"]

BASE_BYTES = 1_100_000_000
"""Python with torch, nnU-Net and the libraries, of whose files the system keeps more or less in memory. Source:
measured with the three that follow on phantoms of 0.85, 6.3 and 157 million voxels (512 x 512 x 600) on a Linux
processor, surfaces and report included: peaks of 789 to 1399 (four runs), 921 and 1822 MB where 1128, 1234 and 2355
are told."""

CT_BYTES = 5.0
"""For each voxel of the CT: HU twice while they are read, whole bones, fragments."""

BOX_BYTES = 14.0
"""For each voxel of the CT in the box round the bones: single precision and its spline, then fragments and surfaces."""

MODEL_BYTES = 40.0
"""For each voxel of the model's grid: image, logits and weights, later probabilities and what the recovery needs."""

FACTOR = 1.5
"""The measured peak lies between the forecast divided and multiplied by this."""


@dataclass(frozen=True)
class Forecast:
    """How much memory a case will need at most.

    Attributes:
        ct_voxels: Voxels of the CT.
        box_voxels: Those in the box round the bones.
        model_voxels: Voxels of the model's grid.
        bytes: The forecast.
    """

    ct_voxels: int
    box_voxels: int
    model_voxels: int
    bytes: int

    def __str__(self) -> str:
        return (
            f"about {self.bytes / 1e9:.1f} GB of memory at most ({self.ct_voxels / 1e6:.1f} million voxels in the CT, "
            f"{self.box_voxels / 1e6:.1f} in the box round the bones, {self.model_voxels / 1e6:.1f} of the model)"
        )


def forecast(
    ct: Grid, spacing_mm: Sequence[float], *, box: Grid | None = None, model: Grid | None = None, extra_bytes: int = 0
) -> Forecast:
    """Tell how much memory a case will need at most, from reading the CT to the report.

    What stage 1 takes beyond that is not in it: TotalSegmentator runs in a process of its own.

    Args:
        ct: Grid of the CT.
        spacing_mm: Spacing of the model.
        box: The box round the bones in the CT; the whole CT if not known yet, which is the most it can be.
        model: Grid of the model; the box at its spacing if None.
        extra_bytes: What the network itself takes.

    Returns:
        The forecast; what is measured lies within a factor of `FACTOR` where box and model's grid are given.
    """
    whole = math.prod(ct.shape)
    inside = whole if box is None else math.prod(box.shape)
    if model is not None:
        coarse = math.prod(model.shape)
    else:
        grid = box or ct
        coarse = round(
            math.prod(n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True)) / math.prod(spacing_mm)
        )
    needed = BASE_BYTES + CT_BYTES * whole + BOX_BYTES * inside + MODEL_BYTES * coarse + extra_bytes
    return Forecast(whole, inside, coarse, round(needed))
