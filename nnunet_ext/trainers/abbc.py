"""`nnUNetTrainerABBC`: patches that look for borders, and a cross entropy in which border counts more."""

from __future__ import annotations

from typing import Any

import torch

from label_gen.classes import ABBC
from nnunet_ext.trainers.slices import SliceTrainerBase
from nnunet_ext.training.preflight import check_abbc_labels

__all__ = ["nnUNetTrainerABBC"]


class nnUNetTrainerABBC(SliceTrainerBase):  # noqa: N801
    """Trainer of the four ABBC classes.

    nnU-Net's recipe with two changes, each settable by a subclass or the environment: `border_share` of the patches
    that are centred on foreground are centred on border, and `border_weight` is the weight of border in the cross
    entropy (Dice is left alone). The classes have no sides, so mirroring along every axis is safe.

    Source: the weight others used lies between 5 and 40; both defaults are chosen here, without an ablation on real
    data.
    """

    border_share = 0.5
    border_weight = 5.0

    @staticmethod
    def check_dataset(plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]) -> None:
        """Refuse a dataset whose labels are not the ABBC classes."""
        check_abbc_labels(dataset_json)

    def set_hyperparameters(self) -> None:
        """Set how often border is looked for and how much it counts."""
        super().set_hyperparameters()
        share, weight = self.settings.border_share, self.settings.border_weight
        labels = {str(name).lower(): number for name, number in self.dataset_json["labels"].items()}
        self.focus_class = int(labels[ABBC.BORDER.name.lower()])
        self.focus_share = self.border_share if share is None else share
        self.border_weight = self.border_weight if weight is None else weight

    def _build_loss(self) -> Any:
        loss = super()._build_loss()
        weights = torch.ones(self.label_manager.num_segmentation_heads, device=self.device)
        weights[self.focus_class] = self.border_weight
        compound = loss.loss if self.enable_deep_supervision else loss
        compound.ce.weight = weights
        return loss
