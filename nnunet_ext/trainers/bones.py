"""`nnUNetTrainerBones`: the anatomy network, which tells left from right."""

from __future__ import annotations

from typing import Any

from label_gen.errors import SchemeError
from nnunet_ext.trainers.slices import SliceTrainerBase
from nnunet_ext.training.sides import find_twins

__all__ = ["nnUNetTrainerBones"]


class nnUNetTrainerBones(SliceTrainerBase):  # noqa: N801
    """Trainer of whole bones.

    nnU-Net's recipe, but a patch that is mirrored from left to right has its labels swapped, and prediction is not
    mirrored that way. Source: with nnU-Net's own mirroring, hips swapped sides made up 88 % of one team's errors.
    """

    @staticmethod
    def check_dataset(plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]) -> None:
        """Refuse a dataset without bones that have sides."""
        labels = dataset_json["labels"]
        if not find_twins(labels):
            raise SchemeError(
                f"no two labels of the dataset differ by left and right only; got {', '.join(map(str, labels))}. This "
                "trainer is for bones with sides, as 'abbc-prepare-dataset ... --task anatomy' makes them; for other "
                "labels use nnU-Net's own trainer"
            )
