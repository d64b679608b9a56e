"""One cell of a study: train its folds, predict the test set, score it, and note what all that cost."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from label_gen.errors import DataError
from nnunet_ext.atomic import write_json
from nnunet_ext.evaluation.training_logs import read_training_log
from nnunet_ext.manifest import versions
from nnunet_ext.modelling.stages import Stages
from nnunet_ext.studies.data import TrainingSet
from nnunet_ext.studies.folder import StudyFolder
from nnunet_ext.studies.launching import Cost, run_entry_measured, spoken
from nnunet_ext.studies.locks import hold, take_one
from nnunet_ext.studies.study import Cell, MetricSettings
from nnunet_ext.training.folders import read_json

__all__ = ["CellWork", "cell_commands", "run_cell"]


@dataclass(frozen=True)
class CellWork:
    """All that is needed to run a cell, anywhere that sees the folder.

    Attributes:
        cell: The cell.
        folder: The folder of the study.
        chosen: Its training set.
        metrics: What is measured.
        seed: Of the commands.
        gpus: GPUs of this machine that cells share, one each; empty to leave the choice to CUDA_VISIBLE_DEVICES.
    """

    cell: Cell
    folder: StudyFolder
    chosen: TrainingSet
    metrics: MetricSettings
    seed: int = 0
    gpus: tuple[int, ...] = ()

    @property
    def place(self) -> Path:
        """The folder of the cell."""
        return self.folder.cell(self.cell.name)

    def settings(self) -> dict[str, Any]:
        """Return what the cell depends on, plain types."""
        return {**self.cell.settings(), "training_cases": list(self.chosen.cases), "seed": self.seed}


def run_cell(work: CellWork) -> dict[str, Any]:
    """Run a cell, or what is left of it after an interruption, and write its `record.json`.

    Args:
        work: What to do.

    Returns:
        What the manifest tells.

    Raises:
        UsageError: Another process runs it.
        DataError: A command failed.
        VolumeFileError: A file cannot be written.
    """
    cell = work.cell
    locks = work.folder.path / "locks"
    with ExitStack() as stack:
        stack.enter_context(hold(locks / f"cell-{cell.name}", busy=f"another process is running cell '{cell.name}'"))
        if work.folder.record(cell.name).is_file():
            return {}
        variables: dict[str, str] = dict(cell.variables)
        if work.gpus:
            variables["CUDA_VISIBLE_DEVICES"] = str(stack.enter_context(take_one(locks, work.gpus)))
        write_json(work.place / "settings.json", work.settings())
        stages = Stages(work.place, say=lambda text: None)
        trained = [f"train_{fold}" for fold in cell.folds]
        trainings = {}
        for fold, name in zip(cell.folds, trained, strict=True):

            def train(anew: bool, fold: int | str = fold) -> dict[str, Any]:
                return _train(work, fold, variables)

            trainings[str(fold)] = stages.run(name, work.settings(), train)
        predicted = stages.run(
            "predict",
            {"mirroring": cell.mirroring},
            lambda anew: _predict(work, variables),
            after=trained,
            is_cheap=True,
        )
        scored = stages.run(
            "evaluate", _metrics(work), lambda anew: _evaluate(work, variables), after=["predict"], is_cheap=True
        )
        costs = _costs(trainings, predicted)
        record = {
            "cell": cell.name,
            "status": "done",
            "settings": work.settings(),
            "training": trainings,
            "prediction": predicted,
            "evaluation": scored,
            "costs": costs,
            "machine": {"system": platform.system(), "processors": os.cpu_count(), "device": work.folder.device},
            "versions": versions(),
        }
        write_json(work.folder.record(cell.name), record)
    return dict(costs)


def cell_commands(work: CellWork) -> list[str]:
    """Return the ordinary commands of a cell as they are typed, paths relative to the folder of the study.

    Args:
        work: The cell.
    """
    more = ["-pretrained_weights", _inside(work.folder.path, _weights(work))] if work.cell.needs_weights else []
    lines = [spoken("nnUNetv2_train", [*_training_arguments(work, fold), *more]) for fold in work.cell.folds]
    for command, arguments in (
        ("abbc-predict", _predict_arguments(work)),
        ("abbc-evaluate", _evaluate_arguments(work)),
    ):
        inside = [_inside(work.folder.path, word) for word in arguments]
        lines.append(spoken(command, inside))
    return lines


def _inside(folder: Path, word: str | Path) -> str:
    path = Path(word)
    return str(path.relative_to(folder)) if path.is_absolute() and path.is_relative_to(folder) else str(word)


def _run(work: CellWork, command: str, arguments: Sequence[str | Path], variables: Mapping[str, str]) -> Cost:
    return run_entry_measured(
        command,
        arguments,
        environment=work.folder.environment(work.cell.name, variables),
        log=work.place / "commands.log",
        seed=work.seed,
        warm=work.folder.reduced,
    )


def _training_arguments(work: CellWork, fold: int | str) -> list[str]:
    cell = work.cell
    words = [str(work.chosen.number), cell.configuration_name, str(fold), "-tr", cell.trainer_name, "-p", cell.plans]
    return [*words, "-device", work.folder.device]


def _train(work: CellWork, fold: int | str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Train a fold, from the newest checkpoint if there is one; return what it cost and its validation scores."""
    cell = work.cell
    place = work.folder.trained(cell, work.chosen.name) / f"fold_{fold}"
    arguments = _training_arguments(work, fold)
    if any(place.glob("checkpoint_*.pth")):
        arguments.append("--c")
    elif cell.needs_weights:
        arguments += ["-pretrained_weights", str(_weights(work))]
    has_validation = cell.validation and fold != "all"
    more = {} if has_validation else {"ABBC_FINAL_VALIDATION": "off"}
    cost = _run(work, "nnUNetv2_train", arguments, {**variables, **more})
    log = read_training_log(place)
    told = {
        **cost.to_dict(),
        "went_on": "--c" in arguments,
        "epochs": len(log.epochs),
        "seconds_in_epochs": round(sum(log.seconds), 3),
        "last_training_loss": log.train_loss[-1],
    }
    return told | ({"validation_dice": _validation_dice(place)} if has_validation else {})


def _weights(work: CellWork) -> Path:
    return work.folder.preprocessed(work.chosen.name) / f"{work.cell.plans}.pth"


def _validation_dice(place: Path) -> dict[str, float | None]:
    """Return nnU-Net's own Dice of each validation case, mean over its labels; None where it has none of them."""
    summary = read_json(place / "validation" / "summary.json", "remove the folder of the cell and run it again")
    found = {}
    for case in summary["metric_per_case"]:
        name = Path(case["prediction_file"]).name.split(".")[0]
        values = [float(figures["Dice"]) for figures in case["metrics"].values() if figures["Dice"] is not None]
        finite = [value for value in values if math.isfinite(value)]
        found[name] = statistics.fmean(finite) if finite else None
    return found


def _predict_arguments(work: CellWork) -> list[str | Path]:
    cell = work.cell
    words: list[str | Path] = ["-i", work.folder.test("images"), "-o", work.place / "test"]
    words += ["-d", str(work.chosen.number), "-c", cell.configuration_name, "-tr", cell.trainer_name, "-p", cell.plans]
    words += ["-f", *map(str, cell.folds), "-device", work.folder.device, "-npp", "0", "-nps", "0"]
    return [*words, *([] if cell.mirroring else ["--disable_tta"]), "--disable_progress_bar"]


def _predict(work: CellWork, variables: Mapping[str, str]) -> dict[str, Any]:
    """Predict the test set, one case after the other in one process; return what it cost and the seconds per case."""
    shutil.rmtree(work.place / "test", ignore_errors=True)
    cost = _run(work, "abbc-predict", _predict_arguments(work), variables)
    cases = json.loads((work.place / "test" / "abbc-predict.json").read_text(encoding="utf-8"))["cases"]
    if failed := [name for name, entry in cases.items() if entry["status"] != "done"]:
        raise DataError(f"the prediction of '{failed[0]}' failed: {cases[failed[0]].get('error', '')}")
    return {**cost.to_dict(), "seconds": {name: entry["seconds"] for name, entry in cases.items()}}


def _metrics(work: CellWork) -> dict[str, Any]:
    metrics = work.metrics
    wanted = metrics.structures if isinstance(metrics.structures, str) else list(metrics.structures)
    return {"structures": wanted, "end_slices": metrics.end_slices, "slice_axis": metrics.slice_axis}


def _evaluate_arguments(work: CellWork) -> list[str | Path]:
    metrics = work.metrics
    words: list[str | Path] = ["-p", work.place / "test", "-r", work.folder.test("labels")]
    words += ["-o", work.place / "scores.json", "--structures"]
    file = work.folder.raw(work.chosen.name) / "dataset.json"
    if metrics.structures == "all":
        words.append(file)
    else:
        labels = read_json(file, "remove the folder of the study")["labels"] if file.is_file() else {}
        words.append(",".join(f"{name}={labels.get(name, '?')}" for name in metrics.structures))
    words += ["--slice-axis", str(metrics.slice_axis)]
    return words + (["--end-slices", str(metrics.end_slices)] if metrics.end_slices else [])


def _evaluate(work: CellWork, variables: Mapping[str, str]) -> dict[str, Any]:
    (work.place / "scores.json").unlink(missing_ok=True)
    return _run(work, "abbc-evaluate", _evaluate_arguments(work), variables).to_dict()


def _costs(trainings: Mapping[str, Mapping[str, Any]], predicted: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures of `nnunet_ext.studies.study.COSTS`."""

    def most(key: str) -> float | None:
        return max((float(told[key]) for told in trainings.values() if told[key] is not None), default=None)

    return {
        "training_s": round(sum(told["seconds_in_epochs"] for told in trainings.values()), 3),
        "processor_s": round(sum(told["processor_s"] for told in trainings.values()), 3),
        "peak_vram_mb": most("peak_vram_mb"),
        "peak_ram_mb": most("peak_ram_mb"),
        "inference_s": round(statistics.fmean(predicted["seconds"].values()), 3),
    }
