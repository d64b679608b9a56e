"""What all our trainers share: checks before any work, settings, loaders, mirroring that respects sides, fragments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from label_gen.classes import ABBC
from label_gen.errors import FractureError, UsageError
from nnunet_ext.augmentation.light import lighten
from nnunet_ext.augmentation.seeding import SeedTorch
from nnunet_ext.trainers.resilience import ResilientCheckpoints
from nnunet_ext.training.checkpoint_restoring import bare_network
from nnunet_ext.training.initial_weights import load_initial_weights
from nnunet_ext.training.loaders import ClassAwareLoader
from nnunet_ext.training.memory_layout import lay_channels_last
from nnunet_ext.training.preflight import check_training
from nnunet_ext.training.settings import TrainingSettings
from nnunet_ext.training.sides import LEFT_RIGHT_AXIS, MirrorSides, find_twins
from nnunet_ext.training.threads import keep_thread_limit

__all__ = ["AbbcTrainerBase"]


class AbbcTrainerBase(ResilientCheckpoints, nnUNetTrainer):
    """nnU-Net's trainer with the checks, settings and resilience of this project.

    Subclasses set their defaults in `set_hyperparameters`; environment variables (`TrainingSettings`) override these,
    and a number of epochs in the class's name (`nnUNetTrainerABBC_250epochs`) overrides both.
    """

    epochs_in_name: ClassVar[int | None] = None
    has_own_augmentation: ClassVar[bool] = False
    has_own_optimizer: ClassVar[bool] = False
    num_epochs: int
    initial_lr: float
    num_iterations_per_epoch: int
    num_val_iterations_per_epoch: int
    dataset_class: Any
    weights_follow = False

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  # nnU-Net's own signature, which it inspects
    ) -> None:
        self.settings = TrainingSettings.from_environment()
        if self.has_own_augmentation and self.settings.augmentation != "full":
            raise UsageError(
                f"{type(self).__name__} has augmentations of its own, of which there is no light form; unset "
                "ABBC_AUGMENTATION, or train with another trainer"
            )
        if self.has_own_optimizer and self.settings.optimizer != "sgd":
            raise UsageError(
                f"{type(self).__name__} has an optimiser of its own; unset ABBC_OPTIMIZER, or train with another "
                "trainer"
            )
        check_training(plans, configuration, dataset_json, fold)
        self.check_dataset(plans, configuration, dataset_json)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.twins = find_twins(dataset_json["labels"])
        self.focus_class: int | None = None
        self.focus_share = 0.0
        self.set_hyperparameters()
        self._apply_settings()

    @staticmethod
    def check_dataset(plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]) -> None:
        """Refuse a dataset or configuration that this trainer cannot train.

        Raises:
            FractureError: It cannot, with reason and cure.
        """

    def set_hyperparameters(self) -> None:
        """Set the defaults of this trainer, as attributes of the names that nnU-Net gives them."""

    def _apply_settings(self) -> None:
        settings = self.settings
        self.num_epochs = self.epochs_in_name or settings.epochs or self.num_epochs
        self.initial_lr = settings.initial_lr or self.initial_lr
        self.num_iterations_per_epoch = settings.iterations or self.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = settings.val_iterations or self.num_val_iterations_per_epoch
        self.print_to_log_file(f"abbc settings: {settings}", also_print_to_console=False)

    def initialize(self) -> None:
        """Build network, loss and optimiser as nnU-Net does; on a processor, with threads and layout that suit it.

        The weights to begin with are loaded, unless a checkpoint is about to be.
        """
        super().initialize()
        if self.device.type == "cpu":
            keep_thread_limit()
            lay_channels_last(bare_network(self))
        if self.settings.initial_weights and not self.weights_follow:
            self.print_to_log_file(load_initial_weights(bare_network(self), self.settings.initial_weights))

    def load_checkpoint(self, filename_or_checkpoint: Mapping[str, Any] | str) -> None:
        """Load a checkpoint; weights to begin with are not asked for."""
        self.weights_follow = True
        super().load_checkpoint(filename_or_checkpoint)

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Return the optimiser and its schedule, those of nnU-Net's own trainers; which is a setting."""
        if self.settings.optimizer == "sgd":
            pair: tuple[Any, Any] = super().configure_optimizers()
            return pair
        return self.optimised_by(torch.optim.AdamW, amsgrad=True)

    def optimised_by(self, kind: type[torch.optim.Optimizer], **options: Any) -> tuple[Any, Any]:
        """Return an optimiser of what is not frozen, with nnU-Net's schedule.

        Args:
            kind: Its class.
            **options: What it takes beside learning rate and weight decay.
        """
        learnt = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        values = {"lr": self.initial_lr, "weight_decay": self.weight_decay, **options}
        optimizer = kind(learnt, **values)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    # --- data -------------------------------------------------------------------------------------------------------

    def training_patch(self) -> list[int]:
        """Return the shape of the patches that the network is trained on."""
        return list(self.configuration_manager.patch_size)

    def first_transforms(self, *, training: bool) -> list[BasicTransform]:
        """Return the transforms that come before nnU-Net's own.

        Args:
            training: For training patches; for validation patches otherwise.
        """
        if not training:
            return []
        mirror = [MirrorSides(axis=self.side_axis, twins=self.twins)] if self.twins else []
        return [SeedTorch(), *mirror]

    def make_loader(self, dataset: Any, initial_patch_size: Any, transforms: BasicTransform) -> Any:
        """Return a data loader.

        Args:
            dataset: The cases.
            initial_patch_size: What is read, with the margin that the augmentation needs.
            transforms: Applied to each patch.
        """
        return ClassAwareLoader(
            dataset,
            self.batch_size,
            initial_patch_size,
            self.training_patch(),
            self.label_manager,
            **self.loader_options(transforms),
        )

    def loader_options(self, transforms: BasicTransform) -> dict[str, Any]:
        """Return what all our data loaders are told.

        Args:
            transforms: Applied to each patch.
        """
        return {
            "oversample_foreground_percent": self.oversample_foreground_percent,
            "probabilistic_oversampling": self.probabilistic_oversampling,
            "transforms": transforms,
            "focus_class": self.focus_class,
            "focus_share": self.focus_share,
        }

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Return the batches for training and validation, as nnU-Net does, with our loader and transforms."""
        if self.dataset_class is None:
            self.dataset_class = infer_dataset_class(self.preprocessed_dataset_folder)
        patch = self.training_patch()
        scales = self._get_deep_supervision_scales()
        rotation, dummy_2d, initial_patch, mirror_axes = (
            self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        manager = self.label_manager
        common = {
            "is_cascaded": self.is_cascaded,
            "foreground_labels": manager.foreground_labels,
            "regions": manager.foreground_regions if manager.has_regions else None,
            "ignore_label": manager.ignore_label,
        }
        masks = self.configuration_manager.use_mask_for_norm
        augment = self.get_training_transforms(
            patch, rotation, scales, mirror_axes, dummy_2d, use_mask_for_norm=masks, **common
        )
        prepare = self.get_validation_transforms(scales, **common)
        if self.settings.augmentation == "light":
            augment, initial_patch = lighten(augment), patch
        cases = self.get_tr_and_val_datasets()
        training = ComposeTransforms([*self.first_transforms(training=True), augment])
        validation = ComposeTransforms([*self.first_transforms(training=False), prepare])
        workers = get_allowed_n_proc_DA()
        return (
            self._start(self.make_loader(cases[0], initial_patch, training), workers, max(6, workers // 2)),
            self._start(self.make_loader(cases[1], patch, validation), -(-workers // 2), max(3, workers // 4)),
        )

    def _start(self, loader: Any, workers: int, cached: int) -> Any:
        """Return batches of a loader, made by that many processes, and see the first one made."""
        if workers == 0:
            batches = SingleThreadedAugmenter(loader, None)
        else:
            batches = NonDetMultiThreadedAugmenter(
                loader, None, workers, num_cached=cached, pin_memory=self.device.type == "cuda", wait_time=0.002
            )
        next(batches)
        return batches

    # --- sides ------------------------------------------------------------------------------------------------------

    @property
    def side_axis(self) -> int:
        """The axis of preprocessed arrays that runs from one side of the patient to the other."""
        return int(self.plans_manager.transpose_forward.index(LEFT_RIGHT_AXIS))

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, Any]:  # noqa: N802
        """Return nnU-Net's choice; where labels have sides, neither training nor prediction mirrors them away."""
        rotation, dummy_2d, initial_patch, mirror_axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if self.twins:
            # In training `MirrorSides` does it. In prediction nnU-Net averages without swapping labels.
            mirror_axes = tuple(axis for axis in mirror_axes or () if axis != self.side_axis)
            self.inference_allowed_mirroring_axes = mirror_axes or None
        return rotation, dummy_2d, initial_patch, mirror_axes

    # --- final validation -------------------------------------------------------------------------------------------

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate as nnU-Net does; for ABBC classes also recover the fragments and score these."""
        if self.settings.final_validation == "off":
            self.print_to_log_file("No final validation, ABBC_FINAL_VALIDATION is off; run the same command with --val")
            return
        super().perform_actual_validation(save_probabilities)
        labels = {str(name).lower() for name in self.dataset_json["labels"]}
        if self.local_rank != 0 or not {member.name.lower() for member in ABBC} <= labels:
            return
        from nnunet_ext.training.fragments import SUMMARY, score_fragments

        folder = f"{self.output_folder}/validation"
        self.print_to_log_file("Recovering fragments of the validation cases")
        try:
            found = score_fragments(folder, self.preprocessed_dataset_folder_base, self.dataset_json)
        except FractureError as error:
            self.print_to_log_file(f"Fragments could not be scored: {error}")
            return
        for remark in found.remarks:
            self.print_to_log_file(f"note: {remark}")
        for name, value in found.mean.items():
            self.logger.log_summary(f"final_val/{name}", value)
            self.print_to_log_file(f"Mean validation {name}: {value}")
        self.print_to_log_file(f"Fragment scores are in validation/{SUMMARY}")
