"""The environment variables of nnU-Net: folders and their free disk, worker processes, and our trainers in sight."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from label_gen.errors import FractureError, VolumeFileError
from nnunet_ext.doctor.findings import Finding, error, from_error, ok, warning
from nnunet_ext.doctor.hardware import worker_count
from nnunet_ext.training.folders import free_bytes, nnunet_folder, say_bytes

__all__ = ["check_folder", "check_trainer", "check_workers"]

ROOM_BYTES = {"nnUNet_raw": 0, "nnUNet_preprocessed": 20e9, "nnUNet_results": 5e9}
"""Free disk below which a folder is pointed out: 100 CTs preprocessed, checkpoints of a large network."""
VARIABLE = "nnUNet_extTrainer"
ENV_CURE = 'eval "$(abbc-env)"'


def check_folder(variable: str) -> Finding:
    """Check that a variable names a folder, that it can be written to where nnU-Net writes, and its free disk.

    Training reads nnUNet_preprocessed and writes nnUNet_results; that planning could not go on is a warning.

    Args:
        variable: `nnUNet_raw`, `nnUNet_preprocessed` or `nnUNet_results`.
    """
    try:
        folder = nnunet_folder(variable, may_be_missing=variable == "nnUNet_results", writable=variable != "nnUNet_raw")
    except FractureError as problem:
        found = from_error(variable, problem)
        is_unwritable = variable == "nnUNet_preprocessed" and isinstance(problem, VolumeFileError)
        if variable == "nnUNet_raw" or is_unwritable:
            return replace(found, status="warning", text=f"{found.text} (planning needs it, training does not)")
        return found
    free = free_bytes(folder)
    text = f"'{folder}', {say_bytes(free)} free"
    if free < ROOM_BYTES[variable]:
        return warning(variable, f"{text}: little for a real dataset", f"make space, or export {variable}=FOLDER")
    return ok(variable, text if folder.is_dir() else f"{text}; will be made")


def check_workers(device: str | None = None) -> Finding:
    """Check the variables that say how many processes nnU-Net uses.

    Args:
        device: What training runs on.
    """
    for variable in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc"):
        text = os.environ.get(variable, "1")
        if not (text.isascii() and text.isdigit()):
            return error("workers", f"{variable} is '{text}', no whole number: nnU-Net cannot even start",
                         f"export {variable}=8, or unset {variable}")  # fmt: skip
    count = worker_count()
    if count == 0 and device != "cpu":
        text = "nnUNet_n_proc_DA is 0: batches are made by the training process itself, while the GPU waits"
        return warning("workers", text, "export nnUNet_n_proc_DA=12, or unset nnUNet_n_proc_DA")
    return ok("workers", f"{count} for training batches (nnUNet_n_proc_DA; at most one per processor core)")


def check_trainer(name: str) -> Finding:
    """Check that nnU-Net finds a trainer by its name, by nnU-Net's own search.

    Args:
        name: Class name of the trainer.
    """
    folders = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder.strip()]
    gone = [folder for folder in folders if not Path(folder).is_dir()]
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        found = recursive_find_trainer_class_by_name(name)
    except Exception as problem:
        if not (isinstance(problem, RuntimeError) and "Could not find" in str(problem)):
            text = f"nnU-Net's search for {name} dies of {type(problem).__name__}: {problem}"
            return error("trainer", text, f"mend that module, or take its folder out of {VARIABLE}; then {ENV_CURE}")
        state = f"{VARIABLE} is " + (f"'{os.environ[VARIABLE]}'" if folders else "not set")
        if gone:
            state += f"; not there: {', '.join(gone)}"
        return error("trainer", f"nnU-Net cannot find {name}: {state}", f"{ENV_CURE} (or check the spelling of -tr)")
    return ok("trainer", f"nnU-Net finds {name} in {found.__module__}")
