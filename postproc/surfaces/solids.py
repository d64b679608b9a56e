"""Surfaces as solids of manifold3d: simplify, subtract, and what proves that a surface bounds a solid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from postproc.surfaces.surface import Surface, face_normals

__all__ = ["Validity", "boxes_meet", "check_surface", "from_solid", "shells_of", "simplify", "subtract", "to_solid"]


@dataclass(frozen=True)
class Validity:
    """What was proved of a surface.

    Attributes:
        is_watertight: Every edge has exactly two faces, which run along it in opposite directions.
        is_manifold: The same, and manifold3d takes the surface for a solid.
        is_outward: Faces look outward: the volume is positive, and shells that look inward are cavities inside others.
        parts: Number of separate bodies.
    """

    is_watertight: bool
    is_manifold: bool
    is_outward: bool
    parts: int


def to_solid(surface: Surface) -> Any:
    """Return a surface as a solid of manifold3d."""
    vertices = np.array(surface.vertices, np.float64, order="C")
    return manifold3d.Manifold(manifold3d.Mesh64(vertices, surface.faces.astype(np.uint64)))


def from_solid(solid: Any) -> Surface:
    """Return a solid of manifold3d as a surface."""
    table, faces = _arrays(solid)
    return Surface(table[:, :3].copy(), faces)


def simplify(
    surface: Surface, tolerance_mm: float, kept: NDArray[np.bool_] | None = None
) -> tuple[Surface, NDArray[np.int64]]:
    """Leave out vertices that the surface hardly needs.

    Args:
        surface: A manifold surface.
        tolerance_mm: How far the surface may move.
        kept: Faces (m,) to leave alone, corners included.

    Returns:
        The surface with a part of its vertices (as it was where manifold3d does not take it), and the numbers that
        these vertices had before.
    """
    numbers = np.arange(len(surface.vertices))
    codes = None if kept is None else np.where(kept, np.arange(1, len(kept) + 1), 0).astype(np.uint64)
    numbered = np.column_stack([surface.vertices, numbers])
    solid = manifold3d.Manifold(manifold3d.Mesh64(numbered, surface.faces.astype(np.uint64), face_id=codes))
    if tolerance_mm <= 0 or solid.status() != manifold3d.Error.NoError:
        return surface, numbers
    table, faces = _arrays(solid.simplify(tolerance_mm))
    if not len(faces):
        return surface, numbers
    vertices, numbers = table[:, :3].copy(), np.rint(table[:, 3]).astype(np.int64)
    # Of an edge that was drawn together the number of the end that went away may be left: the place tells.
    if (is_other := (surface.vertices[numbers] != vertices).any(axis=1)).any():
        numbers[is_other] = cKDTree(surface.vertices).query(vertices[is_other])[1]
    return Surface(vertices, faces), numbers


def subtract(solid: Any, other: Any, crumb_mm3: float) -> Any:
    """Return a solid without what another covers; crumbs that come off in the cut are dropped.

    Args:
        solid: The solid to cut.
        other: What to cut away.
        crumb_mm3: Bodies smaller than that are crumbs, unless the solid is one of them itself.
    """
    rest = solid - other
    bodies = rest.decompose()
    kept = [body for body in bodies if abs(body.volume()) >= crumb_mm3]
    if not kept or len(kept) == len(bodies):
        return solid if rest.is_empty() else rest
    return manifold3d.Manifold.compose(kept)


def check_surface(surface: Surface) -> Validity:
    """Prove that a surface is watertight, manifold and outward.

    Args:
        surface: The surface.

    Returns:
        What holds.
    """
    faces = surface.faces.astype(np.int64)
    if not len(faces):
        return Validity(False, False, False, 0)
    starts, ends = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    count = len(surface.vertices)
    forward, backward = np.sort(starts * count + ends), np.sort(ends * count + starts)
    is_watertight = bool((starts != ends).all() and (np.diff(forward) > 0).all() and (forward == backward).all())
    is_manifold = is_watertight and to_solid(surface).status() == manifold3d.Error.NoError
    shells = shells_of(surface)
    normals = face_normals(surface.vertices, surface.faces)
    volumes = np.bincount(shells, np.einsum("ij,ij->i", surface.vertices[faces[:, 0]], normals)) / 6
    low, high = _shell_boxes(surface, shells)
    is_outward = surface.volume_mm3 > 0
    for cavity in np.flatnonzero(volumes < 0):
        holds = (volumes > -volumes[cavity]) & (low <= low[cavity]).all(axis=1) & (high >= high[cavity]).all(axis=1)
        is_outward &= bool(holds.any())
    return Validity(is_watertight, is_manifold, bool(is_outward), int((volumes > 0).sum()))


def shells_of(surface: Surface) -> NDArray[np.int32]:
    """Return for each face the number of the connected shell that it belongs to, from 0 upward."""
    faces = surface.faces
    pairs = (np.concatenate([faces[:, 0], faces[:, 1]]), np.concatenate([faces[:, 1], faces[:, 2]]))
    count = len(surface.vertices)
    links = sparse.coo_matrix((np.ones(len(pairs[0]), np.int8), pairs), shape=(count, count))
    _, shell = connected_components(links, directed=False)
    numbers = np.unique(shell[faces[:, 0]], return_inverse=True)[1]
    return numbers.astype(np.int32)


def _shell_boxes(surface: Surface, shells: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and the highest coordinates of each shell, (shells, 3)."""
    count = int(shells.max()) + 1
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    for corner in range(3):
        points = surface.vertices[surface.faces[:, corner]]
        np.minimum.at(low, shells, points)
        np.maximum.at(high, shells, points)
    return low, high


def _arrays(solid: Any) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return vertices with their properties, and faces; vertices that manifold3d lists twice are made one again."""
    mesh = solid.to_mesh64()
    table = np.array(mesh.vert_properties, np.float64)
    one = np.arange(len(table))
    one[np.array(mesh.merge_from_vert, np.int64)] = np.array(mesh.merge_to_vert, np.int64)
    used, faces = np.unique(one[np.array(mesh.tri_verts, np.int64)], return_inverse=True)
    return table[used], faces.reshape(-1, 3).astype(np.int32)


def boxes_meet(first: Any, second: Any, reach_mm: float = 0.0) -> bool:
    """Return whether the boxes round two solids come as near as that."""
    one, other = np.reshape(first.bounding_box(), (2, 3)), np.reshape(second.bounding_box(), (2, 3))
    return bool((one[0] - reach_mm <= other[1]).all() and (other[0] - reach_mm <= one[1]).all())
