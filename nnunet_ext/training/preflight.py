"""Checks before planning and training, so that what is wrong is said before any work is lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, UsageError
from nnunet_ext.training.folders import check_free_space, find_dataset, nnunet_folder, read_json
from nnunet_ext.training.labels import check_abbc_labels, check_dataset_json, label_numbers
from nnunet_ext.training.raw import check_raw_cases, estimate_preprocessed_bytes, list_raw_cases
from nnunet_ext.training.splits import MIN_CASES_TO_SPLIT, few, read_splits

__all__ = ["check_abbc_labels", "check_planning", "check_plans_dataset", "check_preprocessed", "check_training"]
__all__ += ["count_parameters", "needed_disk_bytes", "resolve_configuration"]

CHECKPOINTS = 4
"""Checkpoint files on the disk at once: the latest, the one before, the best, and the one being written."""
LOG_BYTES = 100_000_000
"""Logs, figures and the segmentations of the final validation. Chosen here."""

_SAME = ("labels", "channel_names", "modality", "file_ending", "regions_class_order", "numTraining")


def check_training(
    plans: Mapping[str, Any],
    configuration: str,
    dataset_json: Mapping[str, Any],
    fold: int | str,
    *,
    continue_training: bool = False,
    n_parameters: int | None = None,
) -> None:
    """Check that a training can start and end: folders, plans, preprocessed cases, disk. Changes nothing.

    Args:
        plans: The plans, as nnU-Net's trainers get them.
        configuration: Its configuration.
        dataset_json: The dataset.json, as the trainers get it.
        fold: A number from 0, or `all`.
        continue_training: Older checkpoints are there already, so that less disk is needed. `nnUNetv2_train` says so
            in the plans, too.
        n_parameters: Weights of the network; counted from the plans if None.

    Raises:
        UsageError: A variable is not set or names no folder, the plans lack the configuration, or the fold is no fold.
        VolumeFileError: A folder cannot be written to, a file cannot be read, or there is too little disk.
        DataError: The plans are of another dataset, the dataset is not preprocessed in this configuration, or the
            network cannot be built.
    """
    if fold != "all" and (isinstance(fold, bool) or not isinstance(fold, int) or fold < 0):
        raise UsageError(f"the fold is {fold!r}; give a number from 0, or 'all'")
    preprocessed = nnunet_folder("nnUNet_preprocessed")
    nnunet_folder("nnUNet_results", may_be_missing=True, writable=True)
    check_plans_dataset(plans, dataset_json)
    settings = resolve_configuration(plans, configuration)
    channels = len(dataset_json.get("channel_names", dataset_json.get("modality", ())))
    planned = len(settings.get("normalization_schemes", range(channels)))
    if planned != channels:
        raise DataError(
            f"configuration '{configuration}' of {_name(plans)} is planned for {planned} image channels, the dataset "
            f"has {channels}; {_replan(plans)}"
        )
    check_preprocessed(preprocessed / plans["dataset_name"], plans, configuration, dataset_json, fold)
    count = count_parameters(plans, configuration, dataset_json) if n_parameters is None else n_parameters
    resumes = continue_training or plans.get("continue_training", False)
    needed = needed_disk_bytes(count, files=2 if resumes else CHECKPOINTS)
    check_free_space("nnUNet_results", needed, f"checkpoints of a network with {count / 1e6:.1f} million weights")


def check_plans_dataset(plans: Mapping[str, Any], dataset_json: Mapping[str, Any]) -> None:
    """Check that plans were made for the dataset that is trained on.

    Args:
        plans: The plans.
        dataset_json: The dataset.json of the training.

    Raises:
        DataError: The dataset of the plans is not there, or is another one.
    """
    name = plans["dataset_name"]
    folder = nnunet_folder("nnUNet_preprocessed") / name
    cure = (
        f"move them with nnUNetv2_move_plans_between_datasets -s {name} -t DATASET -sp {_plans_name(plans)} "
        f"-tp {_plans_name(plans)}, or plan anew with abbc-plan-and-preprocess"
    )
    if not folder.is_dir():
        raise DataError(
            f"{_name(plans)} are of dataset '{name}', which has no folder in nnUNet_preprocessed; if they were copied "
            f"from there, {cure}"
        )
    own = read_json(folder / "dataset.json", _replan(plans))
    differing = [key for key in _SAME if own.get(key) != dataset_json.get(key)]
    if differing:
        told = "; ".join(f"{key} {own.get(key)} against {dataset_json.get(key)}" for key in differing)
        raise DataError(
            f"{_name(plans)} are of another dataset, '{name}': its dataset.json differs from that of the training in "
            f"{told}; {cure}"
        )


def resolve_configuration(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """Return a configuration of plans, with what it inherits.

    Args:
        plans: The plans.
        configuration: Its name.

    Returns:
        Its settings.

    Raises:
        UsageError: The plans have no such configuration.
        DataError: It inherits from itself or from one that is not there.
    """
    known = plans["configurations"]
    if configuration not in known:
        planner = "TriPlanarPlanner" if configuration == "triplanar" else "ABBCPlannerM (or L, XL)"
        raise UsageError(
            f"{_name(plans)} have no configuration '{configuration}'; they have {', '.join(sorted(known))} (-c). To "
            f"plan it: abbc-plan-and-preprocess -d {_number(plans)} -pl {planner} -c {configuration}"
        )
    chain = [configuration]
    while parent := known[chain[-1]].get("inherits_from"):
        if parent not in known or parent in chain:
            raise DataError(f"{_name(plans)}: '{chain[-1]}' inherits from '{parent}', wrongly; {_replan(plans)}")
        chain.append(parent)
    settings: dict[str, Any] = {}
    for name in reversed(chain):
        settings |= known[name]
    return settings


def check_preprocessed(
    folder: Path, plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any], fold: int | str
) -> None:
    """Check that all cases of a fold are preprocessed, and what nnU-Net needs beside them is there.

    Args:
        folder: The dataset's folder in nnUNet_preprocessed.
        plans: The plans.
        configuration: Its configuration.
        dataset_json: The dataset.json.
        fold: A number, or `all`.

    Raises:
        DataError: Cases, or files that training needs, are missing.
        VolumeFileError: A folder or file cannot be read or written.
    """
    data = folder / resolve_configuration(plans, configuration)["data_identifier"]
    cure = f"run: nnUNetv2_preprocess -d {_number(plans)} -plans_name {_plans_name(plans)} -c {configuration}"
    subject = f"configuration '{configuration}' of {folder.name}"
    if not data.is_dir():
        raise DataError(f"{subject} is not preprocessed: nnUNet_preprocessed has no folder {data.name} of it; {cure}")
    complete, broken = _preprocessed_cases(data, cure)
    if broken:
        raise DataError(f"{subject} is preprocessed in part only: files of {few(broken)} are missing; {cure}")
    ending = str(dataset_json["file_ending"])
    truth = {path.name.removesuffix(ending) for path in (folder / "gt_segmentations").glob(f"[!.]*{ending}")}
    splits_file = folder / "splits_final.json"
    if fold != "all" and splits_file.is_file():
        splits = read_splits(splits_file)
        chosen = splits[int(fold)] if int(fold) < len(splits) else {"train": sorted(truth), "val": sorted(truth)}
        needed, validated = {*chosen["train"], *chosen["val"]}, set(chosen["val"])
        source = f"splits_final.json (fold {fold})"
    else:
        needed, validated, source = truth, complete, "gt_segmentations"
        if fold != "all":
            nnunet_folder("nnUNet_preprocessed", writable=True)  # nnU-Net is about to write its splits there
            if len(complete) < MIN_CASES_TO_SPLIT:
                raise DataError(
                    f"{folder.name} has {len(complete)} cases, too few for nnU-Net's own five folds; write a "
                    f"splits_final.json of your own into nnUNet_preprocessed/{folder.name}, or train fold 'all'"
                )
    if not complete or needed - complete:
        missing = few(sorted(needed - complete)) or "all"
        raise DataError(f"{subject}: cases named in {source} are not preprocessed: {missing}; {cure}")
    if validated - truth:
        raise DataError(
            f"{subject}: the labels of {few(sorted(validated - truth))} are missing in gt_segmentations, which the "
            f"final validation needs; {cure}"
        )
    if not (folder / "dataset_fingerprint.json").is_file():
        raise DataError(f"{folder.name} has no dataset_fingerprint.json in nnUNet_preprocessed; {_replan(plans)}")


def _preprocessed_cases(folder: Path, cure: str) -> tuple[set[str], list[str]]:
    """Return the preprocessed cases that have all their files, and those that lack some."""
    names = {path.name for path in folder.iterdir() if path.is_file()}
    kinds = {name.rpartition(".")[2] for name in names} - {"pkl", "npy"}
    if len(kinds) > 1 or not kinds <= {"b2nd", "npz"}:
        raise DataError(
            f"folder {folder.name} in nnUNet_preprocessed holds files of the kinds {', '.join(sorted(kinds))}; nnU-Net "
            f"reads either .b2nd or .npz: remove the others, or remove the folder and {cure}"
        )
    suffixes = ("_seg.b2nd", ".b2nd", ".pkl") if "b2nd" in kinds else (".npz", ".pkl")
    found: dict[str, int] = {}
    for name in names:
        suffix = next((suffix for suffix in suffixes if name.endswith(suffix)), None)
        if suffix and (folder / name).stat().st_size:
            case = name.removesuffix(suffix)
            found[case] = found.get(case, 0) + 1
    complete = {case for case, count in found.items() if count == len(suffixes)}
    return complete, sorted(found.keys() - complete)


def count_parameters(plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> int:
    """Count the weights of the network of a configuration; it is built without memory for them.

    Args:
        plans: The plans.
        configuration: Its configuration.
        dataset_json: The dataset.json, for the numbers of channels and classes.

    Returns:
        The number of weights; 0 where the network cannot be built without memory, or the plans are of an old nnU-Net.

    Raises:
        DataError: The network cannot be built at all.
    """
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = resolve_configuration(plans, configuration).get("architecture")
    if architecture is None:
        return 0
    name = architecture["network_class_name"]
    channels = max(len(dataset_json.get("channel_names", dataset_json.get("modality", ()))), 1)
    try:
        with torch.device("meta"):
            network = get_network_from_plans(
                name, architecture["arch_kwargs"], architecture["_kw_requires_import"], channels,
                max(len(label_numbers(dataset_json)), 2), allow_init=False, deep_supervision=True,
            )  # fmt: skip
    except NotImplementedError:
        return 0
    except Exception as error:
        raise DataError(
            f"configuration '{configuration}' of {_name(plans)} asks for the network {name}, which cannot be built: "
            f"{type(error).__name__}: {error}; install the package that it is from, or {_replan(plans)}"
        ) from error
    return sum(weights.numel() for weights in network.parameters())


def needed_disk_bytes(n_parameters: int, *, moments: int = 2, files: int = CHECKPOINTS) -> int:
    """Return the disk that the results of a training need.

    Args:
        n_parameters: Weights of the network.
        moments: Numbers that the optimiser keeps per weight: 1 for SGD with momentum, 2 for Adam.
        files: Checkpoint files at once.

    Returns:
        Bytes: single precision for weights and moments, and room for logs and the final validation.

    Example:
        >>> needed_disk_bytes(100_000_000) / 1e9
        4.9
    """
    return 4 * (1 + moments) * files * n_parameters + LOG_BYTES


def check_planning(dataset: int | str, *, configurations: int = 2) -> Path:
    """Check that a dataset can be planned and preprocessed. Changes nothing.

    Args:
        dataset: Number or name.
        configurations: How many configurations will be preprocessed, for the estimate of the disk.

    Returns:
        The dataset's folder in nnUNet_raw.

    Raises:
        UsageError: A variable is not set or names no folder, there is no such dataset, or two of that number, or
            nnU-Net's planner cannot start.
        VolumeFileError: A file cannot be read, nnUNet_preprocessed cannot be written to, or has too little disk.
        SchemeError: The labels in dataset.json are none that nnU-Net can train.
        DataError: dataset.json is wrong, or cases do not fit it.
    """
    raw = nnunet_folder("nnUNet_raw")
    nnunet_folder("nnUNet_preprocessed", may_be_missing=True, writable=True)
    folder = raw / find_dataset(dataset)
    if not folder.is_dir():
        raise UsageError(
            f"{folder.name} is not in nnUNet_raw ('{raw}'); make it: abbc-prepare-dataset RECIPE SOURCE "
            f"-d {int(folder.name[7:10])}"
        )
    dataset_json = read_json(folder / "dataset.json", "make the dataset with abbc-prepare-dataset")
    check_dataset_json(dataset_json, folder.name)
    if dataset_json.get("abbc", {}).get("task") == "abbc":
        check_abbc_labels(dataset_json)
    cases = list_raw_cases(folder, dataset_json)
    check_raw_cases(folder.name, cases, dataset_json)
    needed = estimate_preprocessed_bytes(cases, configurations=configurations)
    check_free_space("nnUNet_preprocessed", needed, f"the preprocessed cases of {folder.name}")
    return folder


def _plans_name(plans: Mapping[str, Any]) -> str:
    return str(plans.get("plans_name", "nnUNetPlans"))


def _name(plans: Mapping[str, Any]) -> str:
    return f"the plans '{_plans_name(plans)}'"


def _number(plans: Mapping[str, Any]) -> str:
    digits = str(plans["dataset_name"])[7:10]
    return str(int(digits)) if digits.isdigit() else str(plans["dataset_name"])


def _replan(plans: Mapping[str, Any]) -> str:
    planner = plans.get("experiment_planner_used", "PLANNER")
    return f"plan again: abbc-plan-and-preprocess -d {_number(plans)} -pl {planner}"
