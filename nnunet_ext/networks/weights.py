"""Weights of a ResNet for an encoder: from the library's cache, from the internet if asked for, or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from label_gen.errors import DataError, FractureError, VolumeFileError
from nnunet_ext.networks.library import import_library

__all__ = ["are_cached", "load_encoder_weights"]

PREFIXES = ("module.", "_orig_mod.", "model.", "encoder.", "backbone.")
"""What other programs put before the names of weights."""

OTHER_WAYS = "name a file of them (ABBC_ENCODER_WEIGHTS=FILE), or start from random ones (ABBC_ENCODER_WEIGHTS=none)"


def are_cached(name: str) -> bool:
    """Say whether the library would find the ImageNet weights of an encoder on this machine.

    Args:
        name: Name of the encoder in the library.
    """
    from huggingface_hub import try_to_load_from_cache

    settings = import_library().encoders.encoders[name]["pretrained_settings"]["imagenet"]
    files = ("config.json", "model.safetensors")
    found = [try_to_load_from_cache(settings["repo_id"], file, revision=settings["revision"]) for file in files]
    return all(isinstance(path, str) for path in found)


def load_encoder_weights(resnet: Any, name: str, source: str | None, input_channels: int) -> str:
    """Load weights into an encoder. The first convolution, made for three colours, is fitted as the library does.

    Args:
        resnet: The encoder, a ResNet of the library.
        name: Its name in the library.
        source: `imagenet`: the library's own, from the internet if they are not in its cache. `none`: nothing is
            loaded. None: the library's own if they are in its cache, else nothing. Any other text: a file, `.pth` or
            `.safetensors`, of weights as torchvision and the library name them.
        input_channels: Image channels.

    Returns:
        A sentence for the log that says what the encoder starts from.

    Raises:
        VolumeFileError: The weights cannot be had or read.
        DataError: The file holds weights of something else.
    """
    if source is not None and source.lower() == "none":
        return f"The encoder {name} starts from random weights, as ABBC_ENCODER_WEIGHTS says"
    if source is None and not are_cached(name):
        return (
            f"The encoder {name} starts from random weights: ImageNet weights are not in the library's cache. To have "
            "them loaded from the internet, set ABBC_ENCODER_WEIGHTS=imagenet; to take a file, "
            "ABBC_ENCODER_WEIGHTS=FILE"
        )
    library = import_library()
    if source is None or source.lower() == "imagenet":
        try:
            donor = library.encoders.get_encoder(name, in_channels=input_channels, depth=5, weights="imagenet")
        except Exception as error:  # the hub's library has its own for each trouble of the network
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise VolumeFileError(f"cannot get the ImageNet weights of {name}: {reason}; {OTHER_WAYS}") from error
        told = "ImageNet weights of the library"
    else:
        donor = library.encoders.get_encoder(name, in_channels=3, depth=5, weights=None)
        path = Path(source)
        _fill(donor, _read(path), path, name)
        donor.set_in_channels(input_channels, pretrained=True)
        told = f"the weights in '{path.name}'"
    torch.nn.Module.load_state_dict(resnet, donor.state_dict())
    return f"The encoder {name} starts from {told}"


def _read(path: Path) -> dict[str, Any]:
    """Read the weights in a file by name, without the prefixes of other programs."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path, device="cpu")
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FractureError:
        raise
    except Exception as error:  # OSError, pickle's and safetensors' own
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise VolumeFileError(f"cannot read '{path}' as weights: {reason}; {OTHER_WAYS}") from error
    for key in ("state_dict", "network_weights", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise DataError(f"'{path.name}' holds a {type(content).__name__}, not weights by name; {OTHER_WAYS}")
    return {_bare(str(key)): value for key, value in content.items()}


def _bare(key: str) -> str:
    while prefix := next((prefix for prefix in PREFIXES if key.startswith(prefix)), ""):
        key = key.removeprefix(prefix)
    return key


def _fill(donor: Any, weights: Mapping[str, Any], path: Path, name: str) -> None:
    """Put the weights of a file into an encoder of three channels."""
    own = donor.state_dict()
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    wrong = [key for key in own if key in weights and tuple(weights[key].shape) != tuple(own[key].shape)]
    if missing or wrong:
        what = f"no weights {missing[0]}" if missing else f"{wrong[0]} of shape {tuple(weights[wrong[0]].shape)}"
        raise DataError(
            f"'{path.name}' does not fit the encoder {name}: it has {what}; take a file of a {name} as torchvision "
            f"has it, or {OTHER_WAYS}"
        )
    torch.nn.Module.load_state_dict(donor, {key: weights.get(key, own[key]) for key in own})
