"""Closed surfaces of fragments: smooth, manifold by construction, of the right volume, none inside another."""

from postproc.surfaces.fragments import FragmentSurface, decimate, fragment_surfaces
from postproc.surfaces.surface import Surface

__all__ = ["FragmentSurface", "Surface", "decimate", "fragment_surfaces"]
