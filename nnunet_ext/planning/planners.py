"""Our experiment planners: nnU-Net's own, with settings, and with the configuration `triplanar`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.resencUNet_planner import ResEncUNetPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
    nnUNetPlannerResEncXL,
)
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape

from label_gen.errors import UsageError
from nnunet_ext.planning.settings import PlanSettings
from nnunet_ext.planning.triplanar import isotropic_spacing, triplanar_configuration

__all__ = ["PLANNERS", "ABBCPlannerL", "ABBCPlannerM", "ABBCPlannerXL", "TriPlanarPlanner"]


class _SettablePlanner:
    """Applies `PlanSettings` to the configurations that nnU-Net's planner makes; the first base of our planners."""

    UNet_base_num_features: int
    UNet_blocks_per_stage_encoder: tuple[int, ...]
    plans_identifier: str
    overwrite_target_spacing: Any
    default_plans_name: str
    patch_2d: tuple[int, int] | None = None

    def __init__(
        self, *args: Any, plans_name: str | None = None, settings: PlanSettings | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, plans_name=plans_name or self.default_plans_name, **kwargs)  # type: ignore[call-arg]
        self.settings = settings or PlanSettings()
        if self.settings.base_features is not None:
            self.UNet_base_num_features = self.settings.base_features
        if (most := self.settings.most_blocks) is not None:
            self.UNet_blocks_per_stage_encoder = tuple(min(n, most) for n in self.UNet_blocks_per_stage_encoder)

    def get_plans_for_configuration(
        self, spacing: Any, median_shape: Any, data_identifier: str, approximate_n_voxels_dataset: float, _cache: Any
    ) -> dict[str, Any]:
        """Plan a configuration as nnU-Net does, with the patch and batch size that were set."""
        wanted = self.settings.patch_3d if len(spacing) == 3 else self.patch_2d
        plan: dict[str, Any] = super().get_plans_for_configuration(  # type: ignore[misc]
            spacing, median_shape if wanted is None else np.array(wanted), data_identifier,
            approximate_n_voxels_dataset, _cache,
        )  # fmt: skip
        plan["median_image_size_in_voxels"] = median_shape
        if wanted is not None and tuple(plan["patch_size"]) != tuple(wanted):
            raise UsageError(
                f"a patch of {_times(wanted)} does not fit: each edge must be divisible by 2 to the number of its "
                f"poolings, and the memory target must hold it; the nearest that does is {_times(plan['patch_size'])} "
                "(-patch_size, -gpu_memory_target)"
            )
        if self.settings.batch_size is not None:
            plan["batch_size"] = self.settings.batch_size
        return plan

    def generate_data_identifier(self, configuration_name: str) -> str:
        """Name the folder of preprocessed data: that of nnU-Net's own plans where these do not differ in spacing."""
        shared = configuration_name in ("2d", "3d_fullres") and self.overwrite_target_spacing is None
        return f"{'nnUNetPlans' if shared else self.plans_identifier}_{configuration_name}"


def _times(shape: Any) -> str:
    return "x".join(str(int(length)) for length in shape)


class _ABBCPlanner(_SettablePlanner):
    """Planner of the ABBC trainers: nnU-Net's residual encoder presets, with Dice taken over the batch.

    Many patches hold no border at all, and the Dice of an absent class is noise; over a batch there is some. Source:
    chosen here.
    """

    def plan_experiment(self) -> dict[str, Any]:
        """Plan as nnU-Net does."""
        plans: dict[str, Any] = super().plan_experiment()  # type: ignore[misc]
        for configuration in plans["configurations"].values():
            if "batch_dice" in configuration:
                configuration["batch_dice"] = True
        self.save_plans(plans)  # type: ignore[attr-defined]
        return plans


class ABBCPlannerM(_ABBCPlanner, nnUNetPlannerResEncM):
    """Plans for ABBC on nnU-Net's ResEnc M preset (8 GB)."""

    default_plans_name = "ABBCPlansM"


class ABBCPlannerL(_ABBCPlanner, nnUNetPlannerResEncL):
    """Plans for ABBC on nnU-Net's ResEnc L preset (24 GB)."""

    default_plans_name = "ABBCPlansL"


class ABBCPlannerXL(_ABBCPlanner, nnUNetPlannerResEncXL):
    """Plans for ABBC on nnU-Net's ResEnc XL preset (40 GB)."""

    default_plans_name = "ABBCPlansXL"


class TriPlanarPlanner(_SettablePlanner, ExperimentPlanner):
    """nnU-Net's default plans (`2d`, `3d_fullres`, ...) and the configuration `triplanar` beside them.

    The patch and batch size that are set hold for `triplanar` only.
    """

    default_plans_name = "TriPlanarPlans"

    def __init__(self, *args: Any, settings: PlanSettings | None = None, **kwargs: Any) -> None:
        self.triplanar_settings = settings or PlanSettings()
        own = self.triplanar_settings
        common = PlanSettings(base_features=own.base_features, most_blocks=own.most_blocks)
        super().__init__(*args, settings=common, **kwargs)

    def plan_experiment(self) -> dict[str, Any]:
        """Plan as nnU-Net does, and add the configuration `triplanar`."""
        settings = self.triplanar_settings
        settings.patch_edge  # noqa: B018  # a patch that is no square is refused before any work
        _check_readable_orientations(settings, self.dataset_name, self.dataset)
        plans: dict[str, Any] = super().plan_experiment()
        plans["configurations"]["triplanar"] = self._triplanar(plans["transpose_forward"])
        self.save_plans(plans)
        return plans

    def _triplanar(self, transpose_forward: list[int]) -> dict[str, Any]:
        settings = self.triplanar_settings
        planner = self if settings.network == "plain" else _residual(self)
        fingerprint = self.dataset_fingerprint
        edge = isotropic_spacing(fingerprint["spacings"], settings.spacing)
        shapes = [
            compute_new_shape(shape, spacing, [edge] * 3)
            for shape, spacing in zip(fingerprint["shapes_after_crop"], fingerprint["spacings"], strict=True)
        ]
        median_shape = np.median(shapes, 0)[transpose_forward]
        planner.patch_2d = (settings.patch_edge,) * 2
        try:
            plan_2d = planner.get_plans_for_configuration(
                np.array([edge, edge]), median_shape[1:], self.generate_data_identifier("triplanar"),
                float(np.prod(median_shape) * self.dataset_json["numTraining"]), {},
            )  # fmt: skip
        finally:
            planner.patch_2d = None
        return triplanar_configuration(
            plan_2d, settings, spacing_mm=edge, median_shape=median_shape, transpose_forward=transpose_forward,
            regions=any(isinstance(label, (list, tuple)) for label in self.dataset_json["labels"].values()),
        )  # fmt: skip


class _ResidualTriPlanarPlanner(_SettablePlanner, ResEncUNetPlanner):
    """Plans the residual 2D network of `triplanar`; writes no plans."""

    default_plans_name = "TriPlanarPlans"


def _residual(planner: TriPlanarPlanner) -> Any:
    """Return a planner like this one for networks with a residual encoder."""
    residual = _ResidualTriPlanarPlanner(
        planner.dataset_name, planner.UNet_vram_target_GB, planner.preprocessor_name, settings=planner.settings
    )
    return residual


def _check_readable_orientations(settings: PlanSettings, dataset_name: str, dataset: dict[str, Any]) -> None:
    """Refuse a subset of orientations if the axes of an image are not those that the names stand for.

    Raises:
        UsageError: An image is no axial stack.
    """
    if len(settings.orientations) == 3:
        return
    from nnunet_ext.triplanar.anatomy import is_axial_stack

    for case in dataset.values():
        path = Path(case["images"][0])
        if not is_axial_stack(path):
            raise UsageError(
                f"{path.name} of {dataset_name} is no axial stack (its array axes are not z, y, x), so that "
                f"{' and '.join(settings.orientations)} mean other slices there than elsewhere; reorient it, for "
                "instance by abbc-prepare-dataset"
            )


PLANNERS = {cls.__name__: cls for cls in (ABBCPlannerM, ABBCPlannerL, ABBCPlannerXL, TriPlanarPlanner)}
"""Our planners by the names that `abbc-plan-and-preprocess -pl` takes."""
