"""Trainers that start from the weights of another model: a new head, and a low learning rate for all else."""

from __future__ import annotations

from typing import Any

import torch

from label_gen.errors import UsageError
from nnunet_ext.trainers.slices import SliceTrainerBase
from nnunet_ext.training.checkpoint_restoring import bare_network

__all__ = ["nnUNetTrainerFineTune", "nnUNetTrainerFineTuneFrozen"]


class nnUNetTrainerFineTune(SliceTrainerBase):  # noqa: N801
    """Trainer that goes on from other weights (`nnUNetv2_train ... -pretrained_weights FILE`), all layers of them.

    nnU-Net's recipe and loss, but Adam with a learning rate of 3e-4, and fewer epochs. nnU-Net takes all weights but
    those of the heads, which are new. Plans with the network of the weights come from `abbc-plan-finetuning`.
    `ABBC_OPTIMIZER=adamw` takes AdamW.

    Attributes:
        epochs: Length of the training. Source: chosen here, a tenth of nnU-Net's; the weights know bones already.
        learning_rate: Of the first epoch.

    Source: Pivi and Fusconi, section "3D segmentation": optimiser and learning rate.
    """

    epochs: int = 100
    learning_rate: float = 3e-4

    def set_hyperparameters(self) -> None:
        """Set length and learning rate."""
        super().set_hyperparameters()
        self.num_epochs = self.epochs
        self.initial_lr = self.learning_rate

    def freeze(self) -> None:
        """Freeze what is not to be learnt: nothing here."""

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Return the optimiser of what is learnt, and its schedule."""
        self.freeze()
        return self.optimised_by(torch.optim.AdamW if self.settings.optimizer == "adamw" else torch.optim.Adam)

    def on_train_start(self) -> None:
        """Start as nnU-Net does.

        Raises:
            UsageError: There is nothing to start from.
        """
        if not self.was_initialized:  # nnU-Net has built the network by now if it loaded weights into it
            raise UsageError(
                f"{type(self).__name__} goes on from the weights of another model, and was given none; name them: "
                "nnUNetv2_train ... -pretrained_weights FILE (without --c if there is no checkpoint yet), or train "
                "from scratch with another trainer"
            )
        super().on_train_start()


class nnUNetTrainerFineTuneFrozen(nnUNetTrainerFineTune):  # noqa: N801
    """Trainer that goes on from other weights and leaves the encoder as it is: decoder and new heads learn."""

    def freeze(self) -> None:
        """Freeze the encoder."""
        bare_network(self).encoder.requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        """Start an epoch as nnU-Net does; what a frozen encoder knows of its features stays, too."""
        super().on_train_epoch_start()
        bare_network(self).encoder.eval()
