"""Plans of nnU-Net whose network is replaced by one of ours, with patches that its encoder can take."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.networks.backbones import BackboneNetwork
from nnunet_ext.training.preflight import resolve_configuration

__all__ = ["with_backbone"]


def with_backbone(plans: Mapping[str, Any], configuration: str, network: type[BackboneNetwork]) -> dict[str, Any]:
    """Return plans in which a configuration has another network.

    All else stays, the preprocessed data too; but the edges of the patch grow to the next multiples of what the encoder
    divides them by.

    Args:
        plans: Plans with a 2D or tri-planar configuration.
        configuration: Its name.
        network: The network.

    Returns:
        The plans; those given are left alone.

    Raises:
        UsageError: The configuration is not there, or is 3D, or has batches of one.
    """
    settings = deepcopy(resolve_configuration(plans, configuration))
    settings.pop("inherits_from", None)
    patch = settings["patch_size"]
    if len(patch) != 2 and "triplanar" not in settings:
        raise UsageError(
            f"configuration '{configuration}' is 3D, and {network.__name__} is a network of slices; train 2d, or "
            "triplanar of the plans of TriPlanarPlanner"
        )
    if settings["batch_size"] < 2:
        raise UsageError(
            f"configuration '{configuration}' has batches of one patch, of which {network.__name__} cannot normalise "
            "its features; set batch_size to 2 or more in the plans"
        )
    divisor = 2 ** network.depth()
    settings["patch_size"] = [-(-int(edge) // divisor) * divisor for edge in patch]
    before = settings.get("architecture", {}).get("arch_kwargs", {})
    arguments = {"strides": network.plan_strides()}
    arguments |= {key: before[key] for key in ("planes", "regions") if key in before}
    settings["architecture"] = {
        "network_class_name": f"{network.__module__}.{network.__name__}",
        "arch_kwargs": arguments,
        "_kw_requires_import": [],
    }
    changed = dict(deepcopy(plans))
    changed["configurations"][configuration] = settings
    return changed
