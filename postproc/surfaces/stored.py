"""A surface as files of float32 coordinates hold it: vertices at one place are one vertex."""

from __future__ import annotations

import numpy as np

from postproc.surfaces.surface import Surface

__all__ = ["round_to_float32"]


def round_to_float32(surface: Surface) -> Surface:
    """Round a surface as an STL file does, which names vertices by their place.

    Args:
        surface: The surface.

    Returns:
        The surface with float32 values; vertices that fall together are one, faces that thereby lose their area or lie
        back to back are left out.
    """
    places = surface.vertices.astype(np.float32) + np.float32(0)  # no negative zero
    unique, numbers = np.unique(places, axis=0, return_inverse=True)
    faces = numbers.reshape(-1)[surface.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    if len(unique) < len(places):
        ordered = np.sort(faces, axis=1)
        _, which = np.unique(ordered, axis=0, return_inverse=True)
        turns = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
        sign = np.where(np.take_along_axis(faces, turns, axis=1)[:, 1] == ordered[:, 1], 1, -1)
        which = which.reshape(-1)
        balance = np.bincount(which, sign)[which]
        standing = np.flatnonzero(sign * balance > 0)
        _, first = np.unique(which[standing], return_index=True)
        faces = faces[np.sort(standing[first])]
    used, faces = np.unique(faces, return_inverse=True)
    return Surface(unique[used].astype(np.float64), faces.reshape(-1, 3).astype(np.int32))
