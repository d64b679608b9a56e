"""Make a procedural fractured pelvis: fragment labels, anatomy and CT, the same anatomy at any spacing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen._drawing import draw_body, draw_broken_bone, join_specks
from label_gen._fractures import break_bone
from label_gen._numbering import number_fragments
from label_gen._pelvis import draw_lumbar_spine, draw_pelvis
from label_gen._phantom_ct import render_ct
from label_gen._sampling import SampleGrid
from label_gen.errors import UsageError
from label_gen.scheme import Bone, LabelScheme

__all__ = ["BONE_NAMES", "PHANTOM_SCHEME", "Phantom", "make_phantom"]

BONE_NAMES = ("sacrum", "left_hip", "right_hip", "left_femur", "right_femur")
"""The bones of the phantom."""

PHANTOM_SCHEME = LabelScheme(
    name="pengwin2024",
    bones=(Bone("sacrum", 1, 10), Bone("left_hip", 11, 20), Bone("right_hip", 21, 30)),
    anatomy={name: number for number, name in enumerate(BONE_NAMES, start=1)},
    description="Ten fragment numbers each for the sacrum and the two hip bones; femora carry none.",
)
"""The scheme used when none is given."""

CENTRE_MM = (0.0, 23.0, 27.0)
"""Centre x, y, z of the field of view. Source: chosen here, so that the pelvis lies in the middle."""

FEMUR_LOWEST_MM = CENTRE_MM[2] - 135.0
"""Height below which femora are not broken. Source: chosen here, the lower end of the usual field of view."""

COUNTS = {"sacrum": (0.35, 0.4, 0.18, 0.07), "hip": (0.1, 0.25, 0.3, 0.2, 0.1, 0.05), "femur": (0.8, 0.2)}
"""Probabilities of 1, 2, 3, ... fragments. Source: chosen here; harder than the 5.75 pieces of a mean clinical case."""

TOTAL = range(5, 14)
"""Fragments in a case whose counts are drawn."""


@dataclass(frozen=True)
class Phantom:
    """A fractured pelvis on a grid.

    Attributes:
        ct: Hounsfield units, int16 (z, y, x), or None.
        labels: Fragment numbers of the scheme, uint8 or uint16 (z, y, x), 0 elsewhere.
        anatomy: Bones by the scheme's anatomy numbers, uint8 (z, y, x), 0 elsewhere.
        spacing_mm: Voxel size in array order z, y, x.
        origin_mm: Centre of the first voxel in the LPS world, in the order x, y, z.
        scheme: Scheme of the numbers.
    """

    ct: NDArray[np.int16] | None
    labels: NDArray[np.unsignedinteger[Any]]
    anatomy: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    scheme: LabelScheme


def make_phantom(
    seed: int,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    scheme: LabelScheme = PHANTOM_SCHEME,
    fragments: Mapping[str, int] | None = None,
    field_of_view_mm: tuple[float, float, float] = (270.0, 220.0, 330.0),
    with_femora: bool = True,
    with_ct: bool = True,
) -> Phantom:
    """Make a fractured pelvis.

    Anatomy and fractures are formulas in world millimetres drawn from the seed alone: the same seed at another spacing
    or field of view is the same patient. Array order is z (up), y (back), x (left); direction is the identity in LPS.

    Args:
        seed: Seed of everything random, from 0.
        spacing_mm: Voxel size in array order z, y, x, 0.3 to 3 mm.
        scheme: Fragment numbers and anatomy numbers to use. Bones without a band carry no fragment numbers but stay
            in CT and anatomy. A scheme that knows none of the phantom's bones gets all of them as its first bone.
        fragments: Fragments wanted per bone name (1 to 6); bones not named, or None, are drawn, 5 to 13 in all.
        field_of_view_mm: Size of the volume in array order.
        with_femora: Whether the femora are there.
        with_ct: Whether to render the CT, which takes longer than the labels.

    Returns:
        The phantom. Every fragment is one 26-connected piece; the largest of each band has the lowest number.

    Raises:
        UsageError: The spacing, the field of view, a bone name or a number of fragments makes no sense.
    """
    _check(seed, spacing_mm, field_of_view_mm, fragments)
    grid = SampleGrid.around(CENTRE_MM, field_of_view_mm, spacing_mm)
    bodies = draw_pelvis(np.random.default_rng([seed, 1]))
    counts = _draw_counts(np.random.default_rng([seed, 2]), fragments or {})
    owner = np.zeros(grid.shape, np.uint8)
    depth = np.zeros(grid.shape, np.float32) if with_ct else None
    owned: dict[str, range] = {}
    first = 1
    for index, name in enumerate(BONE_NAMES):
        if "femur" in name and not with_femora:
            continue
        lowest = FEMUR_LOWEST_MM if "femur" in name else -np.inf
        bone = break_bone(bodies[name], counts[name], np.random.default_rng([seed, 3, index]), lowest)
        owned[name] = range(first, first + len(bone.poses))
        box = draw_broken_bone(bone, first, grid, owner, depth)
        join_specks(owner[box], owned[name])
        first = owned[name].stop
    to_label, to_anatomy = number_fragments(np.bincount(owner.ravel(), minlength=256), owned, scheme, BONE_NAMES)
    labels, anatomy = to_label[owner], to_anatomy[owner]
    ct = None
    if depth is not None:
        depth[owner == 0] = 0.0
        draw_body(draw_lumbar_spine(np.random.default_rng([seed, 4]), bodies["sacrum"]), grid, owner, depth)
        ct = render_ct(np.random.default_rng([seed, 5]), owner, list(owned.values()), depth, grid)
    return Phantom(ct, labels, anatomy, grid.spacing_mm, grid.origin_mm, scheme)


def _check(
    seed: int, spacing_mm: Sequence[float], field_of_view_mm: Sequence[float], fragments: Mapping[str, int] | None
) -> None:
    """Check the arguments of `make_phantom`."""
    if seed < 0:
        raise UsageError(f"the seed is {seed}; it has to be 0 or more")
    if len(spacing_mm) != 3 or not all(0.3 <= step <= 3.0 for step in spacing_mm):
        raise UsageError(
            f"the spacing is {tuple(spacing_mm)}; three values of 0.3 to 3 mm are expected, in order z, y, x"
        )
    if len(field_of_view_mm) != 3 or not all(10.0 <= size <= 600.0 for size in field_of_view_mm):
        raise UsageError(f"the field of view is {tuple(field_of_view_mm)}; three values of 10 to 600 mm are expected")
    for name, count in (fragments or {}).items():
        if name not in BONE_NAMES:
            raise UsageError(f"the phantom has no bone '{name}'; it has {', '.join(BONE_NAMES)}")
        if not 1 <= count <= 6:
            raise UsageError(f"{count} fragments are wanted of '{name}'; 1 to 6 are possible")


def _draw_counts(rng: np.random.Generator, wanted: Mapping[str, int]) -> dict[str, int]:
    """Draw how many fragments each bone gets, 5 to 13 in all where every number is drawn."""
    while True:
        counts = {}
        for name in BONE_NAMES:
            chances = COUNTS[name.removeprefix("left_").removeprefix("right_")]
            counts[name] = 1 + int(rng.choice(len(chances), p=chances))
        n_pelvis = sum(count for name, count in counts.items() if "femur" not in name)
        if n_pelvis >= TOTAL[0] and sum(counts.values()) <= TOTAL[-1]:
            return counts | dict(wanted)
