"""Slices of every orientation, for any of our trainers whose configuration is tri-planar."""

from __future__ import annotations

from math import pi
from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

from nnunet_ext.augmentation.seeding import SeedTorch
from nnunet_ext.trainers.base import AbbcTrainerBase
from nnunet_ext.triplanar.loader import SlabLoader, TakeSlice
from nnunet_ext.triplanar.planes import Plane

__all__ = ["SliceTrainerBase"]

SCALES = (0.85, 1.25)
"""Range of sizes from which nnU-Net computes the margin of a patch. Source: nnU-Net 2.8."""

HALF_TURN = (-pi, pi)


class SliceTrainerBase(AbbcTrainerBase):
    """Our trainers: nnU-Net's way for nnU-Net's configurations, slices of all orientations for `triplanar`.

    A slice is cut in an orientation drawn at random; all else is nnU-Net's 2D recipe. In validation and prediction the
    network gets volumes and averages the orientations. Slices are not mirrored where the plans say so, nor where labels
    have sides: a slice does not show which side it is of.

    Attributes:
        planes: The orientations; empty for configurations that are not tri-planar.
        mirroring: Slices may be mirrored.
        thick_share: Share of patches that are read thicker than a slice, for transforms that turn them.
        thickness: Of these, voxels.
    """

    planes: tuple[Plane, ...]
    mirroring: bool
    thick_share = 0.0
    thickness = 1

    def set_hyperparameters(self) -> None:
        """Read orientations and mirroring from the plans."""
        super().set_hyperparameters()
        configuration = self.configuration_manager
        chosen = configuration.configuration.get("triplanar")
        self.planes = tuple(Plane(*p) for p in configuration.network_arch_init_kwargs["planes"]) if chosen else ()
        self.mirroring = bool(chosen and chosen["mirroring"] and not self.twins)

    def training_patch(self) -> list[int]:
        """Return the shape of what the network is trained on: a patch, or the rows and columns of a slice."""
        return super().training_patch()[1:] if self.planes else super().training_patch()

    def slice_transforms(self) -> list[BasicTransform]:
        """Return the transforms that make a slice of what was read for training."""
        return [TakeSlice(self.planes)]

    def first_transforms(self, *, training: bool) -> list[BasicTransform]:
        """Return the transforms that come before nnU-Net's own."""
        if not self.planes:
            return super().first_transforms(training=training)
        return [SeedTorch(), *self.slice_transforms()] if training else [TakeSlice(self.planes)]

    def make_loader(self, dataset: Any, initial_patch_size: Any, transforms: BasicTransform) -> Any:
        """Return a data loader."""
        if not self.planes:
            return super().make_loader(dataset, initial_patch_size, transforms)
        has_margin = max(initial_patch_size) > self.training_patch()[0]
        return SlabLoader(
            dataset,
            self.batch_size,
            int(max(initial_patch_size)),
            self.training_patch()[0],
            self.label_manager,
            planes=self.planes,
            thick_share=self.thick_share if has_margin else 0.0,  # no margin: for validation
            thickness=self.thickness,
            **self.loader_options(transforms),
        )

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, Any]:  # noqa: N802
        """Return nnU-Net's choice; for slices what it chooses for squares, and mirrored prediction along all axes."""
        if not self.planes:
            return super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        initial_patch = get_patch_size(self.training_patch(), HALF_TURN, HALF_TURN, HALF_TURN, SCALES)
        self.inference_allowed_mirroring_axes = (0, 1, 2) if self.mirroring else None
        return HALF_TURN, False, initial_patch, (0, 1) if self.mirroring else None
