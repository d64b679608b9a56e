"""The bones of a procedural pelvis: sacrum, hip bones with thin wings, proximal femora.

All points are in millimetres in a frame with x to the left, y to the back and z up, whose origin lies between the
centres of the femoral heads. The right side is the left side mirrored, with its own random deviations.

Source: chosen here after anatomy textbooks and after the proportions of segmented adult pelves; a shape to test
software with, not a model of a population.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from label_gen._pelvis_shape import PelvisShape, Rod, SacrumShape, Triple, flat_rod
from label_gen._shapes import Body, Field, Part, Points, Pose, Waves, cone, ellipsoid, rotation_matrix, smooth_min
from label_gen._wing import iliac_wing, mirrored

__all__ = ["draw_lumbar_spine", "draw_pelvis", "lumbar_parts"]


def draw_pelvis(rng: np.random.Generator, shape: PelvisShape | None = None) -> dict[str, Body]:
    """Draw the bones of one random adult.

    Args:
        rng: Source of all randomness.
        shape: Proportions; None for those of `make_phantom`.

    Returns:
        Bodies by name: `sacrum`, `left_hip`, `right_hip`, `left_femur`, `right_femur`. Hip bones keep a gap of 1 to
        2 mm to the sacrum and of about 3.5 mm to the femoral heads.
    """
    shape = shape or PelvisShape()
    scale = float(rng.uniform(*shape.scale))
    tilt = rotation_matrix((1, 0, 0), np.radians(rng.normal(0, 3)))
    turn = rotation_matrix((0, 1, 0), np.radians(rng.normal(0, 1.5))) @ rotation_matrix(
        (0, 0, 1), np.radians(rng.normal(0, 2))
    )
    pose = Pose(turn @ tilt, shift=rng.normal(0, 2, 3))
    sacrum = _sacrum(rng, shape.sacrum)
    bodies = {"sacrum": Body(sacrum, pose, scale, _roughness(rng, 0.35))}
    for name, side in (("left", 1.0), ("right", -1.0)):
        head_radius = float(rng.uniform(*shape.head_radius_mm))
        hip = _hip(rng, side, head_radius, sacrum[0], shape)
        bodies[f"{name}_hip"] = Body(hip, pose, scale, _roughness(rng, 0.2))
        bodies[f"{name}_femur"] = Body(_femur(rng, side, head_radius, shape), pose, scale, _roughness(rng, 0.35))
    return {name: bodies[name] for name in ("sacrum", "left_hip", "right_hip", "left_femur", "right_femur")}


def draw_lumbar_spine(
    rng: np.random.Generator, sacrum: Body, shape: PelvisShape | None = None, beside: Sequence[Body] = ()
) -> Body:
    """Draw the two vertebrae above the sacrum, which a CT shows and the labels leave out.

    Args:
        rng: Source of all randomness.
        sacrum: The sacrum.
        shape: Proportions it was drawn with.
        beside: The hip bones, to keep away from their wings.

    Returns:
        The vertebrae, 5 mm away from the sacrum.
    """
    parts = lumbar_parts(rng)
    below = [part for part in sacrum.parts[: 1 if shape is None else None] if not part.is_carved]
    below += [hip.parts[0] for hip in beside]
    up = shape.sacrum.rise_mm if shape is not None else 0.0

    def near_sacrum(p: Points) -> Field:
        lifted = (p[0], p[1], p[2] + up)
        found: Field = np.max([part.depth(lifted) for part in below], axis=0) + 5.0
        return found

    gap = Part(near_sacrum, np.full(3, -90.0), np.full(3, 130.0), 3.0, True)
    raised = Pose(shift=np.array([0.0, 0.0, up * sacrum.scale]))
    return Body([*parts, gap], sacrum.pose.after(raised) if up else sacrum.pose, sacrum.scale, _roughness(rng, 0.4))


def lumbar_parts(rng: np.random.Generator) -> list[Part]:
    """Make two vertebrae in the frame of the pelvis, above a sacrum whose end plate has its middle at (0, 40, 98)."""
    parts: list[Part] = []
    for bottom, y in ((100.0, 30.0), (136.0, 24.0)):
        lean = np.array([0.0, -4.0, 26.0])
        for dx in (-14.0, 0.0, 14.0):
            foot = np.array([dx, y, bottom + 9.0]) + rng.normal(0, 0.7, 3)
            parts.append(cone(foot, foot + 0.5 * lean, 14, 14, 9))
        for side in (-1.0, 1.0):
            parts.append(cone((side * 18, y + 18, bottom + 22), (side * 46, y + 24, bottom + 26), 6, 4, 4))
            parts.append(cone((side * 14, y + 16, bottom + 20), (0, y + 44, bottom + 14), 5, 4, 4))
        parts.append(cone((0, y + 42, bottom + 16), (0, y + 58, bottom + 10), 4, 4, 4))
    return parts


def _roughness(rng: np.random.Generator, amplitude_mm: float) -> Waves:
    """Draw the unevenness of a bone's surface."""
    return Waves.draw(rng, amplitude_mm, (9.0, 40.0), 7)


def _table(heights: ArrayLike, values: ArrayLike) -> Callable[[Field], Field]:
    """Return a smooth function of height through the given values, constant beyond its ends."""
    z = np.asarray(heights, float)
    fine = np.linspace(z[0], z[-1], 200)
    at_fine = PchipInterpolator(z, np.asarray(values, float))(fine)
    return lambda height: np.interp(height, fine, at_fine).astype(np.float32)


def _sacrum(rng: np.random.Generator, shape: SacrumShape) -> list[Part]:
    """Make a wedge between curved front, back and lateral faces, with wings, canal, foramina and crest."""
    z = [-32, -12, 6, 20, 32, 44, 56, 68, 80, 92, 106]
    lift, up = rng.normal(0, 2), shape.rise_mm
    width = np.array([5, 13, 30, 40, 46, 51, 55, 58, 60, 59, 55]) * rng.uniform(0.96, 1.04) * shape.breadth
    half_width = _table(z, width + shape.half_width_mm)
    front = _table(z, np.array([76, 79, 81, 80, 76, 67, 52, 38, 25, 24, 26]) + lift)
    back = _table(z, np.array([83, 89, 95, 97, 98, 98, 96, 92, 84, 76, 66]) + lift)
    wing_back = _table(z, np.array([0, 0, -1, -1, -6, -10, 0, 8, 16, 15, 13]) + rng.normal(0, 0.7))
    slope = float(rng.uniform(0.46, 0.54))
    bevel_from = _table(z, [76, 79, 81, 80, 74, 60, 46, 40, 40, 40, 40])

    def depth(points: Points) -> Field:
        x, y, h = np.abs(points[0]), points[1], points[2] - up
        beside = np.clip((x - 16.0) / 18.0, 0.0, 1.0)
        beside = beside * beside * (3.0 - 2.0 * beside)
        width = half_width(h)
        d = smooth_min((y - front(h) - wing_back(h) * beside) / 1.2, (back(h) - 9.0 * (x / width) ** 2 - y) / 1.12, 7.0)
        d = smooth_min(d, (width - x - slope * np.maximum(y - bevel_from(h), -8.0)) / 1.12, 6.0)
        endplate = 0.77 * (98.0 - h) + 0.64 * (y - 40.0) - 4.0 * beside
        return smooth_min(smooth_min(d, endplate, 5.0), np.minimum(h + 32.0, 103.0 - 0.12 * x - h), 5.0)

    widest = float(max(66.0, width.max() + shape.half_width_mm + 3.0))
    parts = [Part(depth, np.array([-widest, 10.0, up - 34.0]), np.array([widest, 104.0, up + 106.0]))]
    parts += [
        cone((0, 92 + lift, 76 + up), (0, 98 + lift, 62 + up), 4, 5, 6),
        cone((0, 98 + lift, 50 + up), (0, 100 + lift, 38 + up), 4, 4, 6),
    ]
    for *ends, r0, r1, blend in shape.rods:
        for side in (-1.0, 1.0):
            start, end = ((side * x, y + lift, z + up) for x, y, z in ends)
            parts.append(cone(start, end, r0, r1, blend))
    canal = [(0, 60 + lift, 106 + up), (0, 72 + lift, 80 + up), (0, 83 + lift, 58 + up), (0, 89 + lift, 30 + up)]
    for start, end, r0, r1 in zip(canal[:-1], canal[1:], (9.0, 8.0, 5.5), (8.0, 5.5, 2.5), strict=True):
        parts.append(cone(start, end, r0, r1, 2.0, carve=True))
    for height, x, radius in ((70, 27, 5.5), (53, 24, 5.0), (37, 21, 4.5), (22, 18, 3.6)):
        for side in (-1.0, 1.0):
            y = float(front(np.array(float(height)))) + float(rng.normal(0, 1))
            hole = (side * (x + 3), y - 6, height + up - 4), (side * (x - 7), y + 26, height + up + 6)
            parts.append(cone(*hole, radius, radius * 0.7, 3.0, carve=True))
    return parts


def _hip(rng: np.random.Generator, side: float, head_radius: float, wedge: Part, pelvis: PelvisShape) -> list[Part]:
    """Make a hip bone out of one piece: wing, socket, ischium, and the rami round the obturator foramen.

    `wedge` is the outer shape of the sacrum, to which the bone keeps the gap of the sacroiliac joint.
    """
    shape = pelvis.hip
    flip = np.array([side, 1.0, 1.0])
    aside = np.array([pelvis.aside_mm, 0.0, 0.0])

    def at(place: Triple) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = (np.array(place) + aside + rng.normal(0, shape.jitter_mm, 3)) * flip
        return moved

    head = (np.array(pelvis.head) + aside) * flip
    socket = head_radius + float(rng.uniform(*shape.cartilage_mm))
    opening = np.array([0.80, -0.24, -0.55]) * flip

    def cup(points: Points) -> Field:
        ox, oy, oz = (p - float(c) for p, c in zip(points, head, strict=True))
        ball = socket + shape.wall_mm - np.sqrt(ox * ox + oy * oy + oz * oz)
        out = ox * float(opening[0]) + oy * float(opening[1]) + oz * float(opening[2])
        return smooth_min(ball, 5.0 - out, 4.0)

    points = {name: at(place) for name, place in shape.points}

    def rod(given: Rod) -> Part:
        start, end = (points[place] if isinstance(place, str) else at(place) for place in (given.start, given.end))
        if given.normal is None:
            return cone(start, end, given.start_radius, given.end_radius, given.blend_mm)
        radii, normal = (given.start_radius, given.end_radius), np.array(given.normal) * flip
        return flat_rod(start, end, radii, normal, given.flatness, given.blend_mm)

    reach = socket + shape.wall_mm + 1.0
    parts = [
        iliac_wing(rng, side, shape.wing, pelvis.aside_mm),
        *(rod(given) for given in shape.upper),
        Part(cup, head - reach, head + reach, 8.0),
        *(rod(given) for given in shape.lower),
        ellipsoid(head, np.full(3, socket), 1.5, carve=True),
        cone(head + opening * 6, head + opening * 34, socket - 0.5, socket + 6.0, 1.5, carve=True),
    ]
    gap = float(rng.uniform(1.2, 1.9))
    unevenness = Waves.draw(rng, 0.3, (12.0, 40.0), 5)
    low, high = np.array([20.0, 10.0, wedge.low[2]]), wedge.high + np.array([0.0, 2.0, 0.0])
    joint = Part(lambda p: wedge.depth(p) + gap + unevenness(p), *mirrored(low, high, side), 1.0, is_carved=True)
    half_symphysis = float(rng.uniform(*shape.half_symphysis_mm))
    middle = Part(
        lambda p: half_symphysis - p[0] * side + 0.02 * p[1],
        *mirrored(np.array([-30.0, -70.0, -60.0]), np.array([6.0, 0.0, 20.0]), side),
        blend_mm=2.5,
        is_carved=True,
    )
    return [*parts, joint, middle]


def _femur(rng: np.random.Generator, side: float, head_radius: float, pelvis: PelvisShape) -> list[Part]:
    """Make a proximal femur: head, neck, both trochanters and a shaft that runs out of the field of view."""
    flip = np.array([side, 1.0, 1.0])
    thick = pelvis.femur.thickness
    aside = np.array([pelvis.aside_mm, 0.0, 0.0])

    def at(x: float, y: float, z: float) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = (np.array([x, y, z]) + aside + rng.normal(0, 1.3, 3)) * flip
        return moved

    head, base, shaft = (np.array(pelvis.head) + aside) * flip, at(126, 18, -24), at(130, 22, -42)
    return [
        ellipsoid(head, np.full(3, head_radius)),
        cone(head + (base - head) * 0.2, base, 15.5 * thick, 17 * thick, 7),
        cone(base, shaft, 17 * thick, 18 * thick, 8),
        cone(at(137, 30, 2), at(134, 24, -26), 8 * thick, 16 * thick, 7),
        cone(at(113, 34, -60), at(120, 28, -54), 6, 9, 6),
        cone(shaft, at(130, 17, -82), 18 * thick, 15.5 * thick, 8),
        cone(at(130, 17, -82), at(127, 12, -170), 15.5 * thick, 14 * thick, 5),
    ]
