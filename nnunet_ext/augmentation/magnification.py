"""Scaling by a uniform factor, in the reciprocal that batchgeneratorsv2's SpatialTransform wants."""

from __future__ import annotations

from typing import Any

from nnunet_ext.augmentation.ranges import Range, check_range, draw

__all__ = ["Magnification"]


class Magnification:
    """Draws how far apart the points to read lie when a picture is magnified by a uniform factor.

    `SpatialTransform` calls this as its `scaling`: there, 2 halves the objects. A plain range would make the objects'
    size the reciprocal of a uniform number. (A class and no closure, so that worker processes can receive it.)

    Args:
        factor: Range of the factor by which objects grow.

    Raises:
        UsageError: A range that makes no sense.

    Source: Ekman et al. 2025, Table 1, "Scaling": U(0.7, 1.3) to U(0.6, 1.4).
    """

    def __init__(self, *, factor: Range = (0.7, 1.3)) -> None:
        self.factor = check_range("factor", factor, low=1e-3)

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        """Return 1 / factor."""
        return 1 / draw(self.factor)

    def __repr__(self) -> str:
        return f"Magnification(factor={self.factor})"
