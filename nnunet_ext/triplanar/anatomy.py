"""Whether the array axes of an image are those that the anatomical names of slices stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnunet_ext.volumes import read_grid

__all__ = ["is_axial_stack"]


def is_axial_stack(path: str | Path) -> bool:
    """Say whether the axes of an image lie nearest to the patient's axes of the same place.

    Args:
        path: Image file; only its header is read.

    Returns:
        True if array axes 0, 1, 2 run mainly up-down, front-back, left-right, in either sense.

    Raises:
        VolumeFileError: The header cannot be read.
        DataError: The image is no 3D volume.
    """
    direction = np.abs(np.reshape(read_grid(path).direction, (3, 3)))
    return bool((direction.argmax(axis=0) == np.arange(3)).all())
