"""The net: all faces between voxels of different labels, with corners that touching fragments share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.grid import bounding_box
from postproc.surfaces.sheets import face_code, sheet_table
from postproc.surfaces.surface import Surface

__all__ = ["Net", "find_net"]

APART = 0.2
"""How far, in parts of a voxel, two passes of a surface through one corner are moved apart. Source: chosen here: enough
to stay apart in the float32 of STL files, too little to see."""

_ROUND = ((0, 0), (1, 0), (1, 1), (0, 1))
"""Corners of a face along the axis before and after its own, counterclockwise as seen from the front."""


@dataclass(frozen=True, eq=False)
class Net:
    """The faces between voxels of different labels; all arrays in the order of axes z, y, x.

    Attributes:
        labels: The labels, ascending.
        corners: Int32 (n, 3): voxel corners on a face, as the index of the voxel at their positive side along each axis
            (corner i lies at index i - 0.5).
        quads: Int32 (q, 4): numbers of the corners of each face, counterclockwise as seen from the front.
        back: Int32 (q,): place in `labels` of the voxel behind the face, -1 for background.
        front: Int32 (q,): the same of the voxel in front, the next along the axis.
        axis: Int8 (q,): the array axis that the face is perpendicular to.
        inside: Uint8 (n, 8) places in `labels` plus 1 of the voxels round each corner, by `voxel_code`.
    """

    labels: tuple[int, ...]
    corners: NDArray[np.int32]
    quads: NDArray[np.int32]
    back: NDArray[np.int32]
    front: NDArray[np.int32]
    axis: NDArray[np.int8]
    inside: NDArray[np.int32]

    def positions(self, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
        """Return where the corners lie, (n, 3) in mm, axes z, y, x; the centre of the first voxel is at 0."""
        places: NDArray[np.float64] = (self.corners.astype(np.float64) - 0.5) * np.asarray(spacing_mm, np.float64)
        return places

    def surface(
        self, place: int, positions: NDArray[np.float64], spacing_mm: Sequence[float], is_even: NDArray[np.bool_]
    ) -> tuple[Surface, NDArray[np.int32], NDArray[np.bool_]]:
        """Return the closed surface of one label.

        It is manifold whatever the labels: each edge has two triangles, and the triangles round a vertex form one ring.
        Voxels that touch along an edge or at a corner only are parted there.

        Args:
            place: Place of the label in `labels`.
            positions: Where the corners are now, (n, 3) in mm, axes z, y, x.
            spacing_mm: Spacing in array order.
            is_even: Boolean (q,): which diagonal divides each face.

        Returns:
            The surface; for each vertex the number of the corner that it lies at; and whether it is that corner itself,
            which other labels may share, or one that this label alone has near it.
        """
        chosen = np.flatnonzero((self.back == place) | (self.front == place))
        is_back = self.back[chosen] == place
        quads, axes = self.quads[chosen], self.axis[chosen]
        here, numbers = np.unique(quads, return_inverse=True)
        numbers = numbers.reshape(-1, 4).astype(np.int64)
        points = positions[here]
        owners = here.astype(np.int32)

        sheets, counts = sheet_table()
        ways = ((self.inside[here] == place + 1) << np.arange(8)).sum(axis=1)
        is_split = counts[ways] > 1
        if is_split.any():
            rows, corner = np.nonzero(is_split[numbers])
            sheet = sheets[ways[numbers[rows, corner]], _codes()[axes[rows], corner]]
            keys, which = np.unique(numbers[rows, corner] * 4 + sheet, return_inverse=True)
            towards = _towards_voxel(axes[rows], corner, is_back[rows])
            shift = np.stack([np.bincount(which, towards[:, k]) for k in range(3)], axis=1)
            shift = shift * APART * np.asarray(spacing_mm) / np.bincount(which)[:, None]
            numbers[rows, corner] = len(points) + which
            points = np.concatenate([points, points[keys // 4] + shift])
            owners = np.concatenate([owners, owners[keys // 4]])

        is_crossed, middles, ends, points = self._part_edges(numbers, axes, is_back, points, spacing_mm)
        owners = np.concatenate([owners, owners[ends]])
        plain = ~is_crossed.any(axis=1)
        a, b, c, d = numbers[plain].T
        even = is_even[chosen][plain]
        first = np.where(even[:, None], np.stack([a, b, c], 1), np.stack([a, b, d], 1))
        second = np.where(even[:, None], np.stack([a, c, d], 1), np.stack([b, c, d], 1))
        turned = ~is_back[plain]
        triangles = [first, second]
        for triangle in triangles:
            triangle[turned] = triangle[turned, ::-1]
        if len(rows := np.flatnonzero(~plain)):
            centres = len(points) + np.arange(len(rows))
            points = np.concatenate([points, points[numbers[rows]].mean(axis=1)])
            owners = np.concatenate([owners, owners[numbers[rows, 0]]])
            for side in range(4):
                start, end, middle = numbers[rows, side], numbers[rows, (side + 1) % 4], middles[rows, side]
                has = is_crossed[rows, side]
                parts = [np.stack([start, np.where(has, middle, end), centres], 1)]
                parts.append(np.stack([middle, end, centres], 1)[has])
                for part, back in zip(parts, (is_back[rows], is_back[rows][has]), strict=True):
                    part[~back] = part[~back, ::-1]
                    triangles.append(part)
        faces = np.concatenate(triangles)
        used, faces = np.unique(faces, return_inverse=True)
        surface = Surface(points[used][:, ::-1].copy(), faces.reshape(-1, 3).astype(np.int32))
        return surface, owners[used], used < len(here)

    def _part_edges(
        self,
        numbers: NDArray[np.int64],
        axes: NDArray[np.int8],
        is_back: NDArray[np.bool_],
        points: NDArray[np.float64],
        spacing_mm: Sequence[float],
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Give the two passes of a surface along one edge between the same two vertices a vertex each in its middle.

        Returns:
            For each side of each face whether it was parted and the number of its new vertex; for each new vertex one
            end of its edge; and all vertices.
        """
        ends = np.sort(np.stack([numbers, np.roll(numbers, -1, axis=1)], axis=2), axis=2)
        keys = ends[..., 0] << 32 | ends[..., 1]
        middles = np.full(numbers.shape, -1, np.int64)
        ordered = np.sort(keys.ravel())
        repeated = np.unique(ordered[2:][ordered[2:] == ordered[:-2]])
        is_crossed = np.isin(keys, repeated) if len(repeated) else np.zeros(keys.shape, bool)
        low = np.zeros(0, np.int64)
        if len(repeated):
            rows, side = np.nonzero(is_crossed)
            # Two faces go together that bound the same voxel: it lies at the same side of the edge.
            towards = _towards_voxel(axes[rows], side, is_back[rows]) + _towards_voxel(
                axes[rows], (side + 1) % 4, is_back[rows]
            )
            code = (np.sign(towards).astype(np.int64) + 1) @ [9, 3, 1]
            table = np.stack([keys[rows, side], code], axis=1)
            pairs, first, which = np.unique(table, axis=0, return_index=True, return_inverse=True)
            middles[rows, side] = len(points) + which.ravel()
            low, high = pairs[:, 0] >> 32, pairs[:, 0] & 0xFFFFFFFF
            shift = APART * towards[first] / 2 * np.asarray(spacing_mm)
            points = np.concatenate([points, (points[low] + points[high]) / 2 + shift])
        return is_crossed, middles, low, points


def find_net(labels: NDArray[Any]) -> Net:
    """Find all faces between voxels of different labels; what lies beyond the volume is background.

    Args:
        labels: Integer array (z, y, x), 0 background.

    Returns:
        The net.
    """
    box = bounding_box(labels)
    if box is None:
        empty = np.zeros(0, np.int32)
        none = np.zeros((0, 3), np.int32)
        return Net(
            (), none, np.zeros((0, 4), np.int32), empty, empty, empty.astype(np.int8), np.zeros((0, 8), np.int32)
        )
    found = np.unique(labels[box])
    found = found[found > 0]
    table = np.searchsorted(found, labels[box]) + 1
    padded = np.pad(np.where(labels[box] > 0, table, 0).astype(np.min_scalar_type(len(found))), 1)
    flat = padded.ravel()
    strides = (padded.shape[1] * padded.shape[2], padded.shape[2], 1)
    voxels, axes = [], []
    for axis, stride in enumerate(strides):
        at = np.flatnonzero(flat[:-stride] != flat[stride:])
        voxels.append(at)
        axes.append(np.full(len(at), axis, np.int8))
    lower, axis_of = np.concatenate(voxels), np.concatenate(axes)
    stride_of = np.asarray(strides)
    own, before, after = stride_of[axis_of], stride_of[(axis_of - 1) % 3], stride_of[(axis_of + 1) % 3]
    quads = np.stack([lower - (1 - second) * before - (1 - third) * after for second, third in _ROUND], axis=1)
    corners, numbers = np.unique(quads, return_inverse=True)
    steps = [4, 2, 1]
    around = np.stack(
        [flat[corners + sum(s * (code // k % 2) for s, k in zip(strides, steps, strict=True))] for code in range(8)],
        axis=1,
    )
    start = np.array([side.start for side in box])
    return Net(
        labels=tuple(int(label) for label in found),
        corners=(np.stack(np.unravel_index(corners, padded.shape), axis=1) + start).astype(np.int32),
        quads=numbers.reshape(-1, 4).astype(np.int32),
        back=flat[lower].astype(np.int32) - 1,
        front=flat[lower + own].astype(np.int32) - 1,
        axis=axis_of,
        inside=around.astype(np.int32),
    )


def _codes() -> NDArray[np.int64]:
    """Return by axis and corner of a face (3, 4) which of the faces round that corner it is."""
    return np.array([[face_code(axis, 1 - second, 1 - third) for second, third in _ROUND] for axis in range(3)])


def _towards_voxel(
    axes: NDArray[np.int8], corner: NDArray[np.int64], is_back: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the way from a corner of a face to the centre of the voxel that the face bounds, (n, 3) in voxels."""
    ways = np.empty((3, 4, 2, 3))
    for axis in range(3):
        for number, (second, third) in enumerate(_ROUND):
            for back in (0, 1):
                way = ways[axis, number, back]
                way[axis], way[axis - 1], way[(axis + 1) % 3] = 0.5 - back, 0.5 - second, 0.5 - third
    found: NDArray[np.float64] = ways[axes, corner, is_back.astype(int)]
    return found
