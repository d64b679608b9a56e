"""Ranges of uniform distributions: checked once, drawn from NumPy's global generator."""

from __future__ import annotations

import numpy as np

from label_gen.errors import UsageError

__all__ = ["Range", "check_range", "draw"]

Range = tuple[float, float]
"""Lower and upper end of a uniform distribution."""


def check_range(name: str, values: Range, *, low: float = -float("inf"), high: float = float("inf")) -> Range:
    """Return the ends of a uniform distribution as numbers.

    Args:
        name: What is drawn, for the message.
        values: Lower and upper end.
        low: Smallest end that makes sense.
        high: Largest end that makes sense.

    Returns:
        Both ends.

    Raises:
        UsageError: Not two numbers in order and within the limits.

    Example:
        >>> check_range("factor", (0.7, 1), low=0)
        (0.7, 1.0)
    """
    ends = tuple(float(value) for value in values)
    if len(ends) != 2 or not (low <= ends[0] <= ends[1] <= high and np.isfinite(ends).all()):
        limits = f", from {low:g} up" if low > -float("inf") else ""
        limits = f", {low:g} to {high:g}" if high < float("inf") else limits
        raise UsageError(f"{name} must be two numbers, the lower first{limits}; got: {values}")
    return ends[0], ends[1]


def draw(values: Range) -> float:
    """Draw a number.

    Args:
        values: Lower and upper end.

    Returns:
        A number between them, drawn uniformly from NumPy's global generator: nnU-Net's loaders seed that one.
    """
    return float(np.random.uniform(*values))
