"""Break a bone: cuts after patterns, then motions along the chain of fragments, then cracks that part nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from label_gen._fractures import PLAN_SPACING_MM, Cut, plan_bone
from label_gen._shapes import Waves
from label_gen.errors import DataError, UsageError
from label_gen.simulation.broken import BrokenSolid, Crack, Fracture
from label_gen.simulation.counts import draw_size
from label_gen.simulation.landmarks import BoneShape
from label_gen.simulation.parting import VOXEL_MM3, Piece, part_off
from label_gen.simulation.patterns import draw_crack, draw_proposals
from label_gen.simulation.placing import contact_of, place_fragments, seams_of
from label_gen.simulation.proposals import Proposal
from label_gen.simulation.settings import SimulationSettings
from label_gen.simulation.solids import Solid
from label_gen.simulation.surfaces import Ball, Rough, Turned, draw_roughness

__all__ = ["BrokenSolid", "Crack", "Fracture", "break_solid"]

TRIES = 40
"""Proposals in a row that may come to nothing before a bone keeps fewer fragments. Source: chosen here."""

CHIPS_MM3 = (300.0, 1500.0)
"""Sizes of chips. Source: 2024's smallest fragments, 0.27 cm3, to their 5th percentile."""

SMALLEST_MM3 = 1500.0
"""Size below which no fragment is made because larger ones did not fit. Source: the 5th percentile of 2024's."""

OFF_TARGET = 2.0
"""Factor by which a fragment may miss the size it was to have. Source: chosen here, small beside the range of sizes."""

LARGEST_SHARE = 0.48
"""Largest part of a fragment that one cut takes away. Source: chosen here: the parent stays the larger one."""

ALIKE = 0.04
"""Fragments whose sizes differ less are made again, so that their order is the same at any spacing. Source: chosen
here, twice what sampling on another grid changes."""

GAP_UNEVENNESS = 0.8
"""Standard deviation of the width of gaps over their mean. Source: chosen here: a closed fracture shows in places."""


def break_solid(
    solid: Solid,
    name: str,
    count: int,
    rng: np.random.Generator,
    settings: SimulationSettings,
    *,
    lowest_mm: float = -np.inf,
    highest_mm: float = np.inf,
    others: Sequence[Solid] = (),
) -> BrokenSolid:
    """Break a bone into fragments.

    All decisions fall on a grid of their own (1.5 mm), so that they do not depend on the grid the bone is drawn on.

    Args:
        solid: The bone.
        name: Its name, which says what patterns it breaks in; any other name breaks anyhow.
        count: Fragments to make.
        rng: Source of all randomness.
        settings: Settings of the simulator.
        lowest_mm: Height z in the world below which no fracture has its middle, for bones that leave the field of view.
        highest_mm: Height above which none has.
        others: Bones around, which fragments should not be moved into.

    Returns:
        The broken bone. It has fewer fragments than wanted where no more of `min_fragment_mm3` fit.

    Raises:
        UsageError: The number of fragments is below 1.
        DataError: The bone is too thin to be there at all.
    """
    if count < 1:
        raise UsageError(f"{count} fragments are wanted of '{name}'; at least 1 is possible")
    planned = plan_bone(solid, -np.inf)
    bone = BrokenSolid(solid, planned.low, planned.plan, name=name, count_wanted=count)
    if not bone.plan.any():
        raise DataError(f"bone '{name}' is thinner than {PLAN_SPACING_MM} mm everywhere; nothing of it can break")
    bone.unevenness = Waves.draw(rng, GAP_UNEVENNESS, (6.0, 50.0), 8)
    if count == 1:
        return bone
    shape = BoneShape.of(name, bone, (lowest_mm, highest_mm))
    patterns: list[str] = []
    targets = _draw_targets(rng, bone, count - 1, settings)
    failures = 0
    while len(bone.cuts) < count - 1 and failures < TRIES:
        shrunk = 0.75 ** (failures // 5)
        wanted = [max(size * shrunk, min(size, SMALLEST_MM3)) for size in targets[len(bone.cuts) :]]
        failures += 1
        for proposal in draw_proposals(rng, shape, wanted, failures - 1, seams_of(bone)):
            if len(bone.cuts) < count - 1 and _try_cut(bone, shape, proposal, rng, settings):
                patterns.append(proposal.pattern)
                failures = 0
    place_fragments(bone, patterns, rng, settings, others)
    for _ in range(int(rng.poisson(settings.crack_rate))):
        _crack(bone, shape, rng, settings)
    return bone


def _draw_targets(rng: np.random.Generator, bone: BrokenSolid, count: int, settings: SimulationSettings) -> list[float]:
    """Draw the sizes of the smaller fragments, the largest first; together they leave the largest its share."""
    whole = np.count_nonzero(bone.plan) * VOXEL_MM3
    sizes = np.array([draw_size(rng) for _ in range(count)])
    n_chips = min(int(rng.poisson(settings.chip_rate)), count)
    chips = np.exp(rng.uniform(np.log(CHIPS_MM3[0]), np.log(CHIPS_MM3[1]), n_chips))
    sizes[:n_chips] = chips
    sizes = np.minimum(sizes, 0.45 * whole)
    sizes *= min(1.0, 0.7 * whole / sizes.sum())
    return sorted((float(max(size, 1.1 * settings.min_fragment_mm3)) for size in sizes), reverse=True)


def _try_cut(
    bone: BrokenSolid,
    shape: BoneShape,
    proposal: Proposal,
    rng: np.random.Generator,
    settings: SimulationSettings,
) -> bool:
    """Make a cut if both fragments are large enough, in one piece, and of sizes of their own."""
    surface = Rough(proposal.surface, draw_roughness(rng, proposal.roughness_mm))
    parent = shape.fragment_at(bone, proposal.seed)
    target = proposal.target_mm3
    if target is not None and target > np.count_nonzero(bone.plan == parent) * VOXEL_MM3:
        return False
    piece = part_off(
        bone, parent, surface, seed=proposal.seed, target_mm3=proposal.target_mm3, slack_mm=proposal.slack_mm
    )
    if piece is None or not _is_sound(bone, parent, piece, settings.min_fragment_mm3):
        return False
    if target is not None and not 1 / OFF_TARGET < piece.size_mm3 / target < OFF_TARGET:
        return False
    before = bone.plan[piece.box].copy()
    bone.plan[piece.box][piece.is_new] = len(bone.cuts) + 2
    contact = contact_of(bone, len(bone.cuts) + 2)
    if contact is None or not shape.heights_mm[0] <= contact.centre[2] <= shape.heights_mm[1]:
        bone.plan[piece.box] = before
        return False
    bone.cuts.append(Cut(parent, piece.surface, piece.chosen, piece.added))
    return True


def _is_sound(bone: BrokenSolid, parent: int, piece: Piece, smallest_mm3: float) -> bool:
    """Return whether both fragments are large enough and no two of the bone are nearly the same size."""
    sizes = np.bincount(bone.plan.ravel())[1:] * VOXEL_MM3
    new, rest = piece.size_mm3, float(sizes[parent - 1]) - piece.size_mm3
    if new < smallest_mm3 or rest < smallest_mm3 or new > rest / (1 - LARGEST_SHARE) * LARGEST_SHARE:
        return False
    every = np.sort(np.concatenate([np.delete(sizes, parent - 1), [new, rest]]))
    # Among many fragments the order by size cannot be kept; then those of nearly the same size stay.
    return len(every) > 6 or bool(np.all(every[1:] > (1 + ALIKE) * every[:-1]))


def _crack(bone: BrokenSolid, shape: BoneShape, rng: np.random.Generator, settings: SimulationSettings) -> None:
    """Add a crack, or with `label_cracks` a cut where the bone does not move."""
    proposal, centre, radius = draw_crack(rng, shape)
    surface = Rough(proposal.surface, draw_roughness(rng))
    fragment = shape.fragment_at(bone, centre)
    gap = float(rng.uniform(0.15, 0.7))
    if not settings.label_cracks:
        bone.cracks += (Crack(fragment, surface, Ball(centre, radius), gap),)
        bone.fractures += (Fracture(bone.name, proposal.pattern, "crack", fragment, fragment, gap),)
        return
    waves = surface.roughness
    other = Rough(Turned(surface.smooth), Waves(waves.vectors, waves.phases, -waves.amplitudes))
    pieces = [part_off(bone, fragment, side) for side in (surface, other)]
    sound = [p for p in pieces if p is not None and _is_sound(bone, fragment, p, settings.min_fragment_mm3)]
    if not sound:
        return
    piece = sound[0]
    number = len(bone.cuts) + 2
    bone.plan[piece.box][piece.is_new] = number
    bone.cuts.append(Cut(fragment, piece.surface, piece.chosen, piece.added))
    bone.poses.append(bone.poses[fragment - 1])
    bone.frames.append(bone.frames[fragment - 1])
    bone.fractures += (Fracture(bone.name, proposal.pattern, "crack", fragment, number, gap),)
