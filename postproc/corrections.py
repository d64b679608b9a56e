"""Corrections by hand: fragments joined, cut between points, or grown anew from painted seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from label_gen import ABBC
from label_gen.errors import DataError, UsageError
from label_gen.grid import bounding_box, check_label_array, check_same_shape, check_spacing
from label_gen.scheme import LabelScheme
from postproc.growth import Engine, grow

__all__ = ["Correction", "Split", "correct_fragments", "regrow"]

POINT_MM = 3.0
"""A point seeds the voxels of its fragment up to this distance. Source: chosen here; a click is right to some
millimetres, and a seed of several voxels is not closed in by a single voxel of border."""


@dataclass(frozen=True)
class Split:
    """A fragment to be cut.

    Attributes:
        label: Its number.
        points: Two points or more, each to become a fragment: indices (z, y, x), parts of a voxel allowed.
    """

    label: int
    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Correction:
    """What a correction made.

    Attributes:
        labels: Fragment numbers (z, y, x).
        bones: The bone of each fragment, by its name in the anatomy.
        decisions: What was done, as sentences.
    """

    labels: NDArray[np.uint16]
    bones: Mapping[int, str]
    decisions: tuple[str, ...]


def correct_fragments(
    labels: NDArray[Any],
    bones: Mapping[int, str],
    spacing_mm: Sequence[float],
    *,
    is_border: NDArray[np.bool_],
    scheme: LabelScheme,
    merge: Sequence[Sequence[int]] = (),
    split: Sequence[Split] = (),
    engine: Engine = "fmm",
) -> Correction:
    """Join fragments, and cut fragments between points.

    Joining comes first. The joined fragment keeps the smallest of the numbers; of a cut one the largest part keeps the
    number, and the others get the next free ones of the bone's band. All other fragments keep their numbers. A cut runs
    where fronts from the points meet, which do not cross border before they have gone everywhere else.

    Args:
        labels: Fragment numbers (z, y, x).
        bones: The bone of each fragment, by its name in the anatomy.
        spacing_mm: Spacing in array order, in millimetres.
        is_border: The border class on the same grid.
        scheme: Bands of the numbers.
        merge: Groups of numbers to be joined.
        split: Fragments to be cut.
        engine: Engine of the fronts.

    Returns:
        The fragments after it.

    Raises:
        UsageError: A number is no fragment, fragments to join are of two bones, or a point is not in its fragment.
        DataError: A band has no free number.
        GridError: The arrays differ in shape.
    """
    check_label_array(labels, "labels")
    check_same_shape(labels, is_border, ("labels", "border"))
    spacing = check_spacing(spacing_mm)
    result = labels.astype(np.uint16)
    known, decisions = dict(bones), []
    for group in merge:
        _check_known(group, known)
        of = {known[number] for number in group}
        if len(set(group)) < 2 or len(of) > 1:
            raise UsageError(
                f"fragments {', '.join(map(str, group))} cannot be joined: two or more of one bone are needed; these "
                f"are of {', '.join(sorted(of))}"
            )
        keep = min(group)
        for number in set(group) - {keep}:
            result[result == number] = keep
            del known[number]
        decisions.append(f"joined by hand: {', '.join(map(str, sorted(set(group))))} became {keep}")
    for cut in split:
        _check_known([cut.label], known)
        parts = _cut(result == cut.label, is_border, cut, spacing, engine)
        sizes = np.bincount(parts.ravel())[1:]
        order = np.argsort(-sizes, kind="stable") + 1
        numbers = [cut.label, *_free(scheme, cut.label, known, len(order) - 1)]
        for part, number in zip(order.tolist(), numbers, strict=True):
            result[parts == part] = number
            known[number] = known[cut.label]
        decisions.append(f"cut by hand: {cut.label} became {', '.join(map(str, numbers))}")
    return Correction(result, known, tuple(decisions))


def regrow(
    seeds: NDArray[Any],
    labels: NDArray[Any],
    bones: Mapping[int, str],
    spacing_mm: Sequence[float],
    *,
    classes: NDArray[Any],
    anatomy: NDArray[Any],
    scheme: LabelScheme,
    engine: Engine = "fmm",
) -> Correction:
    """Grow fragments anew from an edited label volume.

    What is painted stays as it is painted, bone or not. Bone of the classes that had a fragment and is not painted goes
    to the painted number of its bone whose front reaches it first; fronts cross border last. Bones without any paint
    keep their fragments, as does bone that no front reaches.

    Args:
        seeds: Fragment numbers as painted (z, y, x).
        labels: Fragments before it.
        bones: The bone of each of these, by its name in the anatomy.
        spacing_mm: Spacing in array order, in millimetres.
        classes: ABBC classes.
        anatomy: Whole bones, by the scheme's numbers.
        scheme: Bands of the numbers.
        engine: Engine of the fronts.

    Returns:
        The fragments after it.

    Raises:
        SchemeError: A painted number is in no band.
        DataError: Nothing is painted.
        GridError: The arrays differ in shape.
    """
    check_label_array(seeds, "seeds")
    for array, name in ((labels, "labels"), (classes, "ABBC classes"), (anatomy, "anatomy")):
        check_same_shape(seeds, array, ("seeds", name))
    spacing = check_spacing(spacing_mm)
    numbers = [int(number) for number in np.unique(seeds) if number]
    scheme.check_ids(numbers)
    if not numbers:
        raise DataError("the edited labels are empty; paint at least one fragment")
    known = dict(bones)
    result = np.zeros(seeds.shape, np.uint16)
    for bone in scheme.bones:
        mine = [number for number in numbers if number in bone.band]
        before = [number for number in known if number in bone.band]
        if not mine:
            result[np.isin(labels, before)] = labels[np.isin(labels, before)]
            continue
        grown = np.where(np.isin(seeds, mine), seeds, 0).astype(np.int32)
        domain = (np.isin(labels, before) | (grown > 0)) & ((seeds == 0) | (grown > 0))
        box = bounding_box(domain)
        assert box is not None
        part = tuple(np.pad(array[box], 1) for array in (grown, domain, classes == ABBC.BORDER))
        owners, inside, wall = part
        grow(owners, inside & ~wall, spacing, engine)
        grow(owners, inside, spacing, engine)
        found = owners[1:-1, 1:-1, 1:-1]
        rest = (found == 0) & domain[box]
        found[rest] = np.where(np.isin(labels[box][rest], mine), labels[box][rest], mine[0])
        result[box] = np.where(found > 0, found, result[box])
        for number in before:
            del known[number]
        for number in mine:
            known[number] = _part_of(anatomy[seeds == number], scheme, bone.parts)
    result[seeds > 0] = seeds[seeds > 0]
    text = ", ".join(map(str, numbers))
    return Correction(result, known, (f"grown anew from painted seeds: {text}",))


def _part_of(votes: NDArray[Any], scheme: LabelScheme, parts: Sequence[str]) -> str:
    """Return the part of a bone (the left or the right femur, say) that most of a fragment's voxels lie in."""
    return max(parts, key=lambda name: int((votes == scheme.anatomy[name]).sum()))


def _check_known(numbers: Sequence[int], known: Mapping[int, str]) -> None:
    missing = [number for number in numbers if number not in known]
    if missing:
        raise UsageError(
            f"there is no fragment {', '.join(map(str, missing))}; there are {', '.join(map(str, sorted(known)))}"
        )


def _cut(
    mask: NDArray[np.bool_], is_border: NDArray[np.bool_], cut: Split, spacing: Sequence[float], engine: Engine
) -> NDArray[np.int32]:
    """Return the parts of a fragment, numbered from 1 by point."""
    if len(cut.points) < 2:
        raise UsageError(f"fragment {cut.label} is cut between points; give two or more of them, with ';' between")
    box = bounding_box(mask)
    assert box is not None
    inside = np.pad(mask[box], 1)
    wall = np.pad(is_border[box], 1)
    owners = np.zeros(inside.shape, np.int32)
    places = [np.asarray(point) - [s.start - 1 for s in box] for point in cut.points]
    for number, place in enumerate(places, 1):
        _seed(owners, number, place, inside, wall, cut.label, spacing)
    if len(np.unique(owners)) <= len(cut.points):
        raise UsageError(f"two points of fragment {cut.label} lie at the same place; move one of them")
    grow(owners, inside & ~wall, spacing, engine)
    grow(owners, inside, spacing, engine)
    rest = inside & (owners == 0)
    if rest.any():  # pieces that no front reaches go to the nearest point's part
        distances = [np.linalg.norm((np.argwhere(rest) - place) * np.asarray(spacing), axis=1) for place in places]
        owners[rest] = np.argmin(distances, axis=0) + 1
    result = np.zeros(mask.shape, np.int32)
    result[box] = owners[1:-1, 1:-1, 1:-1]
    return result


def _seed(
    owners: NDArray[np.int32],
    number: int,
    place: NDArray[np.float64],
    inside: NDArray[np.bool_],
    wall: NDArray[np.bool_],
    label: int,
    spacing: Sequence[float],
) -> None:
    """Let a point seed the voxels round it that no border parts from it and no other point has; changed in place."""
    voxels = np.argwhere(inside)
    distance = np.linalg.norm((voxels - place) * np.asarray(spacing), axis=1)
    if distance.min() > POINT_MM:
        raise UsageError(f"point {number} is {distance.min():.1f} mm away from fragment {label}; give points inside it")
    near = distance <= max(POINT_MM, float(distance.min()) + 1e-6)
    ball = np.zeros(inside.shape, bool)
    ball[tuple(voxels[near].T)] = True
    free = ball & ~wall if (ball & ~wall).any() else ball
    parts = cc3d.connected_components(free, connectivity=6)
    order = np.argsort(distance[near], kind="stable")
    nearest = next(int(part) for part in parts[tuple(voxels[near][order].T)] if part)
    owners[(parts == nearest) & (owners == 0)] = number


def _free(scheme: LabelScheme, label: int, known: Mapping[int, str], count: int) -> list[int]:
    """Return the next free numbers of a fragment's band."""
    bone = scheme.bone_of(label)
    free = [number for number in bone.band if number not in known]
    if len(free) < count:
        raise DataError(
            f"the band {bone.first_id}-{bone.last_id} of '{bone.name}' has no number for {count} more fragments; join "
            "others, or take a scheme with more room (--scheme)"
        )
    return free[:count]
