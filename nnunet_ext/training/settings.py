"""What of a training can be set by environment variables, beside what nnU-Net's own variables set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from label_gen.errors import UsageError

__all__ = ["VARIABLES", "TrainingSettings"]

VARIABLES = {
    "epochs": "ABBC_EPOCHS",
    "initial_lr": "ABBC_INITIAL_LR",
    "optimizer": "ABBC_OPTIMIZER",
    "iterations": "ABBC_ITERATIONS",
    "val_iterations": "ABBC_VAL_ITERATIONS",
    "border_share": "ABBC_BORDER_SHARE",
    "border_weight": "ABBC_BORDER_WEIGHT",
    "augmentation": "ABBC_AUGMENTATION",
    "final_validation": "ABBC_FINAL_VALIDATION",
    "initial_weights": "ABBC_INITIAL_WEIGHTS",
    "encoder_weights": "ABBC_ENCODER_WEIGHTS",
    "checkpoint_minutes": "ABBC_CHECKPOINT_MINUTES",
    "checkpoint_mirror": "ABBC_CHECKPOINT_MIRROR",
}
"""Environment variable of each setting."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of our trainers. None leaves a setting to the trainer class.

    Attributes:
        epochs: Length of the training.
        initial_lr: Learning rate of the first epoch.
        optimizer: `sgd` is nnU-Net's; `adamw` is that of its trainer `nnUNetTrainerAdam`, which learns more in few
            steps. It wants a smaller learning rate, 1e-3 say.
        iterations: Training steps per epoch.
        val_iterations: Validation steps per epoch.
        border_share: Of the patches that nnU-Net centres on foreground, the share that is centred on border, 0 to 1.
        border_weight: Weight of the class border in the cross entropy, where the others have 1.
        augmentation: `full` is nnU-Net's; `light` leaves out what interpolates or filters patches, and reads them
            without a margin: for simulated cases, all different from the start, on machines with few cores.
        final_validation: `off` leaves out the prediction of the validation cases after the training, which on a
            processor can take longer than the training; nnU-Net's `--val` does it later.
        initial_weights: A model that ships (`bones`, `abbc`), a model folder or a checkpoint, of the same network and
            labels: the training begins with all of its weights.
        encoder_weights: For the trainers with an encoder of the extra `networks`: `imagenet` has the library load its
            weights, from the internet if they are not in its cache; `none` starts from random ones; else a file of
            them. None takes what is in the library's cache, without the internet, or else random ones.
        checkpoint_minutes: A checkpoint is written at the end of an epoch once this time has passed.
        checkpoint_mirror: Folder or fsspec URL to which checkpoints are copied while the training goes on.
    """

    epochs: int | None = None
    initial_lr: float | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"
    iterations: int | None = None
    val_iterations: int | None = None
    border_share: float | None = None
    border_weight: float | None = None
    augmentation: Literal["full", "light"] = "full"
    final_validation: Literal["on", "off"] = "on"
    initial_weights: str | None = field(default=None, repr=False)  # may be a path
    encoder_weights: str | None = field(default=None, repr=False)  # may be a path
    checkpoint_minutes: float = 5.0
    checkpoint_mirror: str | None = field(default=None, repr=False)  # a URL may hold a password

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> TrainingSettings:
        """Read the settings from environment variables.

        Args:
            environment: The variables.

        Returns:
            The settings; those whose variable is unset or empty keep their default.

        Raises:
            UsageError: A variable has a value that makes no sense, or a variable `ABBC_...` does not exist.

        Example:
            >>> TrainingSettings.from_environment({"ABBC_EPOCHS": "250"}).epochs
            250
        """
        unknown = sorted(name for name in environment if name.startswith("ABBC_") and name not in VARIABLES.values())
        if unknown:
            raise UsageError(f"unknown environment variable {unknown[0]}; there are {', '.join(VARIABLES.values())}")
        values: dict[str, Any] = {}
        for name, variable in VARIABLES.items():
            text = environment.get(variable, "").strip()
            if text:
                values[name] = _READERS[name](variable, text)
        return cls(**values)


def _number(
    kind: type[int] | type[float], low: float, high: float = float("inf"), *, open_low: bool = False
) -> Callable[[str, str], float]:
    """Return a reader of numbers from `low` to `high`; with `open_low` above `low`."""

    def read(name: str, text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(low) - 1
        if low <= value <= high and not (open_low and value == low) and value != float("inf"):
            return value
        noun = "whole number" if kind is int else "number"
        limits = f"above {low:g}" if open_low else f"from {low:g}" + ("" if high == float("inf") else f" to {high:g}")
        raise UsageError(f"{name} must be a {noun} {limits}; got: '{text}'")

    return read


def _one_of(*words: str) -> Callable[[str, str], str]:
    """Return a reader of one of some words."""

    def read(name: str, text: str) -> str:
        if text.lower() in words:
            return text.lower()
        raise UsageError(f"{name} must be {' or '.join(words)}; got: '{text}'")

    return read


_READERS: dict[str, Callable[[str, str], Any]] = {
    "epochs": _number(int, 1),
    "initial_lr": _number(float, 0, open_low=True),
    "optimizer": _one_of("sgd", "adamw"),
    "iterations": _number(int, 1),
    "val_iterations": _number(int, 1),
    "border_share": _number(float, 0, 1),
    "border_weight": _number(float, 0, open_low=True),
    "augmentation": _one_of("full", "light"),
    "final_validation": _one_of("on", "off"),
    "initial_weights": lambda name, text: text,
    "encoder_weights": lambda name, text: text,
    "checkpoint_minutes": _number(float, 0),
    "checkpoint_mirror": lambda name, text: text,
}
