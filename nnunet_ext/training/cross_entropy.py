"""Cross entropy alone, as those train who leave Dice and deep supervision out."""

from __future__ import annotations

from typing import Any

from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss

from nnunet_ext.training.checkpoint_restoring import bare_network

__all__ = ["cross_entropy_alone", "freeze_unused_heads"]


def cross_entropy_alone(label_manager: Any) -> Any:
    """Return cross entropy; binary cross entropy for regions. Ignored pixels do not count.

    Args:
        label_manager: nnU-Net's, of the dataset.
    """
    ignore = label_manager.ignore_label
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": True, "ddp": False}  # at weight 0
    if label_manager.has_regions:
        return DC_and_BCE_loss({}, dice, weight_ce=1, weight_dice=0, use_ignore_label=ignore is not None)
    return DC_and_CE_loss(dice, {}, weight_ce=1, weight_dice=0, ignore_label=ignore)


def freeze_unused_heads(trainer: Any) -> None:
    """Freeze the outputs for deep supervision: processes that train together wait for gradients of all others.

    Args:
        trainer: Whose network is built.
    """
    for head in bare_network(trainer).decoder.seg_layers[:-1]:
        head.requires_grad_(False)
