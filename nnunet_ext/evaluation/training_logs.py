"""Read how a training went out of the logs that nnU-Net writes, over all its resumptions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, VolumeFileError

__all__ = ["TrainingLog", "moving_average", "read_training_log"]

AVERAGE_WEIGHT = 0.1
"""Weight of the newest epoch in the moving average of the pseudo Dice. Source: nnU-Net 2.8, `MetaLogger.log`."""

_NUMBER = r"(?P<{}>[-+]?(?:\d[\d.]*(?:e[-+]?\d+)?|nan|inf))"
_LINES = re.compile(
    r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )?(?:"
    r"Epoch (?P<epoch>\d+)|"
    rf"Current learning rate: {_NUMBER.format('lr')}|"
    rf"train_loss {_NUMBER.format('train')}|"
    rf"val_loss {_NUMBER.format('val')}|"
    r"Pseudo dice \[(?P<dice>.*)\]|"
    rf"Epoch time: {_NUMBER.format('seconds')} s"
    r")\s*$"
)
_FILE = "training_log_*.txt"


@dataclass(frozen=True)
class TrainingLog:
    """What nnU-Net noted of a training, one value per finished epoch in each list.

    Attributes:
        epochs: Numbers of the epochs, ascending, from 0.
        train_loss: Loss on the training cases.
        val_loss: Loss on the validation cases.
        pseudo_dice: Mean over the classes of the Dice of patches of the validation cases; NaN classes left out.
        class_dice: The same of each class, one tuple per epoch.
        average_dice: Moving average of `pseudo_dice`, as nnU-Net chooses its best checkpoint by.
        seconds: Duration of the epoch.
        learning_rate: Learning rate; logs have it rounded to five decimals, checkpoints have it whole.
        classes: Names of the classes where `dataset.json` lies beside the training; else empty.
    """

    epochs: tuple[int, ...]
    train_loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    pseudo_dice: tuple[float, ...]
    class_dice: tuple[tuple[float, ...], ...]
    average_dice: tuple[float, ...]
    seconds: tuple[float, ...]
    learning_rate: tuple[float, ...]
    classes: tuple[str, ...] = ()


def read_training_log(path: str | Path) -> TrainingLog:
    """Read the course of a training.

    A training that was resumed has several logs. Epochs that a later log goes through again count as in the later
    one, and a log that starts anew at epoch 0 makes the earlier ones void. Epochs without an end are left out.

    Args:
        path: The folder of a fold (`.../fold_0`), a `training_log_*.txt`, or a `checkpoint_*.pth`. In a folder the
            text logs are read, or where there are none its newest intact checkpoint.

    Returns:
        The course.

    Raises:
        VolumeFileError: There is no such file or folder, it cannot be read, or a checkpoint is damaged.
        DataError: It holds no finished epoch.
    """
    path = Path(path)
    classes = _classes(path if path.is_dir() else path.parent)
    if path.suffix == ".pth":
        return _of_checkpoint(path, classes)
    logs = sorted(path.glob(_FILE)) if path.is_dir() else [path]
    if not logs:
        for name in ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"):
            if (path / name).is_file():
                return _of_checkpoint(path / name, classes)
        raise VolumeFileError(
            f"'{path}' holds no {_FILE} and no checkpoint; expected the folder of a fold, which nnUNetv2_train writes"
        )
    found: dict[int, dict[str, Any]] = {}
    for log in logs:
        epochs = _of_text(log)
        if epochs:
            found = {number: values for number, values in found.items() if number < min(epochs)} | epochs
    if not found:
        raise DataError(
            f"'{path.name}' holds no finished epoch; expected lines such as 'Epoch 0' and 'Epoch time: 12.3 s', as "
            "nnUNetv2_train writes them: has the training come so far?"
        )
    return _course(found, classes)


def moving_average(values: Sequence[float]) -> tuple[float, ...]:
    """Return nnU-Net's moving average of values, one per epoch; NaN values change nothing.

    Args:
        values: The values.

    Example:
        >>> moving_average([0.5, 1.0])
        (0.5, 0.55)
    """
    averages, average = [], math.nan
    for value in values:
        if not math.isnan(value):
            average = value if math.isnan(average) else (1 - AVERAGE_WEIGHT) * average + AVERAGE_WEIGHT * value
        averages.append(average)
    return tuple(averages)


def _of_text(path: Path) -> dict[int, dict[str, Any]]:
    """Return the values of the finished epochs of one log, by epoch."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise VolumeFileError(f"cannot read '{path}': {error.strerror or error}; check the path") from error
    done: dict[int, dict[str, Any]] = {}
    number = -1
    values: dict[str, Any] = {}
    for line in lines:
        found = _LINES.match(line)
        if found is None:
            continue
        key = str(found.lastgroup)
        if key == "epoch":
            number, values = int(found["epoch"]), {}
        elif key == "dice":
            values[key] = tuple(float(v) for v in re.findall(r"(?<![\w.])[-+]?(?:\d[\d.e+-]*|nan)", found["dice"]))
        else:
            values[key] = float(found[key])
        if key == "seconds" and number >= 0:
            done[number] = values
    return done


def _of_checkpoint(path: Path, classes: Sequence[str]) -> TrainingLog:
    from nnunet_ext.training.checkpoints import safe_load_checkpoint

    logged: Mapping[str, Sequence[Any]] = safe_load_checkpoint(path, to_train=False).get("logging") or {}
    keys = {"train": "train_losses", "val": "val_losses", "lr": "lrs", "dice": "dice_per_class_or_region"}
    count = len(logged.get("epoch_end_timestamps", ()))
    if not count or any(len(logged.get(key, ())) < count for key in (*keys.values(), "epoch_start_timestamps")):
        raise DataError(f"'{path.name}' holds no finished epoch in its log; expected a checkpoint of nnUNetv2_train")
    found: dict[int, dict[str, Any]] = {}
    for number in range(count):
        values = {short: logged[key][number] for short, key in keys.items()}
        start, end = (logged[f"epoch_{word}_timestamps"][number] for word in ("start", "end"))
        found[number] = values | {"seconds": end - start}
    return _course(found, classes)


def _course(found: Mapping[int, Mapping[str, Any]], classes: Sequence[str]) -> TrainingLog:
    epochs = sorted(found)
    columns: dict[str, list[Any]] = {field.name: [] for field in fields(TrainingLog) if field.name != "classes"}
    for number in epochs:
        values = found[number]
        dice = tuple(float(value) for value in values.get("dice", ()))
        defined = [value for value in dice if not math.isnan(value)]
        columns["epochs"].append(number)
        columns["class_dice"].append(dice)
        columns["pseudo_dice"].append(math.fsum(defined) / len(defined) if defined else math.nan)
        for name, key in (("train_loss", "train"), ("val_loss", "val"), ("learning_rate", "lr"), ("seconds",) * 2):
            columns[name].append(float(values.get(key, math.nan)))
    columns["average_dice"] = list(moving_average(columns["pseudo_dice"]))
    return TrainingLog(**{name: tuple(values) for name, values in columns.items()}, classes=tuple(classes))


def _classes(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes in the order of the pseudo Dice, where nnU-Net's `dataset.json` tells them."""
    try:
        about = json.loads((folder.parent / "dataset.json").read_text(encoding="utf-8"))
        names = [str(name) for name in about["labels"] if name not in ("background", "ignore")]
        if "regions_class_order" in about:
            return tuple(names)
        return tuple(sorted(names, key=lambda name: int(about["labels"][name])))
    except (OSError, ValueError, KeyError, TypeError):
        return ()
