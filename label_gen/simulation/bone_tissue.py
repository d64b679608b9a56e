"""What bone looks like in a CT: a cortex of changing thickness, trabeculae, marrow, dense bone at joints, fractures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from label_gen._sampling import SampleGrid
from label_gen._shapes import Points, Waves
from label_gen.simulation.body_landmarks import BodyLandmarks
from label_gen.simulation.texture import Tile

__all__ = ["BLOOD_HU", "BoneMaps", "BoneTissue"]

BLOOD_HU = 60.0
"""Fresh blood in a fracture. Source: textbook value, 50 to 70."""

COMPRESSED_HU = 420.0
"""What bone that is pushed together fully gains. Source: chosen here: an impacted fracture of the table in the design
notes has 512 to 546 at the contact beside 140 to 280 elsewhere."""

CORTEX_MM = {"sacrum": 0.55, "hip": 0.75, "femur": 0.95, "spine": 0.6}
"""Thickness of the cortex by kind of bone. Source: chosen here, so that rendered bones have the profile by depth of
real ones (`tests/benchmarks/simulated_hu.py`); textbooks give about 1 mm for the sacrum and the iliac wing."""

SHAFT_BELOW_TOP_MM, SHAFT_CORTEX_MM = (0.0, 45.0, 70.0, 100.0, 140.0), (0.9, 1.2, 2.4, 4.4, 5.8)
"""Thickness of a femur's cortex by the height below its top. Source: textbook values, 4 to 7 mm in the shaft."""

FEMUR_MARROW = (1.5, 1.4, 0.7, 0.35, 0.1)
"""Density of the trabeculae of a femur at the same heights: head, neck, trochanters, shaft. Source: chosen here."""

MARROW_HU, TRABECULAR_HU = -45.0, 200.0
"""Fatty marrow, and what the trabeculae of a healthy adult add. Source: chosen here, after the same profile."""


@dataclass(frozen=True)
class BoneMaps:
    """How bone changes from place to place, on the coarse grid, float32 (z, y, x).

    Attributes:
        cortex_mm: Usual thickness of the cortex.
        trabeculae: Density of the trabeculae as a share of the skeleton's mean.
        joint_mm: Distance to the nearest other bone.
    """

    cortex_mm: NDArray[np.float32]
    trabeculae: NDArray[np.float32]
    joint_mm: NDArray[np.float32]

    @classmethod
    def of(cls, marks: BodyLandmarks, coarse: SampleGrid) -> BoneMaps:
        """Return the maps of an anatomy."""
        cortex, trabeculae = np.zeros(coarse.shape, np.float32), np.zeros(coarse.shape, np.float32)
        every = (slice(0, coarse.shape[0]), slice(0, coarse.shape[1]), slice(0, coarse.shape[2]))
        x, y, z = coarse.points(every)
        notch, roof = np.zeros(coarse.shape, np.float32), np.zeros(coarse.shape, np.float32)
        for head in marks.heads:
            side = 1.0 if head[0] > marks.middle_x else -1.0
            # Loads run from the sacrum past the sciatic notch to the roof of the socket.
            notch += _bell((x, y, z), head + np.array([-16.0 * side, 30.0, 48.0]), 24.0)
            roof += _bell((x, y, z), head + np.array([0.0, 4.0, 34.0]), 20.0)
        for number, kind in enumerate(marks.kinds, start=1):
            is_here = marks.numbers == number
            if not is_here.any():
                continue
            cortex[is_here], trabeculae[is_here] = CORTEX_MM[kind], 1.0
            if kind == "femur":
                below = float(z[is_here].max()) - z[is_here]
                cortex[is_here] = np.interp(below, SHAFT_BELOW_TOP_MM, SHAFT_CORTEX_MM)
                trabeculae[is_here] = np.interp(below, SHAFT_BELOW_TOP_MM, FEMUR_MARROW)
            elif kind == "sacrum":
                # Bodies in the middle are dense; the wings are the emptiest bone of the pelvis.
                aside = np.abs(x[is_here] - np.float32(marks.middle_x))
                trabeculae[is_here] = np.interp(aside, [14.0, 26.0, 46.0, 56.0], [1.1, 0.8, 0.7, 0.95])
            elif kind == "hip":
                cortex[is_here] += 1.5 * np.clip(notch[is_here], 0, 1) + 0.5 * np.clip(roof[is_here], 0, 1)
                trabeculae[is_here] += 0.5 * np.clip(roof[is_here], 0, 1) + 0.2 * np.clip(notch[is_here], 0, 1)
        for field in (cortex, trabeculae):
            # A coarse voxel beside a bone takes the bone's value, so that nothing else is read between them.
            field[:] = np.where(marks.numbers > 0, field, maximum_filter(field, 3))
        cortex = np.maximum(gaussian_filter(np.maximum(cortex, 0.5), 0.7), 0.4)
        return cls(cortex, gaussian_filter(trabeculae, 0.7), marks.second)


@dataclass(frozen=True)
class BoneTissue:
    """The bone of one patient.

    Attributes:
        density: Density of the trabeculae; 1 is a healthy adult, 0.5 osteoporosis.
        cortical_hu: Hounsfield units of compact bone.
        cortex_share: Thickness of the cortex as a share of the usual one.
        texture_hu: Strength of the trabecular texture.
        fine: Texture of single trabeculae.
        coarse: Texture of some millimetres.
        regions: Slow changes of density through the skeleton, standard deviation 1.
        thickness: Slow changes of the cortex, standard deviation 1.
        rim_mm: How far the labels reach beyond the bone, as people and networks draw them.
    """

    density: float
    cortical_hu: float
    cortex_share: float
    texture_hu: float
    fine: Tile
    coarse: Tile
    regions: Waves
    thickness: Waves
    rim_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, spacing_mm: Sequence[float]) -> BoneTissue:
        """Draw the bone of a patient; the spacing only blurs the texture as voxels of that size do."""
        density = float(np.clip(rng.lognormal(np.log(0.95), 0.28), 0.5, 1.6))
        return cls(
            density=density,
            cortical_hu=float(1040.0 * density**0.25 * rng.uniform(0.92, 1.08)),
            cortex_share=float(rng.uniform(0.85, 1.2) * density**0.25),
            texture_hu=float(rng.uniform(38.0, 62.0)),
            # Trabeculae run along the load, more up than across.
            fine=Tile.draw(rng, (0.95, 0.55, 0.55), 0.5, [0.4 * s for s in spacing_mm]),
            coarse=Tile.draw(rng, (2.4, 1.8, 1.8), 1.0),
            regions=Waves.draw(rng, 1.0, (18.0, 90.0), 10),
            thickness=Waves.draw(rng, 1.0, (22.0, 120.0), 10),
            rim_mm=float(rng.uniform(0.25, 0.6)),
        )

    def coverage(self, depth: NDArray[np.float32], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
        """Return which share of voxels is bone, by their depth below the labels' surface in mm."""
        edge = np.float32(np.prod(spacing_mm) ** (1 / 3))
        share: NDArray[np.float32] = np.clip((depth - np.float32(self.rim_mm)) / edge + np.float32(0.5), 0.0, 1.0)
        return share

    def hu(
        self, depth: NDArray[np.float32], points: Points, maps: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Return the Hounsfield units of unbroken bone, before the point spread.

        Args:
            depth: Depth below the outer surface in mm, (n,).
            points: Where, x, y, z in mm, each (n,).
            maps: Usual thickness of the cortex in mm, density of the trabeculae, distance to the nearest other bone in
                mm, each (n,): what `BoneMaps` holds there.

        Returns:
            Hounsfield units, float32 (n,).
        """
        cortex_mm, trabeculae, joint_mm = maps
        fine, coarse, region = self.fine.at(points), self.coarse.at(points), self.regions(points)
        depth = depth - np.float32(self.rim_mm)
        cortex = cortex_mm * self.cortex_share * np.exp(0.52 * self.thickness(points) + 0.1 * coarse)
        cortex = np.maximum(cortex, 0.25)
        below = np.maximum(depth - cortex, 0.0)
        near_joint = np.exp(-joint_mm / 4.0 - below / 5.0)
        bars = self.density * trabeculae * (1.0 + 0.2 * region + 0.5 * np.exp(-below / 2.2)) + 0.8 * near_joint
        marrow = MARROW_HU + TRABECULAR_HU * np.maximum(bars, 0.1)
        marrow += self.texture_hu * (0.4 + 0.6 * np.minimum(bars, 1.5)) * (fine + 0.45 * coarse)
        # Yellow marrow where trabeculae are sparse.
        marrow -= 35.0 * np.maximum(-1.0 - coarse - 0.5 * region, 0.0)
        compact = self.cortical_hu * (1.0 + 0.04 * coarse + 0.06 * fine)
        share = 1.0 / (1.0 + np.exp(np.clip((depth - cortex) / 0.3, -30.0, 30.0)))
        found: NDArray[np.float32] = (marrow + (compact - marrow) * share).astype(np.float32)
        return found

    def broken_hu(self, hu: NDArray[np.float32], damage: NDArray[np.float32], blood_hu: float) -> NDArray[np.float32]:
        """Return bone with fractures: blood where `damage` is 1, denser bone where it is below 0.

        Args:
            hu: Unbroken bone.
            damage: Share of the voxel that is gap, or compression below 0; same shape, -1 to 1.
            blood_hu: What fills a gap.
        """
        gap = np.clip(damage, 0.0, 1.0)
        pressed = np.clip(-damage, 0.0, 1.0)
        room = np.clip((self.cortical_hu - hu) / self.cortical_hu, 0.0, 1.0)
        found: NDArray[np.float32] = hu + np.float32(COMPRESSED_HU) * pressed * room
        found += gap * (np.float32(blood_hu) - found)
        return found


def _bell(points: Points, centre: NDArray[np.float64], radius_mm: float) -> NDArray[np.float32]:
    """Return a smooth bump of height 1."""
    square = sum((p - np.float32(c)) ** 2 for p, c in zip(points, centre, strict=True))
    bell: NDArray[np.float32] = np.exp(-square / np.float32(2.0 * radius_mm**2)).astype(np.float32)
    return bell
