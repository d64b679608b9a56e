"""Re-exports of our trainers, for nnU-Net's search by name; the classes live in `nnunet_ext.trainers`.

nnU-Net drops this module after its search. The classes are defined elsewhere, so that worker processes can unpickle
what refers to them.
"""

from typing import Any

from nnunet_ext.trainers import lengths
from nnunet_ext.trainers.abbc import nnUNetTrainerABBC
from nnunet_ext.trainers.backbones import (
    nnUNetTrainerUNetDeepLabV3,
    nnUNetTrainerUNetPlusPlusDeepLabV3,
    nnUNetTrainerUNetPlusPlusResNet34,
    nnUNetTrainerUNetPlusPlusResNet50,
    nnUNetTrainerUNetResNet34,
    nnUNetTrainerUNetResNet50,
)
from nnunet_ext.trainers.bones import nnUNetTrainerBones
from nnunet_ext.trainers.finetuning import nnUNetTrainerFineTune, nnUNetTrainerFineTuneFrozen
from nnunet_ext.trainers.triplanar import nnUNetTrainerTriPlanar
from nnunet_ext.trainers.triplanar_ekman import nnUNetTrainerTriPlanarEkman

__all__ = [
    "nnUNetTrainerABBC",
    "nnUNetTrainerBones",
    "nnUNetTrainerFineTune",
    "nnUNetTrainerFineTuneFrozen",
    "nnUNetTrainerTriPlanar",
    "nnUNetTrainerTriPlanarEkman",
    "nnUNetTrainerUNetDeepLabV3",
    "nnUNetTrainerUNetPlusPlusDeepLabV3",
    "nnUNetTrainerUNetPlusPlusResNet34",
    "nnUNetTrainerUNetPlusPlusResNet50",
    "nnUNetTrainerUNetResNet34",
    "nnUNetTrainerUNetResNet50",
]


def __getattr__(name: str) -> Any:
    return getattr(lengths, name)
