"""A closed surface of triangles, its volume and its area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Surface", "face_normals", "vertex_normals"]


@dataclass(frozen=True, eq=False)
class Surface:
    """A surface of triangles.

    Attributes:
        vertices: Float64 array (n, 3): x, y, z in mm.
        faces: Int32 array (m, 3) of vertex numbers, counterclockwise as seen from outside.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]

    @property
    def volume_mm3(self) -> float:
        """Volume inside, in mm3; negative where the faces look inward. Source: divergence theorem."""
        if not len(self.faces):
            return 0.0
        centred = self.vertices - self.vertices.mean(axis=0)
        return float(np.einsum("ij,ij->", centred[self.faces[:, 0]], face_normals(centred, self.faces)) / 6)

    @property
    def area_mm2(self) -> float:
        """Area in mm2."""
        return float(np.linalg.norm(face_normals(self.vertices, self.faces), axis=1).sum() / 2)


def face_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the outward normals of faces, twice as long as the face is large.

    Args:
        vertices: Array (n, 3): x, y, z in mm.
        faces: Array (m, 3) of vertex numbers.

    Returns:
        Array (m, 3) in mm2.
    """
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals: NDArray[np.float64] = np.cross(b - a, c - a)
    return normals


def vertex_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return how the volume grows as each vertex moves.

    Args:
        vertices: Array (n, 3): x, y, z in mm.
        faces: Array (m, 3) of vertex numbers.

    Returns:
        Array (n, 3) in mm2: the derivative of the volume by each coordinate, a sixth of the summed normals of the
        faces round the vertex. It points outward.
    """
    normals = face_normals(vertices, faces)
    sums = np.empty(vertices.shape)
    for axis in range(3):
        sums[:, axis] = np.bincount(faces.ravel(), np.repeat(normals[:, axis], 3), len(vertices))
    return sums / 6
