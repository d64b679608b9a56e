"""Images as text inside a page: grey slices and pictures, compressed, small enough together."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_text", "encode_picture", "encode_slices"]

QUALITIES = (72, 60, 48, 36, 24, 12)
"""WebP qualities, the best that fits is taken. Source: chosen here; trabeculae stay visible down to about 40."""


def as_text(data: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(data).decode("ascii")


def encode_slices(grey: NDArray[np.uint8], max_bytes: int) -> list[str]:
    """Compress the slices of a volume, each on its own, at the best quality at which all of them fit.

    Args:
        grey: Volume (z, y, x).
        max_bytes: Size of all of them together, before base64.

    Returns:
        WebP files in base64, one per z.
    """
    probe = grey[:: max(1, len(grey) // 12)]
    quality = QUALITIES[-1]
    for quality in QUALITIES:  # judged by some of the slices
        expected = sum(len(_webp(plane, quality)) for plane in probe) * len(grey) / len(probe)
        if expected <= 0.97 * max_bytes:
            break
    return [as_text(_webp(plane, quality)) for plane in grey]


def encode_picture(path: Any, quality: int = 82) -> str:
    """Return a picture file as WebP in base64.

    Args:
        path: A PNG file, or an open one.
        quality: 0 to 100.
    """
    from PIL import Image

    with Image.open(path) as picture:
        stream = io.BytesIO()
        picture.convert("RGB").save(stream, "WEBP", quality=quality, method=4)
    return as_text(stream.getvalue())


def _webp(image: NDArray[np.uint8], quality: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(stream, "WEBP", quality=quality, method=2)
    return stream.getvalue()
