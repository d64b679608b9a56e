"""Volumes: what smoothing and simplification took from a surface is given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postproc.surfaces.net import Net
from postproc.surfaces.smoothing import REACH
from postproc.surfaces.solids import shells_of
from postproc.surfaces.surface import Surface, face_normals, vertex_normals

__all__ = ["restore_contacts", "restore_volumes", "target_volumes"]

PASSES = 3
"""How often the volume is set. Source: chosen here; each pass leaves some hundredths of the error."""

LARGEST_PART = 1.0
"""Largest way of one vertex in all, in voxels. Source: chosen here: some hundredths are usual, bodies of few voxels
need more."""

ENOUGH = 0.01
"""Share of the volume that may still be missing before a body is scaled as a whole. Source: chosen here: bodies of one
or two voxels, of which smoothing leaves too little to know the way outward."""


def target_volumes(
    surface: Surface, owners: NDArray[np.int32], corners_mm: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each vertex the number of its shell, and for each shell its volume before smoothing, in mm3.

    The volume of a cavity is negative.

    Args:
        surface: Smoothed surface of a label as the net gives it.
        owners: The corner of the net that each vertex lies at.
        corners_mm: Where the corners of the voxels lie, (n, 3), axes z, y, x.
    """
    raw = corners_mm[owners][:, ::-1]
    shells = shells_of(surface)
    shell_of = np.zeros(len(raw), np.int64)
    shell_of[surface.faces.ravel()] = np.repeat(shells, 3)
    return shell_of, _shell_volumes(surface, shells, raw)


def restore_contacts(
    net: Net, positions: NDArray[np.float64], spacing_mm: Sequence[float], is_even: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Move the corners between fragments so that the smaller fragment of each contact has the volume of its voxels.

    A small fragment has much of its surface in contacts; the larger one can make up for it on its free surface.

    Args:
        net: The net.
        positions: Where the corners are, (n, 3) in mm, axes z, y, x.
        spacing_mm: Spacing in array order.
        is_even: Boolean (q,): which diagonal divides each face.

    Returns:
        The new positions.
    """
    corners = net.positions(spacing_mm)
    reach = REACH * np.asarray(spacing_mm)
    around = np.sort(net.inside, axis=1)
    is_contact = (around[:, :1] != around[:, -1:]).ravel() & ((around > 0) & (around != around[:, -1:])).any(axis=1)
    if not is_contact.any():
        return positions
    sizes = np.bincount(net.back + 1, minlength=len(net.labels) + 1) + np.bincount(
        net.front + 1, minlength=len(net.labels) + 1
    )
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(sizes, kind="stable")] = np.arange(len(sizes))
    rank[0] = len(sizes)
    smallest = rank[net.inside].min(axis=1)
    positions = positions.copy()
    for place in sorted(range(len(net.labels)), key=lambda place: int(rank[place + 1])):
        if not (is_contact & (smallest == rank[place + 1])).any():
            continue
        surface, owners, is_corner = net.surface(place, positions, spacing_mm, is_even)
        is_fixed = ~is_corner | (smallest[owners] != rank[place + 1])
        shell_of, wanted = target_volumes(surface, owners, corners)
        restored = restore_volumes(surface, shell_of, wanted, min(spacing_mm), is_fixed)
        moved = owners[~is_fixed]
        place_of = restored.vertices[~is_fixed][:, ::-1]
        positions[moved] = np.clip(place_of, corners[moved] - reach, corners[moved] + reach)
    return positions


def restore_volumes(
    surface: Surface,
    shell_of: NDArray[np.int64],
    wanted: NDArray[np.float64],
    voxel_mm: float,
    is_fixed: NDArray[np.bool_],
) -> Surface:
    """Move the vertices of each shell along their normals, all alike, until its volume is right.

    Args:
        surface: The surface.
        shell_of: For each vertex the number of the shell that it came from; simplification may have parted that.
        wanted: Signed volume that each shell is to have, in mm3.
        voxel_mm: Smallest spacing.
        is_fixed: Vertices that stay: those that touch another fragment.

    Returns:
        The surface with moved vertices. Where all vertices of a shell are fixed, it keeps its volume.
    """
    shells = shell_of[surface.faces[:, 0]]
    vertices = surface.vertices
    left = np.full(len(wanted), LARGEST_PART * voxel_mm)
    for _ in range(PASSES):
        growth = vertex_normals(vertices, surface.faces)
        size = np.linalg.norm(growth, axis=1)
        size[is_fixed] = 0.0
        gain = np.bincount(shell_of, size, len(wanted))
        missing = wanted - _shell_volumes(surface, shells, vertices, len(wanted))
        way = np.divide(missing, gain, out=np.zeros(len(wanted)), where=gain > 0)
        way = np.clip(way, -left, left)
        left -= np.abs(way)
        unit = np.divide(growth, size[:, None], out=np.zeros(growth.shape), where=size[:, None] > 0)
        vertices = vertices + way[shell_of, None] * unit
    volumes = _shell_volumes(surface, shells, vertices, len(wanted))
    share = np.divide(wanted, volumes, out=np.ones(len(wanted)), where=volumes != 0)
    is_free = np.bincount(shell_of, is_fixed, len(wanted)) == 0
    for shell in np.flatnonzero(is_free & (np.abs(share - 1) > ENOUGH) & (share > 0)):
        mine = shell_of == shell
        centre = vertices[mine].mean(axis=0)
        vertices[mine] = centre + (vertices[mine] - centre) * np.cbrt(share[shell])
    return Surface(vertices, surface.faces)


def _shell_volumes(
    surface: Surface, shells: NDArray[Any], vertices: NDArray[np.float64], count: int = 0
) -> NDArray[np.float64]:
    """Return the signed volume of each shell, in mm3, with its vertices at other places."""
    normals = face_normals(vertices, surface.faces)
    origin = vertices.mean(axis=0)
    parts = np.einsum("ij,ij->i", vertices[surface.faces[:, 0]] - origin, normals) / 6
    volumes: NDArray[np.float64] = np.bincount(shells, parts, count).astype(np.float64)
    return volumes
