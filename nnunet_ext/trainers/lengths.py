"""Trainers with a number of epochs in their name, as nnU-Net has them: `nnUNetTrainerABBC_250epochs`, any number."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

__all__: list[str] = []

_NAME = re.compile(r"(\w+)_([1-9]\d*)epochs?")


def __getattr__(name: str) -> Any:
    """Return the trainer of that name, made when it is asked for first."""
    from nnunet_ext.ext_trainers import abbc_trainers  # here, since it asks this module for what it does not know

    found = _NAME.fullmatch(name)
    if found is None or found[1] not in abbc_trainers.__all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return _make_trainer(name, getattr(abbc_trainers, found[1]), int(found[2]))


@cache  # the same class each time, so that it can be pickled by name
def _make_trainer(name: str, base: type, epochs: int) -> type:
    doc = f"`{base.__name__}` for {epochs} epochs."
    return type(name, (base,), {"__module__": __name__, "__doc__": doc, "epochs_in_name": epochs})
