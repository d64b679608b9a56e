"""Trainers with a number of epochs in their name, as nnU-Net has them: `nnUNetTrainerABBC_250epochs`, any number."""

from __future__ import annotations

import re
from typing import Any

from nnunet_ext.trainers.abbc import nnUNetTrainerABBC
from nnunet_ext.trainers.bones import nnUNetTrainerBones
from nnunet_ext.trainers.triplanar import nnUNetTrainerTriPlanar
from nnunet_ext.trainers.triplanar_ekman import nnUNetTrainerTriPlanarEkman

__all__: list[str] = []

_TRAINERS = {
    trainer.__name__: trainer
    for trainer in (nnUNetTrainerABBC, nnUNetTrainerBones, nnUNetTrainerTriPlanar, nnUNetTrainerTriPlanarEkman)
}
_NAME = re.compile(r"(\w+)_([1-9]\d*)epochs?")


def __getattr__(name: str) -> Any:
    """Return the trainer of that name, made when it is asked for first."""
    found = _NAME.fullmatch(name)
    base = _TRAINERS.get(found[1]) if found else None
    if found is None or base is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    epochs = int(found[2])
    namespace = {"__module__": __name__, "__doc__": f"`{base.__name__}` for {epochs} epochs.", "epochs_in_name": epochs}
    trainer = type(name, (base,), namespace)
    globals()[name] = trainer  # so that the class is one and can be pickled by name
    return trainer
