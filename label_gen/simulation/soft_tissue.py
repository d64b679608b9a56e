"""The soft tissue around given bones: skin, fat, muscles and planes of fat, the pelvic cavity, vessels, the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from label_gen._sampling import SampleGrid
from label_gen._shapes import Waves
from label_gen.simulation.body_landmarks import BodyLandmarks
from label_gen.simulation.body_outline import Build, draw_outline
from label_gen.simulation.cavity import NOWHERE_MM, draw_cavity
from label_gen.simulation.fields import COARSE_MM, FieldReader, axes_of
from label_gen.simulation.muscles import Muscles, draw_muscles
from label_gen.simulation.organs import Organ, draw_organs, draw_vessels
from label_gen.simulation.texture import Tile

__all__ = ["AIR_HU", "FAT_HU", "MUSCLE_HU", "SoftTissue", "draw_soft_tissue"]

AIR_HU, FAT_HU, MUSCLE_HU, SKIN_HU, CARTILAGE_HU = -1000.0, -104.0, 54.0, 15.0, 75.0
"""Hounsfield units. Source: textbook values."""

SKIN_MM = 1.8
"""Thickness of the skin. Source: textbook value."""

TABLE_HU, TABLE_CORE_HU = -60.0, -930.0
"""The shell and the inside of the table. Source: chosen here, carbon fibre over foam after the point spread."""


@dataclass(frozen=True)
class SoftTissue:
    """The soft tissue of one patient on the coarse grid; depths in mm, positive inside, float32 (z, y, x).

    Attributes:
        skin: Depth below the skin.
        muscle: Depth below the outermost fascia.
        muscles: The planes of fat between muscles.
        plane_mm: Half the thickness of these planes.
        unevenness: Random smooth field, standard deviation 1.
        mottle: Texture of some millimetres.
        joint: Depth in the space between two bones.
        blood: Share of blood that a fracture has left there, 0 to 1.
        cavity: Depth in the pelvic cavity and in the fat below its floor.
        organs: What lies in it and elsewhere, later ones over earlier ones.
        muscle_hu: Hounsfield units of muscle.
        blood_hu: Hounsfield units of blood.
        table_y: Height of the middle of the table's surface, y in mm.
        middle_x: Middle of the table, x in mm.
    """

    skin: NDArray[np.float32]
    muscle: NDArray[np.float32]
    muscles: Muscles
    plane_mm: NDArray[np.float32]
    unevenness: NDArray[np.float32]
    mottle: Tile
    joint: NDArray[np.float32]
    blood: NDArray[np.float32]
    cavity: NDArray[np.float32]
    organs: tuple[Organ, ...]
    muscle_hu: float
    blood_hu: float
    table_y: float
    middle_x: float

    def slab(self, reader: FieldReader, start: int, stop: int) -> NDArray[np.float32]:
        """Return Hounsfield units in the slices from `start` to `stop` of the fine grid, float32 (z, y, x)."""
        width = np.float32(0.5 / max(0.5, min(reader.grid.spacing_mm[1:])))

        def read(field: NDArray[np.float32]) -> NDArray[np.float32]:
            return reader.slab(field, start, stop)

        def inside(depth: NDArray[np.float32]) -> NDArray[np.float32]:
            share: NDArray[np.float32] = np.clip(depth * width + np.float32(0.5), 0.0, 1.0)
            return share

        uneven, mottle = read(self.unevenness), self.mottle.slab(reader.grid, start, stop)
        fat = np.float32(FAT_HU) + np.float32(4.0) * (uneven + mottle)
        # Muscles, with fat between them.
        gap = self.muscles.reader.slab(self.muscles.planes, start, stop) - read(self.plane_mm)
        flesh = inside(np.minimum(read(self.muscle), gap))
        hu = fat + flesh * (np.float32(self.muscle_hu) + np.float32(3.0) * (uneven + mottle) - fat)
        hu += inside(read(self.cavity)) * (fat - hu)
        for organ in self.organs:
            if organ.touches(reader.grid, start, stop):
                value = np.float32(organ.hu) + np.float32(organ.mottled_hu) * mottle
                hu += inside(read(organ.depth)) * (value - hu)
        blood = read(self.blood)
        hu += blood * (np.maximum(np.float32(self.blood_hu), hu) - hu)
        hu += inside(read(self.joint)) * (np.float32(CARTILAGE_HU) - hu)
        skin = read(self.skin)
        hu += inside(np.float32(SKIN_MM) - skin) * (np.float32(SKIN_HU) - hu)
        body = inside(skin)
        return self._surroundings(reader.grid, body.shape) * (1.0 - body) + body * hu

    def _surroundings(self, grid: SampleGrid, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return air and the table, float32, to be spread over z."""
        x, y, _ = axes_of(grid)
        across = x[None, :] - self.middle_x
        below = y[:, None] - (self.table_y - 0.00105 * across**2)
        hu = np.full((shape[1], shape[2]), AIR_HU, np.float32)
        is_wide = np.abs(across) < 215.0
        hu[is_wide & (below > 0) & (below < 62.0)] = TABLE_CORE_HU
        for shell in (0.0, 60.0):
            share = np.clip(1.6 - np.abs(below - shell), 0.0, 1.0) * is_wide
            hu += (share * (TABLE_HU - hu)).astype(np.float32)
        return hu[None]

    def noise_share(self, reader: FieldReader, start: int, stop: int) -> NDArray[np.float32]:
        """Return the strength of noise: less in air and near the skin, more deep inside the body."""
        skin = reader.slab(self.skin, start, stop)
        share: NDArray[np.float32] = np.clip(np.float32(0.7) + skin * np.float32(0.004), 0.5, 1.35)
        return share


def draw_soft_tissue(
    rng: np.random.Generator,
    marks: BodyLandmarks,
    breaks_mm: NDArray[np.float32],
    reader: FieldReader,
    blood_hu: float,
) -> SoftTissue:
    """Draw soft tissue around bones.

    Args:
        rng: Source of all randomness.
        marks: What the bones tell.
        breaks_mm: Distance to the nearest fracture in mm, coarse.
        reader: Reader of the coarse grid.
        blood_hu: Hounsfield units of blood.

    Returns:
        The soft tissue.
    """
    build = Build.draw(rng)
    coarse = reader.coarse
    points = coarse.points((slice(0, coarse.shape[0]), slice(0, coarse.shape[1]), slice(0, coarse.shape[2])))
    uneven, bulge, thick, leak = (
        Waves.draw(rng, 1.0, lengths, 8) for lengths in ((14.0, 60.0), (40.0, 110.0), (50.0, 150.0), (15.0, 50.0))
    )
    outline = draw_outline(marks, coarse, build)
    spread = float(rng.uniform(0.5, 1.4)) * (0.5 + build.fat_mm / 40.0)
    cavity = draw_cavity(rng, marks, outline, coarse)
    room = np.full(coarse.shape, NOWHERE_MM, np.float32) if cavity is None else np.maximum(cavity.depth, cavity.fossa)
    reach = float(rng.uniform(3.0, 14.0)) + 4.0 * leak(points)
    blood = np.clip((reach - breaks_mm) / 7.0, 0.0, 0.85)
    blood = np.where(breaks_mm < 5.0, np.maximum(blood, 0.7), blood)
    back = np.asarray(outline.skin > 0).any(axis=(0, 2))
    lowest = coarse.origin_mm[1] + COARSE_MM * (float(np.flatnonzero(back)[-1]) if back.any() else 0.0)
    muscle_hu = float(MUSCLE_HU + rng.normal(0.0, 4.0) - 0.25 * build.fat_mm)
    organs = draw_organs(rng, marks, cavity, coarse) + draw_vessels(rng, marks, coarse)
    return SoftTissue(
        skin=outline.skin,
        muscle=np.minimum(outline.muscle, outline.muscle + 3.5 * bulge(points)).astype(np.float32),
        muscles=draw_muscles(rng, marks, reader),
        plane_mm=np.clip(spread * (0.9 + 0.9 * thick(points)), -1.0, 4.5).astype(np.float32),
        unevenness=uneven(points).astype(np.float32),
        mottle=Tile.draw(rng, (2.2, 1.6, 1.6), 1.0),
        joint=(3.5 - marks.second).astype(np.float32),
        blood=blood.astype(np.float32),
        cavity=room,
        organs=organs,
        muscle_hu=muscle_hu,
        blood_hu=blood_hu,
        table_y=lowest + 6.0,
        middle_x=marks.middle_x,
    )
