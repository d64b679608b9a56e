"""Re-exports of trainers of any length, for nnU-Net's search by name: `nnUNetTrainerDA5_100epochs_50iterations`."""

from typing import Any

from nnunet_ext.trainers import any_length

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    return getattr(any_length, name)
