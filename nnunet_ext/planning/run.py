"""Fingerprint, plan and preprocess: nnU-Net's own functions in nnU-Net's order, with our planners among its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.planning.settings import PlanSettings

__all__ = ["DEFAULT_CONFIGURATIONS", "plan_and_preprocess"]

DEFAULT_CONFIGURATIONS = {
    "ABBCPlannerM": ("3d_fullres",),
    "ABBCPlannerL": ("3d_fullres",),
    "ABBCPlannerXL": ("3d_fullres",),
    "TriPlanarPlanner": ("triplanar",),
}
"""Configurations that are preprocessed if none are named, for our planners."""

NNUNET_CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres")
PROCESSES = {"2d": 8, "3d_fullres": 4, "3d_lowres": 8}
"""Processes per configuration, 4 for others, at most one per core. Source: nnU-Net 2.8."""

FEWEST_VOXELS = 10_000
"""For the statistics of intensities. Source: chosen here; 50 lie beyond each of the outer percentiles, 0.5 and 99.5."""

COMPANIONS = {"fragmentsTr": "fragments", "anatomyTr": "anatomy"}
"""Folders of the raw dataset that the final validation needs, and their names in the preprocessed dataset."""

SCHEME_FILE = "scheme.toml"
"""The label scheme of a dataset that uses none of ours."""


def plan_and_preprocess(
    dataset_ids: Sequence[int],
    *,
    planner: str = "ExperimentPlanner",
    settings: PlanSettings | None = None,
    configurations: Sequence[str] | None = None,
    fingerprint_extractor: str = "DatasetFingerprintExtractor",
    fingerprint_processes: int = 8,
    fingerprint_voxels: int | None = None,
    processes: Sequence[int] | None = None,
    verify_dataset_integrity: bool = False,
    clean: bool = False,
    gpu_memory_target: float | None = None,
    preprocessor_name: str = "DefaultPreprocessor",
    overwrite_target_spacing: Sequence[float] | None = None,
    overwrite_plans_name: str | None = None,
    preprocess: bool = True,
    verbose: bool = False,
    progress: bool = True,
) -> str:
    """Do what `nnUNetv2_plan_and_preprocess` does, with our planners too.

    Args:
        dataset_ids: The datasets.
        planner: Class name of a planner, one of ours or one of nnU-Net's.
        settings: What is set beside nnU-Net's options; for our planners only.
        configurations: To preprocess; those of `DEFAULT_CONFIGURATIONS` by default, or nnU-Net's for its planners.
        fingerprint_extractor: Class name.
        fingerprint_processes: Number of processes for the fingerprint.
        fingerprint_voxels: Foreground voxels that are drawn, in all cases together and with replacement, for the
            statistics of intensities; nnU-Net's 100 million if None.
        processes: Number of processes for preprocessing, one for all or one per configuration.
        verify_dataset_integrity: Let nnU-Net check the dataset first.
        clean: Make an existing fingerprint anew.
        gpu_memory_target: GB; of the planner by default.
        preprocessor_name: Class name.
        overwrite_target_spacing: Of `3d_fullres`, mm.
        overwrite_plans_name: Name of the plans.
        preprocess: Preprocess after planning.
        verbose: nnU-Net's own talk.
        progress: Show bars.

    Returns:
        The name of the plans.

    Raises:
        UsageError: A planner or configuration that does not exist, settings for a planner of nnU-Net, a patch that does
            not fit.
        FractureError: A variable is not set, a dataset is missing or wrong, the disk is too small.
    """
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    from nnunet_ext.training.preflight import check_planning

    for dataset_id in dataset_ids:
        check_planning(dataset_id)
    planner_class = _find_planner(planner, settings)
    wanted = tuple(configurations or DEFAULT_CONFIGURATIONS.get(planner) or NNUNET_CONFIGURATIONS)
    limit = os.cpu_count() or 1
    counts = list(processes) if processes else [min(PROCESSES.get(name, 4), limit) for name in wanted]
    if len(counts) not in (1, len(wanted)):
        raise UsageError(
            f"give one number of processes, or one for each of {', '.join(wanted)}; got {len(counts)} (-np)"
        )
    extractor = _find_extractor(fingerprint_extractor, fingerprint_voxels)
    for dataset_id in dataset_ids:
        api.extract_fingerprint_dataset(
            dataset_id, extractor, min(fingerprint_processes, limit), verify_dataset_integrity, clean, verbose,
            show_progress_bar=progress,
        )  # fmt: skip
    name = ""
    for dataset_id in dataset_ids:
        with _at_least_one_thread():
            plans, name = api.plan_experiment_dataset(
                dataset_id, planner_class, gpu_memory_target, preprocessor_name,
                None if overwrite_target_spacing is None else tuple(overwrite_target_spacing), overwrite_plans_name,
            )  # fmt: skip
        missing = [c for c in configurations or () if c not in plans["configurations"]]
        if missing:
            there = ", ".join(plans["configurations"])
            raise UsageError(
                f"the plans '{name}' of dataset {dataset_id} have no configuration {missing[0]}; got {there}"
            )
    if preprocess:
        api.preprocess(list(dataset_ids), name, wanted, counts, verbose, show_progress_bar=progress)
        for dataset_id in dataset_ids:
            _copy_companions(dataset_id)
    return name


@contextmanager
def _at_least_one_thread() -> Iterator[None]:
    """Plan where `nnUNet_n_proc_DA` is 0: nnU-Net 2.8 hands that number to torch, which wants one thread at least."""
    name = "nnUNet_n_proc_DA"
    if os.environ.get(name) != "0":
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ[name] = "0"


def _find_extractor(name: str, voxels: int | None) -> Any:
    """Return the fingerprint extractor of that name, which draws that many voxels."""
    if voxels is not None and voxels < FEWEST_VOXELS:
        raise UsageError(
            f"{voxels} voxels tell too little of the intensities; draw {FEWEST_VOXELS} or more (-fingerprint_voxels)"
        )
    found = _find_in_nnunet(name)
    if found is None:
        raise UsageError(f"nnU-Net has no fingerprint extractor '{name}' (-fpe)")

    def make(*args: Any, **kwargs: Any) -> Any:
        extractor = found(*args, **kwargs)
        if voxels is not None:
            extractor.num_foreground_voxels_for_intensitystats = voxels
        return extractor

    return make


def _find_in_nnunet(name: str) -> Any:
    """Return the class of that name that nnU-Net has for planning, or None."""
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = os.path.join(nnunetv2.__path__[0], "experiment_planning")
    return recursive_find_python_class(folder, name, current_module="nnunetv2.experiment_planning")


def _find_planner(name: str, settings: PlanSettings | None) -> Any:
    """Return the planner class of that name, with the settings filled in."""
    from nnunet_ext.planning.planners import PLANNERS

    if name in PLANNERS:
        return partial(PLANNERS[name], settings=settings)
    if settings not in (None, PlanSettings()):
        raise UsageError(
            f"patch size, batch size and the like can be set for {', '.join(PLANNERS)} only, not for {name}"
        )
    found = _find_in_nnunet(name)
    if found is None:
        raise UsageError(f"there is no planner '{name}'; ours are {', '.join(PLANNERS)}, and nnU-Net has its own (-pl)")
    return found


def _copy_companions(dataset_id: int) -> None:
    """Copy true fragments and bones beside nnU-Net's `gt_segmentations`, those that are new."""
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
    from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name

    name = convert_id_to_dataset_name(dataset_id)
    own_scheme = Path(nnUNet_raw) / name / SCHEME_FILE
    if own_scheme.is_file():
        shutil.copy2(own_scheme, Path(nnUNet_preprocessed) / name / SCHEME_FILE)
    for source, target in COMPANIONS.items():
        folder = Path(nnUNet_raw) / name / source
        if not folder.is_dir():
            continue
        goal = Path(nnUNet_preprocessed) / name / target
        goal.mkdir(exist_ok=True)
        for file in sorted(folder.iterdir()):
            copy = goal / file.name
            if not copy.exists() or copy.stat().st_mtime < file.stat().st_mtime:
                shutil.copy2(file, copy)
