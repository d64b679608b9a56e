"""The four ABBC classes and their numbers."""

from enum import IntEnum

__all__ = ["ABBC"]


class ABBC(IntEnum):
    """Geometric classes that a network predicts instead of fragment numbers.

    The numbers are those of this project's label volumes and of the channels of probability maps given to
    `postproc`. Other sources use other orders: look a class up by name, never by number.

    Source: PENGWIN 2024 challenge summary (arXiv:2504.02382), winning method.
    """

    BACKGROUND = 0
    """Not bone."""
    BOUNDARY = 1
    """Bone near the surface of its fragment."""
    CORE = 2
    """Bone deep inside a fragment; one connected component per fragment."""
    BORDER = 3
    """Bone where a fragment meets another fragment of the same bone."""
