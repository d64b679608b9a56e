"""Which device a network runs on: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`, checked before anything is loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from label_gen.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["choose_device"]


def choose_device(name: str) -> torch.device:
    """Return the device of a name.

    Args:
        name: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto`: the first CUDA device, else MPS, else the processor.

    Raises:
        UsageError: The name is none of these, or torch finds no such device.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"the device is one of auto, cpu, cuda, cuda:N (N from 0), mps; got: {name} (--device)")
    if name == "auto":
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("torch finds no MPS device; run on the processor by --device cpu")
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise UsageError("torch finds no CUDA device; run on the processor by --device cpu, or run abbc-doctor")
        if int(name.partition(":")[2] or 0) >= count:
            raise UsageError(f"there is no device {name}: torch finds {count}, numbered from cuda:0 (--device)")
    return torch.device(name)
