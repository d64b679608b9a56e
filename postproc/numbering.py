"""Numbering: the largest fragment of a bone first, within the band of its bone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from label_gen.scheme import LabelScheme
from postproc.events import Event

__all__ = ["RecoveredFragment", "number_fragments"]


@dataclass(frozen=True)
class RecoveredFragment:
    """One fragment.

    Attributes:
        fragment_id: Its number in the label volume.
        bone: Its bone by the anatomy (`bone` where there is none).
        volume_mm3: Its volume.
        is_cut: Whether it reaches the edge of the volume.
    """

    fragment_id: int
    bone: str
    volume_mm3: float
    is_cut: bool


def number_fragments(
    owners: NDArray[np.int32],
    region_of: Sequence[int],
    bones: Mapping[int, str],
    scheme: LabelScheme | None,
    voxel_mm3: float,
    edges: Sequence[tuple[bool, bool]],
) -> tuple[NDArray[np.uint16], tuple[RecoveredFragment, ...], list[Event]]:
    """Number fragments by size, within the bands of a scheme.

    Of more fragments than a band holds, the largest are kept; the others get 0 and are reported.

    Args:
        owners: Provisional fragment numbers (z, y, x), 0 elsewhere.
        region_of: Anatomy number of each provisional fragment (index 0 is background).
        bones: Names of the anatomy numbers.
        scheme: Bands; None numbers all fragments from 1.
        voxel_mm3: Volume of a voxel.
        edges: For each axis, whether the first and the last plane of `owners` lie on the edge of the volume.

    Returns:
        Final number by provisional number, the fragments, and events for what a band could not hold or is cut.
    """
    statistics = cc3d.statistics(np.ascontiguousarray(owners).view(np.uint32))
    sizes = statistics["voxel_counts"].astype(np.int64)
    table = np.zeros(len(region_of), np.uint16)
    band_of = scheme.bone_index_of_anatomy() if scheme else {}
    groups: dict[int, list[int]] = {}
    for number in range(1, len(region_of)):
        groups.setdefault(band_of.get(region_of[number], 0), []).append(number)
    fragments, events = [], []
    for group, members in sorted(groups.items()):
        members.sort(key=lambda n: (-sizes[n], n))
        band = scheme.bones[group].band if scheme else range(1, 65536)
        for number, fragment_id in zip(members, band, strict=False):
            bone = bones[region_of[number]]
            is_cut = any(
                (first and extent.start == 0) or (last and extent.stop == length)
                for (first, last), extent, length in zip(
                    edges, statistics["bounding_boxes"][number], owners.shape, strict=True
                )
            )
            table[number] = fragment_id
            volume = float(sizes[number]) * voxel_mm3
            fragments.append(RecoveredFragment(fragment_id, bone, round(volume, 3), is_cut))
            if is_cut:
                events.append(Event("cut", bone, volume))
        if rest := members[len(band) :]:
            volume = float(sizes[rest].sum()) * voxel_mm3
            events.append(Event("beyond band", bones[region_of[rest[0]]], volume, len(rest)))
    return table, tuple(sorted(fragments, key=lambda f: f.fragment_id)), events
