"""One simulated patient: an anatomy, broken, moved, numbered, and seen in a CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen._numbering import number_fragments
from label_gen._sampling import SampleGrid
from label_gen.errors import DataError, UsageError
from label_gen.phantom import BONE_NAMES, PHANTOM_SCHEME
from label_gen.scheme import LabelScheme
from label_gen.simulation.breaking import BrokenSolid, Fracture, break_solid
from label_gen.simulation.counts import draw_counts
from label_gen.simulation.drawing import draw_broken_solid
from label_gen.simulation.rendering import render_ct
from label_gen.simulation.settings import SimulationSettings
from label_gen.simulation.solids import Solid
from label_gen.simulation.variation import vary_solids
from label_gen.simulation.warped_ct import break_ct

__all__ = ["IntactCT", "SimulatedCase", "simulate_fractures"]

THICK_MM, FINE_MM = 1.6, 1.25
"""Slices further apart than the first are drawn as finer ones, at most the second apart, and seen as thick. Source:
chosen here: thinner slices differ little from what the point spread makes of them."""

FEMUR_LENGTH_MM = 170.0
"""How far below its top a femur may break; the rest leaves most fields of view. Source: chosen here."""


@dataclass(frozen=True)
class IntactCT:
    """A CT of the anatomy before it breaks.

    Attributes:
        array: Hounsfield units (z, y, x), axes along LPS.
        spacing_mm: Voxel size in the order z, y, x.
        origin_mm: Centre of the first voxel, x, y, z in LPS.
    """

    array: NDArray[np.floating[Any] | np.integer[Any]]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]


@dataclass(frozen=True)
class SimulatedCase:
    """A patient with simulated fractures.

    Attributes:
        ct: Hounsfield units, int16 (z, y, x), or None.
        labels: Fragments in the bands of the scheme, the largest of a band first; uint8 or uint16 (z, y, x).
        anatomy: Bones of the broken patient by the scheme's anatomy numbers, uint8 (z, y, x).
        intact_anatomy: Bones before they broke.
        motions: Rigid motion of each fragment by its number in `labels`: 4 x 4, from rest to where it is found, mm LPS.
        fractures: What was done to the bones.
        counts_wanted: Fragments that each bone was to get; fewer are there where no more fit.
        spacing_mm: Voxel size in the order z, y, x.
        origin_mm: Centre of the first voxel, x, y, z in LPS.
        scheme: Scheme of the numbers.
        seed: Seed of everything random.
    """

    ct: NDArray[np.int16] | None
    labels: NDArray[np.unsignedinteger[Any]]
    anatomy: NDArray[np.uint8]
    intact_anatomy: NDArray[np.uint8]
    motions: Mapping[int, NDArray[np.float64]]
    fractures: tuple[Fracture, ...]
    counts_wanted: Mapping[str, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    scheme: LabelScheme
    seed: int = field(default=0)


def simulate_fractures(
    anatomy: Mapping[str, Solid],
    seed: int,
    grid: SampleGrid,
    *,
    scheme: LabelScheme = PHANTOM_SCHEME,
    settings: SimulationSettings | None = None,
    extra: Sequence[Solid] = (),
    ct: IntactCT | None = None,
) -> SimulatedCase:
    """Break the bones of a patient.

    Everything is drawn from the seed alone: the same seed on another grid is the same patient.

    Args:
        anatomy: Bones by name (`sacrum`, `left_hip`, `right_hip`, `left_femur`, `right_femur`).
        seed: Seed of everything random, from 0.
        grid: Where the voxels are; 0.3 to 5 mm between slices, up to 3 mm in them.
        scheme: Fragment numbers and anatomy numbers. A bone without a band stays whole in CT and anatomy.
        settings: What is simulated; None for the defaults.
        extra: Bones that the CT shows and nothing labels.
        ct: CT of the anatomy as it was; it is broken as the bones are. None synthesises one.

    Returns:
        The patient. Every fragment is one 26-connected piece.

    Raises:
        UsageError: The seed, the spacing, a bone's name or a number of fragments makes no sense.
        DataError: No bone lies in the field of view.
    """
    settings = settings or SimulationSettings()
    _check(anatomy, seed, grid, settings, ct)
    if settings.vary_anatomy and ct is None:
        anatomy = vary_solids(anatomy, np.random.default_rng([seed, 1]))
    with_band = [name for name in anatomy if any(name in bone.parts for bone in scheme.bones)]
    counts = draw_counts(np.random.default_rng([seed, 2]), with_band, settings)
    broken = {name: _break(anatomy, name, counts.get(name, 1), seed, settings) for name in anatomy}

    factor = _slice_factor(grid) if settings.with_ct else 1
    fine = _refine(grid, factor)
    owner = np.zeros(fine.shape, np.uint16)
    depth, damage = np.zeros(fine.shape, np.float32), np.zeros(fine.shape, np.float32)
    owned: dict[str, range] = {}
    first = 1
    for name, bone in broken.items():
        owned[name] = range(first, first + len(bone.poses))
        draw_broken_solid(bone, first, fine, owner, depth, damage)
        first = owned[name].stop
    image = None
    if settings.with_ct:
        rng, numbers = np.random.default_rng([seed, 4]), list(owned.values())
        if factor > 1 and settings.slice_thickness_mm is None:
            settings = replace(settings, slice_thickness_mm=grid.spacing_mm[0])
        if ct is None:
            image = render_ct(rng, owner, numbers, depth, damage, fine, settings, extra=extra)
        else:
            image = break_ct(
                rng,
                ct.array,
                ct.spacing_mm,
                ct.origin_mm,
                list(broken.values()),
                list(anatomy.values()),
                owner,
                numbers,
                damage,
                fine,
                settings,
            )
        image = np.ascontiguousarray(image[factor // 2 :: factor])
    owner = owner[factor // 2 :: factor]
    sizes = np.bincount(owner.ravel(), minlength=first)
    if not sizes[1:].any():
        raise DataError("no bone lies in the field of view; check origin and size of the grid")
    to_label, to_anatomy = number_fragments(sizes, owned, scheme, BONE_NAMES)
    motions = {}
    for name, bone in broken.items():
        for number, pose in zip(owned[name], bone.poses, strict=True):
            if to_label[number]:
                matrix = np.eye(4)
                matrix[:3, :3] = pose.rotation
                matrix[:3, 3] = pose.forward(np.zeros((1, 3)))[0]
                motions[int(to_label[number])] = matrix
    return SimulatedCase(
        image,
        to_label[owner],
        to_anatomy[owner],
        _draw_intact(anatomy, grid, scheme),
        dict(sorted(motions.items())),
        tuple(fracture for bone in broken.values() for fracture in bone.fractures),
        counts,
        grid.spacing_mm,
        grid.origin_mm,
        scheme,
        seed,
    )


def _check(
    anatomy: Mapping[str, Solid], seed: int, grid: SampleGrid, settings: SimulationSettings, ct: IntactCT | None
) -> None:
    """Check the arguments of `simulate_fractures`."""
    if seed < 0:
        raise UsageError(f"the seed is {seed}; it has to be 0 or more")
    if not anatomy:
        raise DataError("there is no bone to break: the anatomy is empty")
    for name in (*anatomy, *settings.fragments):
        if name not in BONE_NAMES:
            raise UsageError(f"there is no bone '{name}'; bones are {', '.join(BONE_NAMES)}")
    z, y, x = grid.spacing_mm
    if not (0.3 <= z <= 5.0 and 0.3 <= y <= 3.0 and 0.3 <= x <= 3.0):
        raise UsageError(f"the spacing is {grid.spacing_mm} mm; 0.3 to 5 (z), 0.3 to 3 (y), 0.3 to 3 (x) are possible")
    if ct is not None and max(ct.spacing_mm) > 3.0:
        raise UsageError(f"the CT has voxels of {ct.spacing_mm} mm (z, y, x); at most 3 mm show a fracture")


def _break(anatomy: Mapping[str, Solid], name: str, count: int, seed: int, settings: SimulationSettings) -> BrokenSolid:
    """Break one bone; a femur near its upper end only."""
    solid = anatomy[name]
    lowest = float(solid.bounds()[1][2]) - FEMUR_LENGTH_MM if "femur" in name else -np.inf
    others = [other for key, other in anatomy.items() if key != name]
    rng = np.random.default_rng([seed, 3, BONE_NAMES.index(name)])
    return break_solid(solid, name, count, rng, settings, lowest_mm=lowest, others=others)


def _slice_factor(grid: SampleGrid) -> int:
    """Return of how many finer slices, an odd number, each slice of the CT is made."""
    step = grid.spacing_mm[0]
    half = int(np.ceil((step / FINE_MM - 1.0) / 2.0)) if step > THICK_MM else 0
    return 2 * half + 1


def _refine(grid: SampleGrid, factor: int) -> SampleGrid:
    """Return a grid with slices that are finer by an odd factor, those of the given grid among them."""
    step = grid.spacing_mm[0] / factor
    x, y, z = grid.origin_mm
    shape = (grid.shape[0] * factor, *grid.shape[1:])
    return SampleGrid(shape, (step, *grid.spacing_mm[1:]), (x, y, z - (factor // 2) * step))


def _draw_intact(anatomy: Mapping[str, Solid], grid: SampleGrid, scheme: LabelScheme) -> NDArray[np.uint8]:
    """Draw the unbroken bones by anatomy number, earlier ones before later ones."""
    drawn = np.zeros(grid.shape, np.uint8)
    for name, solid in anatomy.items():
        number = scheme.anatomy.get(name)
        if number is None:
            continue
        for block, points in grid.blocks(grid.box(*solid.bounds())):
            drawn[block][(solid.depth(points) > 0) & (drawn[block] == 0)] = number
    return drawn
