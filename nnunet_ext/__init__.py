"""The nnU-Net v2 extension: everything that touches files and the command line. Importing it imports nothing heavy."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_ext.segmentation.api import segment

__all__ = ["__version__", "segment"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `segment` where it is first asked for: it brings torch and nnU-Net with it."""
    if name == "segment":
        from nnunet_ext.segmentation.api import segment

        return segment
    raise AttributeError(f"module 'nnunet_ext' has no attribute '{name}'")
