"""Fragments to ABBC classes: the published listing as it stands, units and all-bones contact zone included.

What the listing leaves open is settled so: the Gaussian and the Laplacian count in voxels, as SciPy does when told
nothing else; a core voxel in the contact zone becomes boundary; a fragment that would end without a core keeps its
deepest voxel, the first in array order among equals. Sums are in double precision and in SciPy's order, so that the
classes equal the listing's voxel for voxel; only the work outside the fragments' boxes is left out.

Source: the ABBC recipe (distance transform, sigma 2, -Laplacian > 0.11, distance > 6, contact within 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from label_gen.classes import ABBC
from label_gen.grid import Box, enclose, grow_box, shift_box

__all__ = ["literal_classes"]

SIGMA_VOXELS = 2.0
LAPLACIAN = 0.11
DEPTH = 6.0
CONTACT = 6.0


def literal_classes(
    fragments: NDArray[Any], boxes: Sequence[Box], spacing_mm: Sequence[float]
) -> tuple[NDArray[np.uint8], list[int]]:
    """Apply the listing.

    Args:
        fragments: Compact fragment numbers (z, y, x) of the whole volume, 0 outside.
        boxes: Box of each fragment (index = number - 1).
        spacing_mm: Spacing in array order, in millimetres.

    Returns:
        Uint8 classes numbered by `ABBC`, and the compact numbers of the fragments that kept their deepest voxel.
    """
    shape = fragments.shape
    work = grow_box(enclose(boxes), int(4 * SIGMA_VOXELS + 0.5) + 2, shape)
    block = fragments[work]
    boxes = [shift_box(box, work) for box in boxes]
    depth = np.zeros(block.shape)
    for number, box in enumerate(boxes, 1):
        near = grow_box(box, 1, block.shape)
        is_fragment = block[near] == number
        depth[near][is_fragment] = ndimage.distance_transform_edt(is_fragment, sampling=spacing_mm)[is_fragment]
    is_bone = block != 0
    is_core = (-ndimage.laplace(ndimage.gaussian_filter(depth, sigma=SIGMA_VOXELS)) > LAPLACIAN) | (depth > DEPTH)
    is_core &= is_bone

    in_zone = np.zeros(block.shape, bool)
    margin = [int(np.ceil(CONTACT / s)) for s in spacing_mm]
    for number, box in enumerate(boxes, 1):
        near = grow_box(box, margin, block.shape)
        is_other = block[near] != number
        distance = ndimage.distance_transform_edt(is_other, sampling=spacing_mm)
        in_zone[near] |= (distance < CONTACT) & is_other & is_bone[near]

    classes = np.zeros(block.shape, np.uint8)
    classes[is_bone] = ABBC.BOUNDARY
    classes[is_bone & ~is_core & in_zone] = ABBC.BORDER
    classes[is_core & ~in_zone] = ABBC.CORE
    kept = []
    for number, box in enumerate(boxes, 1):
        is_fragment = block[box] == number
        if not (classes[box][is_fragment] == ABBC.CORE).any():
            deepest = np.argmax(np.where(is_fragment, depth[box], -1.0))
            classes[box][np.unravel_index(deepest, is_fragment.shape)] = ABBC.CORE
            kept.append(number)
    result = np.zeros(shape, np.uint8)
    result[work] = classes
    return result, kept
