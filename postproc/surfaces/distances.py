"""Signed distance of points from a surface of triangles, exact to the nearest triangle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from postproc.surfaces.surface import Surface

__all__ = ["closest_points", "sample_faces", "signed_distances"]

CANDIDATES = 6
"""Nearest samples whose triangles are looked at for each point. Source: chosen here."""


def sample_faces(surface: Surface, step_mm: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return points on every face, no further from each other than a step.

    Args:
        surface: The surface.
        step_mm: Distance of the points.

    Returns:
        Points (n, 3), and the face of each.
    """
    corners = surface.vertices[surface.faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    counts = np.maximum(np.ceil(longest / step_mm), 1).astype(np.int64)
    points, owners = [], []
    for count in np.unique(counts):
        faces = np.flatnonzero(counts == count)
        first, second = (grid.ravel() for grid in np.indices((count + 1, count + 1)))
        is_inside = first + second <= count
        weights = np.stack([first, second, count - first - second], axis=1)[is_inside] / count
        points.append(np.einsum("wc,fcx->fwx", weights, corners[faces]).reshape(-1, 3))
        owners.append(np.repeat(faces, len(weights)))
    return np.concatenate(points), np.concatenate(owners)


def signed_distances(
    points: NDArray[np.float64], surface: Surface, samples: NDArray[np.float64], owners: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return how far points are from a surface, negative inside it.

    Args:
        points: Points (n, 3).
        surface: The surface; only the faces with samples count.
        samples: Points on its faces, as `sample_faces` gives them.
        owners: Face of each sample.

    Returns:
        Distances (n,) in mm. Where several faces are equally near, the one seen most from the front decides the side.
    """
    corners = surface.vertices[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    _, nearest = cKDTree(samples).query(points, k=min(CANDIDATES, len(samples)))
    best, facing = np.full(len(points), np.inf), np.zeros(len(points))
    for column in nearest.reshape(len(points), -1).T:
        faces = owners[column]
        way = points - closest_points(points, corners[faces])
        distance, front = np.linalg.norm(way, axis=1), np.einsum("ij,ij->i", way, normals[faces])
        nearer = distance < best - 1e-9
        level = ~nearer & (distance < best + 1e-9) & (np.abs(front) > np.abs(facing))
        facing = np.where(nearer | level, front, facing)
        best = np.minimum(best, distance)
    return np.where(facing < 0, -best, best)


def closest_points(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the point of a triangle that is next to each point.

    Args:
        points: Shape (n, 3).
        corners: Shape (n, 3, 3): the corners of the triangle of each point.

    Returns:
        Shape (n, 3).

    Source: Ericson 2005, Real-Time Collision Detection, 5.1.5.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    best = np.full(len(points), np.inf)
    found = a.copy()
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac)
    d20, d21 = _dot(ap, ab), _dot(ap, ac)
    area = d00 * d11 - d01 * d01
    with np.errstate(divide="ignore", invalid="ignore"):
        v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    is_inside = (area > 0) & (v >= 0) & (w >= 0) & (v + w <= 1)
    for start, end in ((a, b), (b, c), (c, a)):
        edge = end - start
        along = np.clip(_dot(points - start, edge) / np.maximum(_dot(edge, edge), 1e-300), 0.0, 1.0)
        at = start + along[:, None] * edge
        distance = _dot(points - at, points - at)
        is_nearer = distance < best
        found[is_nearer] = at[is_nearer]
        best = np.minimum(best, distance)
    face = a + np.nan_to_num(v)[:, None] * ab + np.nan_to_num(w)[:, None] * ac
    found[is_inside] = face[is_inside]
    return found


def _dot(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = np.einsum("ij,ij->i", first, second)
    return product
