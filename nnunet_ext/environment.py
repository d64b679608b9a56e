"""Where nnU-Net finds our trainers: the folder, and the shell line that points `nnUNet_extTrainer` to it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

__all__ = ["VARIABLE", "ext_trainer_value", "shell_line", "trainer_folder"]

VARIABLE = "nnUNet_extTrainer"
"""The environment variable in which nnU-Net looks for folders of trainers."""


def trainer_folder() -> Path:
    """Return the folder of re-exports of our trainers."""
    return Path(__file__).resolve().parent / "ext_trainers"


def ext_trainer_value(environment: Mapping[str, str] = os.environ) -> str:
    """Return the value for `nnUNet_extTrainer`.

    Args:
        environment: The present variables.

    Returns:
        Our folder first, then those that the variable names already.
    """
    ours = str(trainer_folder())
    others = [path for path in environment.get(VARIABLE, "").split(os.pathsep) if path and path != ours]
    return os.pathsep.join([ours, *others])


def shell_line(environment: Mapping[str, str] = os.environ) -> str:
    """Return the line that a POSIX shell has to evaluate.

    Args:
        environment: The present variables.
    """
    return f"export {VARIABLE}={shlex.quote(ext_trainer_value(environment))}"
