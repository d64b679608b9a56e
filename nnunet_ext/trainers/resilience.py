"""A mixin for trainers: checkpoints that survive kills, full disks and damage, and are mirrored while training."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed

from label_gen.errors import UsageError, VolumeFileError
from nnunet_ext.training.checkpoint_mirror import CheckpointMirror
from nnunet_ext.training.checkpoint_restoring import bare_network, restore_trainer
from nnunet_ext.training.checkpoint_saving import remove_half_written, save_checkpoint_file
from nnunet_ext.training.checkpoints import (
    BEST,
    FILE_NAMES,
    FINAL,
    LATEST,
    PREVIOUS,
    fallbacks,
    find_intact,
    root_reason,
    stamp,
)
from nnunet_ext.training.settings import TrainingSettings

__all__ = ["ResilientCheckpoints"]

_WAIT_FOR_MIRROR_S = 300.0
"""How long the end of the training waits for the last copy; chosen here, half of the time in which NCCL gives up."""

_PLOT_EVERY_S = 60.0
"""How often `progress.png` is drawn at most before the last epoch; chosen here, as drawing takes more than a second."""


class ResilientCheckpoints(nnUNetTrainer):
    """nnU-Net's trainer with checkpoints as `nnunet_ext.training.checkpoints` describes them.

    A save that fails leaves the files before it untouched and is tried again at the next save; at the end of the
    training, where there is no next, it is an error, and `--c` goes on from the latest checkpoint.

    Attributes:
        settings: What environment variables set; of it `checkpoint_minutes` and `checkpoint_mirror`.
    """

    settings: TrainingSettings
    save_every: int

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self._last_save = time.monotonic()
        self._is_loaded = False
        self._not_to_keep: set[str] = set()
        self._saved_since_epoch_end = False
        self._mirror: CheckpointMirror | None = None
        self._last_plot = time.monotonic()
        self._plot = self.logger.plot_progress_png
        self.logger.plot_progress_png = self._plot_if_due
        if self.local_rank == 0:
            remove_half_written(self._folder)
            self._mend_latest()
        if self.is_ddp:
            distributed.barrier()  # nnU-Net looks next which checkpoints there are

    @property
    def _folder(self) -> Path:
        return Path(self.output_folder)

    def _mend_latest(self) -> None:
        """Make the previous checkpoint the latest if that one is gone, so that nnU-Net's `--c` finds it."""
        latest, previous = self._folder / LATEST, self._folder / PREVIOUS
        if self.logger.resume and previous.exists() and not latest.exists() and not (self._folder / FINAL).exists():
            previous.rename(latest)
            self._warn(f"'{latest}' is missing; going on from '{PREVIOUS}'.")

    def _warn(self, text: str) -> None:
        """Say something in the training log and on stderr."""
        if self.local_rank == 0:
            self.print_to_log_file(f"WARNING! {text}", also_print_to_console=False)
            print(f"WARNING! {text}", file=sys.stderr, flush=True)

    def _plot_if_due(self, folder: str) -> None:
        """Draw the progress as nnU-Net does, but not after every short epoch; a full disk does not end the training."""
        if self.current_epoch + 1 < self.num_epochs and time.monotonic() - self._last_plot < _PLOT_EVERY_S:
            return
        try:
            self._plot(folder)
            self._last_plot = time.monotonic()
        except OSError as error:
            pyplot.close("all")
            self._warn(f"cannot write 'progress.png' in '{folder}': {root_reason(error)}. Training goes on.")

    def on_train_start(self) -> None:
        """Open the mirror before anything else, and say so if the folder holds an earlier training."""
        self._open_mirror()
        super().on_train_start()
        self._last_save = time.monotonic()
        found = [name for name in FILE_NAMES if (self._folder / name).exists()]
        if self.local_rank == 0 and not self._is_loaded and found:
            self._not_to_keep.add(LATEST)
            self._warn(
                f"'{self._folder}' holds an earlier training ({', '.join(found)}). This one starts anew and will "
                "replace these files; to go on with the earlier one, stop now and run the same command with --c."
            )

    def _open_mirror(self) -> None:
        target = self.settings.checkpoint_mirror
        if not target or self.local_rank != 0 or self.disable_checkpointing:
            return
        base = Path(self.output_folder_base)
        self._mirror = CheckpointMirror(target, f"{base.parent.name}/{base.name}")
        local_root = self._mirror.local_root
        if local_root is not None and local_root.resolve() == base.resolve():
            raise UsageError(
                "the mirror of checkpoints ABBC_CHECKPOINT_MIRROR is nnUNet_results itself; give another folder or URL"
            )
        self.print_to_log_file(f"Checkpoints are mirrored to {self._mirror.target}")

    def save_checkpoint(self, filename: str) -> None:
        """Save a checkpoint, whole or not at all, and have it mirrored.

        Args:
            filename: The file. It replaces the one of that name; the one before of `checkpoint_latest.pth` is kept.

        Raises:
            VolumeFileError: `checkpoint_final.pth` cannot be written. Failures of others are only reported.
        """
        if self.local_rank != 0:
            return
        if self.disable_checkpointing:
            self.print_to_log_file("No checkpoint written, checkpointing is disabled")
            return
        path = Path(filename)
        try:
            self._write(path)
        except VolumeFileError as error:
            if path.name != FINAL:
                self._warn(
                    f"{error}. The checkpoints saved before are untouched; training goes on, the next save tries again."
                )
                return
            self._write_final(path, error)
        if path.name == LATEST:
            self._last_save = time.monotonic()
            if LATEST in self._not_to_keep:
                self._not_to_keep.discard(LATEST)
                if not self._is_loaded:
                    (self._folder / PREVIOUS).unlink(missing_ok=True)
        self._saved_since_epoch_end = True
        if self._mirror is not None:
            self._mirror.copy_file(path, f"{self._folder.name}/{path.name}")

    def _write(self, path: Path) -> None:
        checkpoint = {
            "network_weights": bare_network(self).state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": self.grad_scaler.state_dict() if self.grad_scaler is not None else None,
            "logging": self.logger.get_checkpoint(),
            "_best_ema": self._best_ema,
            "current_epoch": self.current_epoch + 1,
            "init_args": self.my_init_kwargs,
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
            "abbc": stamp(type(self).__name__),
        }
        save_checkpoint_file(checkpoint, path, keep_previous=path.name not in self._not_to_keep)

    def _write_final(self, path: Path, error: VolumeFileError) -> None:
        """Try once more with the space of the previous checkpoint; the latest stays."""
        self._warn(f"{error}. Removing '{PREVIOUS}' and trying once more.")
        (self._folder / PREVIOUS).unlink(missing_ok=True)
        try:
            self._write(path)
        except VolumeFileError as again:
            raise VolumeFileError(
                f"{again}. The training is at its end and '{LATEST}' or '{BEST}' is kept: make space, then run the "
                "same command with --c"
            ) from again

    def on_epoch_end(self) -> None:
        """Save `checkpoint_latest.pth` after `save_every` epochs or `checkpoint_minutes`, whichever comes first."""
        save_every = self.save_every
        self.save_every = sys.maxsize  # nnU-Net would save before it has noted the best
        try:
            super().on_epoch_end()
        finally:
            self.save_every = save_every
        if self.local_rank != 0:
            return
        minutes = (time.monotonic() - self._last_save) / 60
        is_due = self.current_epoch % save_every == 0 or minutes >= self.settings.checkpoint_minutes
        if is_due and self.current_epoch < self.num_epochs:
            self.current_epoch -= 1  # as nnU-Net has it where it saves
            try:
                self.save_checkpoint(str(self._folder / LATEST))
            finally:
                self.current_epoch += 1
        self._mirror_small_files()

    def _mirror_small_files(self) -> None:
        if self._mirror is None:
            return
        for message in self._mirror.messages():
            self._warn(f"{message}. Training goes on; it is tried again at the next save.")
        if self._saved_since_epoch_end:
            for name in ("plans.json", "dataset.json"):
                self._mirror.copy_text(Path(self.output_folder_base) / name, name)
            for file in (Path(self.log_file), self._folder / "progress.png"):
                self._mirror.copy_text(file, f"{self._folder.name}/{file.name}")
        self._saved_since_epoch_end = False

    def on_train_end(self) -> None:
        """Save the final checkpoint, remove the ones it supersedes, and wait for the mirror."""
        super().on_train_end()
        if self.local_rank != 0 or self.disable_checkpointing:
            return
        (self._folder / PREVIOUS).unlink(missing_ok=True)
        self._mirror_small_files()
        if self._mirror is not None:
            self._mirror.remove(f"{self._folder.name}/{LATEST}")
            missing = self._mirror.wait(_WAIT_FOR_MIRROR_S)
            for message in self._mirror.messages():
                self._warn(f"{message}.")
            if missing:
                self._warn(
                    f"The mirror {self._mirror.target} is not complete after {_WAIT_FOR_MIRROR_S:.0f} s at most; not "
                    f"there: {', '.join(missing)}. Copy '{self.output_folder_base}' there by hand."
                )
            else:
                self.print_to_log_file(f"The mirror {self._mirror.target} is complete.")

    def load_checkpoint(self, filename_or_checkpoint: Mapping[str, Any] | str) -> None:
        """Load a checkpoint; if its file is damaged, the one before it, loudly.

        Args:
            filename_or_checkpoint: The file, or its content.

        Raises:
            VolumeFileError: No file is usable; the text says which were tried.
            DataError: The checkpoint is of a newer version or of another training. Nothing is changed then.
        """
        if not self.was_initialized:
            self.initialize()
        if isinstance(filename_or_checkpoint, Mapping):
            source, checkpoint = "the checkpoint", dict(filename_or_checkpoint)
        else:
            wanted = Path(filename_or_checkpoint)
            path, checkpoint = find_intact(fallbacks(wanted), warn=self._warn, newest_run=bool(self.logger.resume))
            order = fallbacks(wanted)
            self._not_to_keep |= {passed_over.name for passed_over in order[: order.index(path)]}
            source = str(path)
        for note in restore_trainer(self, checkpoint, source):
            self._warn(note)
        self._is_loaded = True
