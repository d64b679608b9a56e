"""Numbers that shape a procedural pelvis; the defaults are those of `make_phantom`.

Lengths are in mm in the frame of `label_gen._pelvis`: x to the left, y to the back, z up, from the middle between the
centres of the femoral heads. Hip bones and femora are described on the left.

Source: chosen here after anatomy textbooks and after the proportions of segmented adult pelves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from label_gen._shapes import Field, Part, Points

__all__ = ["Bump", "FemurShape", "HipShape", "PelvisShape", "Rod", "SacrumShape", "Triple", "WingShape", "flat_rod"]

Triple: TypeAlias = tuple[float, float, float]
"""A point or direction x, y, z."""

Bump: TypeAlias = tuple[tuple[float, float], tuple[float, float], float]
"""Centre, radii and height of a bell."""


@dataclass(frozen=True)
class Rod:
    """A rod with round ends between two places, which are points or names of points.

    Attributes:
        start: Its beginning.
        end: Its end.
        start_radius: Radius at the beginning.
        end_radius: Radius at the end.
        blend_mm: Radius of the blend with what was there before.
        normal: Direction in which it is flat, or None where it is round.
        flatness: How many times thinner it is in that direction.
    """

    start: Triple | str
    end: Triple | str
    start_radius: float
    end_radius: float
    blend_mm: float = 4.0
    normal: Triple | None = None
    flatness: float = 1.0


@dataclass(frozen=True)
class WingShape:
    """The iliac wing, a sheet over the plane of `label_gen._wing.WING_ALONG` and height.

    Attributes:
        outline: Its edge, (n, 2).
        sheet_mm: Smallest and largest half thickness of the sheet.
        bow_mm: Smallest and largest bow.
        flare_mm: Smallest and largest flare.
        surface: Ten coefficients of its middle as a cubic in t along and q up (1, t, q, tt, tq, qq, ttq, tqq, ttt,
            qqq), which take the place of bow and flare; None for those.
        bumps: Where it is thicker: centre, radii, added half thickness.
        edge_blend_mm: How round its edge is.
    """

    outline: NDArray[np.float64] | None = None
    sheet_mm: tuple[float, float] = (1.4, 1.65)
    bow_mm: tuple[float, float] = (5.5, 8.5)
    flare_mm: tuple[float, float] = (9.5, 12.0)
    surface: tuple[float, ...] | None = None
    bumps: tuple[Bump, ...] = (
        ((-30.0, 10.0), (32.0, 40.0), 12.0),
        ((30.0, 66.0), (26.0, 26.0), 9.0),
        ((52.0, 84.0), (18.0, 24.0), 4.0),
        ((-52.0, 108.0), (11.0, 26.0), 2.2),
    )
    edge_blend_mm: float = 3.0


@dataclass(frozen=True)
class HipShape:
    """A hip bone.

    Attributes:
        wing: Its wing.
        points: Named points.
        upper: Rods above the socket.
        lower: Rods beside and below it.
        wall_mm: Thickness of the bone behind the socket.
        cartilage_mm: Smallest and largest distance between femoral head and socket.
        jitter_mm: Standard deviation of the places of all points.
        half_symphysis_mm: Smallest and largest half width of the symphysis.
    """

    wing: WingShape = field(default_factory=WingShape)
    points: tuple[tuple[str, Triple], ...] = (
        ("tuber", (66, 38, -44)),
        ("seat", (58, 34, -60)),
        ("ramus", (33, 8, -59)),
        ("pubis_low", (10, -30, -34)),
        ("pubis", (12, -43, -13)),
        ("root", (70, -18, 8)),
    )
    upper: tuple[Rod, ...] = (
        Rod((78, 10, 30), (70, 32, 45), 15, 12, 8),
        Rod((70, 32, 45), (60, 48, 58), 12, 8, 8),
        Rod((94, -22, 26), (88, -16, 16), 7, 9, 7),
    )
    lower: tuple[Rod, ...] = (
        Rod((72, 30, 12), (68, 35, -22), 13, 12, 8),
        Rod((68, 35, -22), "tuber", 12, 13, 6),
        Rod("tuber", "seat", 13, 9, 5),
        Rod((60, 40, 2), (49, 52, -6), 7, 2.5, 6),
        Rod("seat", "ramus", 8.5, 5.5, 5),
        Rod("ramus", "pubis_low", 5.5, 6.5, 5),
        Rod("pubis_low", "pubis", 7, 9.5, 6),
        Rod("pubis", (42, -37, 0), 9, 6.5, 6),
        Rod((42, -37, 0), "root", 6.5, 11, 7),
    )
    wall_mm: float = 6.0
    cartilage_mm: tuple[float, float] = (3.0, 4.0)
    jitter_mm: float = 1.0
    half_symphysis_mm: tuple[float, float] = (1.8, 2.8)


@dataclass(frozen=True)
class SacrumShape:
    """The sacrum.

    Attributes:
        breadth: Factor of its half width.
        half_width_mm: What is added to the half width.
        rise_mm: How much higher it lies.
        rods: More round rods, made on both sides: start, end, their radii, blend.
    """

    breadth: float = 1.0
    half_width_mm: float = 0.0
    rise_mm: float = 0.0
    rods: tuple[tuple[Triple, Triple, float, float, float], ...] = ()


@dataclass(frozen=True)
class FemurShape:
    """A proximal femur.

    Attributes:
        thickness: Factor of the radii of neck and shaft.
    """

    thickness: float = 1.0


@dataclass(frozen=True)
class PelvisShape:
    """All bones.

    Attributes:
        scale: Smallest and largest size of the whole.
        head: Centre of the left femoral head.
        aside_mm: How much further to the side than usual hip bone and femur lie as a whole.
        head_radius_mm: Smallest and largest radius of the femoral heads.
        hip: Shape of the hip bones.
        sacrum: Shape of the sacrum.
        femur: Shape of the femora.
    """

    scale: tuple[float, float] = (0.94, 1.06)
    head: Triple = (89.0, 0.0, 3.0)
    aside_mm: float = 0.0
    head_radius_mm: tuple[float, float] = (23.0, 25.0)
    hip: HipShape = field(default_factory=HipShape)
    sacrum: SacrumShape = field(default_factory=SacrumShape)
    femur: FemurShape = field(default_factory=FemurShape)


def flat_rod(
    start: ArrayLike,
    end: ArrayLike,
    radii: tuple[float, float],
    normal: ArrayLike,
    flatness: float,
    blend_mm: float = 4.0,
) -> Part:
    """Make a rod that is thinner in one direction: a blade with round edges.

    Args:
        start: Its beginning, x, y, z in mm.
        end: Its end.
        radii: Half widths of the blade at both ends.
        normal: Direction in which it is thin.
        flatness: Half width over half thickness, from 1.
        blend_mm: Radius of the blend with what was there before.

    Returns:
        The part (depth to first order).
    """
    a, b, n = (np.asarray(v, float) for v in (start, end, normal))
    along = b - a
    n = n - (n @ along) / max(float(along @ along), 1e-9) * along
    n /= np.linalg.norm(n)
    length2 = max(float(along @ along), 1e-9)

    def depth(points: Points) -> Field:
        ox, oy, oz = (p - float(c) for p, c in zip(points, a, strict=True))
        t = np.clip((ox * float(along[0]) + oy * float(along[1]) + oz * float(along[2])) / length2, 0.0, 1.0)
        dx, dy, dz = ox - t * float(along[0]), oy - t * float(along[1]), oz - t * float(along[2])
        thin = dx * float(n[0]) + dy * float(n[1]) + dz * float(n[2])
        square = dx * dx + dy * dy + dz * dz
        norm = np.sqrt(square + (flatness**2 - 1.0) * thin * thin)
        slope = np.sqrt(square + (flatness**4 - 1.0) * thin * thin) / np.maximum(norm, 1e-3)
        inside: Field = (radii[0] + t * (radii[1] - radii[0]) - norm) / np.maximum(slope, 1.0)
        return inside

    margin = max(radii)
    return Part(depth, np.minimum(a, b) - margin, np.maximum(a, b) + margin, blend_mm)
