"""`nnUNetTrainerTriPlanarEkman`: the tri-planar network trained with the augmentations and numbers of its source."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch.optim.lr_scheduler import LRScheduler

from label_gen.errors import UsageError
from nnunet_ext.augmentation.intensity import intensity_scale
from nnunet_ext.augmentation.pipeline import before_slicing, intensity_transforms, spatial_transforms
from nnunet_ext.augmentation.table import EkmanTable
from nnunet_ext.trainers.slices import SliceTrainerBase
from nnunet_ext.training.cross_entropy import cross_entropy_alone, freeze_unused_heads

__all__ = ["DropScheduler", "clip_each_gradient", "nnUNetTrainerTriPlanarEkman"]

THICKNESS = 0.69
"""Thickness of the slabs in which a slice can turn, in edges of the patch: two turns by 20 degrees move the corners of
a slice by sin 20 (1 + cos 20) times half its edge. Source: chosen here; a cube would take twice as long to read."""


class DropScheduler(LRScheduler):
    """Learning rate that drops by a factor after every so many epochs.

    It is computed from the number of the epoch alone, so a resumed training goes on with the right one.

    Args:
        optimizer: The optimiser.
        initial_lr: Learning rate of the first epochs.
        period: Epochs between drops.
        factor: What a drop multiplies the learning rate with.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, initial_lr: float, period: int, factor: float) -> None:
        self.initial_lr, self.period, self.factor = initial_lr, period, factor
        super().__init__(optimizer)

    def step(self, epoch: int | None = None) -> None:
        """Set the learning rate of an epoch; of the one after the last that was set, if none is given."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else int(epoch)
        rate = self.initial_lr * self.factor ** (self.last_epoch // self.period)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._last_lr = [rate for _ in self.optimizer.param_groups]


def clip_each_gradient(parameters: Sequence[torch.Tensor], threshold: float) -> None:
    """Scale down, in place, each gradient whose own L2 norm is above a threshold, to that norm.

    Args:
        parameters: Parameters; those without gradient are skipped.
        threshold: The largest norm.

    Source: MATLAB's GradientThresholdMethod "l2norm", the method that Ekman et al. 2025, Table 2, names.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            norm = torch.linalg.vector_norm(parameter.grad)
            parameter.grad.mul_((threshold / norm).clamp(max=1))  # no look at the norm: the GPU need not be waited for


class nnUNetTrainerTriPlanarEkman(SliceTrainerBase):  # noqa: N801
    """Trainer of the configuration `triplanar` with the recipe of Ekman et al. 2025.

    Augmentations of Table 1 (`table`), in the order that `nnunet_ext.augmentation.pipeline` draws. Hyper-parameters of
    Table 2: Adam with L2 regularisation, a learning rate that drops, clipping of each gradient, 100 epochs, cross
    entropy alone, no deep supervision. Patch and batch size come from the plans. A subclass sets other numbers as class
    attributes; as ever, the number of epochs and the first learning rate can also come from the environment.

    Attributes:
        table: Probabilities and distributions of the augmentations.
        epochs: Length of the training.
        learning_rate: Of the first epochs.
        drop_period: Epochs between drops of the learning rate [4 to 6].
        drop_factor: What a drop multiplies the learning rate with [0.8 to 0.9].
        l2: L2 regularisation (PyTorch's Adam adds weight_decay times the weight to the gradient, which is that).
        betas: Decay of the gradient and of the squared gradient.
        gradient_threshold: L2 norm to which the gradient of each parameter is clipped. Chosen here: the source names
            the method and no number. nnU-Net's own clipping of all gradients together, to a norm of 12, comes before.

    Source: Ekman et al. 2025, Tables 1 and 2; in brackets the span over their applications, of which the middle is
    chosen here.
    """

    has_own_augmentation = True
    has_own_optimizer = True
    table = EkmanTable()
    epochs: int = 100
    learning_rate: float = 1e-3
    drop_period: int = 5
    drop_factor: float = 0.85
    l2: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    gradient_threshold: float = 1.0

    @staticmethod
    def check_dataset(plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]) -> None:
        """Refuse a configuration that was not planned for slices of several orientations."""
        if "triplanar" not in PlansManager(plans).get_configuration(configuration).configuration:
            raise UsageError(
                f"configuration '{configuration}' is not tri-planar; plan one with "
                "'abbc-plan-and-preprocess -d ID -pl TriPlanarPlanner' and train configuration 'triplanar' with "
                "'-p TriPlanarPlans'"
            )

    def set_hyperparameters(self) -> None:
        """Set the numbers of Table 2."""
        super().set_hyperparameters()
        self.thick_share = self.table.p_rotation_3d
        self.thickness = max(2, ceil(THICKNESS * self.training_patch()[0]))
        self.num_epochs = self.epochs
        self.initial_lr = self.learning_rate
        self.weight_decay = self.l2
        self.enable_deep_supervision = False

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, DropScheduler]:
        """Return Adam, which clips each gradient before it steps, and its schedule."""
        freeze_unused_heads(self)
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(parameters, self.initial_lr, betas=self.betas, weight_decay=self.weight_decay)
        threshold = self.gradient_threshold
        # Before the step, and so after nnU-Net has undone the scaling of half-precision gradients.
        optimizer.register_step_pre_hook(lambda *_: clip_each_gradient(parameters, threshold))
        schedule = DropScheduler(
            optimizer, initial_lr=self.initial_lr, period=self.drop_period, factor=self.drop_factor
        )
        return optimizer, schedule

    def _build_loss(self) -> Any:
        """Return cross entropy alone; binary cross entropy for regions. Ignored pixels do not count."""
        return cross_entropy_alone(self.label_manager)

    def slice_transforms(self) -> list[BasicTransform]:
        """Return the global rotation of thick slabs, and what makes a slice of a slab."""
        return [*before_slicing(planes=self.planes, table=self.table), *super().slice_transforms()]

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, Any]:  # noqa: N802
        """Return nnU-Net's choice, with a margin that fills a patch also where it is scaled down."""
        rotation, dummy_2d, initial_patch, mirror_axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        smallest = min(self.table.scaling[0], 1.0)
        needed = [ceil(length / smallest) for length in self.training_patch()]
        edge = [max(int(have), want) for have, want in zip(initial_patch, needed, strict=True)]
        return rotation, dummy_2d, edge, mirror_axes

    def get_training_transforms(  # nnU-Net's is static: it knows no plans
        self,
        patch_size: Sequence[int],
        rotation_for_DA: Any,  # noqa: N803
        deep_supervision_scales: Any,
        mirror_axes: Sequence[int] | None,
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: Sequence[bool] | None = None,
        is_cascaded: bool = False,
        foreground_labels: Any = None,
        regions: Any = None,
        ignore_label: int | None = None,
    ) -> BasicTransform:
        """Return the augmentations of Table 1 for slices, and nnU-Net's preparation of targets after them.

        Args:
            patch_size: Rows and columns.
            rotation_for_DA: Not used; `table` says it.
            deep_supervision_scales: As in nnU-Net.
            mirror_axes: None or empty: neither mirror nor transpose.
            do_dummy_2d_data_aug: Not used; slices are 2D.
            use_mask_for_norm: As in nnU-Net: these channels become 0 outside of the mask that normalised them.
            is_cascaded: As in nnU-Net.
            foreground_labels: As in nnU-Net.
            regions: As in nnU-Net.
            ignore_label: As in nnU-Net.
        """
        scale = intensity_scale(
            self.plans_manager.foreground_intensity_properties_per_channel,
            self.configuration_manager.normalization_schemes,
        )
        transforms = spatial_transforms(patch_size=patch_size, mirroring=bool(mirror_axes), table=self.table)
        transforms += intensity_transforms(
            intensity_range=scale.intensity_range, hu_scale=scale.hu_scale, table=self.table
        )
        masked = [channel for channel, use in enumerate(use_mask_for_norm or ()) if use]
        if masked:
            transforms.append(MaskImageTransform(apply_to_channels=masked, channel_idx_in_seg=0, set_outside_to=0))
        targets = self.get_validation_transforms(
            deep_supervision_scales, is_cascaded, foreground_labels, regions, ignore_label
        )
        return ComposeTransforms([*transforms, targets])
