"""One case predicted by `abbc-predict` in a process of its own, so that what it costs can be told."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from nnunet_ext.modelling.measuring import Cost, run_measured
from nnunet_ext.modelling.trial_cases import TrialCase
from nnunet_ext.models import find_model

__all__ = [
    "Prediction",
    "find_bones_measured",
    "link_image",
    "predict_measured",
    "read_costs",
    "sum_up_costs",
]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How to predict.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        mirroring: Average over mirror images, as far as the model allows it: up to eight times the work.
        step_size: Distance of windows in parts of their size.
        checkpoint: File name of the checkpoint in `fold_0`.
    """

    device: str = "cpu"
    mirroring: bool = False
    step_size: float = 0.5
    checkpoint: str = "checkpoint_final.pth"


def predict_measured(model: str | Path, case: TrialCase, output: Path, prediction: Prediction) -> Cost:
    """Predict one case.

    Args:
        model: Model folder, or the name of one that comes with the package.
        case: The case.
        output: Folder for the prediction.
        prediction: How to predict.

    Returns:
        What it cost.

    Raises:
        FractureError: It failed.
    """
    folder = find_model(model)
    with tempfile.TemporaryDirectory() as images:
        link_image(case.image, Path(images), case.name, folder)
        arguments: list[str | Path] = ["-m", folder, "-i", images, "-o", output, "-f", "0", "-npp", "0", "-nps", "0"]
        arguments += ["-chk", prediction.checkpoint, "-device", prediction.device]
        arguments += ["-step_size", str(prediction.step_size)]
        arguments += [] if prediction.mirroring else ["--disable_tta"]
        return run_measured("predict", arguments)


def find_bones_measured(model: str | Path, case: TrialCase, output: Path, prediction: Prediction) -> Cost:
    """Find the bones of one case by `abbc-segment-bones`: numbered as anatomies are, pieces cleaned, on the CT's grid.

    Args:
        model: Model folder, or the name of one that comes with the package.
        case: The case; a CT as scanners make it.
        output: Folder for `CASE.nii.gz`.
        prediction: Its device is used.

    Returns:
        What it cost.

    Raises:
        FractureError: It failed.
    """
    arguments: list[str | Path] = ["-i", case.image, "-o", output / f"{case.name}.nii.gz", "--overwrite"]
    return run_measured("segment_bones", [*arguments, "--bones", find_model(model), "-device", prediction.device])


def link_image(image: Path, folder: Path, name: str, model: Path) -> Path:
    """Put an image where a model looks for it: `NAME_0000` of the model's file type; converted only if need be.

    Args:
        image: The image.
        folder: Where to put it.
        name: Name of the case.
        model: Folder of the model.

    Returns:
        The file.
    """
    from nnunet_ext.cases import split_suffix
    from nnunet_ext.training.folders import read_json
    from nnunet_ext.volumes import read_volume, write_volume

    ending = str(read_json(model / "dataset.json", "it belongs to the model; copy it again")["file_ending"])
    target = folder / f"{name}_0000{ending}"
    if split_suffix(image.name)[1] == ending:
        target.symlink_to(image.absolute())
    else:
        write_volume(read_volume(image), target)
    return target


def read_costs(output: Path) -> dict[str, Any]:
    """Return what an earlier run noted about the costs of its cases.

    Args:
        output: Folder of the run.
    """
    file = output / "costs.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def sum_up_costs(costs: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return mean and largest of the costs of cases.

    Args:
        costs: For each case the figures of `Cost`.
    """
    return {
        key: {"mean": round(mean(cost[key] for cost in costs.values()), 2), "max": max(c[key] for c in costs.values())}
        for key in ("wall_s", "processor_s", "peak_mb")
        if costs
    }
