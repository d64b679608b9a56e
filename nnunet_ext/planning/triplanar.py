"""The configuration `triplanar` of a plan, made of what nnU-Net's planner says about a square 2D patch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from nnunet_ext.planning.settings import PlanSettings
from nnunet_ext.triplanar.planes import find_planes

__all__ = ["BATCH_RANGE", "isotropic_spacing", "triplanar_configuration"]

BATCH_RANGE = (30, 100)
"""Smallest and largest batch that is chosen. Source: Ekman et al. 2025, Table 2."""

NETWORKS = {
    "PlainConvUNet": "nnunet_ext.triplanar.networks.TriPlanarUNet",
    "ResidualEncoderUNet": "nnunet_ext.triplanar.networks.TriPlanarResEncUNet",
}


def isotropic_spacing(spacings: Sequence[Sequence[float]], rule: str | float) -> float:
    """Return the edge of the isotropic voxels of a dataset.

    A network has one spacing, so the seed's rule, which gives each case its own, becomes one number for the dataset.

    Args:
        spacings: Spacing of each case, mm.
        rule: `median` or `finest` over the cases of the finest spacing of each; or the length itself, mm.

    Returns:
        The length, mm.

    Source: Ekman et al. 2025, section "Cohorts": the highest of in-plane and through-plane resolution.

    Example:
        >>> isotropic_spacing([[3.0, 0.9, 0.9], [1.0, 0.7, 0.7], [0.6, 0.8, 0.8]], "median")
        0.7
    """
    if not isinstance(rule, str):
        return float(rule)
    finest = np.min(np.asarray(spacings, np.float64), axis=1)
    return float(np.median(finest) if rule == "median" else np.min(finest))


def triplanar_configuration(
    plan_2d: dict[str, Any],
    settings: PlanSettings,
    *,
    spacing_mm: float,
    median_shape: Sequence[float],
    transpose_forward: Sequence[int],
    regions: bool,
) -> dict[str, Any]:
    """Turn nnU-Net's plan for square slices into the configuration `triplanar`.

    Args:
        plan_2d: What nnU-Net's planner says about a 2D configuration with that patch.
        settings: What the user set.
        spacing_mm: Edge of the isotropic voxels.
        median_shape: Median shape of the cases at that spacing, preprocessed axes.
        transpose_forward: Of the plans.
        regions: The dataset trains regions.

    Returns:
        The configuration: cubic patch, isotropic spacing, 2D network.
    """
    plan = deepcopy(plan_2d)
    architecture = plan["architecture"]
    architecture["network_class_name"] = NETWORKS[architecture["network_class_name"].rsplit(".", 1)[1]]
    planes = [list(plane) for plane in find_planes(settings.orientations, transpose_forward)]
    architecture["arch_kwargs"].update(planes=planes, regions=regions)
    batch = settings.batch_size or min(max(plan["batch_size"], BATCH_RANGE[0]), BATCH_RANGE[1])
    plan.update(
        batch_size=batch,
        patch_size=[settings.patch_edge] * 3,
        spacing=[spacing_mm] * 3,
        median_image_size_in_voxels=[float(length) for length in median_shape],
        batch_dice=True,
        triplanar={"orientations": list(settings.orientations), "mirroring": settings.mirroring},
    )
    return plan
