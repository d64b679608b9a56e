"""Any trainer, nnU-Net's own too, with a number of epochs and of steps per epoch in its name.

`nnUNetTrainerDA5_100epochs` trains 100 epochs, `nnUNetTrainer_20epochs_50iterations` trains 20 epochs of 50 steps each.
nnU-Net itself has a few of these names (`nnUNetTrainer_100epochs`) and finds its own first; they mean the same.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch

from nnunet_ext.training.settings import TrainingSettings

__all__: list[str] = []

_NAME = re.compile(r"(\w+?)_([1-9]\d*)epochs?(?:_([1-9]\d*)iterations?)?")

VALIDATION_SHARE = 5
"""Training steps per validation step. Source: nnU-Net 2.8, 250 and 50 in an epoch."""


def __getattr__(name: str) -> Any:
    """Return the trainer of that name, made when it is asked for first."""
    found = _NAME.fullmatch(name)
    base = _find_base(found[1]) if found else None
    if found is None or base is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return _make_trainer(name, base, int(found[2]), int(found[3]) if found[3] else None)


def _find_base(name: str) -> Any:
    """Return the trainer without numbers in its name: one of nnU-Net's, else one of ours; None if there is none."""
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    from nnunet_ext.environment import trainer_folder

    folder = f"{nnunetv2.__path__[0]}/training/nnUNetTrainer"
    own = recursive_find_python_class(folder, name, current_module="nnunetv2.training.nnUNetTrainer")
    return own or recursive_find_python_class(str(trainer_folder()), name, current_module="nnunet_ext.ext_trainers")


@cache  # the same class each time, so that it can be pickled by name
def _make_trainer(name: str, base: Any, epochs: int, iterations: int | None) -> type:
    def __init__(  # noqa: N807  # nnU-Net's own signature, which it inspects
        self: Any,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        base.__init__(self, plans, configuration, fold, dataset_json, device)
        self.num_epochs = epochs
        if iterations is not None:
            self.num_iterations_per_epoch = iterations
            self.num_val_iterations_per_epoch = max(1, iterations // VALIDATION_SHARE)

    def perform_actual_validation(self: Any, save_probabilities: bool = False) -> None:
        if TrainingSettings.from_environment().final_validation == "off":
            self.print_to_log_file("No final validation, ABBC_FINAL_VALIDATION is off")
            return
        base.perform_actual_validation(self, save_probabilities)

    steps = "" if iterations is None else f" of {iterations} steps"
    namespace = {
        "__module__": __name__,
        "__doc__": f"`{base.__name__}` for {epochs} epochs{steps}.",
        "__init__": __init__,
        "perform_actual_validation": perform_actual_validation,
    }
    return type(name, (base,), namespace)
