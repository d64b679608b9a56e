"""What is told of fragments: names, statistics, confidence and surfaces, from labels and what they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError
from label_gen.scheme import LabelScheme
from nnunet_ext.segmentation.clock import Clock
from nnunet_ext.segmentation.settings import Settings
from nnunet_ext.segmentation.work import Work
from nnunet_ext.volumes import Volume

if TYPE_CHECKING:
    from nnunet_ext.fragment_names import FragmentName
    from postproc.surfaces import FragmentSurface

__all__ = ["Products", "make_products"]


@dataclass(frozen=True)
class Products:
    """What is told of the fragments of a case.

    Attributes:
        labels: The fragments in the CT's own voxels, in the box round the bones.
        names: Name of each fragment.
        statistics: As `statistics.json` has them.
        surfaces: One per fragment, LPS millimetres; empty if none were wanted.
        warnings: What the reader has to know.
    """

    labels: Volume
    names: Mapping[int, FragmentName]
    statistics: Mapping[str, Any]
    surfaces: tuple[FragmentSurface, ...]
    warnings: tuple[str, ...]


def make_products(
    work: Work,
    labels: NDArray[Any],
    bones: Mapping[int, str],
    *,
    scheme: LabelScheme,
    settings: Settings,
    decisions: Sequence[str],
    clock: Clock,
) -> Products:
    """Take fragments to the CT's own voxels, name and measure them, and make their surfaces.

    Args:
        work: What they were recovered from.
        labels: Fragments on the model's grid.
        bones: The bone of each fragment.
        scheme: Scheme of the numbers.
        settings: Which products are wanted.
        decisions: What was merged, split, dropped.
        clock: Times the stages.

    Raises:
        DataError: There is no fragment.
    """
    from nnunet_ext.fragment_names import name_fragments
    from nnunet_ext.statistics import make_statistics
    from postproc.confidence import interface_confidence

    if not labels.any():
        raise DataError(
            "the ABBC model finds no bone where stage 1 has bones; look at the CT (is it in HU?), and at stage 1 by "
            "abbc-segment-bones"
        )
    with clock.stage("back to the CT"):
        found = work.on_ct(labels)
    present = [int(number) for number in np.unique(found.array) if number]
    before = sorted(bones)
    warnings = []
    if lost := [number for number in before if number not in present]:
        reason = "too small for the voxels of the CT" if work.limits is None else "outside of the exact bones"
        warnings.append(f"{reason}, left out: {', '.join(map(str, lost))}")
    names = name_fragments(present, scheme, bones={number: bones[number] for number in present})
    with clock.stage("statistics"):
        confidence = interface_confidence(labels, work.probabilities, work.bones.spacing_mm, bones=bones)
        statistics = make_statistics(
            found, names, ct=work.ct, confidence=confidence, events=decisions, scheme=scheme.name
        )
    surfaces: tuple[FragmentSurface, ...] = ()
    if settings.meshes:
        from nnunet_ext.meshes import make_meshes
        from nnunet_ext.meshes.files import doubts_of, mesh_table

        with clock.stage("surfaces"):
            surfaces = make_meshes(found, clearance_mm=settings.clearance_mm)
            warnings += [f"surface {doubt}" for doubt in doubts_of(mesh_table(surfaces, names), settings.clearance_mm)]
    return Products(found, names, statistics, surfaces, tuple(warnings))
