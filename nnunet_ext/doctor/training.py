"""One training as it would be started: plans, configuration, fold, trainer, the GPU memory that it was planned for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from label_gen.errors import FractureError
from nnunet_ext.doctor.dataset import check_splits
from nnunet_ext.doctor.findings import Finding, error, from_error, guard, ok, warning
from nnunet_ext.training.folders import find_dataset, nnunet_folder, read_json, say_bytes
from nnunet_ext.training.preflight import check_training, resolve_configuration

__all__ = ["check_planned_training"]

PRESET_GB = {"M": 8, "L": 24, "XL": 40}
"""GPU memory that nnU-Net's ResEnc presets, and ours on them, are planned for. Source: nnU-Net 2.8."""


def check_planned_training(
    dataset: int | str, plans_name: str, configuration: str, fold: int | str | None, trainer: str | None
) -> list[Finding]:
    """Check a training by what the trainers check themselves, without starting it.

    Args:
        dataset: Number or name of the dataset.
        plans_name: Name of the plans.
        configuration: Its configuration.
        fold: A number, `all`, or None for all cases.
        trainer: Class name of the trainer; None if it is not chosen yet.
    """
    folder = nnunet_folder("nnUNet_preprocessed") / find_dataset(dataset)
    replan = f"abbc-plan-and-preprocess -d {int(folder.name[7:10])} -pl PLANNER"
    if not (folder / f"{plans_name}.json").is_file():
        there = sorted(path.stem for path in folder.glob("*lans*.json"))
        has = f"there are {', '.join(there)} (-p)" if there else "there are none"
        return [error("plans", f"{folder.name} has no plans '{plans_name}' in nnUNet_preprocessed; {has}", replan)]
    plans = read_json(folder / f"{plans_name}.json", replan)
    dataset_json = read_json(folder / "dataset.json", replan)
    if plans.get("dataset_name") != folder.name:
        own = plans.get("dataset_name")
        return [error("plans", f"the plans '{plans_name}' in {folder.name} are of another dataset, {own}",
                      f"nnUNetv2_move_plans_between_datasets -s {own} -t {folder.name} -sp {plans_name} "
                      f"-tp {plans_name}, or {replan}")]  # fmt: skip
    findings = guard("configuration", _check_start, plans, configuration, dataset_json, fold, trainer)
    findings += guard("GPU memory", _check_preset, plans)
    truth = folder / "gt_segmentations"
    if fold is not None and fold != "all" and truth.is_dir():
        ending = str(dataset_json["file_ending"])
        cases = {path.name.removesuffix(ending) for path in truth.glob(f"[!.]*{ending}")}
        findings += guard("folds of training", check_splits, folder, cases, dataset_json, "folds of training")
    if dataset_json.get("abbc", {}).get("task") == "abbc" and not (folder / "fragments").is_dir():
        text = "nnUNet_preprocessed has no true fragments of the dataset, so that validation scores them less exactly"
        findings.append(warning("true fragments", text, replan))
    return findings


def _check_start(
    plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any], fold: int | str | None, trainer: str | None
) -> list[Finding]:
    """Check what the trainer checks when it starts."""
    try:
        check_training(plans, configuration, dataset_json, "all" if fold is None else fold)
        if check := _own_check(trainer):
            check(plans, configuration, dataset_json)
    except FractureError as problem:
        return [from_error("configuration", problem)]
    settings = resolve_configuration(plans, configuration)
    patch = "x".join(map(str, settings.get("patch_size", ()))) or "?"
    text = (
        f"{configuration} of {plans['plans_name']} is preprocessed, patch {patch}, batch {settings.get('batch_size')}"
    )
    splits = nnunet_folder("nnUNet_preprocessed") / plans["dataset_name"] / "splits_final.json"
    if isinstance(fold, int) and splits.is_file() and fold >= (count := len(read_json(splits, ""))):
        return [warning("configuration", f"{text}; fold {fold} is not in splits_final.json, which has {count}: nnU-Net "
                        "will draw a fold at random", f"choose a fold from 0 to {count - 1} (-f)")]  # fmt: skip
    return [ok("configuration", text)]


def _own_check(trainer: str | None) -> Callable[[dict[str, Any], str, dict[str, Any]], None] | None:
    """Return what a trainer of ours itself demands of a dataset; None if it is not found (which is told elsewhere)."""
    if trainer is None:
        return None
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        return getattr(recursive_find_trainer_class_by_name(trainer), "check_dataset", None)
    except Exception:
        return None


def _check_preset(plans: dict[str, Any]) -> list[Finding]:
    """Compare the GPU's memory with that of the preset that the plans were made for, if they were."""
    import torch

    planner = str(plans.get("experiment_planner_used", ""))
    match = re.fullmatch(r"(?:ABBCPlanner|nnUNetPlannerResEnc)(M|L|XL)", planner)
    if match is None or not torch.cuda.is_available():
        return []
    needed = PRESET_GB[match[1]]
    total = torch.cuda.get_device_properties(0).total_memory
    if total < 0.9 * needed * 1e9:
        return [warning("GPU memory", f"{planner} plans for {needed} GB, the GPU has {say_bytes(total)}",
                        "plan with a smaller preset (-pl) or with -gpu_memory_target GB")]  # fmt: skip
    return [ok("GPU memory", f"{say_bytes(total)}, enough for {planner}")]
