"""All checks in order."""

from __future__ import annotations

from label_gen.errors import FractureError, UsageError
from nnunet_ext.doctor.dataset import check_dataset
from nnunet_ext.doctor.findings import Finding, guard
from nnunet_ext.doctor.hardware import check_device, check_memory, check_open_files, check_shared_memory
from nnunet_ext.doctor.software import check_packages, check_python, check_torch_pair
from nnunet_ext.doctor.totalsegmentator import check_totalsegmentator
from nnunet_ext.doctor.training import check_planned_training
from nnunet_ext.doctor.variables import check_folder, check_trainer, check_workers
from nnunet_ext.training.folders import FOLDER_VARIABLES, find_dataset

__all__ = ["DEFAULT_PLANS", "DEFAULT_TRAINER", "DEVICES", "diagnose"]

DEFAULT_PLANS = "nnUNetPlans"
"""As nnU-Net has it."""
DEFAULT_TRAINER = "nnUNetTrainerABBC"
DEVICES = ("cuda", "cpu", "mps")


def diagnose(
    *,
    dataset: int | str | None = None,
    plans: str | None = None,
    configuration: str | None = None,
    trainer: str | None = None,
    fold: int | str | None = None,
    device: str | None = None,
    workers: int = 1,
    progress: bool = False,
) -> list[Finding]:
    """Look at the installation, and if they are named, at a dataset and at a training on it. Changes nothing.

    A check that breaks, because the installation is broken, becomes a finding too.

    Args:
        dataset: Number or name of the dataset whose cases to look at; None for none.
        plans: Name of the plans to train with.
        configuration: Configuration to train; None to look at no training.
        trainer: Class name of the trainer; None looks whether nnU-Net finds `nnUNetTrainerABBC`.
        fold: Fold to train, a number or `all`; None for all cases.
        device: `cuda`, `cpu` or `mps`; None for the best that there is.
        workers: Cases looked at at the same time.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        The findings, in the order of the checks.

    Raises:
        UsageError: A training is named but no dataset or configuration, or there is no such device or fold.
    """
    if device is not None and device not in DEVICES:
        raise UsageError(f"unknown device '{device}'; choose one of {', '.join(DEVICES)} (-device)")
    if fold not in (None, "all") and (isinstance(fold, bool) or not isinstance(fold, int) or fold < 0):
        raise UsageError(f"the fold is '{fold}'; give a number from 0, or 'all' (-f)")
    if dataset is None and (plans is not None or configuration is not None or fold is not None):
        raise UsageError("a training was named but no dataset; give its number (-d)")
    if configuration is None and (plans is not None or fold is not None):
        raise UsageError("plans or fold were named but no configuration; give it, 3d_fullres, say (-c)")
    if workers < 0:
        raise UsageError(f"the number of workers is {workers}; give 0 or more (--workers)")
    findings = [
        *guard("Python", check_python),
        *guard("packages", check_packages),
        *guard("torch", check_torch_pair),
        *guard("GPU", check_device, device),
        *guard("memory", check_memory),
        *guard("shared memory", check_shared_memory),
        *guard("open files", check_open_files),
    ]
    for variable in FOLDER_VARIABLES:
        findings += guard(variable, check_folder, variable)
    findings += guard("workers", check_workers, device)
    findings += guard("trainer", check_trainer, trainer or DEFAULT_TRAINER)
    findings += guard("TotalSegmentator", check_totalsegmentator)
    if dataset is not None:
        findings += guard("dataset", check_dataset, dataset, workers, progress)
    if dataset is not None and configuration is not None and _exists(dataset):
        name = plans or DEFAULT_PLANS
        findings += guard("training", check_planned_training, dataset, name, configuration, fold, trainer)
    return findings


def _exists(dataset: int | str) -> bool:
    """Tell whether there is such a dataset; if there is none, that was said when its cases were to be looked at."""
    try:
        find_dataset(dataset)
    except FractureError:
        return False
    return True
