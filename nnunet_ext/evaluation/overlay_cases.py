"""The cases of an overlay page: which are shown, and what of each, reference and predictions as one label volume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import fastremap
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from label_gen.errors import DataError, UsageError
from label_gen.grid import bounding_box, enclose, grow_box
from nnunet_ext.evaluation.score_values import better
from nnunet_ext.preparation.orientation import turned_to_lps
from nnunet_ext.report.excerpt import MARGIN_MM, Excerpt, take_excerpt
from nnunet_ext.segmentation.frames import crop
from nnunet_ext.volumes import Volume, check_same_grid, read_labels, read_volume

__all__ = ["OverlayCase", "ShownCase", "choose_cases", "read_case"]


@dataclass(frozen=True)
class OverlayCase:
    """A case to be shown; volumes that are given as files are read only if it is.

    Attributes:
        name: Its name.
        reference: True labels.
        predictions: Predicted labels by the name of the model, at least one, all on the grid of the reference.
        ct: Hounsfield units on that grid, or None.
        score: What puts cases in order, the mean over the models, say; None or NaN where there is none.
    """

    name: str
    reference: Volume | str | Path
    predictions: Mapping[str, Volume | str | Path]
    ct: Volume | str | Path | None = None
    score: float | None = None


@dataclass(frozen=True)
class ShownCase:
    """What is shown of a case.

    Attributes:
        excerpt: The part round the labels; its numbers are places in `kinds`, counted from 1.
        kinds: Every combination of labels that voxels of the case have: the reference's, then each prediction's.
        counts: Voxels of each kind in the whole volume.
        voxel_mm3: Volume of one of these.
        spacing_mm: Voxel size of the whole volume, axes as in the excerpt.
    """

    excerpt: Excerpt
    kinds: tuple[tuple[int, ...], ...]
    counts: tuple[int, ...]
    voxel_mm3: float
    spacing_mm: tuple[float, float, float]


def choose_cases(cases: Sequence[OverlayCase], metric: str, worst: int, best: int) -> list[tuple[OverlayCase, str]]:
    """Return the worst cases, worst first, and then the best, best first, each with its place in words.

    Args:
        cases: All cases.
        metric: What the scores are, `dice`, say: it tells whether the higher or the lower is better.
        worst: How many of the worst.
        best: How many of the best, of those that are left.

    Returns:
        The cases. Those without a score come after those with one, as far as there is room.

    Raises:
        UsageError: A number is negative, both are 0, or two cases have one name.
    """
    if worst < 0 or best < 0 or worst + best < 1:
        raise UsageError(f"at least one case has to be shown. Got: {worst} of the worst and {best} of the best")
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"cases have to differ in name. Got twice: {', '.join(twice)}")
    way = better(metric)
    keys = {c.name: way * c.score if way else -abs(c.score) for c in cases if c.score is not None and isfinite(c.score)}
    scored = sorted((case for case in cases if case.name in keys), key=lambda case: (keys[case.name], case.name))
    first = scored[: min(worst, max(len(scored) - best, 1))]  # of few cases some are the best too
    last = scored[len(first) :][::-1][:best]
    chosen = [(case, f"worst {rank}" if rank > 1 else "worst") for rank, case in enumerate(first, 1)]
    chosen += [(case, f"best {rank}" if rank > 1 else "best") for rank, case in enumerate(last, 1)]
    unscored = [case for case in cases if case.name not in keys]
    return chosen + [(case, "no score") for case in unscored[: worst + best - len(chosen)]]


def read_case(
    case: OverlayCase, models: Sequence[str], *, labels: Sequence[int] | None, match: bool, max_voxels: int
) -> ShownCase:
    """Read a case and cut out what is shown of it.

    Args:
        case: The case.
        models: Names of the models, in the order of the kinds.
        labels: Labels that are looked at, all others count as background; None for all.
        match: Predicted labels take the numbers of the reference's labels that they overlap most, one to one; those
            that are left over take new numbers.
        max_voxels: As for `take_excerpt`.

    Returns:
        What is shown.

    Raises:
        GridError: The volumes lie on different grids.
        DataError: A volume is no label volume.
        VolumeFileError: A file cannot be read.
        UsageError: A model has no prediction of the case.
    """
    missing = [model for model in models if model not in case.predictions]
    if missing:
        raise UsageError(f"case '{case.name}' has no prediction of {', '.join(missing)}; give one of every model")
    volumes = [_labels(case.reference), *(_labels(case.predictions[model]) for model in models)]
    reference = volumes[0]
    for model, volume in zip(models, volumes[1:], strict=True):
        check_same_grid(volume.grid, reference.grid, f"{case.name}, {model}", f"{case.name}, reference")
    ct = read_volume(case.ct) if isinstance(case.ct, str | Path) else case.ct
    if ct is not None:
        check_same_grid(ct.grid, reference.grid, f"{case.name}, CT", f"{case.name}, reference")
    box = _box(volumes)
    codes, kinds, counts = _combined([volume.array[box] for volume in volumes], labels)
    if match:
        kinds = _matched(kinds, counts)
    excerpt = take_excerpt(
        crop(reference, box).like(codes), None if ct is None else crop(ct, box), max_voxels=max_voxels
    )
    # The numbers of the excerpt are codes; those that coarsening has lost are lost in it only.
    kept = [code - 1 for code in excerpt.numbers]
    order = kept + [place for place in range(len(kinds)) if place not in set(kept)]
    voxel = Volume(np.zeros((1, 1, 1), np.uint8), reference.spacing_mm, direction=reference.direction)
    return ShownCase(
        excerpt,
        tuple(kinds[place] for place in order),
        tuple(counts[place] for place in order),
        math.prod(reference.spacing_mm),
        turned_to_lps(voxel).spacing_mm,
    )


def _labels(volume: Volume | str | Path) -> Volume:
    if isinstance(volume, str | Path):
        return read_labels(volume)
    if volume.array.dtype.kind not in "bui":
        raise DataError(f"labels have to be whole numbers from 0 upward. Got: {volume.array.dtype}")
    return volume


def _box(volumes: Sequence[Volume]) -> tuple[slice, slice, slice]:
    """Return the part that holds all labels, and a margin; the whole volume where there is none."""
    shape, spacing = volumes[0].array.shape, volumes[0].spacing_mm
    boxes = [box for volume in volumes if (box := bounding_box(volume.array)) is not None]
    if not boxes:
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    return grow_box(enclose(boxes), [math.ceil(MARGIN_MM / step) for step in spacing], shape)


def _combined(
    volumes: Sequence[NDArray[Any]], labels: Sequence[int] | None
) -> tuple[NDArray[np.unsignedinteger[Any]], list[tuple[int, ...]], list[int]]:
    """Return volumes as one: codes from 1 where any has a label, what each code stands for, and how many have it."""
    codes: NDArray[Any] = np.zeros(volumes[0].shape, np.uint8)
    kinds: list[tuple[int, ...]] = [()]
    for volume in volumes:
        own = volume.astype(np.uint8) if volume.dtype == bool else volume
        if labels is not None:
            own = fastremap.mask_except(own.copy(), list(labels))
        numbers = [0, *sorted(int(n) for n in fastremap.unique(own) if n)]
        places = fastremap.remap(own, {number: place for place, number in enumerate(numbers)}, in_place=False)
        joined = codes.astype(np.uint32) * len(numbers) + places.astype(np.uint32)
        codes, table = fastremap.renumber(joined, preserve_zero=True)
        found: dict[int, tuple[int, ...]] = {0: (*kinds[0], 0)}
        for old, new in table.items():
            before, place = divmod(int(old), len(numbers))
            found[int(new)] = (*kinds[before], numbers[place])
        kinds = [found[new] for new in range(len(found))]
    counts = np.bincount(codes.ravel(), minlength=len(kinds))
    return codes, kinds[1:], [int(n) for n in counts[1:]]


def _matched(kinds: Sequence[tuple[int, ...]], counts: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the kinds with predicted labels renumbered like the reference's that they overlap most."""
    columns = [[kind[0] for kind in kinds]]
    truths = sorted({kind[0] for kind in kinds if kind[0]})
    for model in range(1, len(kinds[0]) if kinds else 1):
        found = sorted({kind[model] for kind in kinds if kind[model]})
        shared = np.zeros((len(truths), len(found)))
        sizes_true, sizes_found = np.zeros(len(truths)), np.zeros(len(found))
        for kind, count in zip(kinds, counts, strict=True):
            if kind[0]:
                sizes_true[truths.index(kind[0])] += count
            if kind[model]:
                sizes_found[found.index(kind[model])] += count
            if kind[0] and kind[model]:
                shared[truths.index(kind[0]), found.index(kind[model])] += count
        overlap = shared / np.maximum(sizes_true[:, None] + sizes_found[None] - shared, 1)
        table = {0: 0}
        for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[row, column] > 0:
                table[found[column]] = truths[row]
        left = [number for number in found if number not in table]
        start = max([*truths, *found], default=0) + 1
        table |= {number: start + place for place, number in enumerate(left)}
        columns.append([table[kind[model]] for kind in kinds])
    return list(zip(*columns, strict=True))
