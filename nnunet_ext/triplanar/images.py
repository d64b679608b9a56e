"""The images of a prediction: found by nnU-Net's names, and checked before any work."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from label_gen.errors import FractureError, UsageError
from nnunet_ext.batch import Task
from nnunet_ext.cases import VOLUME_SUFFIXES
from nnunet_ext.intact import check_intact
from nnunet_ext.triplanar.anatomy import is_axial_stack
from nnunet_ext.triplanar.planes import ORIENTATIONS

__all__ = ["find_tasks", "is_intact"]


def find_tasks(
    images: Path, output: Path, predictor: nnUNetPredictor, save_probabilities: bool, skips_finished: bool
) -> tuple[list[Task], list[str]]:
    """Find the cases of a prediction and what stands in their way.

    Args:
        images: Folder with `CASE_0000`, `CASE_0001` ... of the file type that the model was trained with.
        output: Folder for the segmentations `CASE`.
        predictor: The predictor, with its model.
        save_probabilities: `CASE.npz` is an output too.
        skips_finished: Cases whose outputs exist are finished.

    Returns:
        The cases; only those that are finished name their outputs. And notes for the user.

    Raises:
        UsageError: There is no such folder, or no image in it.
    """
    ending = predictor.dataset_json["file_ending"]
    if not images.is_dir():
        raise UsageError(f"there is no folder '{images}'; give the folder that holds the images (-i)")
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    cases: dict[str, dict[int, Path]] = {}
    others = []
    for path in sorted(images.iterdir()):
        if path.name.startswith("."):
            continue
        if match := pattern.fullmatch(path.name):
            cases.setdefault(match[1], {})[int(match[2])] = path
        elif path.name.endswith(ending):
            others.append(path.name)
    if not cases:
        raise UsageError(
            f"no images in '{images}': the model expects files named CASE_0000{ending}; there are "
            f"{', '.join(path.name for path in sorted(images.iterdir())[:3]) or 'none at all'}; convert or rename them"
        )
    notes = [f"not predicted, the name does not end in _0000{ending}: {', '.join(others[:5])}"] if others else []
    channels = predictor.dataset_json.get("channel_names") or predictor.dataset_json["modality"]
    tasks = []
    for name, files in cases.items():
        target = output / name
        outputs = [Path(f"{target}{suffix}") for suffix in (ending, *((".npz",) if save_probabilities else ()))]
        is_finished = skips_finished and all(path.exists() for path in outputs) and is_intact(outputs[0])
        arguments = {"files": [str(path) for _, path in sorted(files.items())], "target": str(target)}
        problem = ""
        if missing := [f"{name}_{number:04d}{ending}" for number in range(len(channels)) if number not in files]:
            problem = f"the model takes {len(channels)} channel(s); missing is {', '.join(missing)}"
        elif len(files) > len(channels):
            problem = f"the model takes {len(channels)} channel(s); remove the files from _{len(channels):04d} on"
        else:
            problem = _image_problem(list(files.values()), predictor)
        tasks.append(Task(name, tuple(outputs) if is_finished else (), {**arguments, "result": outputs[0]}, problem))
    return tasks, notes


def is_intact(path: Path) -> bool:
    """Say whether a file of volumes is complete, as far as its header tells.

    Args:
        path: The file.
    """
    try:
        check_intact(path)
    except (FractureError, OSError):
        return False
    return True


def _image_problem(files: Sequence[Path], predictor: nnUNetPredictor) -> str:
    """Return why a case cannot be predicted, as far as files and headers tell; empty if nothing is wrong."""
    try:
        for path in files:
            if path.name.lower().endswith(VOLUME_SUFFIXES):
                check_intact(path)
        chosen = predictor.configuration_manager.configuration.get("triplanar", {}).get("orientations", ORIENTATIONS)
        reorients = predictor.plans_manager.plans["image_reader_writer"] == "NibabelIOWithReorient"
        if len(chosen) == len(ORIENTATIONS) or reorients or all(is_axial_stack(path) for path in files):
            return ""
    except FractureError as error:
        return str(error)
    return (
        f"'{files[0]}' is no axial stack: its array axes are not z, y, x, so that its {' and '.join(chosen)} slices, "
        "which the model takes, are others than in training; reorient it (SimpleITK.DICOMOrient(image, 'LPS'), say)"
    )
