"""A new anatomy out of a given one: other sizes, smoothly bent, thicker or thinner, or its mirror image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from label_gen._shapes import FAR, Field, Points, Waves
from label_gen.simulation.solids import Solid

__all__ = ["VariedSolid", "Warp", "vary_solids"]

SIZE_LOG, STRETCH_LOG = 0.05, 0.027
"""Half range of the logarithm of size as a whole and along each axis: 8 % together. Source: chosen here, about the
spread of adult pelves round a given one."""

BEND_MM = 1.4
"""Largest standard deviation of the displacement along an axis. Source: chosen here: at most 4 mm in most pelves."""

BEND_WAVES_MM = (60.0, 250.0)
"""Wavelengths of the displacement. Source: chosen here, longer than a socket, so that joints stay joints."""

MAX_GRADIENT = 0.25
"""Largest change of the displacement per mm. Source: chosen here; below 1 nothing can fold."""

SIDE_SHARE, SIDE_WIDTH_MM = 0.012, 30.0
"""How much larger one side may be, and over what distance from the middle that sets in. Source: chosen here; 1 to 2 mm
at the hip joints, as between the sides of healthy pelves."""

THICKNESS_MM = 0.3
"""Largest change of the depth below the surface. Source: chosen here, a tenth of a wing's thickness on either side."""

JOINT_MM = (2.0, 6.0)
"""Distance from the next bone up to which thickness does not change, and from which it does fully."""

STEP_MM = 6.0
"""Step of the tables. Source: chosen here: linear interpolation is then off by less than 0.05 mm."""

NEAR_MM = 9.0
"""Where the next entry of a table is further than this from a bone, its depth is `FAR`. Source: chosen here: points are
then 3 mm or more from the bone."""


@dataclass(frozen=True)
class Warp:
    """A smooth map from places in the new anatomy to places in the given one.

    Attributes:
        matrix: 3 x 3, its linear part.
        centre: Point that the linear part keeps, x, y, z in mm.
        low: First point of the tables, x, y, z in mm of the new anatomy.
        displacement: What is added, in mm of the given anatomy, float32 (3, z, y, x) with `STEP_MM`, x first.
    """

    matrix: NDArray[np.float64]
    centre: NDArray[np.float64]
    low: NDArray[np.float64]
    displacement: NDArray[np.float32]

    def places(self, points: Points) -> NDArray[np.float32]:
        """Return indices z, y, x into the tables, of any real value, along the first axis."""
        x, y, z = ((p - np.float32(low)) * np.float32(1 / STEP_MM) for p, low in zip(points, self.low, strict=True))
        found: NDArray[np.float32] = np.stack([z, y, x]).astype(np.float32, copy=False)
        return found

    def given(self, points: Points, places: NDArray[np.float32]) -> Points:
        """Return the places in the given anatomy of points of the new one."""
        dx, dy, dz = (p - np.float32(c) for p, c in zip(points, self.centre, strict=True))
        x, y, z = (
            dx * np.float32(row[0])
            + dy * np.float32(row[1])
            + dz * np.float32(row[2])
            + np.float32(c)
            + _at(table, places)
            for row, c, table in zip(self.matrix, self.centre, self.displacement, strict=True)
        )
        return x, y, z

    @property
    def size(self) -> float:
        """Length in the new anatomy over length in the given one, as a mean over directions."""
        return float(abs(np.linalg.det(self.matrix)) ** (-1 / 3))


@dataclass(frozen=True)
class VariedSolid:
    """A solid seen through a warp.

    Attributes:
        inner: The given solid.
        warp: The map to its space.
        thickness: What is added to the depth, in mm, float32 (z, y, x) table.
        is_near: Where the solid is not far, bool (z, y, x) table.
    """

    inner: Solid
    warp: Warp
    thickness: NDArray[np.float32]
    is_near: NDArray[np.bool_]

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the corners x, y, z in mm of a box that holds the solid."""
        low, high = self.inner.bounds()
        reach = np.abs(self.warp.displacement).max(axis=(1, 2, 3)).astype(float)
        return _placed(low - reach, high + reach, self.warp.matrix, self.warp.centre, float(self.thickness.max()) + 0.1)

    def depth(self, points: Points) -> Field:
        """Return the depth in mm at points: positive inside, `FAR` far outside."""
        if points[0].size == 0:
            return np.zeros(np.shape(points[0]), np.float32)
        places = self.warp.places(points)
        box: list[slice] = []
        index: list[NDArray[np.intp]] = []
        for place, n in zip(places, self.is_near.shape, strict=True):
            index.append(np.clip(np.rint(place), 0, n - 1).astype(np.intp))
            box.append(slice(int(index[-1].min()), int(index[-1].max()) + 1))
        found: Field = np.full(np.shape(points[0]), FAR, np.float32)
        if self.is_near[tuple(box)].any():
            # A point is at most 5.2 mm from the table's next entry.
            near = np.nonzero(self.is_near[tuple(index)])
            if near[0].size == 0:
                return found
            x, y, z = (p[near] for p in points)
            own = np.stack([place[near] for place in places])
            depth = self.inner.depth(self.warp.given((x, y, z), own))
            found[near] = depth * np.float32(self.warp.size) + _at(self.thickness, own)
        return found


def _at(table: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values of a table (z, y, x) at places, linear between its entries and constant beyond them."""
    found: NDArray[np.float32] = map_coordinates(table, places, order=1, mode="nearest", output=np.float32)
    return found


def vary_solids(
    solids: Mapping[str, Solid], rng: np.random.Generator, *, strength: float = 1.0, mirror: bool | None = None
) -> dict[str, VariedSolid]:
    """Make a new anatomy out of a given one.

    One map bends all bones, so that joints stay joints: sizes change by up to 8 % along each axis, places by up to
    about 4 mm in waves of 60 to 250 mm, one side grows a little against the other, and bones get up to 0.3 mm thicker
    or thinner away from joints.

    Args:
        solids: Bones by name; names that begin with `left_` or `right_` are swapped in a mirror image. Other things
            that go along (a lumbar spine) may be among them.
        rng: Source of all randomness.
        strength: How much is changed: 0 nothing, 1 as said.
        mirror: Whether to take the mirror image; None takes it of half of them.

    Returns:
        The new solids by name, in the order of the given names where these are the same.
    """
    stretch = np.exp(strength * (rng.uniform(-SIZE_LOG, SIZE_LOG) + rng.uniform(-STRETCH_LOG, STRETCH_LOG, 3)))
    side = strength * float(rng.uniform(-SIDE_SHARE, SIDE_SHARE))
    waves = [Waves.draw(rng, 1.0, BEND_WAVES_MM, 10) for _ in range(3)]
    bend_mm = strength * BEND_MM * float(rng.uniform(0.3, 1.0))
    thickness_mm = strength * float(rng.uniform(-THICKNESS_MM, THICKNESS_MM))
    is_mirrored = bool(rng.random() < 0.5)
    if mirror is not None:
        is_mirrored = mirror

    centre = _centre(solids)
    matrix = np.diag(1.0 / stretch) * (np.array([-1.0, 1.0, 1.0])[:, None] if is_mirrored else 1.0)
    boxes = [_placed(*solid.bounds(), matrix, centre, 0.0) for solid in solids.values()]
    low = np.min([b[0] for b in boxes], axis=0) - 2.5 * STEP_MM
    shape = (np.ceil((np.max([b[1] for b in boxes], axis=0) + 2.5 * STEP_MM - low) / STEP_MM) + 1).astype(int)
    axes = [(low[k] + STEP_MM * np.arange(shape[k])).astype(np.float32) for k in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    points: Points = (x, y, z)
    grown = side * np.tanh((x - centre[0]) / SIDE_WIDTH_MM)
    moved = [grown * (p - c) + bend_mm * wave(points) for p, c, wave in zip(points, centre, waves, strict=True)]
    displacement = np.stack(moved).astype(np.float32)
    displacement *= np.float32(min(1.0, MAX_GRADIENT / max(_steepest(displacement), 1e-9)))
    warp = Warp(matrix, centre, low, displacement)

    given = warp.given(points, warp.places(points))
    depths = {}
    for (name, solid), (box_low, box_high) in zip(solids.items(), boxes, strict=True):
        depths[name] = np.full(x.shape, FAR, np.float32)
        first = np.floor((box_low - 2.5 * STEP_MM - low) / STEP_MM).astype(int)
        last = np.ceil((box_high + 2.5 * STEP_MM - low) / STEP_MM).astype(int) + 1
        part = tuple(slice(max(a, 0), b) for a, b in zip(first[::-1], last[::-1], strict=True))
        depths[name][part] = solid.depth((given[0][part], given[1][part], given[2][part])) * np.float32(warp.size)
    varied = {}
    for name, solid in solids.items():
        others = [depth for other, depth in depths.items() if other != name]
        gap = -np.max(others, axis=0) if others else np.full(x.shape, -FAR, np.float32)
        share = np.clip((gap - JOINT_MM[0]) / (JOINT_MM[1] - JOINT_MM[0]), 0.0, 1.0)
        new_name = _swapped(name) if is_mirrored else name
        varied[new_name] = VariedSolid(
            solid, warp, (thickness_mm * share).astype(np.float32), depths[name] > -NEAR_MM * warp.size
        )
    order = [name for name in solids if name in varied]
    return {name: varied[name] for name in [*order, *(name for name in varied if name not in order)]}


def _centre(solids: Mapping[str, Solid]) -> NDArray[np.float64]:
    """Return the centre of the pelvis: in the middle of the sacrum from side to side where there is one."""
    names = [name for name in solids if "femur" not in name] or list(solids)
    boxes = [solids[name].bounds() for name in names]
    centre = (np.min([b[0] for b in boxes], axis=0) + np.max([b[1] for b in boxes], axis=0)) / 2
    if "sacrum" in solids:
        centre[0] = sum(b[0] for b in solids["sacrum"].bounds()) / 2
    found: NDArray[np.float64] = centre
    return found


def _placed(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    matrix: NDArray[np.float64],
    centre: NDArray[np.float64],
    margin_mm: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the box in the new anatomy that holds a box of the given one, without displacement."""
    corners = np.array([[(low, high)[(i >> k) & 1][k] for k in range(3)] for i in range(8)])
    placed = (corners - centre) @ np.linalg.inv(matrix).T + centre
    return placed.min(axis=0) - margin_mm, placed.max(axis=0) + margin_mm


def _steepest(displacement: NDArray[np.float32]) -> float:
    """Return the largest gradient of a displacement in mm per mm."""
    squares = [np.square(np.diff(displacement, axis=axis) / STEP_MM).sum(axis=0).max() for axis in (1, 2, 3)]
    return float(np.sqrt(max(squares, default=0.0)))


def _swapped(name: str) -> str:
    """Return the name of a bone in the mirror image."""
    for one, other in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(one):
            return other + name.removeprefix(one)
    return name
