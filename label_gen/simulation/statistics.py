"""Counts, sizes and contacts of the fragments of a set of cases, beside those of real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from label_gen.contacts import dilate_6
from label_gen.grid import grow_box
from label_gen.scheme import LabelScheme

__all__ = [
    "CRACK",
    "NEAR_MM",
    "PERCENTILES",
    "TARGETS",
    "FragmentFigures",
    "RealFigures",
    "SetStatistics",
    "measure_fragments",
    "summarise_fragments",
]

NEAR_MM = 6.0
"""Surface is near a neighbour up to this distance of voxel centres. Source: the real figures were measured so."""

CRACK = "crack"
"""Kind of a fracture that parts nothing."""

PERCENTILES = (0, 5, 50, 95, 100)
"""Percentiles of the volumes of minor fragments that are told."""


@dataclass(frozen=True)
class FragmentFigures:
    """What is measured of one fragment.

    Attributes:
        label: Its number in the scheme.
        bone: The bone that the number belongs to; where a band covers several and that is known, which of them.
        volume_mm3: Its volume.
        near_voxels: Voxels of its surface within `NEAR_MM` of another fragment of the bone.
        touching_voxels: Those of them that share a face with that fragment.
    """

    label: int
    bone: str
    volume_mm3: float
    near_voxels: int
    touching_voxels: int


@dataclass(frozen=True)
class SetStatistics:
    """What is told of a set of cases. The largest fragment of a bone is its main one, the others are minor.

    Attributes:
        cases: How many cases.
        bones: The bones that all figures but `shares` and `kinds` are about: those that real figures are known of, or
            all where the set has none of these.
        fragments: How many fragments, unbroken bones counted as one.
        per_case: Number of cases by number of fragments.
        mean_per_case: Fragments per case.
        shares: By bone: of the cases that have the bone, the shares with a 1st, 2nd, 3rd ... fragment, 0 to 1.
        minor_mm3: Volumes of minor fragments by percentile (`PERCENTILES`); empty where there are none.
        minor_volumes_mm3: Volumes of all minor fragments, where they are known, rising.
        contact_share: Of the surface near a neighbour, the share that touches it, 0 to 1, of all cases together; None
            where no bone is broken.
        contact_shares: The same of each case with a broken bone.
        kinds: Number of fractures by kind, where that is known; `crack` is one that parts nothing.
    """

    cases: int
    bones: tuple[str, ...]
    fragments: int
    per_case: Mapping[int, int]
    mean_per_case: float
    shares: Mapping[str, tuple[float, ...]]
    minor_mm3: Mapping[int, float]
    minor_volumes_mm3: tuple[float, ...] = ()
    contact_share: float | None = None
    contact_shares: tuple[float, ...] = ()
    kinds: Mapping[str, int] = field(default_factory=dict)

    @property
    def kind_shares(self) -> dict[str, float]:
        """Share of each kind in the fractures that part fragments, 0 to 1; empty where that is not known."""
        parting = {kind: count for kind, count in self.kinds.items() if kind != CRACK}
        return {kind: count / sum(parting.values()) for kind, count in parting.items()}

    @property
    def cracks(self) -> int | None:
        """Number of incomplete cracks; None where that is not known."""
        return self.kinds.get(CRACK, 0) if self.kinds else None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain numbers, texts, lists and dictionaries."""
        return asdict(self)


@dataclass(frozen=True)
class RealFigures:
    """What is known of real cases.

    Attributes:
        cases: How many cases.
        fragments: How many fragments, unbroken bones counted as one.
        mean_per_case: Fragments per case.
        range_per_case: Fewest and most fragments of a case.
        most_per_bone: Most fragments of one bone.
        shares: As in `SetStatistics`.
        minor_mm3: As in `SetStatistics`, for the percentiles that are known.
        contact_range: Smallest and largest share of the surface near a neighbour that touches it.
    """

    cases: int
    fragments: int
    mean_per_case: float
    range_per_case: tuple[int, int]
    most_per_bone: int
    shares: Mapping[str, tuple[float, ...]]
    minor_mm3: Mapping[int, float]
    contact_range: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain numbers, texts, lists and dictionaries."""
        return asdict(self)


TARGETS = RealFigures(
    cases=100,
    fragments=575,
    mean_per_case=5.75,
    range_per_case=(3, 9),
    most_per_bone=6,
    shares={
        "sacrum": (1.0, 0.45, 0.07, 0.01),
        "left_hip": (1.0, 0.66, 0.36, 0.11, 0.01, 0.01),
        "right_hip": (1.0, 0.64, 0.34, 0.09),
    },
    minor_mm3={0: 270.0, 5: 1500.0, 50: 22000.0, 100: 109000.0},
    contact_range=(0.28, 0.59),
)
"""What simulated cases are to look like. Source: counts and sizes of the 100 training cases of PENGWIN 2024; contacts
of five fractured pelves."""


def measure_fragments(
    labels: NDArray[np.integer[Any]],
    spacing_mm: Sequence[float],
    scheme: LabelScheme,
    anatomy: NDArray[np.integer[Any]] | None = None,
) -> tuple[FragmentFigures, ...]:
    """Measure the fragments of one case.

    Args:
        labels: Fragment numbers of the scheme (z, y, x), 0 elsewhere.
        spacing_mm: Voxel size in the order z, y, x.
        scheme: Scheme of the numbers.
        anatomy: Bones by the scheme's anatomy numbers, same shape; it tells the sides of a band that covers both. A
            fragment has the bone of its first voxel.

    Returns:
        The fragments, by rising number.

    Raises:
        SchemeError: A number belongs to no bone of the scheme.
    """
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    numbers = np.flatnonzero(sizes)
    scheme.check_ids(numbers)
    boxes = ndimage.find_objects(labels)
    voxel_mm3 = float(np.prod([float(step) for step in spacing_mm]))
    margin = [int(np.ceil(NEAR_MM / step)) for step in spacing_mm]
    names = {number: name for name, number in scheme.anatomy.items()}
    figures = []
    for bone in scheme.bones:
        own = [int(number) for number in numbers if number in bone.band]
        for number in own:
            near = touching = 0
            if len(own) > 1:
                part = labels[grow_box(boxes[number - 1], margin, labels.shape)]
                is_own = part == number
                is_other = (part >= bone.first_id) & (part <= bone.last_id) & ~is_own
                near, touching = _contact(is_own, is_other, spacing_mm)
            name = bone.name
            if anatomy is not None and len(bone.parts) > 1:
                box = boxes[number - 1]
                name = names.get(int(anatomy[box][labels[box] == number][0]), name)
            figures.append(FragmentFigures(number, name, float(sizes[number]) * voxel_mm3, near, touching))
    return tuple(figures)


def _contact(is_own: NDArray[np.bool_], is_other: NDArray[np.bool_], spacing_mm: Sequence[float]) -> tuple[int, int]:
    """Count the surface voxels of a fragment that are near the others of its bone, and those that touch them."""
    if not is_other.any():
        return 0, 0
    distance = edt.edt(~is_other, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
    is_near = is_own & dilate_6(~is_own) & (distance <= NEAR_MM)
    return int(np.count_nonzero(is_near)), int(np.count_nonzero(is_near & dilate_6(is_other)))


def summarise_fragments(
    cases: Sequence[Sequence[FragmentFigures]], kinds: Sequence[Mapping[str, int]] = ()
) -> SetStatistics:
    """Sum up the figures of a set of cases.

    Args:
        cases: The fragments of each case.
        kinds: Number of fractures by kind, of each case where that is known.

    Returns:
        The statistics of the set.
    """
    there = dict.fromkeys(fragment.bone for case in cases for fragment in case)
    bones = tuple(bone for bone in there if bone in TARGETS.shares) or tuple(there)
    volumes: dict[tuple[int, str], list[float]] = {}
    contacts = []
    sizes = []
    for index, case in enumerate(cases):
        for fragment in case:
            volumes.setdefault((index, fragment.bone), []).append(fragment.volume_mm3)
        counted = [fragment for fragment in case if fragment.bone in bones]
        sizes.append(len(counted))
        near, touching = (sum(getattr(f, name) for f in counted) for name in ("near_voxels", "touching_voxels"))
        if near:
            contacts.append((near, touching))
    shares: dict[str, tuple[float, ...]] = {}
    for bone in there:
        counts = np.array([len(found) for (_, name), found in volumes.items() if name == bone])
        shares[bone] = tuple(float(np.mean(counts >= rank)) for rank in range(1, int(counts.max()) + 1))
    minor = tuple(sorted(v for (_, bone), found in volumes.items() if bone in bones for v in sorted(found)[:-1]))
    total: Counter[str] = Counter()
    for found_kinds in kinds:
        total.update(found_kinds)
    return SetStatistics(
        cases=len(cases),
        bones=bones,
        fragments=sum(sizes),
        per_case=dict(sorted(Counter(sizes).items())),
        mean_per_case=sum(sizes) / max(len(cases), 1),
        shares=shares,
        minor_mm3={rank: float(np.percentile(minor, rank)) for rank in PERCENTILES} if minor else {},
        minor_volumes_mm3=minor,
        contact_share=sum(t for _, t in contacts) / sum(n for n, _ in contacts) if contacts else None,
        contact_shares=tuple(touching / near for near, touching in contacts),
        kinds=dict(sorted(total.items())),
    )
