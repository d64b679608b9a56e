"""Put a checkpoint back into a trainer, after checking that it belongs to the same training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch._dynamo import OptimizedModule

from label_gen.errors import DataError

__all__ = ["bare_network", "fitted_weights", "restore_trainer"]

_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DDP and torch.compile put before the names of weights."""

_STATES = ("momentum", "betas")
"""Settings that tell optimizers apart whose states do not fit each other."""


def bare_network(trainer: Any) -> Any:
    """Return the network of a trainer without the wrappers of DDP and torch.compile.

    Args:
        trainer: An initialized trainer of nnU-Net.
    """
    network = trainer.network.module if trainer.is_ddp else trainer.network
    return network._orig_mod if isinstance(network, OptimizedModule) else network


def restore_trainer(trainer: Any, checkpoint: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """Put a checkpoint back into a trainer: weights, optimizer, epoch, log and the rest that nnU-Net saves.

    Args:
        trainer: An initialized trainer of nnU-Net.
        checkpoint: The checkpoint.
        source: Its name, for messages.

    Returns:
        What the user ought to know.

    Raises:
        DataError: It belongs to another training; the text says in what they differ. The trainer is as it was.
    """
    network = bare_network(trainer)
    _check_task(trainer, checkpoint["init_args"], source)
    weights = fitted_weights(network, checkpoint["network_weights"], partial(_misfit, source))
    _check_optimizer(trainer, checkpoint["optimizer_state"], source)
    network.load_state_dict(weights)
    trainer.optimizer.load_state_dict(checkpoint["optimizer_state"])
    if trainer.grad_scaler is not None and checkpoint["grad_scaler_state"] is not None:
        trainer.grad_scaler.load_state_dict(checkpoint["grad_scaler_state"])
    epoch = checkpoint["current_epoch"]
    log = checkpoint["logging"]
    trainer.logger.load_checkpoint({key: v[:epoch] if isinstance(v, list) else v for key, v in log.items()})
    trainer.current_epoch = epoch
    trainer.my_init_kwargs = checkpoint["init_args"]
    trainer._best_ema = checkpoint.get("_best_ema")
    if "inference_allowed_mirroring_axes" in checkpoint:
        trainer.inference_allowed_mirroring_axes = checkpoint["inference_allowed_mirroring_axes"]
    theirs, own = checkpoint.get("abbc", {}).get("trainer", checkpoint.get("trainer_name")), type(trainer).__name__
    return () if theirs == own else (f"'{source}' was trained by {theirs}, not by {own}.",)


def fitted_weights(network: Any, weights: Mapping[str, Any], misfit: Callable[[str, str], Exception]) -> dict[str, Any]:
    """Return weights under the names that a network gives them, after checking that they are all there and fit.

    Args:
        network: The network, without wrappers.
        weights: Its weights, perhaps with the names of wrappers.
        misfit: Makes the error of what the weights have and what the network has.

    Raises:
        Exception: What `misfit` makes; a weight is missing, of another shape, or one too many.
    """
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    named = {_named_as_in(shapes, name): value for name, value in weights.items()}
    for name, shape in shapes.items():
        if name not in named:
            raise misfit(f"no weights {name}", "such weights")
        if tuple(named[name].shape) != shape:
            raise misfit(f"weights {name} of shape {tuple(named[name].shape)}", f"shape {shape}")
    if surplus := sorted(named.keys() - shapes.keys()):
        raise misfit(f"weights {surplus[0]}", "no such weights")
    return named


def _named_as_in(own: Mapping[str, Any], name: str) -> str:
    for prefix in _WRAPPERS:
        if name not in own:
            name = name.removeprefix(prefix)
    return name


def _check_task(trainer: Any, arguments: Mapping[str, Any], source: str) -> None:
    plans, dataset = arguments.get("plans", {}), arguments.get("dataset_json", {})
    for key, got, expected in (
        ("dataset", plans.get("dataset_name"), trainer.plans_manager.dataset_name),
        ("configuration", arguments.get("configuration"), trainer.configuration_name),
        ("fold", str(arguments.get("fold")), str(trainer.fold)),
        ("labels", dataset.get("labels"), trainer.dataset_json["labels"]),
    ):
        if got != expected:
            raise _misfit(source, f"{key} {got}", f"{key} {expected}")


def _check_optimizer(trainer: Any, state: Mapping[str, Any], source: str) -> None:
    def kind(groups: Any) -> list[tuple[Any, ...]]:
        return [(len(group["params"]), *(key for key in _STATES if key in group)) for group in groups]

    if kind(state["param_groups"]) != kind(trainer.optimizer.param_groups):
        own = f"{type(trainer.optimizer).__name__} of {type(trainer).__name__}"
        raise _misfit(source, "the state of another optimizer", own)


def _misfit(source: str, got: str, expected: str) -> DataError:
    return DataError(
        f"'{source}' belongs to another training: it has {got}; this one has {expected}. Continue with the trainer, "
        "plans and data it was made with, start anew without --c, or take its weights only (-pretrained_weights)"
    )
