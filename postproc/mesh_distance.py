"""Mesh distance: how far the triangulated surface of one mask is from that of another, with its side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from label_gen.grid import bounding_box
from postproc.surfaces.distances import closest_points
from postproc.surfaces.surface import Surface, face_normals, vertex_normals

__all__ = ["MaskMesh", "MeshDistances", "mask_mesh", "mesh_distances", "nearest_on_mesh"]

CANDIDATES = (4, 16, 128)
"""Nearest vertices whose triangles are looked at, in rounds for the points that need them. Source: chosen here."""

POINTS = 1 << 14
"""Points that are looked at together. Source: chosen here, to stay within the processor's cache."""


@dataclass(frozen=True, eq=False)
class MaskMesh:
    """The outer surface of a mask as triangles.

    Attributes:
        surface: Vertices x, y, z in mm (index times spacing), faces that look outward.
        places: Int32 (vertex, axis): index (z, y, x) of the mask's voxel that each vertex lies next to.
        steps: Int64 (vertex,): the pair of voxels that each vertex lies midway of, as a number; two meshes of masks of
            one volume have a vertex in common where they have such a number in common.
    """

    surface: Surface
    places: NDArray[np.int32]
    steps: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MeshDistances:
    """Distances from the surface of the reference to the surface of the prediction.

    Attributes:
        signed_mm: Float64 (vertex of the reference's surface,), positive where the prediction's surface lies outside.
        areas_mm2: Float64 (vertex,): the area that each vertex stands for, a third of its triangles.
    """

    signed_mm: NDArray[np.float64]
    areas_mm2: NDArray[np.float64]

    def percentile(self, share: float, *, signed: bool) -> float:
        """Return the distance that a share of the surface's area does not exceed.

        Args:
            share: Per cent of the area.
            signed: With the side; else absolute distances.

        Returns:
            Millimetres; NaN without a surface.
        """
        values = self.signed_mm if signed else np.abs(self.signed_mm)
        if not len(values):
            return np.nan
        order = np.argsort(values, kind="stable")
        covered = np.cumsum(self.areas_mm2[order])
        place = np.searchsorted(covered, covered[-1] * share / 100 * (1 - 1e-12))
        return float(values[order[min(int(place), len(order) - 1)]])


def mask_mesh(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> MaskMesh:
    """Triangulate the outer surface of a mask by marching cubes.

    Surfaces of cavities are left out. What lies beyond the volume is background.

    Args:
        mask: Boolean array (z, y, x).
        spacing_mm: Spacing in array order, in millimetres.

    Returns:
        The mesh, without vertices if the mask is empty.

    Source: Lorensen and Cline 1987; exterior surfaces only as in Ekman et al. 2025 (tri-planar framework), surface
        analysis. Vertices lie midway of voxel centres, so that equal masks have equal meshes.
    """
    box = bounding_box(mask)
    if box is None:
        none = np.zeros((0, 3))
        return MaskMesh(Surface(none, none.astype(np.int32)), none.astype(np.int32), np.zeros(0, np.int64))
    padded = np.pad(mask[box], 1).astype(np.float32)
    found, faces, _, _ = marching_cubes(padded, 0.5, method="lorensen", gradient_direction="ascent")
    twice = np.rint(found * 2).astype(np.int32)
    low, high = twice // 2, (twice + 1) // 2
    is_low = padded[tuple(low.T)] > 0
    start = np.array([side.start - 1 for side in box], np.int32)
    inside = np.where(is_low[:, None], low, high) + start
    twice += 2 * start
    vertices = (twice[:, ::-1] * 0.5) * np.asarray(spacing_mm, np.float64)[::-1]
    surface = Surface(vertices, np.ascontiguousarray(faces[:, ::-1], np.int32))
    sides = 2 * np.array(mask.shape, np.int64) + 2  # doubled indices run from -1 to 2 n - 1
    moved = twice.astype(np.int64) + 1
    steps = (moved[:, 0] * sides[1] + moved[:, 1]) * sides[2] + moved[:, 2]
    return _without_cavities(MaskMesh(surface, inside.astype(np.int32), steps))


def _without_cavities(mesh: MaskMesh) -> MaskMesh:
    """Return a mesh without the closed surfaces that look inward."""
    vertices, faces = mesh.surface.vertices, mesh.surface.faces
    ends = np.concatenate([faces[:, :2], faces[:, 1:]])
    links = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(vertices),) * 2)
    count, shell_of = connected_components(links, directed=False)
    if count == 1:
        return mesh
    centred = vertices - vertices.mean(axis=0)
    cones = np.einsum("ij,ij->i", centred[faces[:, 0]], face_normals(centred, faces))
    is_kept = np.bincount(shell_of[faces[:, 0]], cones, count)[shell_of] > 0
    if is_kept.all():
        return mesh
    numbers = np.cumsum(is_kept) - 1
    kept = numbers[faces[is_kept[faces[:, 0]]]].astype(np.int32)
    return MaskMesh(Surface(vertices[is_kept], kept), mesh.places[is_kept], mesh.steps[is_kept])


def mesh_distances(reference: MaskMesh, prediction: MaskMesh) -> MeshDistances:
    """Measure how far the reference's surface is from the prediction's, vertex by vertex.

    Args:
        reference: Mesh of the true mask.
        prediction: Mesh of the predicted mask of the same volume.

    Returns:
        The distances; infinite, and of positive sign, if the prediction has no surface.

    Source: Ekman et al. 2025 (tri-planar framework), surface analysis: from every point of the true surface to the
        nearest point of the predicted triangles, signed by the normal of the true surface. Points count by their area,
        chosen here, so that a percentile says what share of the surface is meant, whatever the spacing.
    """
    surface = reference.surface
    sums = vertex_normals(surface.vertices, surface.faces) if len(surface.faces) else np.zeros((0, 3))
    sizes = np.linalg.norm(face_normals(surface.vertices, surface.faces), axis=1) / 6
    areas = np.bincount(surface.faces.ravel(), np.repeat(sizes, 3), len(surface.vertices)).astype(np.float64)
    if not len(prediction.surface.vertices):
        return MeshDistances(np.full(len(areas), np.inf), areas)
    apart = np.flatnonzero(~np.isin(reference.steps, prediction.steps))
    signed = np.zeros(len(areas))
    points = surface.vertices[apart]
    ways = nearest_on_mesh(points, prediction.surface) - points
    side = np.einsum("ij,ij->i", ways, sums[apart])
    signed[apart] = np.where(side < 0, -1.0, 1.0) * np.linalg.norm(ways, axis=1)
    return MeshDistances(signed, areas)


def nearest_on_mesh(points: NDArray[np.float64], surface: Surface) -> NDArray[np.float64]:
    """Return the point of a surface that is nearest to each point.

    The triangle that holds the nearest point has a corner that is hardly further: with q the nearest point and v the
    corner of its triangle next to q, |p - v|^2 = |p - q|^2 + |q - v|^2 and |q - v| is at most longest edge / sqrt 3.
    Corners are looked at from the nearest on until that rules out all others.

    Args:
        points: Points (n, 3): x, y, z in mm.
        surface: The surface; it has faces.

    Returns:
        Points (n, 3). Exact, but where more than 128 corners compete (the centre of a ball) and d is the distance, it
        may come out larger by up to (longest edge)^2 / (6 d).
    """
    corners = surface.vertices[surface.faces]
    edges = corners - np.roll(corners, 1, axis=1)
    slack = np.einsum("ijk,ijk->ij", edges, edges).max(axis=1) / 3 * (1 + 1e-9)
    tree = cKDTree(surface.vertices)
    search = _Search(points, surface, corners, slack)
    active = np.arange(len(points))
    done = 0
    for count in CANDIDATES:
        asked = min(count, len(surface.vertices))
        still = []
        for start in range(0, len(active), POINTS):
            part = active[start : start + POINTS]
            distances, found = (array.reshape(len(part), -1) for array in tree.query(points[part], k=asked))
            for column in range(done, asked):
                search.look(part, distances[:, column] ** 2, found[:, column])
            is_open = distances[:, -1] ** 2 < search.best[part] + search.largest_slack
            still.append(part[is_open & (asked < len(surface.vertices))])
        active, done = np.concatenate([active[:0], *still]), asked
    return search.nearest


class _Search:
    """The nearest points found so far, and the triangles round each vertex to look for nearer ones."""

    def __init__(
        self,
        points: NDArray[np.float64],
        surface: Surface,
        corners: NDArray[np.float64],
        slack: NDArray[np.float64],
    ) -> None:
        self.points, self.corners, self.slack = points, corners, slack
        self.largest_slack = float(slack.max())
        self.best = np.full(len(points), np.inf)
        self.nearest = np.zeros((len(points), 3))
        self._round = np.argsort(surface.faces.ravel(), kind="stable") // 3
        counts = np.bincount(surface.faces.ravel(), minlength=len(surface.vertices))
        self._first, self._count = np.cumsum(counts) - counts, counts

    def look(self, which: NDArray[np.int64], squares: NDArray[np.float64], vertices: NDArray[np.int64]) -> None:
        """Look at the triangles round one vertex for each point, where they may be nearer.

        Args:
            which: Numbers of the points.
            squares: Squared distance of each point from its vertex.
            vertices: The vertex of each point.
        """
        is_open = squares < self.best[which] + self.largest_slack
        which, squares, vertices = which[is_open], squares[is_open], vertices[is_open]
        counts = self._count[vertices]
        face = self._round[
            np.repeat(self._first[vertices] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        ]
        owner = np.repeat(which, counts)
        is_open = np.repeat(squares, counts) < self.best[owner] + self.slack[face]
        owner, face = owner[is_open], face[is_open]
        if not len(owner):
            return
        at = closest_points(self.points[owner], self.corners[face])
        ways = at - self.points[owner]
        found = np.einsum("ij,ij->i", ways, ways)
        begin = np.flatnonzero(np.diff(owner, prepend=-1))
        least = np.minimum.reduceat(found, begin)
        of_point = np.repeat(least, np.diff(begin, append=len(owner)))
        first = np.flatnonzero((found == of_point) & (found < self.best[owner]))[::-1]
        self.nearest[owner[first]] = at[first]
        self.best[owner[begin]] = np.minimum(self.best[owner[begin]], least)
