"""How far a surface lies from the faces of the voxels that it was made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from postproc.surfaces.net import Net
from postproc.surfaces.surface import Surface

__all__ = ["voxel_surface_distances"]

CANDIDATES = 8
"""Nearest face centres that are looked at for each point. Source: chosen here."""


def voxel_surface_distances(surface: Surface, net: Net, place: int, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Measure the distance from a surface to the outer faces of a label's voxels.

    Args:
        surface: The surface; the centre of the volume's first voxel is at 0.
        net: Net of the labels.
        place: Place of the label in the net.
        spacing_mm: Spacing in array order (z, y, x), in mm.

    Returns:
        Distances in mm of all vertices and of the middle of each face, in that order. The nearest of the eight faces
        with the nearest centres counts, so that a distance may come out too large, never too small.
    """
    chosen = (net.back == place) | (net.front == place)
    spacing = np.asarray(spacing_mm, np.float64)
    axes = net.axis[chosen]
    centres = net.corners[net.quads[chosen]].mean(axis=1) - 0.5
    points = np.concatenate([surface.vertices, surface.vertices[surface.faces].mean(axis=1)])[:, ::-1]
    tree = cKDTree(centres * spacing)
    _, nearest = tree.query(points, k=min(CANDIDATES, len(centres)))
    nearest = nearest.reshape(len(points), -1)
    half = np.where(np.arange(3) == axes[:, None], 0.0, 0.5) * spacing
    best = np.full(len(points), np.inf)
    for column in nearest.T:
        beyond = np.maximum(np.abs(points - centres[column] * spacing) - half[column], 0.0)
        best = np.minimum(best, np.einsum("ij,ij->i", beyond, beyond))
    found: NDArray[np.float64] = np.sqrt(best)
    return found
