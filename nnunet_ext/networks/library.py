"""The library that the encoders and decoders come from, which is an extra: asked for only where a network is built."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from label_gen.errors import UsageError

__all__ = ["import_library"]


def import_library() -> Any:
    """Return the library `segmentation_models_pytorch`.

    Raises:
        UsageError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its libraries have to say to each other
            return importlib.import_module("segmentation_models_pytorch")
    except ImportError as error:
        raise UsageError(
            f"the networks with ResNet and DeepLabV3 encoders need the library segmentation_models_pytorch, which "
            f"cannot be loaded ({error}); install it: pip install 'nnunet-abbc[networks]'"
        ) from error
