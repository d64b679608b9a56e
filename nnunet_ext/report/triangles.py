"""Surfaces made ready for a screen: few enough triangles, in an order and number of digits that compress well."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PackedMeshes", "coarsen", "pack_meshes"]

MAX_FACES = 320_000
"""Triangles of all fragments together. Source: chosen here; about 1.3 MB in the page, and phones turn them smoothly."""

STEP_MM = 0.03
"""Rounding of vertices. Source: chosen here, far below a point of the screen; 16 bits then reach 1.9 m."""

Mesh = tuple[NDArray[np.float64], NDArray[np.int32]]
"""Vertices (n, 3) in mm and faces (m, 3)."""


@dataclass(frozen=True)
class PackedMeshes:
    """Meshes as bytes.

    Attributes:
        data: Compressed by zlib. Mesh after mesh: vertices of 16 bits as differences between neighbours in the list,
            x, y and z one after the other; then faces of 32 bits as differences between first corners, and from the
            first to the second and third corner. Of each list all lowest bytes come first, then all second ones.
        low_mm: What zero stands for, x, y, z.
        step_mm: What one stands for.
        counts: Vertices and faces of each mesh.
    """

    data: bytes
    low_mm: tuple[float, float, float]
    step_mm: float
    counts: tuple[tuple[int, int], ...]


def pack_meshes(meshes: Sequence[Mesh], max_faces: int = MAX_FACES) -> PackedMeshes:
    """Pack meshes into bytes.

    Args:
        meshes: Vertices in mm and faces.
        max_faces: Faces of all together; if there are more, all are coarsened alike.
    """
    meshes = coarsen(meshes, max_faces)
    points = [vertices for vertices, _ in meshes if len(vertices)]
    low = np.min([v.min(axis=0) for v in points], axis=0) if points else np.zeros(3)
    high = np.max([v.max(axis=0) for v in points], axis=0) if points else np.zeros(3)
    step = max(STEP_MM, float((high - low).max()) / 65535)
    parts, counts = [], []
    for vertices, faces in meshes:
        places, corners = _ordered(np.rint((vertices - low) / step).astype(np.int64), faces)
        moves = np.diff(places, axis=0, prepend=0)
        folded = ((moves << 1) ^ (moves >> 63)).astype("<u4")  # small in both directions
        parts += [_planes(folded[:, axis], 3) for axis in range(3)]
        firsts = np.diff(corners[:, 0], prepend=0)
        parts += [_planes(values.astype("<u4"), 4) for values in (firsts, *(corners[:, 1:] - corners[:, :1]).T)]
        counts.append((len(places), len(corners)))
    x, y, z = (float(value) for value in low)
    return PackedMeshes(zlib.compress(b"".join(parts), 9), (x, y, z), step, tuple(counts))


def coarsen(meshes: Sequence[Mesh], max_faces: int) -> list[Mesh]:
    """Join vertices that lie in one cell of a grid until no more than so many faces are left.

    Args:
        meshes: Vertices in mm and faces.
        max_faces: Faces of all together.

    Returns:
        The meshes themselves where they are few enough.
    """
    total = sum(len(faces) for _, faces in meshes)
    if total <= max_faces:
        return list(meshes)
    area = sum(float(np.linalg.norm(_normals(*mesh), axis=1).sum()) / 2 for mesh in meshes)
    cell = 0.9 * float(np.sqrt(2 * area / max_faces))  # a cell of surface holds about two triangles
    while True:
        coarse = [_clustered(vertices, faces, cell) for vertices, faces in meshes]
        if sum(len(faces) for _, faces in coarse) <= max_faces:
            return coarse
        cell *= 1.15


def _normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return normals of faces, twice as long as their area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals: NDArray[np.float64] = np.cross(b - a, c - a)
    return normals


def _clustered(vertices: NDArray[np.float64], faces: NDArray[np.int32], cell_mm: float) -> Mesh:
    """Return a mesh with the vertices of each cell joined at their mean."""
    cells = np.floor((vertices - vertices.min(axis=0, initial=0)) / cell_mm).astype(np.int64)
    keys = cells @ np.array([1, 1 << 20, 1 << 40])
    _, owner, counts = np.unique(keys, return_inverse=True, return_counts=True)
    joined = np.stack([np.bincount(owner, vertices[:, k], len(counts)) / counts for k in range(3)], axis=1)
    corners = owner.reshape(-1)[faces]
    is_flat = (corners == np.roll(corners, 1, axis=1)).any(axis=1)
    return joined, corners[~is_flat].astype(np.int32)


def _ordered(places: NDArray[np.int64], faces: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return vertices and faces so that what lies near in space lies near in the lists; unused vertices fall away."""
    used, corners = np.unique(faces, return_inverse=True)
    places, corners = places[used], corners.reshape(-1, 3).astype(np.int64)
    code = np.zeros(len(places), np.int64)
    for bit in range(12):  # Morton's order of cells of 16 steps
        for axis in range(3):
            code |= ((places[:, axis] >> (bit + 4)) & 1) << (3 * bit + axis)
    order = np.argsort(code, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    corners = rank[corners]
    first = corners.argmin(axis=1) if len(corners) else np.zeros(0, np.int64)
    corners = np.take_along_axis(corners, (first[:, None] + np.arange(3)) % 3, axis=1)  # keeps the orientation
    return places[order], corners[np.lexsort(corners.T[::-1])]


def _planes(values: NDArray[Any], n_bytes: int) -> bytes:
    """Return numbers as bytes: all lowest ones, then all second ones, and so on."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4)[:, :n_bytes].T.tobytes()
