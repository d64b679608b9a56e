"""Begin a training with the weights of another one, its last layers included."""

from __future__ import annotations

from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.models import find_model, ships
from nnunet_ext.training.checkpoint_restoring import fitted_weights
from nnunet_ext.training.checkpoints import FINAL, safe_load_checkpoint

__all__ = ["load_initial_weights"]


def load_initial_weights(network: Any, source: str) -> str:
    """Load all weights of a network.

    nnU-Net's `-pretrained_weights` leaves the last layers as they are, random, since labels may differ. Where labels
    are the same that throws away what was learnt: small steps take long to bring such layers back.

    Args:
        network: The network, without wrappers.
        source: A model that ships (`bones`, `abbc`), a model folder, of which fold 0 counts, or a checkpoint.

    Returns:
        A sentence for the log.

    Raises:
        UsageError: The weights belong to another network.
        FractureError: They are missing, damaged, or cannot be read.
    """
    place = find_model(source)
    file = place / "fold_0" / FINAL if place.is_dir() else place
    weights = safe_load_checkpoint(file, to_train=False)["network_weights"]
    name = source if ships(source) else file.name

    def misfit(got: str, own: str) -> UsageError:
        return UsageError(
            f"the weights '{name}' belong to another network: it has {got}; this one has {own}. ABBC_INITIAL_WEIGHTS "
            "wants those of the same one: train by the plans of that network, or take its inner layers only "
            "(-pretrained_weights)"
        )

    network.load_state_dict(fitted_weights(network, weights, misfit))
    return f"The training begins with all weights of '{name}'."
