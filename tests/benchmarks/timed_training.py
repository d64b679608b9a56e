"""Training for a given processor time, whatever a step costs: the learning rate ends where the time does."""

import time

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.trainers.triplanar import nnUNetTrainerTriPlanar


class TimedTraining:
    """Gives each epoch the same share of a processor time; validation steps do not count."""

    seconds = 60.0
    steps = 0

    def run_training(self):
        self.num_epochs, self.num_val_iterations_per_epoch = 20, 2
        self.on_train_start()
        used = 0.0
        for epoch in range(self.num_epochs):
            self.on_epoch_start()
            self.on_train_epoch_start()
            outputs = []
            while used < self.seconds * (epoch + 1) / self.num_epochs:
                start = time.process_time()
                outputs.append(self.train_step(next(self.dataloader_train)))
                used += time.process_time() - start
            self.steps += len(outputs)
            if outputs:
                self.on_train_epoch_end(outputs)
            else:  # the epoch before took its time too; nnU-Net wants a value
                self.logger.log("train_losses", self.logger.get_value("train_losses", -1), self.current_epoch)
            self.on_validation_epoch_start()
            self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val)) for _ in range(2)])
            self.on_epoch_end()
        self.on_train_end()
        self.inference_allowed_mirroring_axes = None  # mirrored prediction costs eight times as much in all modes

    def perform_actual_validation(self, save_probabilities=False):
        nnUNetTrainer.perform_actual_validation(self, save_probabilities)  # without the recovery of fragments


class TimedStock(TimedTraining, nnUNetTrainer):
    """nnU-Net's own trainer."""


class TimedTriPlanar(TimedTraining, nnUNetTrainerTriPlanar):
    """Ours."""
