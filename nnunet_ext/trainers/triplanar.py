"""`nnUNetTrainerTriPlanar`: nnU-Net's training recipe, for one 2D network on slices of all orientations too."""

from __future__ import annotations

from nnunet_ext.trainers.slices import SliceTrainerBase

__all__ = ["nnUNetTrainerTriPlanar"]


class nnUNetTrainerTriPlanar(SliceTrainerBase):  # noqa: N801
    """Trainer of the configuration `triplanar` by nnU-Net's recipe.

    It trains nnU-Net's own configurations as well, as the stock trainer does: `nnUNetv2_find_best_configuration` can
    then compare `triplanar` with `3d_fullres` of the same plans.
    """
