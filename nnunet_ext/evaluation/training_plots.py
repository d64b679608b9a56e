"""The course of trainings as a picture: loss, pseudo Dice, seconds per epoch and learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from label_gen.errors import UsageError
from nnunet_ext.evaluation.paper import FAINT, caption, colour_of, legend, sheet
from nnunet_ext.evaluation.training_logs import TrainingLog, moving_average, read_training_log

__all__ = ["plot_training"]

MAX_CLASSES = 7
"""Most classes of a single training that are drawn. Source: chosen here: as many as there are colours."""

LOG_SCALE_FROM = 50.0
"""Ratio of the largest to the smallest epoch time from which their axis is logarithmic. Source: chosen here."""


def plot_training(path: str | Path, logs: Mapping[str, TrainingLog | str | Path], *, title: str = "") -> None:
    """Draw loss, pseudo Dice, duration of the epochs and learning rate, as Lang does in figure 3 and nnU-Net itself.

    Of one training the pseudo Dice of every class is drawn too.

    Args:
        path: The file, ending in `.png`, `.svg` or `.pdf`.
        logs: Trainings by name: read ones, or what `read_training_log` reads, the folder of a fold, say.
        title: Line at the top.

    Raises:
        UsageError: There is no training.
        VolumeFileError: A log cannot be read, or the file cannot be written.
        DataError: A log holds no finished epoch.
    """
    if not logs:
        raise UsageError("there is no training to draw; name at least one folder of a fold")
    read = {n: log if isinstance(log, TrainingLog) else read_training_log(log) for n, log in logs.items()}
    with sheet(path, 2, 2, height_inch=6.2, title=title, sharex=True) as (figure, axes):
        (losses, dices), (times, rates) = axes
        for index, (name, log) in enumerate(read.items()):
            _draw(losses, dices, times, rates, name, log, index, is_alone=len(read) == 1)
        losses.set(title="Loss")
        dices.set(title="Pseudo Dice of the validation patches", ylim=(min(0.0, dices.get_ylim()[0]), 1.0))
        times.set(title="Duration of an epoch (s)", xlabel="epoch")
        rates.set(title="Learning rate", xlabel="epoch", ylim=(0.0, None))
        seconds = np.concatenate([log.seconds for log in read.values()])
        if seconds.max() > LOG_SCALE_FROM * max(seconds.min(), 1e-9) and seconds.min() > 0:
            times.set_yscale("log")
        else:
            times.set_ylim(0.0, None)
        for ax in axes.flat:
            ax.grid()
            ax.margins(x=0.01)
            ax.xaxis.get_major_locator().set_params(integer=True)
        if len(read) == 1:
            losses.legend(loc="best")
            dices.legend(loc="best", ncols=2)
        else:
            legend(figure, dices.get_legend_handles_labels()[0])
        text = "solid: training loss, moving average of the Dice; dashed: validation loss; pale: single epochs"
        caption(figure, text)


def _draw(
    losses: Any, dices: Any, times: Any, rates: Any, name: str, log: TrainingLog, index: int, *, is_alone: bool
) -> None:
    """Draw one training into the four panels."""
    colour, turn = colour_of(index)
    ls = ("-", (0, (6, 2, 1, 2)))[turn % 2]
    other = colour_of(1)[0] if is_alone else colour
    total = sum(log.seconds)
    said = f"{name}: {len(log.epochs)} epochs in {_duration(total)}"
    losses.plot(log.epochs, log.train_loss, color=colour, lw=1.7, ls=ls, label="training" if is_alone else said)
    losses.plot(log.epochs, log.val_loss, color=other, lw=1.2, ls=(0, (3, 1.5)), label="validation", alpha=0.9)
    dices.plot(log.epochs, log.pseudo_dice, color=colour, lw=0.9, alpha=0.4)
    dices.plot(log.epochs, log.average_dice, color=colour, lw=2.0, ls=ls, label="mean" if is_alone else said)
    if is_alone and 1 < len(log.class_dice[-1]) <= MAX_CLASSES - 1:
        for place, values in enumerate(zip(*log.class_dice, strict=False)):
            label = log.classes[place] if place < len(log.classes) else f"class {place + 1}"
            style = {"color": colour_of(place + 1)[0], "lw": 1.1, "alpha": 0.9}
            dices.plot(log.epochs, moving_average(values), label=label.replace("_", " "), **style)
    times.plot(log.epochs, log.seconds, color=colour, lw=1.2, ls=ls)
    if is_alone:
        times.text(0.99, 0.96, said, transform=times.transAxes, ha="right", va="top", size=8.5, color=FAINT)
    rates.plot(log.epochs, log.learning_rate, color=colour, lw=1.7, ls=ls)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
