"""How fragments lie to each other: closed, opened, displaced or impacted, as rigid motions about the fracture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from label_gen._shapes import Pose, rotation_matrix
from label_gen.simulation.settings import FractureKinds

__all__ = ["Contact", "draw_cortex_gap", "draw_gap", "draw_kind", "draw_motion"]

STEP_MM, STEP_MOST_MM = 0.7, 2.5
"""Mean and largest step at the surface of a closed fracture. Source: chosen here; most are below a voxel."""

TURN_DEG, TURN_MOST_DEG = 0.6, 2.0
"""Mean and largest turn of a fragment in a closed fracture. Source: chosen here."""

GAP_SHARE, GAP_MOST_MM = 0.75, 3.0
"""Share of the closed fractures whose contact is darker than bone at all, and the widest gap that this is drawn as.

Source: after five broken bones of three real pelves, where voxels at a contact have 0.56 of the HU of bone of the same
depth 4 to 8 mm away at a depth of 1 to 2 mm, 0.67 at 2 to 4 mm and 0.73 at 4 to 8 mm (medians): labels touch where CT
shows a line, or, in two of the five, nothing. `python -m tests.benchmarks.simulated_hu --real FOLDER` prints both."""

CORTEX_GAP_MOST_MM = 3.6
"""Widest gap of a closed fracture in the cortex. Source: as above; the broken cortex gives closed fractures away."""

HINGED_SHARE = 0.45
"""Share of the opened fractures that still touch at one edge. Source: chosen here: of the contacts of real fragments
some have a tenth of the voxels in touch that others have."""

NEAREST_MM = 1.2
"""What an opened fracture keeps open where its turn closes it. Source: chosen here, more than a usual voxel."""


@dataclass(frozen=True)
class Contact:
    """Where a fragment meets those it is moved against.

    Attributes:
        centre: Middle of the fracture, x, y, z in mm.
        normal: Unit vector x, y, z out of the others into the fragment; zero where it is held from all sides.
        radius_mm: How far the fracture reaches from its middle.
    """

    centre: NDArray[np.float64]
    normal: NDArray[np.float64]
    radius_mm: float


def draw_kind(rng: np.random.Generator, kinds: FractureKinds) -> str:
    """Draw `closed`, `opened`, `displaced` or `impacted` by their weights."""
    names = ("closed", "opened", "displaced", "impacted")
    weights = np.array([getattr(kinds, name) for name in names], float)
    return names[int(rng.choice(4, p=weights / weights.sum()))]


def draw_gap(rng: np.random.Generator, kind: str) -> float:
    """Draw the mean width of the gap in mm that is left where a fragment touches: 0 unless closed."""
    is_open = rng.random() < GAP_SHARE
    width = GAP_MOST_MM * float(rng.beta(1.8, 2.4))
    return width if kind == "closed" and is_open else 0.0


def draw_cortex_gap(rng: np.random.Generator) -> float:
    """Draw how much wider in mm the gap of a closed fracture is where it breaks the cortex."""
    return CORTEX_GAP_MOST_MM * float(rng.beta(2.0, 3.0))


def draw_motion(rng: np.random.Generator, kind: str, contact: Contact, strength: float = 1.0) -> Pose:
    """Draw the motion of a fragment against its neighbours.

    Args:
        rng: Source of all randomness.
        kind: `closed`: aside by up to 2.5 mm, mostly less than 1, and a turn below 2 degrees. `opened`: 1.5 to 5 mm
            apart, up to 4 degrees, or open to one side like a hinge. `displaced`: 5 to 20 mm, mostly apart or aside,
            up to 20 degrees. `impacted`: 1 to 4 mm into the others, up to 4 degrees.
        contact: Where the fracture is.
        strength: Factor of the whole motion, from 0.

    Returns:
        The motion from the place where fragment and neighbours fit.
    """
    normal = contact.normal
    aside = rng.normal(size=3)
    aside -= (aside @ normal) * normal
    aside /= np.linalg.norm(aside)
    axis = rng.normal(size=3)
    first, second, third = rng.random(3)
    radius = max(contact.radius_mm, 5.0)
    if kind == "closed":
        shift = min(-np.log(1.0 - first) * STEP_MM, STEP_MOST_MM) * aside
        turn = min(-np.log(1.0 - second) * TURN_DEG, TURN_MOST_DEG)
    elif kind == "opened" and third < HINGED_SHARE:
        axis = np.cross(normal, aside) + 0.2 * axis
        turn = float(np.clip(np.degrees((1.5 + 2.5 * first) / radius), 1.0, 6.0))
        shift = float(np.radians(turn)) * radius * (0.6 + 0.3 * second) * normal + 0.5 * aside
    elif kind == "opened":
        apart = 1.5 + 3.5 * first**1.5
        shift = apart * normal + (third - 0.5) * 2.0 * aside
        turn = min(0.3 + 3.7 * second, max(float(np.degrees((apart - NEAREST_MM) / radius)), 0.2))
    elif kind == "displaced":
        tilt = np.radians(75.0) * third
        shift = (5.0 + 15.0 * first**2) * (np.cos(tilt) * normal + np.sin(tilt) * aside)
        turn = 2.0 + 18.0 * second**1.5
    else:
        shift = -(1.0 + 3.0 * first) * normal + (third - 0.5) * 2.0 * aside
        turn = 4.0 * second
    return Pose(rotation_matrix(axis, float(np.radians(turn * strength))), contact.centre, strength * shift)
