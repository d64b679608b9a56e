"""Clearance: a gap of a given width between fragments, of which each gives half, and which is measured."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from postproc.surfaces.distances import sample_faces, signed_distances
from postproc.surfaces.net import Net, find_net
from postproc.surfaces.solids import boxes_meet, from_solid, simplify, subtract, to_solid
from postproc.surfaces.surface import Surface

__all__ = ["keep_apart"]

MARGINS = (0.12, 0.25, 0.5, 1.0)
"""What is added to the clearance, in steps of the grid, until the gap that is measured is wide enough. Source: chosen
here: surfaces are cut by a field on a grid of half a voxel, which knows them to some hundredths of its step."""

FLATTEN = 0.02
"""How far the cuts may move when they are simplified, in steps of the grid. Source: chosen here, below the margins."""


def keep_apart(solids: list[Any], clearance_mm: float, voxel_mm: float, crumb_mm3: float) -> list[float | None]:
    """Cut solids back until all are a given distance apart.

    Of two solids each keeps what lies at least half the clearance on its side of the surface midway between them. That
    surface is where m, half the difference of the signed distances to the two, is 0. m changes no faster than the
    place, so what remains of the one (m at least half the clearance) and of the other is a clearance apart everywhere.

    Args:
        solids: Solids of manifold3d without overlap, changed in place.
        clearance_mm: The distance, above 0.
        voxel_mm: Smallest spacing of the voxels.
        crumb_mm3: Bodies smaller than that which come off are dropped.

    Returns:
        For each solid the smallest distance to another by manifold3d, None where none is nearer than twice the
        clearance.
    """
    step = voxel_mm / 2
    nearest = np.full(len(solids), np.inf)
    for first, second in combinations(range(len(solids)), 2):
        if not boxes_meet(solids[first], solids[second], clearance_mm):
            continue
        gap = _gap(solids[first], solids[second], clearance_mm)
        for margin in MARGINS:
            if gap >= clearance_mm:
                break
            cutters = _cutters(solids[first], solids[second], clearance_mm + margin * step, step)
            for index, cutter in zip((first, second), cutters, strict=True):
                solids[index] = subtract(solids[index], cutter, crumb_mm3)
            gap = _gap(solids[first], solids[second], clearance_mm)
    for first, second in combinations(range(len(solids)), 2):
        if boxes_meet(solids[first], solids[second], 2 * clearance_mm):
            gap = _gap(solids[first], solids[second], 2 * clearance_mm)
            nearest[[first, second]] = np.minimum(nearest[[first, second]], gap)
    return [float(gap) if gap < 2 * clearance_mm else None for gap in nearest]


def _gap(first: Any, second: Any, search_mm: float) -> float:
    """Return the distance of two solids, the search length where they are further apart."""
    return float(first.min_gap(second, search_mm))


def _cutters(first: Any, second: Any, clearance_mm: float, step: float) -> list[Any]:
    """Return for each of two solids what it has to give away."""
    surfaces = [from_solid(first), from_solid(second)]
    reach = clearance_mm + step  # a step for the samples
    low = np.maximum(*(surface.vertices.min(axis=0) for surface in surfaces)) - reach
    high = np.minimum(*(surface.vertices.max(axis=0) for surface in surfaces)) + reach
    samples = []
    for surface in surfaces:
        boxes = surface.vertices[surface.faces]
        is_near = ((boxes.max(axis=1) >= low) & (boxes.min(axis=1) <= high)).all(axis=1)
        part = Surface(surface.vertices, surface.faces[is_near])
        samples.append((part, *sample_faces(part, step)))
    trees = [cKDTree(points) for _, points, _ in samples]
    near = [
        points[trees[1 - side].query(points, distance_upper_bound=reach)[0] < np.inf]
        for side, (_, points, _) in enumerate(samples)
    ]
    around = np.concatenate(near)
    if not len(near[0]) or not len(near[1]):
        return [to_solid(Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int32)))] * 2
    width = int(np.ceil(reach / step)) + 1  # one for the interpolation
    start = around.min(axis=0) - (width + 1) * step
    cells = np.rint((around - start) / step).astype(np.int64)
    zone = np.zeros(cells.max(axis=0) + width + 2, bool)
    zone[tuple(cells.T)] = True
    zone = ndimage.distance_transform_edt(~zone) <= width
    places = np.argwhere(zone)
    points = start + places * step
    to_first, to_second = (signed_distances(points, *sample) for sample in samples)
    middle = np.full(zone.shape, np.inf)
    middle[zone] = (to_second - to_first) / 2
    return [_solid_below(sign * middle, zone, clearance_mm / 2, start, step) for sign in (1, -1)]


def _solid_below(
    field: NDArray[np.float64], zone: NDArray[np.bool_], level: float, start: NDArray[np.float64], step: float
) -> Any:
    """Return the solid in which a field is below a level, inside a zone; axes x, y, z."""
    is_below = zone & (field < level)
    if not is_below.any():
        return to_solid(Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int32)))
    net = find_net(is_below.astype(np.uint8))
    positions = _crossings(net, np.where(zone, field - level, np.inf))
    is_even = np.ones(len(net.quads), bool)
    surface, _, _ = net.surface(0, positions, (1.0, 1.0, 1.0), is_even)
    # The net was told that its axes are z, y, x; they are x, y, z, which turns the faces.
    turned = Surface(surface.vertices[:, ::-1] * step + start, np.ascontiguousarray(surface.faces[:, ::-1]))
    return to_solid(simplify(turned, FLATTEN * step)[0])


def _crossings(net: Net, field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each corner of a net the mean of the places round it where a field changes its sign."""
    padded = np.pad(field, 1, constant_values=np.inf)
    total, count = np.zeros(net.corners.shape), np.zeros(len(net.corners))
    for axis in range(3):
        for second in (0, 1):
            for third in (0, 1):
                offset = np.zeros(3, np.int64)
                offset[axis - 1], offset[(axis + 1) % 3] = second, third
                near = net.corners + offset  # in the padded field the corner's first voxel has the corner's own index
                far = near + np.eye(3, dtype=np.int64)[axis]
                one, other = padded[tuple(near.T)], padded[tuple(far.T)]
                crosses = (one < 0) != (other < 0)
                with np.errstate(invalid="ignore", divide="ignore"):
                    part = np.where(np.isfinite(one) & np.isfinite(other), one / (one - other), 0.5)
                place = near - 1.0
                place[:, axis] += np.nan_to_num(part)
                total[crosses] += place[crosses]
                count += crosses
    return total / np.maximum(count, 1)[:, None]
