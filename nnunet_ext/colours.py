"""The colour of a fragment: the hue of its bone, and a step of lightness for its place in the bone's band."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from label_gen.scheme import LabelScheme

__all__ = ["ABBC_COLOURS", "fragment_colour", "fragment_colours"]

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255, sRGB."""

ABBC_COLOURS: tuple[Colour, ...] = ((0, 0, 0), (86, 180, 233), (240, 228, 66), (213, 94, 0))
"""Colours of background, boundary, core and border, by class number. Source: Okabe and Ito 2008, colours that readers
with colour blindness can tell apart."""

LIGHTNESS_STEPS = (0.0, 0.15, -0.15, 0.075, -0.075, 0.22, -0.21)
"""Change of OKLab lightness for the first, second, ... fragment. Source: chosen here, so that the largest fragments,
which meet most often, differ most."""

FADING = 0.55
"""Factor on the colourfulness each time the steps begin again. Source: chosen here."""

# Source: Ottosson, "A perceptual color space for image processing", 2020.
_TO_CONE = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def fragment_colour(scheme: LabelScheme, fragment_id: int) -> Colour:
    """Return the colour of a fragment.

    Args:
        scheme: Scheme of the number.
        fragment_id: Fragment number in one of the scheme's bands.

    Returns:
        Red, green, blue, 0 to 255. The first fragment of a bone has the bone's own colour.

    Raises:
        SchemeError: The number is in no band.
    """
    bone = scheme.bone_of(fragment_id)
    turn, step = divmod(fragment_id - bone.first_id, len(LIGHTNESS_STEPS))
    if turn == 0 and step == 0:
        return bone.colour
    lightness, a, b = _to_oklab(bone.colour)
    lightness = min(max(float(lightness) + LIGHTNESS_STEPS[step], 0.3), 0.93)
    strength = FADING ** min(turn, 4)
    while True:
        colour = _from_oklab((lightness, strength * a, strength * b))
        if strength < 0.02 or (colour.min() >= 0.0 and colour.max() <= 1.0):
            break
        strength *= 0.95  # too colourful for a screen at this lightness
    red, green, blue = (int(value) for value in np.rint(255 * np.clip(colour, 0.0, 1.0)))
    return red, green, blue


def fragment_colours(scheme: LabelScheme, fragment_ids: Iterable[int]) -> dict[int, Colour]:
    """Return the colours of several fragments by number.

    Raises:
        SchemeError: A number is in no band.
    """
    return {int(number): fragment_colour(scheme, int(number)) for number in fragment_ids}


def _to_oklab(colour: ArrayLike) -> NDArray[np.float64]:
    """Return lightness, green to red, blue to yellow of an sRGB colour of 0 to 255."""
    value = np.asarray(colour, float) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float64] = _TO_LAB @ np.cbrt(_TO_CONE @ linear)
    return lab


def _from_oklab(lab: ArrayLike) -> NDArray[np.float64]:
    """Return the sRGB colour, 0 to 1 where a screen can show it, of an OKLab colour."""
    linear = np.linalg.solve(_TO_CONE, np.linalg.solve(_TO_LAB, np.asarray(lab, float)) ** 3)
    size = np.abs(linear)
    encoded: NDArray[np.float64] = np.sign(linear) * np.where(
        size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055
    )
    return encoded
