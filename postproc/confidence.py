"""How sure the network was of every fracture interface between two recovered fragments."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.classes import ABBC
from label_gen.errors import DataError, GridError
from label_gen.grid import Box, bounding_box, check_label_array, check_spacing
from postproc.fragment_table import REACH_MM
from postproc.gaps import facing_voxels
from postproc.interfaces import strides_of

__all__ = ["WINDOW_MM", "InterfaceConfidence", "interface_confidence"]

WINDOW_MM = 1.5
"""How deep border is looked for on each side of an interface. Source: chosen here; border as labelled reaches 0.7 mm
deep, and a recovered interface lies up to about a voxel (0.8 mm) beside it."""

SUPPORTED = 0.5
"""Probability from which a face counts as seen. Source: the recovery's `split_above`."""

LINES = 4000
"""Lines drawn across a gap at most. Source: chosen here; their mean is then right to 0.01."""


@dataclass(frozen=True)
class InterfaceConfidence:
    """How sure the network was of the interface between two fragments.

    Attributes:
        first: The smaller fragment number.
        second: The larger fragment number.
        confidence: 0 to 1, see `interface_confidence`.
        contact_mm2: Area of the voxel faces between the two, on the grid of the probabilities; 0 across a gap.
        supported_share: Share of the interface, 0 to 1, on which the probability reaches 0.5.
    """

    first: int
    second: int
    confidence: float
    contact_mm2: float
    supported_share: float


def interface_confidence(
    labels: NDArray[Any],
    abbc_probabilities: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    bones: Mapping[int, str] | None = None,
    reach_mm: float = REACH_MM,
) -> list[InterfaceConfidence]:
    """Measure how sure the network was of every interface between two fragments.

    Where fragments touch, the interface is all voxel faces between them. Across each face the largest border
    probability is taken over the voxels up to `WINDOW_MM` on either side, along the normal of the face and as long as
    they belong to the two fragments; the confidence is the mean over the interface, weighed by area. So 0.9 says: along
    the whole interface the network called the bone broken with a probability of about 0.9; 0.5: on half of it, or with
    half the certainty (`supported_share` tells which); near 0: the recovery drew a line where the network saw none.

    Where fragments are apart by a gap within reach, the interface is the lines from the surface voxels of one to the
    nearest of the other, if no third fragment lies between; along each the largest probability of border or background
    together is taken. A gap that the network saw as such gives a value near 1.

    What it is not: a calibrated probability that there is a fracture. It knows only what this network said, and a
    network is as sure of a mistake as of a truth; a fracture that the network missed has no interface at all.

    Args:
        labels: Fragment numbers (z, y, x), 0 outside.
        abbc_probabilities: Probabilities (4, z, y, x) in the order of `label_gen.ABBC`, on the same grid.
        spacing_mm: Spacing in array order (z, y, x), in millimetres.
        bones: Bone of every fragment by number; pairs of different bones, which meet in a joint, are left out. Without
            it all pairs are measured.
        reach_mm: Largest gap; 0 for fragments that touch only.

    Returns:
        One entry per pair of fragments that touch or are near each other; the least sure first.

    Raises:
        DataError: The labels are no label volume, or the probabilities are no floating-point (4, z, y, x) array.
        GridError: Labels and probabilities differ in shape.
        UsageError: The spacing is not three positive numbers.

    Example:
        >>> import numpy as np
        >>> from postproc.confidence import interface_confidence
        >>> labels = np.zeros((6, 6, 12), np.uint8)
        >>> labels[1:5, 1:5, 1:6], labels[1:5, 1:5, 6:11] = 1, 2
        >>> probabilities = np.zeros((4, 6, 6, 12), np.float32)
        >>> probabilities[3, :, :, 5:7] = 0.75
        >>> (found,) = interface_confidence(labels, probabilities, (1.0, 1.0, 1.0))
        >>> found.first, found.second, found.confidence, found.contact_mm2
        (1, 2, 0.75, 16.0)
    """
    check_label_array(labels)
    spacing = check_spacing(spacing_mm)
    if abbc_probabilities.ndim != 4 or len(abbc_probabilities) != len(ABBC) or abbc_probabilities.dtype.kind != "f":
        raise DataError(
            "probabilities must be a floating-point array (4, z, y, x), one map per ABBC class. "
            f"Got: dtype {abbc_probabilities.dtype}, shape {abbc_probabilities.shape}"
        )
    if abbc_probabilities.shape[1:] != labels.shape:
        raise GridError(
            "labels and probabilities must have the same grid. "
            f"Got: shapes {labels.shape} and {abbc_probabilities.shape[1:]}; pass the labels as they were recovered"
        )
    box = bounding_box(labels)
    if box is None:
        return []
    owners = _padded(labels[box])
    border = _padded(abbc_probabilities[ABBC.BORDER][box])
    found = _across_faces(owners, border, spacing)
    if reach_mm > 0:
        touching = {(item.first, item.second) for item in found}
        break_ = border + _padded(abbc_probabilities[ABBC.BACKGROUND][box])
        found += _across_gaps(owners, break_, spacing, reach_mm, touching, bones)
    if bones is not None:
        found = [item for item in found if bones.get(item.first) == bones.get(item.second)]
    return sorted(found, key=lambda item: (item.confidence, item.first, item.second))


def _across_faces(owners: NDArray[Any], border: NDArray[Any], spacing: Sequence[float]) -> list[InterfaceConfidence]:
    """Return the interfaces of fragments that touch. Arrays end in an empty layer on every side."""
    flat, evidence = owners.ravel(), border.ravel()
    voxels = np.flatnonzero(flat)
    sums: dict[tuple[int, int], list[float]] = {}
    for axis, stride in enumerate(strides_of(owners.shape)):
        here, there = flat[voxels], flat[voxels + stride]
        meets = (there != here) & (there != 0)
        at = voxels[meets]
        depth = max(1, int(np.ceil(WINDOW_MM / spacing[axis] - 1e-6)))
        back, ahead = (_deepest(flat, evidence, *way, depth) for way in ((at, -stride), (at + stride, stride)))
        seen = np.maximum(back, ahead)
        face = spacing[0] * spacing[1] * spacing[2] / spacing[axis]
        first, second = here[meets].astype(np.int64), there[meets].astype(np.int64)
        keys = np.minimum(first, second) << 32 | np.maximum(first, second)
        pairs, position = np.unique(keys, return_inverse=True)
        columns = (np.bincount(position), np.bincount(position, seen), np.bincount(position, seen >= SUPPORTED))
        for pair, *values in zip(pairs.tolist(), *(column.tolist() for column in columns), strict=True):
            entry = sums.setdefault((pair >> 32, pair & 0xFFFFFFFF), [0.0, 0.0, 0.0])
            for index, value in enumerate(values):
                entry[index] += value * face
    return [
        InterfaceConfidence(first, second, min(1.0, max(0.0, total / area)), area, seen_area / area)
        for (first, second), (area, total, seen_area) in sums.items()
    ]


def _across_gaps(
    owners: NDArray[Any],
    evidence: NDArray[Any],
    spacing: Sequence[float],
    reach_mm: float,
    touching: set[tuple[int, int]],
    bones: Mapping[int, str] | None,
) -> list[InterfaceConfidence]:
    """Return the interfaces of fragments of one bone that are near each other and do not touch."""
    flat = owners.ravel()
    voxels = np.flatnonzero(flat)
    mine = flat[voxels]
    is_surface = np.zeros(len(voxels), bool)
    for stride in strides_of(owners.shape):
        is_surface |= (flat[voxels + stride] != mine) | (flat[voxels - stride] != mine)
    points = np.stack(np.unravel_index(voxels[is_surface], owners.shape), axis=1)
    numbers, position = np.unique(mine[is_surface], return_inverse=True)
    points = points[np.argsort(position, kind="stable")]
    parts = np.split(points, np.cumsum(np.bincount(position))[:-1])
    surfaces = {int(number): part for number, part in zip(numbers, parts, strict=True)}
    boxes = {number: _box_of(part) for number, part in surfaces.items()}
    steps = np.linspace(0.0, 1.0, int(np.ceil(reach_mm / min(spacing))) + 2)
    found = []
    for first, second in itertools.combinations(sorted(surfaces), 2):
        if (first, second) in touching or (bones is not None and bones.get(first) != bones.get(second)):
            continue
        pair = (boxes[first], boxes[second])
        # centres of voxels lie up to a voxel further apart than their faces
        reach = reach_mm + float(np.linalg.norm(spacing))
        one, other = facing_voxels(surfaces[first], surfaces[second], pair, spacing, reach, LINES)
        gaps = np.linalg.norm(np.maximum(np.abs(one - other) - 1, 0) * spacing, axis=1)
        one, other = one[gaps <= reach_mm], other[gaps <= reach_mm]
        on_lines = np.rint(one[:, None] + (other - one)[:, None] * steps[:, None]).astype(np.int64)
        z, y, x = np.moveaxis(on_lines, -1, 0)
        is_free = np.isin(owners[z, y, x], (0, first, second)).all(axis=1)
        if is_free.any():
            seen = evidence[z, y, x].max(axis=1)[is_free].astype(np.float64)
            share = float((seen >= SUPPORTED).mean())
            found.append(InterfaceConfidence(first, second, min(1.0, max(0.0, float(seen.mean()))), 0.0, share))
    return found


def _box_of(points: NDArray[np.int64]) -> Box:
    z, y, x = (slice(int(low), int(high) + 1) for low, high in zip(points.min(axis=0), points.max(axis=0), strict=True))
    return (z, y, x)


def _padded(array: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous copy with an empty layer all round, so that no neighbour lies beyond the array."""
    result = np.zeros([n + 2 for n in array.shape], array.dtype)
    result[1:-1, 1:-1, 1:-1] = array
    return result


def _deepest(
    owners: NDArray[Any], border: NDArray[Any], start: NDArray[np.int64], stride: int, depth: int
) -> NDArray[np.float64]:
    """Return the largest border probability from a voxel on along a stride, within the voxel's fragment."""
    mine = owners[start]
    largest = border[start].astype(np.float64)
    at, is_inside = start, np.ones(len(start), bool)
    for _ in range(depth - 1):
        at = np.where(is_inside, at + stride, at)
        is_inside &= owners[at] == mine
        np.maximum(largest, border[at], out=largest, where=is_inside)
    return largest
