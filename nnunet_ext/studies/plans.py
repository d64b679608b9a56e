"""Plans of a training set: those of nnU-Net's and our planners, and configurations that differ in size."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from label_gen.errors import DataError
from nnunet_ext.atomic import write_json
from nnunet_ext.studies.data import TrainingSet
from nnunet_ext.studies.folder import StudyFolder
from nnunet_ext.studies.study import FINE_TUNING, PLANS_OF, Cell
from nnunet_ext.training.folders import read_json

__all__ = ["plan_set", "resized"]

Run = Callable[[str, Sequence[str]], None]
"""Runs a command with its arguments."""

SMALLEST = 4
"""Least edge of the feature maps in the last stage. Source: nnU-Net 2.8, `UNet_featuremap_min_edge_length`."""

REDUCED_VOXELS = "100000"
"""Drawn for the statistics of intensities in a reduced study, where nnU-Net's number would take most of the time."""

_PER_STAGE = ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage")
_PER_JOINT = ("n_conv_per_stage_decoder",)
_CURE = "remove the folder of the study and begin again"


def plan_set(
    folder: StudyFolder,
    chosen: TrainingSet,
    cells: Sequence[Cell],
    run: Run,
    processes: int,
    weights: str | None = None,
) -> dict[str, Any]:
    """Plan and preprocess a training set for all cells that use it.

    Args:
        folder: The folder of the study.
        chosen: The set.
        cells: The cells.
        run: Runs a command.
        processes: Of the fingerprint and of preprocessing.
        weights: Model that cells are fine-tuned from: its folder, or its number among TotalSegmentator's.

    Returns:
        The configurations of each plans: `spacing`, `patch_size` and `batch_size`.

    Raises:
        DataError: A command failed, or a plan lacks a configuration.
    """
    place = folder.preprocessed(chosen.name)
    done: set[str] = set()
    told: dict[str, Any] = {}
    for planner in dict.fromkeys(cell.planner for cell in cells):
        own = [cell for cell in cells if cell.planner == planner]
        wanted = list(dict.fromkeys(cell.configuration for cell in own))
        common = ["-d", str(chosen.number), "-pl", planner, "-npfp", str(processes), "--no_pbar"]
        common += ["-fingerprint_voxels", REDUCED_VOXELS] if folder.reduced else []
        file = place / f"{PLANS_OF[planner]}.json"
        if planner == FINE_TUNING:
            words = ["-d", str(chosen.number), "-w", str(weights), "-c", *wanted, "-np", str(processes), "--no_pbar"]
            run("abbc-plan-finetuning", [*words, "-overwrite_plans_name", PLANS_OF[planner]])
            wanted = []
        elif done:  # another planner's configurations may have the same preprocessed cases
            run("abbc-plan-and-preprocess", [*common, "--no_pp"])
            known = read_json(file, _CURE)["configurations"]
            wanted = [name for name in wanted if known.get(name, {}).get("data_identifier") not in done]
        if wanted:
            run("abbc-plan-and-preprocess", [*common, "-c", *wanted, "-np", str(processes)])
        plans = read_json(file, _CURE)
        done |= _add_sizes(plans["configurations"], own, f"{PLANS_OF[planner]} of {chosen.name}")
        write_json(file, plans)
        told[PLANS_OF[planner]] = {cell.configuration_name: _said(plans["configurations"], cell) for cell in own}
    shutil.copyfile(folder.raw(chosen.name) / "splits_final.json", place / "splits_final.json")
    return told


def _add_sizes(configurations: dict[str, Any], cells: Sequence[Cell], name: str) -> set[str]:
    """Add the configurations of cells to those of plans; return the folders of preprocessed cases that they use."""
    used = set()
    for cell in cells:
        base = configurations.get(cell.configuration)
        if base is None or "patch_size" not in base:
            raise DataError(
                f"the plans {name} have no configuration '{cell.configuration}' of their own, which cell '{cell.name}' "
                f"names; they have {', '.join(configurations)}"
            )
        used.add(base["data_identifier"])
        if cell.configuration_name != cell.configuration:
            configurations[cell.configuration_name] = resized(cell, base)
    return used


def _said(configurations: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    whole = {**configurations[cell.configuration], **configurations[cell.configuration_name]}
    return {key: whole[key] for key in ("spacing", "patch_size", "batch_size")}


def resized(cell: Cell, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that inherits from a planned one, in nnU-Net's own way, and has other sizes.

    Args:
        cell: What it wants.
        base: The planned configuration.

    Returns:
        The entry for the plans. With a smaller patch the network loses the stages that no longer fit.

    Raises:
        DataError: The patch is too small for any network.
    """
    made: dict[str, Any] = {"inherits_from": cell.configuration}
    if cell.batch_size:
        made["batch_size"] = cell.batch_size
    if cell.patch_size:
        made["patch_size"] = [cell.patch_size] * len(base["patch_size"])
    if not (cell.patch_size or cell.base_features or cell.most_blocks):
        return made
    architecture = copy.deepcopy(base["architecture"])
    network = architecture["arch_kwargs"]
    if cell.patch_size:
        stages = _stages_that_fit(network["strides"], cell.patch_size)
        network["n_stages"] = stages
        network.update({key: network[key][:stages] for key in _PER_STAGE if isinstance(network.get(key), list)})
        network.update({key: network[key][: stages - 1] for key in _PER_JOINT if isinstance(network.get(key), list)})
    if cell.base_features:
        first = network["features_per_stage"][0]
        network["features_per_stage"] = [
            max(1, round(number * cell.base_features / first)) for number in network["features_per_stage"]
        ]
    if cell.most_blocks:
        for key in ("n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder"):
            if isinstance(network.get(key), list):
                network[key] = [min(number, cell.most_blocks) for number in network[key]]
    return {**made, "architecture": architecture}


def _stages_that_fit(strides: Sequence[Any], edge: int) -> int:
    """Return how many stages a network can have whose feature maps stay whole and large enough."""
    axes = len(strides[0]) if isinstance(strides[0], list) else 1
    shrunk = [1] * axes
    for stage, stride in enumerate(strides):
        steps = stride if isinstance(stride, list) else [stride] * axes
        shrunk = [have * step for have, step in zip(shrunk, steps, strict=True)]
        if any(edge % step or edge // step < SMALLEST for step in shrunk):
            if stage < 2:
                raise DataError(f"a patch of {edge} is too small for two stages; give a larger one (key 'patch_size')")
            return stage
    return len(strides)
