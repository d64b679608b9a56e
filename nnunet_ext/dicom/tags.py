"""Values of DICOM tags as plain texts and numbers, whatever state they are in."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["integer_of", "numbers_of", "text_of", "texts_of"]


def _value(dataset: Any, keyword: str) -> Any:
    """Return a value, or None where it is missing or breaks the rules of its type."""
    try:
        return dataset.get(keyword)
    except (ValueError, TypeError, OverflowError, AttributeError, NotImplementedError):
        return None


def text_of(dataset: Any, keyword: str) -> str:
    """Return a value as text; empty where it is missing or breaks the rules of its type.

    Args:
        dataset: A pydicom dataset.
        keyword: Keyword of the tag.
    """
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip()


def texts_of(dataset: Any, keyword: str) -> tuple[str, ...]:
    """Return all values of a tag as texts.

    Args:
        dataset: A pydicom dataset.
        keyword: Keyword of the tag.
    """
    value = _value(dataset, keyword)
    if value is None or isinstance(value, str):
        return (value.strip(),) if value else ()
    return tuple(str(part).strip() for part in value)


def numbers_of(dataset: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return the values of a tag as numbers; None unless there are exactly so many, all finite.

    Args:
        dataset: A pydicom dataset.
        keyword: Keyword of the tag.
        count: How many there have to be.
    """
    value = _value(dataset, keyword)
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in value) if count > 1 else (float(value),)
    except (ValueError, TypeError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def integer_of(dataset: Any, keyword: str) -> int | None:
    """Return a value as a whole number; None where it is none.

    Args:
        dataset: A pydicom dataset.
        keyword: Keyword of the tag.
    """
    value = numbers_of(dataset, keyword, 1)
    return int(value[0]) if value else None
