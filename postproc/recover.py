"""ABBC classes to fragments: seeds, growth, healing and numbering, bone by bone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fastremap
import numpy as np
from numpy.typing import NDArray

from label_gen import ABBC
from label_gen.errors import DataError, UsageError
from label_gen.grid import (
    bounding_box,
    canonical_axes,
    check_label_array,
    check_same_shape,
    check_spacing,
    grow_box,
)
from label_gen.scheme import FREE_SCHEME, LabelScheme
from postproc.events import Event
from postproc.growth import Engine, grow
from postproc.healing import merge_unseparated, split_along_border
from postproc.numbering import RecoveredFragment, number_fragments
from postproc.regions import find_regions
from postproc.seeds import claim_coreless, find_seeds
from postproc.specks import join_islands, merge_small
from postproc.thresholds import Thresholds, thresholds_of

__all__ = ["RecoveredFragments", "recover_fragments"]

WHOLE = 1
"""Region number where no anatomy is given."""


@dataclass(frozen=True)
class RecoveredFragments:
    """Fragments of a case, and what was decided on the way.

    Attributes:
        labels: Uint16 fragment numbers (z, y, x), 0 outside bone.
        fragments: One record per fragment, by number.
        events: Decisions beside the ordinary.
        engine: Engine that was used.
    """

    labels: NDArray[np.uint16]
    fragments: tuple[RecoveredFragment, ...]
    events: tuple[Event, ...]
    engine: str

    @property
    def warnings(self) -> tuple[str, ...]:
        """Events as sentences."""
        return tuple(str(event) for event in self.events)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain types, without the volume."""
        return {
            "engine": self.engine,
            "fragments": [asdict(fragment) for fragment in self.fragments],
            "events": [asdict(event) for event in self.events],
            "warnings": list(self.warnings),
        }


def recover_fragments(
    abbc: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    anatomy: NDArray[Any] | None = None,
    scheme: LabelScheme = FREE_SCHEME,
    engine: Engine = "fmm",
    thresholds: Mapping[str, Thresholds] | None = None,
) -> RecoveredFragments:
    """Recover the fragments from ABBC classes or probabilities.

    Bone by bone: each core component is a seed; all seeds march at once through the bone with the border as walls,
    then once more over the border itself; fragments are cut along border inside them and joined where no border
    parts them; specks go to their neighbour, islands to the nearest fragment; the rest is numbered by size in the
    bone's band. The result does not depend on the order of the axes.

    Args:
        abbc: Integer classes (z, y, x) numbered by `label_gen.ABBC`, or float probabilities (4, z, y, x) in the order
            of those numbers. With probabilities, healing weighs how sure the network was of the border.
        spacing_mm: Voxel spacing in array order (z, y, x), in millimetres.
        anatomy: Integer bone numbers (z, y, x) as named by `scheme.anatomy`. Without it the whole is one region and
            fragments are numbered from 1 by size, without regard to bands.
        scheme: Bones, their anatomy numbers and their bands. Of more fragments than a band holds the largest are
            kept and the others left out; no fragment gets a number of another bone.
        engine: `fmm` (the reference) or `watershed`.
        thresholds: `Thresholds` by ending of the bone's name (`{"femur": ...}`, or `{"": ...}` for all others).

    Returns:
        Fragments, a record of each, and the decisions taken.

    Raises:
        DataError: Classes or probabilities are not what they have to be, or no bone lies in the anatomy.
        GridError: Anatomy and classes differ in shape.
        SchemeError: The anatomy has a number that the scheme does not name.
        UsageError: Spacing or engine is not valid.

    Example:
        >>> import numpy as np
        >>> from label_gen import generate_abbc
        >>> from postproc import recover_fragments
        >>> labels = np.zeros((20, 20, 40), np.uint8)
        >>> labels[2:18, 2:18, 2:20] = 7
        >>> labels[2:18, 2:18, 20:36] = 3
        >>> abbc = generate_abbc(labels, (0.8, 0.8, 0.8)).abbc
        >>> recovered = recover_fragments(abbc, (0.8, 0.8, 0.8))
        >>> [(fragment.fragment_id, round(fragment.volume_mm3)) for fragment in recovered.fragments]
        [(1, 2359), (2, 2097)]
        >>> bool(((recovered.labels == 1) == (labels == 7)).all())
        True
    """
    spacing = check_spacing(spacing_mm)
    if engine not in ("fmm", "watershed"):
        raise UsageError(f"engine must be 'fmm' or 'watershed'. Got: {engine!r}")
    classes = _hard_classes(abbc)
    present: list[int] = []
    if anatomy is not None:
        check_label_array(anatomy, "anatomy")
        check_same_shape(classes, anatomy, ("ABBC classes", "anatomy"))
        present = [int(number) for number in fastremap.unique(anatomy) if number]
    result = np.zeros(classes.shape, np.uint16)
    box = bounding_box(classes)
    if box is None:
        empty = [name for name, number in scheme.anatomy.items() if number in present]
        return RecoveredFragments(result, (), tuple(Event("empty bone", n, 0.0, 0) for n in empty), engine)

    order = canonical_axes(classes[box], spacing)
    work = _padded(classes[box], order)
    spacing = (spacing[order[0]], spacing[order[1]], spacing[order[2]])
    probability = None if abbc.ndim == 3 else _padded(abbc[ABBC.BORDER][box], order)
    events: list[Event] = []
    if anatomy is None:
        regions = (work != 0).view(np.uint8)
        bones = {WHOLE: "bone"}
    else:
        regions, events = find_regions(work, _padded(anatomy[box], order), present, spacing, scheme, thresholds)
        bones = {number: name for name, number in scheme.anatomy.items()}
    owners = np.zeros(work.shape, np.int32)
    region_of: list[int] = [0]
    for number, bone in sorted(bones.items()):
        is_bone = regions == number
        extent = bounding_box(is_bone)
        if extent is None:
            continue
        part = grow_box(extent, 1, work.shape)
        is_bone = np.ascontiguousarray(is_bone[part])
        found, happened = _recover_bone(
            np.where(is_bone, work[part], 0),
            None if probability is None else np.where(is_bone, probability[part], 0),
            spacing,
            engine,
            thresholds_of(bone, thresholds),
            bone,
            can_merge=anatomy is not None,
        )
        events += happened
        voxels = np.flatnonzero(found)
        numbers, number_of = np.unique(found.ravel()[voxels], return_inverse=True)
        owners[part][is_bone] = (number_of + len(region_of)).astype(np.int32)
        region_of += [number] * len(numbers)
    edges = [(box[axis].start == 0, box[axis].stop == classes.shape[axis]) for axis in order]
    table, fragments, happened = number_fragments(
        owners[1:-1, 1:-1, 1:-1], region_of, bones, None if anatomy is None else scheme, float(np.prod(spacing)), edges
    )
    inner = table[owners[1:-1, 1:-1, 1:-1]]
    result[box] = inner.transpose(np.argsort(order))
    return RecoveredFragments(result, fragments, tuple(events + happened), engine)


def _hard_classes(abbc: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the classes of a volume of classes or probabilities, checked."""
    if not isinstance(abbc, np.ndarray) or abbc.dtype.kind != "f":
        check_label_array(abbc, "ABBC classes")
        if (highest := int(abbc.max())) > max(ABBC):
            raise DataError(f"ABBC classes go from 0 to {max(ABBC):d}. Got: {highest}; are these fragment labels?")
        return abbc.astype(np.uint8, copy=False)
    if abbc.ndim != 4 or abbc.shape[0] != len(ABBC) or abbc.size == 0:
        raise DataError(
            f"ABBC probabilities must have shape (4, z, y, x). Got: shape {abbc.shape}; "
            "give classes as integers, or all four channels"
        )
    classes = np.empty(abbc.shape[1:], np.uint8)
    for z in range(abbc.shape[1]):
        plane = abbc[:, z]
        if not (np.isfinite(plane).all() and plane.min() >= -1e-3 and plane.max() <= 1 + 1e-3):
            raise DataError(
                f"ABBC probabilities must lie between 0 and 1. Got: {plane.min()} to {plane.max()} in slice {z}; "
                "give probabilities, not logits"
            )
        classes[z] = plane.argmax(axis=0)
    return classes


def _padded(volume: NDArray[Any], order: Sequence[int]) -> NDArray[Any]:
    """Return a contiguous copy in another axis order with an empty layer all round."""
    result = np.zeros([volume.shape[axis] + 2 for axis in order], volume.dtype)
    result[1:-1, 1:-1, 1:-1] = volume.transpose(order)
    return result


def _recover_bone(
    classes: NDArray[np.uint8],
    probability: NDArray[Any] | None,
    spacing_mm: Sequence[float],
    engine: Engine,
    thresholds: Thresholds,
    bone: str,
    can_merge: bool,
) -> tuple[NDArray[np.int32], list[Event]]:
    """Recover the fragments of one bone in its box; every bone voxel gets a number, in no particular order.

    Without an anatomy two bones may touch without a border, so nothing is joined then for want of one.
    """
    is_bone, is_border = classes != 0, classes == ABBC.BORDER
    evidence: NDArray[Any] = is_border if probability is None else probability
    is_inner = is_bone & ~is_border
    voxel_mm3 = float(np.prod(spacing_mm))
    owners, events = find_seeds(is_inner, classes == ABBC.CORE, voxel_mm3, thresholds, bone)
    grow(owners, is_inner, spacing_mm, engine)
    events += claim_coreless(owners, is_bone, is_inner, voxel_mm3, thresholds, bone)
    grow(owners, is_bone, spacing_mm, engine)
    events += split_along_border(owners, is_border, evidence, spacing_mm, thresholds, bone)
    if can_merge:
        events += merge_unseparated(owners, evidence, spacing_mm, thresholds, bone)
    events += merge_small(owners, spacing_mm, thresholds, bone)
    events += join_islands(owners, is_bone, spacing_mm, thresholds, bone)
    return owners, events
