"""Trainers with a number of epochs in their name, as nnU-Net has them: `nnUNetTrainerABBC_250epochs`, any number."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from nnunet_ext.trainers import backbones
from nnunet_ext.trainers.abbc import nnUNetTrainerABBC
from nnunet_ext.trainers.bones import nnUNetTrainerBones
from nnunet_ext.trainers.finetuning import nnUNetTrainerFineTune, nnUNetTrainerFineTuneFrozen
from nnunet_ext.trainers.triplanar import nnUNetTrainerTriPlanar
from nnunet_ext.trainers.triplanar_ekman import nnUNetTrainerTriPlanarEkman

__all__: list[str] = []

_TRAINERS = {
    trainer.__name__: trainer
    for trainer in (
        nnUNetTrainerABBC,
        nnUNetTrainerBones,
        nnUNetTrainerTriPlanar,
        nnUNetTrainerTriPlanarEkman,
        nnUNetTrainerFineTune,
        nnUNetTrainerFineTuneFrozen,
        backbones.nnUNetTrainerUNetResNet34,
        backbones.nnUNetTrainerUNetResNet50,
        backbones.nnUNetTrainerUNetDeepLabV3,
        backbones.nnUNetTrainerUNetPlusPlusResNet34,
        backbones.nnUNetTrainerUNetPlusPlusResNet50,
        backbones.nnUNetTrainerUNetPlusPlusDeepLabV3,
    )
}
_NAME = re.compile(r"(\w+)_([1-9]\d*)epochs?")


def __getattr__(name: str) -> Any:
    """Return the trainer of that name, made when it is asked for first."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] not in _TRAINERS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return _make_trainer(name, found[1], int(found[2]))


@cache  # the same class each time, so that it can be pickled by name
def _make_trainer(name: str, base: str, epochs: int) -> type:
    namespace = {"__module__": __name__, "__doc__": f"`{base}` for {epochs} epochs.", "epochs_in_name": epochs}
    return type(name, (_TRAINERS[base],), namespace)
