"""Pictures of a whole volume: fragments as shaded surfaces, and a CT as an X-ray picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from label_gen._shapes import rotation_matrix

__all__ = ["VIEWS", "draw_surfaces", "draw_xray"]

VIEWS: Mapping[str, tuple[float, float]] = {
    "front": (0.0, 0.0),
    "front, from above": (35.0, 0.0),
    "left side": (8.0, 75.0),
    "back": (0.0, 180.0),
}
"""How far the viewer is raised, and turned to the patient's left, in degrees, by the name of the view."""

STEP_MM = 1.1
"""Size of a picture's points. Source: chosen here, near the voxels of a usual CT."""

LIGHT = np.array([-0.35, -0.75, 0.55])
"""Direction x, y, z from which light comes in a view from the front."""

WATER_PER_MM = 0.0195
"""Weakening of X-rays in water per mm at 70 keV. Source: NIST tables, 0.193 per cm."""

BACKGROUND = np.array([16, 19, 24])


def draw_surfaces(
    labels: NDArray[Any],
    spacing_mm: Sequence[float],
    colours: Mapping[int, tuple[int, int, int]],
    view: tuple[float, float],
) -> NDArray[np.uint8]:
    """Draw fragments as shaded surfaces without perspective.

    Args:
        labels: Fragment numbers (z, y, x), axes along LPS.
        spacing_mm: Voxel size in array order.
        colours: Red, green, blue of each number; numbers without one are left out.
        view: One of `VIEWS`.

    Returns:
        Red, green, blue (rows, columns, 3), points of `STEP_MM`.
    """
    numbers = np.zeros(int(labels.max(initial=0)) + 1, np.uint8)
    table = np.zeros((len(colours) + 1, 3))
    for index, (number, colour) in enumerate(colours.items(), start=1):
        if number < len(numbers):
            numbers[number], table[index] = index, colour
    turned = _turned(numbers[labels], spacing_mm, view)
    solid = gaussian_filter((turned > 0).astype(np.float32), 0.9)
    hit = turned > 0
    first = hit.argmax(axis=1)
    is_seen = hit.any(axis=1)
    z, x = np.nonzero(is_seen)
    y = first[z, x]
    slope = []
    for axis in range(3):
        place = [z, y, x]
        low, high = list(place), list(place)
        low[axis], high[axis] = np.maximum(place[axis] - 1, 0), np.minimum(place[axis] + 1, solid.shape[axis] - 1)
        slope.append(solid[tuple(low)] - solid[tuple(high)])
    normal = np.stack(slope[::-1], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    shade = np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)
    edge = np.clip(-normal[:, 1], 0.0, 1.0)  # darker where the surface turns away
    far = 1.0 - 0.35 * (y - y.min(initial=10**6)) / max(solid.shape[1], 1)
    image = np.broadcast_to(BACKGROUND.astype(float), (*is_seen.shape, 3)).copy()
    lit = (0.22 + 0.62 * shade + 0.22 * edge) * far
    image[z, x] = np.minimum(table[turned[z, y, x]] * lit[:, None] + 40.0 * (shade**12)[:, None], 255.0)
    picture: NDArray[np.uint8] = np.rint(image[::-1]).astype(np.uint8)
    return picture


def draw_xray(ct: NDArray[Any], spacing_mm: Sequence[float]) -> NDArray[np.uint8]:
    """Draw an X-ray picture from the front, with parallel rays.

    Args:
        ct: Hounsfield units (z, y, x).
        spacing_mm: Voxel size in array order.

    Returns:
        Grey values (rows, columns), dense bone white; one point per voxel.
    """
    density = np.maximum(ct.astype(np.float32) + 1000.0, 0.0) / 1000.0
    # Soft X-rays are weakened more by bone than its CT number tells.
    density += 0.9 * np.maximum(density - 1.12, 0.0)
    path = density.sum(axis=1) * float(spacing_mm[1]) * WATER_PER_MM
    smooth = gaussian_filter(path, 30.0 / np.array([spacing_mm[0], spacing_mm[2]]))
    tone = path - 0.65 * smooth  # as radiographs are processed
    low, high = np.percentile(tone, [3.0, 99.6])
    grey: NDArray[np.uint8] = np.rint(255 * np.clip((tone - low) / max(high - low, 1e-6), 0, 1) ** 1.1).astype(np.uint8)
    return grey[::-1]


def _turned(labels: NDArray[np.uint8], spacing_mm: Sequence[float], view: tuple[float, float]) -> NDArray[np.uint8]:
    """Return labels seen by a viewer: axis 1 runs away from him, steps of `STEP_MM`."""
    box = []
    for axis in range(3):
        here = np.flatnonzero(labels.any(axis=tuple(k for k in range(3) if k != axis)))
        box.append(slice(int(here[0]), int(here[-1]) + 1) if len(here) else slice(0, 1))
    part = labels[tuple(box)]
    up, left = np.radians(view[0]), np.radians(view[1])
    turn = rotation_matrix((1, 0, 0), float(up)) @ rotation_matrix((0, 0, 1), float(-left))
    turn = turn[::-1, ::-1]  # from x, y, z to z, y, x
    steps = np.array([float(step) for step in spacing_mm])
    size = (np.array(part.shape) - 1) * steps
    corners = np.array([[(k >> axis) & 1 for axis in range(3)] for k in range(8)]) * size - size / 2
    seen = corners @ turn.T
    low, high = seen.min(axis=0) - 3.0, seen.max(axis=0) + 3.0
    shape = np.ceil((high - low) / STEP_MM).astype(int)
    # From a place in the picture back to the volume.
    back = turn.T
    matrix = (back * STEP_MM) / steps[:, None]
    offset = (back @ low + size / 2) / steps
    turned: NDArray[np.uint8] = affine_transform(part, matrix, offset, tuple(shape), order=0)
    return turned
