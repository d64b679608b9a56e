"""A random adult's pelvis from formulas: sex, size and age set its shape, and no two sides are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_gen._pelvis import draw_lumbar_spine, draw_pelvis
from label_gen._pelvis_shape import FemurShape, HipShape, PelvisShape, Rod, SacrumShape, Triple, WingShape
from label_gen.simulation.solids import Solid
from label_gen.simulation.variation import vary_solids

__all__ = ["ParametricPelvis", "PelvisTraits", "draw_parametric_pelvis"]

OUTLINE = np.array(
    [
        *[(-60, 22), (-76, 34), (-82, 44), (-86, 54), (-99, 65), (-107, 78), (-106, 92), (-97, 112), (-80, 130)],
        *[(-54, 142), (-22, 148), (12, 141), (39, 126), (57, 107), (61, 90), (55, 76), (46, 63), (30, 53), (13, 47)],
        *[(4, 38), (2, 26), (6, 12), (-8, 0), (-32, -6), (-52, 6)],
    ],
    dtype=float,
)
"""Edge of an iliac wing, see `label_gen._wing.WING_OUTLINE`: anterior inferior and superior spine, crest, both
posterior spines, greater sciatic notch. Source: chosen here, by eye between five segmented adult pelves."""

SURFACE = np.array([78.0, -8.5, 5.9, 2.6, -14.2, 4.0, 0.4, 2.8, 17.1, -1.3])
SURFACE_SPREAD = np.array([2.5, 4.0, 3.0, 4.0, 3.5, 1.5, 3.0, 1.0, 2.5, 0.6])
"""Middle of an iliac wing, see `WingShape.surface`, and its spread. Source: least squares over the ten sides of five
segmented adult pelves (mean, and about half the standard deviation, as the coefficients go together)."""

MALE, FEMALE = 0, 1

ASIDE_MM = (-3.0, 4.0)
"""How far hips lie aside, male and female. Source: the female pelvic inlet is 10 to 15 mm wider across."""

HEAD_RADIUS_MM = ((23.0, 25.5), (20.5, 22.8))
"""Radius of the femoral heads, male and female. Source: textbook diameters of 48 and 43 mm."""

SPREAD_MM = (-2.0, 8.0)
"""How far the ischia stand apart beyond the usual. Source: textbook subpubic angles of 60 to 70 degrees in men, 80 to
95 in women."""

SHALLOW = (1.03, 0.93)
"""Factor of heights below the socket. Source: the female pelvis is shallower, its symphysis 35 against 40 mm high."""

SACRUM = ((1.0, 1.03), (-2.0, 3.0))
"""Factor of the sacrum's breadth and what is added to each side in mm. Source: as `ASIDE_MM`: sacrum and inlet widen
together, so that the joint stays where it is."""

NOTCH_MM = (-2.0, 5.0)
"""How much wider the sciatic notch is. Source: textbook, 50 to 60 degrees in men, 75 in women."""


@dataclass(frozen=True)
class PelvisTraits:
    """What was drawn before any shape.

    Attributes:
        sex: `female` or `male`.
        age_years: Age, 18 to 95; bone thins from 50 on.
        size: Length in this patient over that in a mean one, 0.9 to 1.1, before axes are stretched by up to 5 %.
    """

    sex: str
    age_years: float
    size: float


@dataclass(frozen=True)
class ParametricPelvis:
    """Bones of a random adult.

    Attributes:
        solids: `sacrum`, `left_hip`, `right_hip`, `left_femur`, `right_femur`.
        extra: Bones that a CT shows and nothing labels: the lumbar spine.
        traits: Who it is.
    """

    solids: dict[str, Solid]
    extra: tuple[Solid, ...]
    traits: PelvisTraits


def draw_parametric_pelvis(rng: np.random.Generator) -> ParametricPelvis:
    """Draw the bones of one random adult.

    Args:
        rng: Source of all randomness.

    Returns:
        The bones. They are bent and asymmetric already; `vary_solids` need not be called on them.
    """
    is_female = bool(rng.random() < 0.5)
    size = float(np.clip(rng.normal(0.965 if is_female else 1.025, 0.035), 0.9, 1.1))
    traits = PelvisTraits("female" if is_female else "male", float(rng.uniform(18.0, 95.0)), size)
    shape = _shape(rng, traits)
    bones = draw_pelvis(rng, shape)
    spine = draw_lumbar_spine(rng, bones["sacrum"], shape, (bones["left_hip"], bones["right_hip"]))
    varied: dict[str, Solid] = dict(vary_solids({**bones, "lumbar_spine": spine}, rng, strength=0.6, mirror=False))
    extra = varied.pop("lumbar_spine")
    return ParametricPelvis(varied, (extra,), traits)


def _shape(rng: np.random.Generator, traits: PelvisTraits) -> PelvisShape:
    """Draw proportions that suit who it is."""
    # Sexes overlap: everybody lies somewhere between the two, a little beyond at most.
    sex = float(np.clip((FEMALE if traits.sex == "female" else MALE) + rng.normal(0, 0.22), -0.4, 1.4))
    thin = float(np.clip((traits.age_years - 50.0) / 45.0, 0.0, 1.0))

    def between(pair: tuple[float, float]) -> float:
        return pair[0] + sex * (pair[1] - pair[0])

    spread, low = between(SPREAD_MM), between(SHALLOW)
    radii = tuple(between((male, female)) for male, female in zip(*HEAD_RADIUS_MM, strict=True))
    sheet = 2.4 - 0.9 * thin - 0.25 * sex
    robust = 1.04 - 0.08 * sex - 0.05 * thin
    outline = OUTLINE.copy()
    notch = (OUTLINE[:, 0] > -2) & (OUTLINE[:, 1] < 60) & (OUTLINE[:, 1] > 20)
    outline[notch, 1] += 0.5 * between(NOTCH_MM)
    surface = SURFACE + SURFACE_SPREAD * rng.normal(size=10)
    wing = WingShape(
        outline=outline,
        sheet_mm=(sheet - 0.3, sheet + 0.3),
        surface=tuple(float(c) for c in surface),
        bumps=(
            ((-36.0, 28.0), (27.0, 27.0), 13.0 * robust),
            ((-12.0, 58.0), (22.0, 20.0), 6.5 * robust),
            ((24.0, 82.0), (26.0, 36.0), 5.5),
            ((46.0, 96.0), (14.0, 22.0), 2.5),
            ((-86.0, 102.0), (20.0, 26.0), 4.5 * robust),
            ((-80.0, 62.0), (18.0, 24.0), 3.5),
        ),
        edge_blend_mm=7.0,
    )
    hip = HipShape(wing, *_rods(spread, low, robust), half_symphysis_mm=(1.6, 3.0))
    sacrum = SacrumShape(
        breadth=between(SACRUM[0]),
        half_width_mm=between(SACRUM[1]),
        rise_mm=float(rng.normal(9.0, 2.5)),
        rods=(
            ((19, 62, 94), (22, 62, 104), 8, 5.5, 9),
            ((20, 88, 78), (20, 94, 66), 3.5, 3.5, 6),
            ((19, 95, 56), (18, 99, 44), 3, 3, 6),
            ((11, 97, 30), (9, 95, 16), 3, 2.5, 5),
        ),
    )
    return PelvisShape(
        scale=(traits.size, traits.size),
        aside_mm=between(ASIDE_MM),
        head_radius_mm=(radii[0], radii[1]),
        hip=hip,
        sacrum=sacrum,
        femur=FemurShape(thickness=robust * 0.98),
    )


def _rods(
    spread: float, low: float, robust: float
) -> tuple[tuple[tuple[str, Triple], ...], tuple[Rod, ...], tuple[Rod, ...]]:
    """Return named points, and the rods above and below the socket.

    Args:
        spread: How far the ischia stand apart beyond the usual, in mm.
        low: Factor of heights below the socket.
        robust: Factor of thicknesses.
    """
    points: tuple[tuple[str, Triple], ...] = (
        ("tuber", (59 + spread, 37, -42 * low)),
        ("seat", (53 + spread, 28, -57 * low)),
        ("ramus", (31 + 0.8 * spread, 2, -57 * low)),
        ("pubis_low", (10 + 0.2 * spread, -33, -41 * low)),
        ("pubis", (12, -47, -14 * low)),
        ("root", (66, -20, 13)),
    )
    upper = (
        Rod((76, 8, 34), (66, 30, 50), 15 * robust, 13, 9),
        Rod((66, 30, 50), (58, 48, 62), 13, 9, 8),
        Rod((94, -24, 30), (88, -16, 16), 8, 10, 8),
        Rod((68, -6, 22), (60, 26, 46), 9, 11, 10),
        Rod((61, -12, 2), (61, 27, 2), 24, 24, 9, (1, 0, 0), 2.8),
    )
    lower = (
        Rod((72, 28, 12), (67, 35, -18 * low), 15 * robust, 13 * robust, 9),
        Rod((67, 35, -18 * low), "tuber", 13 * robust, 14.5 * robust, 7),
        Rod("tuber", "seat", 14.5 * robust, 12 * robust, 6),
        Rod((62, 40, 2), (50 + 0.5 * spread, 53, -7), 8, 3, 8),
        Rod("seat", "ramus", 11.5 * robust, 8.5, 6, (0.55, -0.75, 0.35), 1.5),
        Rod("ramus", "pubis_low", 8.5, 11, 6, (0.55, -0.75, 0.35), 1.7),
        Rod("pubis_low", "pubis", 12.5 * robust, 12.5 * robust, 6, (0, 0.92, 0.39), 1.6),
        Rod((22, -36, -34 * low), (24, -44, -12 * low), 10, 9, 6, (0.2, 0.92, 0.39), 1.7),
        Rod("pubis", (43, -38, 2), 9.5, 8 * robust, 7),
        Rod((43, -38, 2), "root", 8 * robust, 13, 9),
    )
    return points, upper, lower
