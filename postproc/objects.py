"""The objects of one class in a label volume: found, judged by contact and size, dropped, and their holes filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from label_gen.grid import Box, bounding_box, canonical_axes, grow_box, intersect_boxes, shift_box

__all__ = ["Objects", "are_largest", "are_touching", "drop_objects", "fill_holes", "find_objects"]


@dataclass(frozen=True)
class Objects:
    """The 26-connected components of a class.

    Attributes:
        box: Where the class lies in the volume.
        components: Number of the object at each voxel of the box, 0 elsewhere.
        sizes: Voxels of each object, by number; at 0 those of the rest of the box.
        boxes: Where each object lies in the box, by number.
    """

    box: Box
    components: NDArray[Any]
    sizes: NDArray[np.int64]
    boxes: Sequence[Box]


def find_objects(labels: NDArray[Any], number: int, box: Box) -> Objects:
    """Find the objects of a class.

    Args:
        labels: Class numbers (z, y, x).
        number: The class, which is somewhere.
        box: Box that holds all of it.

    Returns:
        The objects.
    """
    components = cc3d.connected_components(labels[box] == number, connectivity=26)
    statistics = cc3d.statistics(components)
    return Objects(box, components, statistics["voxel_counts"].astype(np.int64), statistics["bounding_boxes"])


def are_touching(objects: Objects, labels: NDArray[Any], other: int, other_box: Box) -> NDArray[np.bool_]:
    """Tell which objects have a 26-neighbour of another class.

    Args:
        objects: The objects.
        labels: Class numbers (z, y, x).
        other: The other class.
        other_box: Box that holds all of it.

    Returns:
        One truth value per object number; that at 0 means nothing.
    """
    result = np.zeros(len(objects.sizes), np.bool_)
    near = intersect_boxes(objects.box, grow_box(other_box, 1, labels.shape))
    if near is None:
        return result
    wide = grow_box(near, 1, labels.shape)
    is_near = labels[wide] == other
    for axis in range(3):
        before, after = _neighbours(axis)
        source = is_near.copy()
        is_near[after] |= source[before]
        is_near[before] |= source[after]
    result[objects.components[shift_box(near, objects.box)][is_near[shift_box(near, wide)]]] = True
    return result


def _neighbours(axis: int) -> tuple[Box, Box]:
    """Return the part of a volume without its last layer along an axis, and the part without its first."""
    before, after = [slice(None)] * 3, [slice(None)] * 3
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return (before[0], before[1], before[2]), (after[0], after[1], after[2])


def are_largest(
    objects: Objects, is_candidate: NDArray[np.bool_], count: int, spacing_mm: Sequence[float]
) -> NDArray[np.bool_]:
    """Tell which of some objects are the largest.

    Of objects of equal size, the first in an axis order that depends on the content alone is taken (see
    `label_gen.grid.canonical_axes`), so that permuting the axes changes nothing.

    Args:
        objects: The objects.
        is_candidate: Which objects to choose from, by number.
        count: How many to choose at most.
        spacing_mm: Spacing in array order, in millimetres.

    Returns:
        One truth value per object number.
    """
    result = np.zeros(len(objects.sizes), np.bool_)
    numbers = np.flatnonzero(is_candidate)
    if len(numbers) > count:
        last = np.partition(objects.sizes[numbers], -count)[-count]
        tied = numbers[objects.sizes[numbers] == last]
        numbers = numbers[objects.sizes[numbers] > last]
        if len(tied) > count - len(numbers):
            axes = canonical_axes(objects.components > 0, spacing_mm)
            tied = sorted(tied.tolist(), key=lambda number: _first_voxel(objects, number, axes))
        numbers = np.append(numbers, tied[: count - len(numbers)])
    result[numbers] = True
    return result


def _first_voxel(objects: Objects, number: int, axes: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the first voxel of an object, its coordinates and their order by the axes given."""
    box = objects.boxes[number]
    mask = (objects.components[box] == number).transpose(axes)
    first = np.unravel_index(int(mask.argmax()), mask.shape)
    return tuple(int(i) + box[axis].start for i, axis in zip(first, axes, strict=True))


def drop_objects(labels: NDArray[Any], objects: Objects, is_kept: NDArray[np.bool_]) -> None:
    """Turn objects into background.

    Args:
        labels: Class numbers (z, y, x); changed in place.
        objects: The objects of a class.
        is_kept: Which of them stay, by number.
    """
    is_dropped = ~is_kept
    is_dropped[0] = False
    if is_dropped.any():
        for plane, components in zip(labels[objects.box], objects.components, strict=True):
            plane[is_dropped[components]] = 0


def fill_holes(labels: NDArray[Any], number: int, box: Box) -> int:
    """Fill the holes of a class: background in contact with it that no path of faces leads out of it from.

    What other classes lie in a hole stays; background that only they touch does too. So a hole always joins an object
    of the class, and never becomes a new one.

    Args:
        labels: Class numbers (z, y, x); changed in place.
        number: The class.
        box: Box that holds all of it.

    Returns:
        How many voxels were filled.
    """
    view = labels[box]
    outside, count = cc3d.connected_components(view != number, connectivity=6, return_N=True)
    is_closed = np.ones(count + 1, np.bool_)
    is_closed[0] = False
    faces = np.concatenate([np.take(outside, end, axis).ravel() for axis in range(3) for end in (0, -1)])
    is_closed[faces] = False
    if not is_closed.any():
        return 0
    surroundings = np.bincount(faces).argmax()  # most of what is not the class, for speed
    is_hole = np.empty(view.shape, np.bool_)
    has_others = False
    for plane, parts, into in zip(view, outside, is_hole, strict=True):
        np.logical_and(parts != surroundings, plane != number, out=into)
        if into.any():
            is_inside = is_closed[parts[into]]
            is_background = plane[into] == 0
            into[into] = is_inside & is_background
            has_others = has_others or bool((is_inside & ~is_background).any())
    del outside
    if has_others:
        _leave_what_does_not_touch(is_hole, view == number)
    np.copyto(view, number, where=is_hole, casting="unsafe")
    return int(np.count_nonzero(is_hole))


def _leave_what_does_not_touch(is_hole: NDArray[np.bool_], is_class: NDArray[np.bool_]) -> None:
    """Take the parts of holes that share no face with the class out of the holes, in place."""
    box = bounding_box(is_hole)
    if box is None:
        return
    box = grow_box(box, 1, is_hole.shape)
    part, is_class = is_hole[box], is_class[box]
    cavities, count = cc3d.connected_components(part, connectivity=6, return_N=True)
    touches = np.zeros(count + 1, np.bool_)
    for axis in range(3):
        before, after = _neighbours(axis)
        touches[cavities[after][part[after] & is_class[before]]] = True
        touches[cavities[before][part[before] & is_class[after]]] = True
    for plane, numbers in zip(part, cavities, strict=True):
        plane[:] = touches[numbers]
