"""Surfaces in the patient's coordinates, rounded as the files hold them and proved in that form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nnunet_ext.volumes import Volume
from postproc.surfaces import FragmentSurface, Surface, fragment_surfaces
from postproc.surfaces.overlaps import measure_overlaps
from postproc.surfaces.solids import check_surface, to_solid
from postproc.surfaces.solids import simplify as simplify_surface
from postproc.surfaces.stored import round_to_float32

__all__ = ["make_meshes", "to_world"]

REPAIRS_MM = (0.002, 0.01, 0.05)
"""Tolerances of the simplification that is tried where rounding to float32 made a surface touch itself. Source: chosen
here, from far below what a printer can do to half a fine layer."""


def make_meshes(labels: Volume, **options: Any) -> tuple[FragmentSurface, ...]:
    """Make the surfaces of all fragments of a label volume.

    Args:
        labels: Label volume, 0 background.
        **options: As for `postproc.surfaces.fragment_surfaces`: `smoothing`, `tolerance_mm`, `clearance_mm`,
            `max_faces`.

    Returns:
        The surfaces by ascending label. Vertices are x, y, z in mm, LPS, and have float32 values, so that STL and GLB
        files hold exactly these; that they are watertight, manifold and outward was proved in this form.

    Raises:
        DataError: The labels are no whole numbers from 0 upward.
        UsageError: An option makes no sense.
    """
    fragments = fragment_surfaces(labels.array, labels.spacing_mm, **options)
    surfaces = [_stored(to_world(fragment.surface, labels)) for fragment in fragments]
    overlaps = measure_overlaps([to_solid(surface) for surface in surfaces])
    found = []
    for fragment, surface, overlap in zip(fragments, surfaces, overlaps, strict=True):
        validity = check_surface(surface)
        found.append(
            replace(
                fragment,
                surface=surface,
                volume_mm3=surface.volume_mm3,
                volume_error=surface.volume_mm3 / fragment.voxel_volume_mm3 - 1,
                is_watertight=validity.is_watertight,
                is_manifold=validity.is_manifold,
                is_outward=validity.is_outward,
                parts=validity.parts,
                overlap_mm3=overlap,
            )
        )
    return tuple(found)


def to_world(surface: Surface, volume: Volume) -> Surface:
    """Return a surface given in mm along the axes of a volume in the patient's coordinates.

    Args:
        surface: Vertices x, y, z in mm from the centre of the volume's first voxel, along its axes.
        volume: The volume.

    Returns:
        Vertices in LPS. Faces look outward still: where the volume's axes are left-handed they are turned.
    """
    direction = np.reshape(volume.direction, (3, 3)).astype(np.float64)
    vertices = surface.vertices @ direction.T + np.asarray(volume.origin, np.float64)
    faces = surface.faces if np.linalg.det(direction) > 0 else np.ascontiguousarray(surface.faces[:, ::-1])
    return Surface(vertices, faces)


def _stored(surface: Surface) -> Surface:
    """Return a surface with float32 coordinates, still manifold."""
    rounded = round_to_float32(surface)
    for tolerance in REPAIRS_MM:
        if check_surface(rounded).is_manifold:
            break
        simple, _ = simplify_surface(surface, tolerance)
        rounded = round_to_float32(simple)
    return rounded
