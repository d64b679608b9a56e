"""Trainers of 2D networks with ResNet and DeepLabV3 encoders, by the names of the networks."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from nnunet_ext.networks import backbones
from nnunet_ext.networks.library import import_library
from nnunet_ext.networks.plans import with_backbone
from nnunet_ext.networks.weights import load_encoder_weights
from nnunet_ext.trainers.slices import SliceTrainerBase
from nnunet_ext.training.checkpoint_restoring import bare_network
from nnunet_ext.training.cross_entropy import cross_entropy_alone, freeze_unused_heads

__all__ = [
    "BackboneTrainerBase",
    "nnUNetTrainerUNetDeepLabV3",
    "nnUNetTrainerUNetPlusPlusDeepLabV3",
    "nnUNetTrainerUNetPlusPlusResNet34",
    "nnUNetTrainerUNetPlusPlusResNet50",
    "nnUNetTrainerUNetResNet34",
    "nnUNetTrainerUNetResNet50",
]


class BackboneTrainerBase(SliceTrainerBase):
    """Our trainers with another network than that of the plans, for `2d` and `triplanar`.

    The plans that are kept with the model name the network, so that `nnUNetv2_predict` needs no trainer to build it.
    Cross entropy alone, Adam with a learning rate of 3e-4 that falls as nnU-Net's does, no deep supervision; nnU-Net's
    augmentation and loaders. The encoder starts from ImageNet weights if these are at hand (ABBC_ENCODER_WEIGHTS), and
    the log says whether it did. `ABBC_OPTIMIZER=adamw` takes AdamW.

    Attributes:
        network_class: The network.
        epochs: Length of the training. Source: chosen here; 25,000 steps are a few times the five rounds of the source.
        learning_rate: Of the first epoch.

    Source: Pivi and Fusconi, section "2D segmentation": loss, optimiser, learning rate. They name no schedule.
    """

    network_class: ClassVar[type[backbones.BackboneNetwork]]
    epochs: int = 100
    learning_rate: float = 3e-4

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  # nnU-Net's own signature, which it inspects
    ) -> None:
        import_library()  # what is missing is said before all else
        changed = with_backbone(plans, configuration, self.network_class)
        super().__init__(changed, configuration, fold, dataset_json, device)

    def set_hyperparameters(self) -> None:
        """Set length, learning rate and no deep supervision."""
        super().set_hyperparameters()
        self.num_epochs = self.epochs
        self.initial_lr = self.learning_rate
        self.weight_decay = 0.0
        self.enable_deep_supervision = False

    def initialize(self) -> None:
        """Build network, loss and optimiser; load the encoder's weights unless all weights come from elsewhere."""
        super().initialize()
        if self.weights_follow or self.settings.initial_weights:
            return
        resnet = bare_network(self).resnet
        kind = self.network_class.encoder_kind
        name = "resnet34" if kind == "deeplabv3" else kind
        source = self.settings.encoder_weights
        self.print_to_log_file(load_encoder_weights(resnet, name, source, int(self.num_input_channels)))

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Return the optimiser and its schedule."""
        freeze_unused_heads(self)
        if self.settings.optimizer == "adamw":
            return super().configure_optimizers()
        return self.optimised_by(torch.optim.Adam)

    def _build_loss(self) -> Any:
        """Return cross entropy alone; binary cross entropy for regions. Ignored pixels do not count."""
        return cross_entropy_alone(self.label_manager)


class nnUNetTrainerUNetResNet34(BackboneTrainerBase):  # noqa: N801
    """Trainer of a U-Net with a ResNet-34 encoder."""

    network_class = backbones.UNetResNet34


class nnUNetTrainerUNetResNet50(BackboneTrainerBase):  # noqa: N801
    """Trainer of a U-Net with a ResNet-50 encoder."""

    network_class = backbones.UNetResNet50


class nnUNetTrainerUNetDeepLabV3(BackboneTrainerBase):  # noqa: N801
    """Trainer of a U-Net with the encoder of DeepLabV3."""

    network_class = backbones.UNetDeepLabV3


class nnUNetTrainerUNetPlusPlusResNet34(BackboneTrainerBase):  # noqa: N801
    """Trainer of a U-Net++ with a ResNet-34 encoder."""

    network_class = backbones.UNetPlusPlusResNet34


class nnUNetTrainerUNetPlusPlusResNet50(BackboneTrainerBase):  # noqa: N801
    """Trainer of a U-Net++ with a ResNet-50 encoder."""

    network_class = backbones.UNetPlusPlusResNet50


class nnUNetTrainerUNetPlusPlusDeepLabV3(BackboneTrainerBase):  # noqa: N801
    """Trainer of a U-Net++ with the encoder of DeepLabV3."""

    network_class = backbones.UNetPlusPlusDeepLabV3
