"""Surfaces of all fragments of a volume: smooth, closed, of the right volume, and none inside another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import UsageError
from label_gen.grid import check_label_array, check_spacing
from postproc.surfaces.clearance import keep_apart
from postproc.surfaces.deviation import voxel_surface_distances
from postproc.surfaces.net import Net, find_net
from postproc.surfaces.overlaps import cut_overlaps, measure_overlaps
from postproc.surfaces.smoothing import ROUNDS, smooth_net
from postproc.surfaces.solids import check_surface, from_solid, simplify, to_solid
from postproc.surfaces.surface import Surface
from postproc.surfaces.volumes import restore_contacts, restore_volumes, target_volumes

__all__ = ["FragmentSurface", "decimate", "fragment_surfaces"]

TOLERANCE_MM = 0.1
"""How far simplification may move a surface. Source: chosen here: the layer of a fine 3D print; it takes away two
thirds of the triangles of 1 mm voxels."""

CRUMB_VOXELS = 0.05
"""Bodies that come off when an overlap is cut away and are smaller than that are dropped. Source: chosen here."""


LARGEST_STEPS = 40
"""How often `decimate` tries a tolerance 1.3 times larger. Source: chosen here: from 0.1 mm beyond any bone."""


@dataclass(frozen=True, eq=False)
class FragmentSurface:
    """The surface of a fragment, and what was measured on it.

    Attributes:
        label: Label of the fragment.
        surface: Vertices x, y, z in mm and faces that look outward.
        voxel_volume_mm3: Volume of the voxels.
        volume_mm3: Volume inside the surface.
        volume_error: Share by which it is larger than that of the voxels.
        largest_deviation_mm: Largest distance of a vertex or of the middle of a face from the faces of the voxels.
        mean_deviation_mm: Mean of these distances.
        is_watertight: Every edge has exactly two faces.
        is_manifold: manifold3d takes the surface for a solid.
        is_outward: Faces look outward.
        parts: Number of separate bodies; voxels that touch along an edge or at a corner only are separate.
        overlap_mm3: Volume that the fragment has in common with all others, by manifold3d.
        clearance_mm: Smallest distance to another fragment by manifold3d, where a clearance was asked for and another
            fragment is nearer than twice that; else None.
    """

    label: int
    surface: Surface
    voxel_volume_mm3: float
    volume_mm3: float
    volume_error: float
    largest_deviation_mm: float
    mean_deviation_mm: float
    is_watertight: bool
    is_manifold: bool
    is_outward: bool
    parts: int
    overlap_mm3: float
    clearance_mm: float | None = None


def fragment_surfaces(
    labels: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    smoothing: int = ROUNDS,
    tolerance_mm: float = TOLERANCE_MM,
    clearance_mm: float = 0.0,
    max_faces: int | None = None,
) -> tuple[FragmentSurface, ...]:
    """Make the surface of every fragment of a label volume.

    Each surface is manifold by construction. Fragments that touch share their contact triangle by triangle; what
    simplification makes them overlap at its rim is cut away from the larger one.

    Args:
        labels: Integer array (z, y, x), 0 background. What lies beyond the volume is background: fragments that the
            field of view cuts are closed there.
        spacing_mm: Spacing in array order (z, y, x), in mm.
        smoothing: Rounds of smoothing; 0 gives the faces of the voxels.
        tolerance_mm: How far simplification may move a surface; 0 for none.
        clearance_mm: Gap to leave between fragments, for printing; each gives way by half.
        max_faces: Simplify each surface further until it has no more triangles than that, for display. Such surfaces
            may overlap and lose volume; the figures tell.

    Returns:
        The surfaces by ascending label; x, y, z in mm = index times spacing.

    Raises:
        DataError: The labels are no volume of whole numbers from 0 upward.
        UsageError: The spacing is not three positive numbers, or an option is negative or not finite.
    """
    check_label_array(labels)
    spacing = check_spacing(spacing_mm)
    for name, value in (("smoothing", smoothing), ("tolerance_mm", tolerance_mm), ("clearance_mm", clearance_mm)):
        if not (np.isfinite(value) and value >= 0):
            raise UsageError(f"{name} must be 0 or more. Got: {value}")
    if max_faces is not None and max_faces < 4:
        raise UsageError(f"max_faces must be 4 or more, the faces of a tetrahedron. Got: {max_faces}")
    net = find_net(labels)
    if not net.labels:
        return ()
    positions = smooth_net(net, spacing, smoothing) if smoothing else net.positions(spacing)
    is_even = _shorter_diagonals(net, positions)
    if smoothing:
        positions = restore_contacts(net, positions, spacing, is_even)
    may_touch = clearance_mm == 0 and max_faces is None
    crumb = CRUMB_VOXELS * float(np.prod(spacing))
    solids = []
    for place in range(len(net.labels)):
        surface = _smooth_surface(net, place, positions, spacing, is_even, tolerance_mm, may_touch)
        solids.append(to_solid(surface))
    cut_overlaps(solids, crumb)
    gaps = keep_apart(solids, clearance_mm, min(spacing), crumb) if clearance_mm > 0 else [None] * len(solids)
    if max_faces is not None:
        solids = [to_solid(decimate(from_solid(solid), max_faces)) for solid in solids]
    overlaps = measure_overlaps(solids)
    voxels = np.bincount(labels.ravel(), minlength=net.labels[-1] + 1)
    return tuple(
        _measure(net, place, from_solid(solid), float(voxels[label]), spacing, overlaps[place], gaps[place])
        for place, (label, solid) in enumerate(zip(net.labels, solids, strict=True))
    )


def decimate(surface: Surface, max_faces: int) -> Surface:
    """Simplify a surface until it has no more triangles than that, as far as it stays manifold.

    Args:
        surface: A manifold surface.
        max_faces: Number of triangles.

    Returns:
        The surface, still manifold. Many separate bodies may need more triangles: then as few as there came out.
    """
    tolerance = TOLERANCE_MM
    for _ in range(LARGEST_STEPS):
        if len(surface.faces) <= max_faces:
            break
        surface, _ = simplify(surface, tolerance)
        tolerance *= 1.3
    return surface


def _shorter_diagonals(net: Net, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each face whether its first diagonal is the shorter one."""
    a, b, c, d = (positions[net.quads[:, corner]] for corner in range(4))
    even: NDArray[np.bool_] = ((a - c) ** 2).sum(axis=1) <= ((b - d) ** 2).sum(axis=1)
    return even


def _smooth_surface(
    net: Net,
    place: int,
    positions: NDArray[np.float64],
    spacing: Sequence[float],
    is_even: NDArray[np.bool_],
    tolerance_mm: float,
    keeps_contact: bool,
) -> Surface:
    """Return the simplified surface of a label, with the volume of its voxels."""
    surface, owners, _ = net.surface(place, positions, spacing, is_even)
    shell_of, wanted = target_volumes(surface, owners, net.positions(spacing))
    others = ((net.inside > 0) & (net.inside != place + 1)).any(axis=1)
    is_fixed = others[owners]
    kept = is_fixed[surface.faces].all(axis=1) if keeps_contact else None
    surface = restore_volumes(surface, shell_of, wanted, min(spacing), is_fixed)
    simple, numbers = simplify(surface, tolerance_mm, kept)
    return restore_volumes(simple, shell_of[numbers], wanted, min(spacing), is_fixed[numbers])


def _measure(
    net: Net,
    place: int,
    surface: Surface,
    voxels: float,
    spacing: Sequence[float],
    overlap_mm3: float,
    clearance_mm: float | None,
) -> FragmentSurface:
    """Return a surface with its figures."""
    distances = voxel_surface_distances(surface, net, place, spacing)
    expected = voxels * float(np.prod(spacing))
    validity = check_surface(surface)
    return FragmentSurface(
        label=net.labels[place],
        surface=surface,
        voxel_volume_mm3=expected,
        volume_mm3=surface.volume_mm3,
        volume_error=surface.volume_mm3 / expected - 1,
        largest_deviation_mm=float(distances.max()),
        mean_deviation_mm=float(distances.mean()),
        is_watertight=validity.is_watertight,
        is_manifold=validity.is_manifold,
        is_outward=validity.is_outward,
        parts=validity.parts,
        overlap_mm3=overlap_mm3,
        clearance_mm=clearance_mm,
    )
