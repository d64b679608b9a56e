"""Where the parts of a bone are, found from its own shape: axes, ends, sockets, holes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from label_gen._fractures import PLAN_SPACING_MM, BrokenBone

__all__ = ["BoneShape", "Landmarks"]

Landmarks = Mapping[str, NDArray[np.float64]]
"""Points x, y, z in mm by name."""

SOCKET_RADII_MM = np.arange(20.0, 29.1, 1.5)
HEAD_RADII_MM = np.arange(19.0, 27.1, 1.5)
"""Radii looked for of the socket of a hip bone and of the head of a femur. Source: heads of adults are 38 to 54 mm
wide, sockets wider by the cartilage of both."""

VOTE_MM = 3.0
"""Cell in which normals of a surface are counted as meeting. Source: chosen here, two voxels of the plan."""

MIN_VOTE = 0.04
"""Least share of half a sphere whose normals have to meet in a centre. Source: chosen here: sockets of labelled hips
have 0.05 to 0.15, those of formulas 0.2 and more, and the centres lie within 10 mm of those of the femoral heads."""


@dataclass(frozen=True)
class BoneShape:
    """The shape of a whole bone.

    Attributes:
        name: Name of the bone.
        points: Places in the bone, (n, 3) x, y, z in mm.
        axes: Principal axes in rows, the longest first.
        heights_mm: Lowest and highest z at which fractures may have their middle.
        landmarks: Of hip bones `socket`, `symphysis`, `tuber`, `foramen`, `front_spine`, `back_spine`, `crest`; of a
            sacrum `middle`, `right`, `left`, `top`, `tip`, `right_foramina`, `left_foramina`; of femora `head`, `neck`,
            `trochanter`, `lesser_trochanter`, `shaft`, `shaft_end`. What the bone does not show is missing.
    """

    name: str
    points: NDArray[np.float64]
    axes: NDArray[np.float64]
    heights_mm: tuple[float, float]
    landmarks: Landmarks = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, bone: BrokenBone, heights_mm: tuple[float, float]) -> BoneShape:
        """Look at a planned bone that is still whole."""
        points = bone.plan_points(bone.plan > 0)
        axes = np.linalg.eigh(np.cov(points.T))[1].T[::-1]
        axes = axes * np.where(axes.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)  # libraries differ in the sign
        side = -1.0 if name.startswith("right") else 1.0
        landmarks: Landmarks = {}
        if name.endswith("hip"):
            landmarks = _of_hip(bone, points, side)
        elif name == "sacrum":
            landmarks = _of_sacrum(points)
        elif name.endswith("femur"):
            landmarks = _of_femur(bone, points, side)
        return cls(name, points, axes, heights_mm, landmarks)

    @property
    def side(self) -> float:
        """Sign of x to the outside of the body: -1 for bones of the right side."""
        return -1.0 if self.name.startswith("right") else 1.0

    def fragment_at(self, bone: BrokenBone, point: NDArray[np.float64] | None) -> int:
        """Return the number of the fragment nearest to a point, that of the largest where there is none."""
        if point is None:
            return 1 + int(np.argmax(np.bincount(bone.plan.ravel())[1:]))
        nearest = self.points[int(np.argmin(((self.points - point) ** 2).sum(axis=1)))]
        place = bone.plan_index((nearest[0:1], nearest[1:2], nearest[2:3]))
        return int(bone.plan[place][0])


def _centre(bone: BrokenBone, radii_mm: NDArray[np.float64], outward: bool) -> NDArray[np.float64] | None:
    """Return the point where most normals of the surface meet at about the same distance, or None."""
    mask = np.pad(bone.plan > 0, 3)
    smooth = gaussian_filter(mask.astype(np.float32), 1.2)
    places = np.argwhere(mask & ~binary_erosion(mask))
    slope = np.stack([g[tuple(places.T)] for g in np.gradient(smooth)], axis=1)[:, ::-1].astype(float)
    length = np.linalg.norm(slope, axis=1)
    places, slope = places[length > 0.02], slope[length > 0.02] / length[length > 0.02, None]
    surface = bone.low + PLAN_SPACING_MM * (places[:, ::-1] - 3.0)
    low = surface.min(axis=0) - radii_mm[-1] - VOTE_MM
    shape = np.ceil((surface.max(axis=0) + radii_mm[-1] + VOTE_MM - low) / VOTE_MM).astype(int) + 1
    votes = np.zeros(shape, np.float32)
    for radius in radii_mm:
        end = surface + (-radius if outward else radius) * slope
        cells = np.rint((end - low) / VOTE_MM).astype(int)
        np.add.at(votes, tuple(cells.T), np.float32(1.0 / radius**2))
    votes = gaussian_filter(votes, 0.8)
    best = np.unravel_index(int(np.argmax(votes)), votes.shape)
    share = float(votes[best]) * PLAN_SPACING_MM**2 / (2 * np.pi)
    return low + VOTE_MM * np.array(best) if share >= MIN_VOTE else None


def _extreme(points: NDArray[np.float64], direction: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the point that lies furthest in a direction."""
    furthest: NDArray[np.float64] = points[int(np.argmax(points @ np.array(direction)))]
    return furthest


def _of_hip(bone: BrokenBone, points: NDArray[np.float64], side: float) -> Landmarks:
    """Find socket, symphysis, tuber, obturator foramen and the spines of the wing."""
    found: dict[str, NDArray[np.float64]] = {"crest": _extreme(points, (0, 0, 1))}
    socket = _centre(bone, SOCKET_RADII_MM, outward=True)
    if socket is None:
        return found
    found["socket"] = socket
    upper = points[points[:, 2] > socket[2] + 30.0]
    if len(upper) > 100 and upper[:, 2].max() > socket[2] + 60.0:
        found["front_spine"] = _extreme(upper, (0, -1.0, 0.35))
        found["back_spine"] = _extreme(upper, (0, 1.0, 0.1))
    lower = points[points[:, 2] < socket[2] + 5.0]
    if len(lower) < 100:
        return found
    symphysis, tuber = _extreme(lower, (-side, -0.7, 0.2)), _extreme(lower, (0, 0.5, -1.0))
    if np.linalg.norm(symphysis - socket) > 55.0:
        found["symphysis"] = symphysis
    if socket[2] - tuber[2] > 45.0:
        found["tuber"] = tuber
    if "symphysis" in found and "tuber" in found:
        found["foramen"] = _hole(points, socket, symphysis, tuber)
    return found


def _hole(
    points: NDArray[np.float64],
    socket: NDArray[np.float64],
    symphysis: NDArray[np.float64],
    tuber: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the middle of the widest hole between three points of a ring of bone, seen across their plane."""
    u = (symphysis - socket) / np.linalg.norm(symphysis - socket)
    across = np.cross(u, tuber - socket)
    across /= np.linalg.norm(across)
    frame = np.stack([u, np.cross(across, u), across])
    seen = (points - socket) @ frame.T
    seen = seen[np.abs(seen[:, 2]) < 30.0]
    low = seen[:, :2].min(axis=0)
    cells = np.rint((seen[:, :2] - low) / PLAN_SPACING_MM).astype(int)
    shadow = np.zeros(cells.max(axis=0) + 1, bool)
    shadow[tuple(cells.T)] = True
    middle = ((np.stack([symphysis, tuber]) - socket) @ frame.T)[:, :2].mean(axis=0) * 0.62
    grid = low + PLAN_SPACING_MM * np.stack(np.meshgrid(*map(np.arange, shadow.shape), indexing="ij"), axis=-1)
    width = distance_transform_edt(~shadow) * PLAN_SPACING_MM
    width[np.linalg.norm(grid - middle, axis=-1) > 25.0] = 0.0
    flat = grid[np.unravel_index(int(np.argmax(width)), width.shape)]
    ring = seen[np.linalg.norm(seen[:, :2] - flat, axis=1) < 32.0]
    level = float(ring[:, 2].mean()) if len(ring) else 0.0
    middle_of_hole: NDArray[np.float64] = socket + frame.T @ np.array([flat[0], flat[1], level])
    return middle_of_hole


def _of_sacrum(points: NDArray[np.float64]) -> Landmarks:
    """Find the ends of a sacrum and, on both sides, where its foramina make it thinnest."""
    middle = points.mean(axis=0)
    top = points[points[:, 2] > np.quantile(points[:, 2], 0.6)]
    middle[0] = 0.5 * (np.quantile(top[:, 0], 0.002) + np.quantile(top[:, 0], 0.998))
    found = {"middle": middle, "top": _extreme(points, (0, 0, 1)), "tip": _extreme(points, (0, 0, -1))}
    for name, side in (("left", 1.0), ("right", -1.0)):
        found[name] = _extreme(points, (side, 0, 0))
        reach = abs(float(found[name][0] - middle[0]))
        away = (points[:, 0] - middle[0]) * side
        body = points[:, 2] > np.quantile(points[:, 2], 0.25)
        edges = np.arange(0.25 * reach, 0.62 * reach, PLAN_SPACING_MM)
        if len(edges) > 4:
            bone = gaussian_filter(np.histogram(away[body], edges)[0].astype(float), 1.0)
            even = np.linspace(bone[0], bone[-1], len(bone))
            thin = int(np.argmin(bone - even))
            away_mm = float(edges[thin] + 0.5 * PLAN_SPACING_MM)
            found[f"{name}_foramina"] = np.array([middle[0] + side * away_mm, middle[1], middle[2]])
    return found


def _of_femur(bone: BrokenBone, points: NDArray[np.float64], side: float) -> Landmarks:
    """Find head, neck, trochanters and shaft of a femur."""
    found: dict[str, NDArray[np.float64]] = {}
    head = _centre(bone, HEAD_RADII_MM, outward=False)
    if head is None:
        return found
    found["head"] = head
    shaft = points[(points[:, 2] < head[2] - 70.0) & (points[:, 2] > head[2] - 260.0)]
    upper = points[(np.linalg.norm(points - head, axis=1) > 36.0) & ((points[:, 0] - head[0]) * side > 10.0)]
    if len(upper) < 200:
        return found
    tip = _extreme(upper, (0.15 * side, 0, 1.0))
    found["trochanter"] = tip
    if len(shaft) < 200 or np.ptp(shaft[:, 2]) < 15.0:
        return found
    first, last = (shaft[np.abs(shaft[:, 2] - z) < 6.0].mean(axis=0) for z in (shaft[:, 2].max(), shaft[:, 2].min()))
    along = (last - first) / np.linalg.norm(last - first)
    found["shaft"], found["shaft_end"] = first, last
    # The neck runs from the head to the axis of the shaft, a finger below the tip of the trochanter.
    base = first + along * ((tip[2] - 25.0 - first[2]) / along[2])
    found["neck"] = head + 0.55 * (base - head)
    behind = points[(points[:, 2] < head[2] - 30.0) & (points[:, 2] > head[2] - 80.0)]
    if len(behind):
        offset = behind - first
        offset -= np.outer(offset @ along, along)
        found["lesser_trochanter"] = behind[int(np.argmax(offset @ np.array([-0.75 * side, 0.65, 0.0])))]
    return found
