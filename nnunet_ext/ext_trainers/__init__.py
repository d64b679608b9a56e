"""The folder that `nnUNet_extTrainer` points to: nnU-Net looks for trainers in its modules."""

__all__: list[str] = []
