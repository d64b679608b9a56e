"""What there is to know of every fragment: size, surface, place, density, and which others it touches or nears."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import fastremap
import numpy as np
from numpy.typing import NDArray

from label_gen.errors import UsageError
from label_gen.grid import Box, bounding_box, check_label_array, check_same_shape, check_spacing, place_box
from postproc.gaps import smallest_gap
from postproc.interfaces import strides_of
from postproc.surface_area import DIRECTIONS, crossing_areas

__all__ = ["REACH_MM", "FragmentMeasures", "FragmentTable", "PairMeasures", "measure_fragments"]

REACH_MM = 6.0
"""Fragments up to this far apart are neighbours. Source: chosen here; a gap of 5 to 6 mm is where a fracture of the
pelvis counts as displaced, and joints (hip, sacroiliac) are narrower."""

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

Point = tuple[float, float, float]


@dataclass(frozen=True)
class FragmentMeasures:
    """Measures of one fragment.

    Attributes:
        label: Its number.
        voxels: Its number of voxels.
        volume_mm3: Its volume.
        surface_mm2: Area of its surface, contacts with others and cuts by the edge of the volume included; see
            `postproc.surface_area` for the estimator.
        mean_value: Mean of the image over its voxels (HU in a CT); None without an image.
        centroid_mm: Centre of its voxels; x, y, z in the world.
        box_mm: Smallest box along the axes of the world that holds its voxels whole: lowest and highest x, y, z.
        box: Box in the array.
    """

    label: int
    voxels: int
    volume_mm3: float
    surface_mm2: float
    mean_value: float | None
    centroid_mm: Point
    box_mm: tuple[Point, Point]
    box: Box


@dataclass(frozen=True)
class PairMeasures:
    """Measures of two fragments that touch or are near each other.

    Attributes:
        first: The smaller number.
        second: The larger number.
        contact_mm2: Area on which they touch, by the estimator of the surface (a rim of about a quarter of a voxel is
            lost); 0 where they do not.
        smallest_gap_mm: Smallest distance between faces of their voxels, whatever lies between; 0 where they touch.
    """

    first: int
    second: int
    contact_mm2: float
    smallest_gap_mm: float


@dataclass(frozen=True)
class FragmentTable:
    """Measures of all fragments of a volume.

    Attributes:
        fragments: One entry per fragment, by number.
        pairs: One entry per pair that touches or is within reach, by numbers.
    """

    fragments: tuple[FragmentMeasures, ...]
    pairs: tuple[PairMeasures, ...]


def measure_fragments(
    labels: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    image: NDArray[Any] | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    direction: Sequence[float] = IDENTITY,
    reach_mm: float = REACH_MM,
) -> FragmentTable:
    """Measure every fragment of a label volume.

    Args:
        labels: Fragment numbers (z, y, x), 0 outside.
        spacing_mm: Spacing in array order (z, y, x), in millimetres.
        image: Image on the same grid (a CT in HU).
        origin: Centre of the first voxel in the world; x, y, z in millimetres.
        direction: Row-major 3 x 3 cosines; columns are the x, y and z axes of the grid in the world.
        reach_mm: Largest gap between neighbours.

    Returns:
        The measures; empty for a volume without fragments.

    Raises:
        DataError: The labels are no label volume.
        GridError: Image and labels differ in shape.
        UsageError: Spacing or reach make no sense.

    Example:
        >>> import numpy as np
        >>> from postproc.fragment_table import measure_fragments
        >>> labels = np.zeros((10, 10, 30), np.uint8)
        >>> labels[1:9, 1:9, 1:11], labels[1:9, 1:9, 14:20] = 4, 9
        >>> table = measure_fragments(labels, (1.0, 1.0, 1.0))
        >>> [(f.label, f.volume_mm3, f.centroid_mm) for f in table.fragments]
        [(4, 640.0, (5.5, 4.5, 4.5)), (9, 384.0, (16.5, 4.5, 4.5))]
        >>> table.pairs
        (PairMeasures(first=4, second=9, contact_mm2=0.0, smallest_gap_mm=3.0),)
    """
    check_label_array(labels)
    spacing = check_spacing(spacing_mm)
    if image is not None:
        check_same_shape(labels, image, ("labels", "image"))
    if not reach_mm >= 0:
        raise UsageError(f"reach_mm must be a distance from 0 upward. Got: {reach_mm}")
    whole = bounding_box(labels)
    if whole is None:
        return FragmentTable((), ())
    compact, table = fastremap.renumber(np.ascontiguousarray(labels[whole]).astype(np.uint32, copy=False))
    numbers: dict[int, int] = {int(new): int(old) for old, new in table.items() if new}
    statistics = cc3d.statistics(compact)
    padded = np.zeros([n + 2 for n in compact.shape], compact.dtype)
    padded[1:-1, 1:-1, 1:-1] = compact
    voxels = np.flatnonzero(padded)
    owners = padded.ravel()[voxels]
    counts = statistics["voxel_counts"]
    means: list[float | None] = [None] * len(counts)
    if image is not None:
        values = image[whole][compact != 0]
        means = (np.bincount(owners, values, minlength=len(counts)) / np.maximum(counts, 1)).tolist()
    areas, is_surface = _crossings(padded, voxels, owners, spacing)
    points = np.stack(np.unravel_index(voxels[is_surface], padded.shape), axis=1) - 1
    owner = owners[is_surface]
    order = np.argsort(owner, kind="stable")
    surfaces = np.split(points[order], np.cumsum(np.bincount(owner, minlength=len(counts)))[:-1])

    axes = np.reshape(np.asarray(direction, float), (3, 3))[:, ::-1] * spacing  # columns: a step along z, y, x
    start = np.asarray(origin, float) + axes @ [side.start for side in whole]
    half = np.abs(axes).sum(axis=1) / 2
    fragments: list[FragmentMeasures] = []
    boxes: dict[int, Box] = {}
    for new, label in sorted(numbers.items(), key=lambda item: item[1]):
        boxes[new] = statistics["bounding_boxes"][new]
        places = start + surfaces[new] @ axes.T
        fragments.append(
            FragmentMeasures(
                label=label,
                voxels=int(counts[new]),
                volume_mm3=int(counts[new]) * math.prod(spacing),
                surface_mm2=sum(area for pair, area in areas.items() if new in pair),
                mean_value=means[new],
                centroid_mm=_point(start + axes @ statistics["centroids"][new]),
                box_mm=(_point(places.min(axis=0) - half), _point(places.max(axis=0) + half)),
                box=place_box(boxes[new], whole),
            )
        )
    pairs = []
    for one, other in itertools.combinations(sorted(boxes, key=numbers.__getitem__), 2):
        contact = areas.get((min(one, other), max(one, other)), 0.0)
        gap = 0.0
        if not contact:
            gap = smallest_gap(surfaces[one], surfaces[other], (boxes[one], boxes[other]), spacing, reach_mm)
        if gap <= reach_mm:
            pairs.append(PairMeasures(numbers[one], numbers[other], contact, gap))
    return FragmentTable(tuple(fragments), tuple(pairs))


def _crossings(
    padded: NDArray[np.uint32], voxels: NDArray[np.int64], owners: NDArray[np.uint32], spacing_mm: Sequence[float]
) -> tuple[dict[tuple[int, int], float], NDArray[np.bool_]]:
    """Return the area between every two owners (0 is outside), and which voxels have a face on another owner.

    Work grows with the bone: the neighbours of its voxels are found by adding strides to flat indices.
    """
    flat = padded.ravel()
    areas: dict[tuple[int, int], float] = {}
    is_surface = np.zeros(len(voxels), bool)
    strides = strides_of(padded.shape)
    for step, area in zip(DIRECTIONS, crossing_areas(spacing_mm), strict=True):
        stride = sum(a * b for a, b in zip(step, strides, strict=True))
        ahead, behind = flat[voxels + stride], flat[voxels - stride]
        leaves, enters = ahead != owners, behind == 0
        if sum(map(abs, step)) == 1:
            is_surface |= leaves | (behind != owners)
        first = np.concatenate([owners[leaves], owners[enters]]).astype(np.uint64)
        second = np.concatenate([ahead[leaves], behind[enters]]).astype(np.uint64)
        keys = np.minimum(first, second) << np.uint64(32) | np.maximum(first, second)
        for key, count in zip(*(part.tolist() for part in fastremap.unique(keys, return_counts=True)), strict=True):
            pair = (key >> 32, key & 0xFFFFFFFF)
            areas[pair] = areas.get(pair, 0.0) + count * area
    return areas, is_surface


def _point(values: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in values)
    return (x, y, z)
