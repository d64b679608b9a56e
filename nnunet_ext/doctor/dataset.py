"""A dataset as a whole: dataset.json, its files, its folds, and whether there is room to preprocess it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from label_gen.errors import FractureError, SchemeError
from nnunet_ext.doctor.cases import check_cases, scheme_of
from nnunet_ext.doctor.findings import Finding, error, from_error, guard, ok, warning
from nnunet_ext.training.folders import find_dataset, list_datasets, nnunet_folder, read_json
from nnunet_ext.training.labels import check_abbc_labels, check_anatomy_labels
from nnunet_ext.training.preflight import check_planning
from nnunet_ext.training.raw import list_raw_cases
from nnunet_ext.training.splits import few, find_leaks, read_splits, unknown_cases

__all__ = ["check_dataset", "check_splits"]


def check_dataset(dataset: int | str, workers: int = 1, progress: bool = False) -> list[Finding]:
    """Look at a dataset in nnUNet_raw.

    Args:
        dataset: Its number or name.
        workers: Cases looked at at the same time.
        progress: Show a bar on stderr if that is a terminal.
    """
    try:
        name = find_dataset(dataset)
    except FractureError as problem:
        return [from_error("dataset", problem)]
    if "nnUNet_raw" not in list_datasets()[name]:
        text = f"{name} is not in nnUNet_raw here, so that its images and labels are not looked at"
        return [warning("dataset", text, "run the doctor where the raw data are, before they are preprocessed")]
    findings, told_labels = [], False
    try:
        folder = check_planning(name)
        findings.append(ok("dataset", f"{name}: dataset.json fits its files, and there is room to preprocess it"))
    except FractureError as problem:
        told_labels = isinstance(problem, SchemeError)
        findings.append(from_error("dataset", problem))
        folder = nnunet_folder("nnUNet_raw") / name
    try:
        dataset_json = read_json(folder / "dataset.json", "make the dataset with abbc-prepare-dataset")
        cases = list_raw_cases(folder, dataset_json)
    except (FractureError, KeyError, TypeError):
        return findings  # told already
    if not told_labels:
        findings += guard("label names", _check_label_names, folder, dataset_json)
    findings += guard("cases", check_cases, folder, cases, dataset_json, workers, progress)
    findings += guard("folds", check_splits, folder, set(cases), dataset_json)
    return findings


def _check_label_names(folder: Path, dataset_json: Mapping[str, Any]) -> list[Finding]:
    """Check that the labels are those of the task that the dataset was made for."""
    about = dataset_json.get("abbc", {})
    if about.get("task") == "abbc":
        check_abbc_labels(dataset_json)
    elif about.get("task") == "anatomy" and (scheme := scheme_of(folder, about)):
        check_anatomy_labels(dataset_json, scheme)
    else:
        return []
    said = ", ".join(f"{name} {number}" for name, number in dataset_json["labels"].items())
    return [ok("label names", f"{said} (task {about['task']})")]


def check_splits(folder: Path, cases: set[str], dataset_json: Mapping[str, Any], check: str = "folds") -> Finding:
    """Check the `splits_final.json` of a dataset.

    Args:
        folder: The dataset's folder, raw or preprocessed.
        cases: Names of its cases.
        dataset_json: Its dataset.json; a table `patients` under its key `abbc` gives the patient of each case.
        check: What to call the finding.
    """
    path = folder / "splits_final.json"
    if not path.is_file() and os.environ.get("nnUNet_preprocessed"):  # noqa: SIM112  # nnU-Net's spelling
        path = Path(os.environ["nnUNet_preprocessed"], folder.name, path.name)  # noqa: SIM112
    if not path.is_file():
        if len(cases) < 5:
            return warning(check, f"no splits_final.json, and {len(cases)} cases are too few for nnU-Net's own folds",
                           "write a splits_final.json, or train fold 'all'")  # fmt: skip
        return warning(check, "no splits_final.json: nnU-Net will draw folds by case, not by patient",
                       "if patients have several cases, make the dataset with abbc-prepare-dataset")  # fmt: skip
    splits = read_splits(path)
    if strange := unknown_cases(splits, cases):
        return error(check, f"splits_final.json names cases that are not there: {few(strange)}",
                     "make the dataset again with abbc-prepare-dataset, or mend splits_final.json")  # fmt: skip
    patients = dataset_json.get("abbc", {}).get("patients")
    leaks = find_leaks(splits, patients if isinstance(patients, Mapping) else None)
    if leaks:
        first = next(iter(leaks))
        details = [f"fold {number}: {few(names, 20)}" for number, names in leaks.items()]
        text = f"fold {first} trains and validates on the same: {few(leaks[first])}; its scores will be too good"
        return warning(check, text, "put all cases of a patient on one side in splits_final.json", details)
    idle = cases - {name for fold in splits for part in fold.values() for name in part}
    if idle:
        return warning(check, f"no fold uses {few(sorted(idle))}", "add them to splits_final.json")
    return ok(check, f"{len(splits)} folds, no case on both sides of one")
