"""Smooth all fragments as one: the outer surface as if nothing were broken, contacts with corners that both share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from postproc.surfaces.net import Net

__all__ = ["REACH", "ROUNDS", "smooth_net"]

REACH = 0.45
"""How far a corner may move along each axis, in voxels. Source: chosen here: below one half corners keep to cells of
their own, so that two sides of a plate of one voxel never meet; the voxels themselves say no more than one half."""

STEP = 0.6
"""Part of the way to the mean of its neighbours that a corner goes in one round. Source: chosen here."""

ROUNDS = 20
"""Rounds if nothing is said. Source: chosen here on shapes of 1 mm voxels whose truth is known: a ball of 20 mm is then
right to 0.06 mm (root mean square; 3 degrees in the normals) and a plane of small slope, whose steps are the hardest to
lose, to 0.06 mm (3 degrees). Taubin's filter of 40 rounds (0.6, -0.604): 0.09 mm (4) and 0.18 mm (9)."""


def smooth_net(net: Net, spacing_mm: Sequence[float], rounds: int = ROUNDS) -> NDArray[np.float64]:
    """Smooth the corners of a net, each within `REACH` of where it was.

    Corners on the outer surface (next to background) follow their neighbours on it only, so that a fracture leaves no
    groove there; those between fragments follow all their neighbours.

    Args:
        net: The net.
        spacing_mm: Spacing in array order (z, y, x), in mm.
        rounds: How often to smooth; 0 keeps the voxels' steps.

    Returns:
        Where the corners are, (n, 3) in mm, axes z, y, x.

    Source: Laplacian smoothing S, applied twice so that it does not shrink: S(x) + S(x - S(x)), "twicing" of Tukey 1977
        (Exploratory Data Analysis); Taubin 1995 (A signal processing approach to fair surface design) has the same aim
        and needs more rounds for it.
    """
    mean = _neighbour_mean(net)

    def spread(points: NDArray[np.float64]) -> NDArray[np.float64]:
        for _ in range(rounds):
            points = points + STEP * (mean @ points - points)
        return points

    start: NDArray[np.float64] = net.corners.astype(np.float64) - 0.5
    smooth = spread(start)
    smooth = smooth + spread(start - smooth)
    points: NDArray[np.float64] = np.clip(smooth, start - REACH, start + REACH) * np.asarray(spacing_mm, np.float64)
    return points


def _neighbour_mean(net: Net) -> sparse.csr_matrix:
    """Return the matrix that replaces each corner by the mean of its neighbours."""
    count = len(net.corners)
    is_outer_quad = (net.back < 0) | (net.front < 0)
    is_outer = np.zeros(count, bool)
    is_outer[net.quads[is_outer_quad]] = True
    rows, columns = [], []
    for quads, is_wanted in ((net.quads[is_outer_quad], is_outer), (net.quads[~is_outer_quad], ~is_outer)):
        for side in range(4):
            one, other = quads[:, side], quads[:, (side + 1) % 4]
            for a, b in ((one, other), (other, one)):
                rows.append(a[is_wanted[a]])
                columns.append(b[is_wanted[a]])
    at = (np.concatenate(rows), np.concatenate(columns))
    links = sparse.coo_matrix((np.ones(len(at[0])), at), shape=(count, count)).tocsr()
    links.data[:] = 1.0
    return sparse.diags(1.0 / np.maximum(np.diff(links.indptr), 1)) @ links
