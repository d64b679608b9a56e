"""Landmarks are found in bones, and each pattern parts off the part of the bone it is named after."""

import numpy as np
import pytest

from label_gen._fractures import plan_bone
from label_gen._pelvis import draw_pelvis
from label_gen._shapes import Waves
from label_gen.simulation.landmarks import BoneShape
from label_gen.simulation.parting import part_off
from label_gen.simulation.patterns import PATTERNS, draw_crack, draw_proposals
from label_gen.simulation.surfaces import Ball, Rough, draw_roughness

HEAD = np.array([89.0, 0.0, 3.0])  # of the left femur in the formulas
SMOOTH = Waves(np.zeros((1, 3)), np.zeros(1), np.zeros(1))
HEIGHTS = (-np.inf, np.inf)
BONES = ("sacrum", "left_hip", "right_hip", "left_femur", "right_femur")


@pytest.fixture(scope="module")
def pelvis():
    bodies = draw_pelvis(np.random.default_rng([2, 1]))
    plans = {name: plan_bone(bodies[name], -np.inf) for name in BONES}
    return {name: (plan, BoneShape.of(name, plan, HEIGHTS)) for name, plan in plans.items()}


def part(pelvis, bone, pattern, size_cm3, seed=0):
    plan, shape = pelvis[bone]
    (found,) = [p for p in PATTERNS[bone.rsplit("_", maxsplit=1)[-1]] if p.name == pattern]
    rng = np.random.default_rng(seed)
    proposal = found.propose(rng, shape, 1000.0 * size_cm3)
    piece = part_off(
        plan,
        1,
        Rough(proposal.surface, draw_roughness(rng, 0.8)),
        seed=proposal.seed,
        target_mm3=proposal.target_mm3,
        slack_mm=proposal.slack_mm,
    )
    assert piece is not None
    is_new = np.zeros(plan.plan.shape, bool)
    is_new[piece.box] = piece.is_new
    return plan.plan_points(is_new), piece.size_mm3 / 1000.0, shape


def test_landmarks_of_both_sides_mirror(pelvis):
    left, right = pelvis["left_hip"][1].landmarks, pelvis["right_hip"][1].landmarks
    assert left.keys() == right.keys()
    for name in ("socket", "symphysis", "tuber", "foramen", "front_spine", "back_spine"):
        assert np.linalg.norm(left[name] * (-1, 1, 1) - right[name]) < 25.0, name


def test_socket_and_head_meet_and_lie_where_the_formula_puts_them(pelvis):
    for side, sign in (("left", 1), ("right", -1)):
        socket = pelvis[f"{side}_hip"][1].landmarks["socket"]
        head = pelvis[f"{side}_femur"][1].landmarks["head"]
        assert np.linalg.norm(socket - head) < 8.0
        assert np.linalg.norm(head - HEAD * (sign, 1, 1)) < 15.0  # the pelvis is scaled and tilted a little


def test_foramen_is_a_hole_in_the_ring(pelvis):
    _, shape = pelvis["left_hip"]
    foramen = shape.landmarks["foramen"]
    gaps = np.linalg.norm(shape.points - foramen, axis=1)
    assert gaps.min() > 7.0
    ring = (shape.points - foramen)[gaps < 45.0]
    angles = np.degrees(np.arctan2(ring[:, 2], -ring[:, 1]))
    assert np.histogram(angles, 12, (-180, 180))[0].min() > 0


def test_sacrum_is_thin_at_its_foramina(pelvis):
    marks = pelvis["sacrum"][1].landmarks
    for side in ("left", "right"):
        away = abs(marks[f"{side}_foramina"][0] - marks["middle"][0])
        assert 14.0 < away < 32.0


def test_bone_without_landmarks_has_none():
    ball = Ball(np.array([0.0, 0.0, 50.0]), 20.0)

    class Solid:
        def bounds(self):
            return np.array([-25.0, -25.0, 25.0]), np.array([25.0, 25.0, 75.0])

        def depth(self, points):
            return ball(points)

    shape = BoneShape.of("bone", plan_bone(Solid(), -np.inf), HEIGHTS)
    assert not shape.landmarks
    # named as a hip bone, it breaks anyhow instead of failing
    shape = BoneShape.of("left_hip", plan_bone(Solid(), -np.inf), HEIGHTS)
    names = {p.pattern for s in range(9) for p in draw_proposals(np.random.default_rng(s), shape, [2000.0])}
    assert names <= {pattern.name for pattern in PATTERNS["hip"]} | {"generic"}


@pytest.mark.parametrize("bone", BONES)
def test_every_pattern_finds_what_it_needs(pelvis, bone):
    marks = pelvis[bone][1].landmarks
    for pattern in PATTERNS[bone.rsplit("_", maxsplit=1)[-1]]:
        assert set(pattern.needs) <= set(marks), pattern.name


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("bone", "pattern", "size", "inside", "outside"),
    [
        ("left_hip", "pubic_rami", 15.0, ["symphysis"], ["tuber", "crest"]),
        ("right_hip", "pubic_rami", 15.0, ["symphysis"], ["tuber", "crest"]),
        ("left_hip", "iliac_wing", 40.0, [], ["symphysis", "tuber"]),
        ("left_hip", "crest_avulsion", 2.0, [], ["symphysis", "tuber"]),
        ("left_hip", "ischial_avulsion", 4.0, ["tuber"], ["symphysis", "crest"]),
        ("left_hip", "anterior_column", 75.0, ["symphysis", "front_spine"], ["tuber", "back_spine"]),
        ("right_hip", "anterior_column", 32.0, ["symphysis"], ["tuber", "back_spine", "crest"]),
        ("left_hip", "posterior_column", 60.0, ["tuber"], ["symphysis", "front_spine", "back_spine"]),
        ("right_hip", "transverse_acetabular", 90.0, ["tuber", "symphysis"], ["front_spine", "back_spine"]),
        ("left_hip", "crescent", 25.0, ["back_spine"], ["symphysis", "tuber", "front_spine"]),
        ("sacrum", "transverse_sacral", 20.0, ["tip"], ["top", "left", "right"]),
        ("left_femur", "femoral_neck", 50.0, ["head"], ["trochanter", "lesser_trochanter", "shaft"]),
        ("right_femur", "pertrochanteric", 90.0, ["head"], ["shaft", "shaft_end"]),
        ("left_femur", "greater_trochanter", 12.0, ["trochanter"], ["head", "shaft"]),
        ("left_femur", "lesser_trochanter", 1.5, ["lesser_trochanter"], ["head", "trochanter", "shaft"]),
    ],
)
def test_pattern_takes_its_part(pelvis, bone, pattern, size, inside, outside, seed):
    points, found_cm3, shape = part(pelvis, bone, pattern, size, seed)
    assert size / 2 < found_cm3 < size * 2
    for name in inside:
        assert np.linalg.norm(points - shape.landmarks[name], axis=1).min() < 3.0, name
    for name in outside:
        assert np.linalg.norm(points - shape.landmarks[name], axis=1).min() > 3.0, name


def test_posterior_wall_is_the_rim_behind_the_socket(pelvis):
    points, _, shape = part(pelvis, "left_hip", "posterior_wall", 6.0)
    offset = points.mean(axis=0) - shape.landmarks["socket"]
    assert offset[1] > 10.0  # behind
    assert 20.0 < np.linalg.norm(offset) < 45.0


@pytest.mark.parametrize(("pattern", "size"), [("superior_ramus", 5.0), ("inferior_ramus", 4.0)])
def test_ramus_segment_leaves_the_symphysis(pelvis, pattern, size):
    points, _, shape = part(pelvis, "left_hip", pattern, size)
    marks = shape.landmarks
    assert np.linalg.norm(points - marks["symphysis"], axis=1).min() > 3.0
    above = (points.mean(axis=0) - marks["foramen"]) @ (marks["socket"] - marks["foramen"])
    assert (above > 0) == (pattern == "superior_ramus")


@pytest.mark.parametrize(("pattern", "size"), [("sacral_ala", 20.0), ("sacral_foramina", 60.0), ("sacral_canal", 90.0)])
def test_denis_zones_lie_beside_in_and_between_the_foramina(pelvis, pattern, size):
    points, _, shape = part(pelvis, "sacrum", pattern, size)
    marks = shape.landmarks
    sign = 1.0 if points[:, 0].mean() > marks["middle"][0] else -1.0
    name = "left" if sign > 0 else "right"
    reach = (marks[f"{name}_foramina"][0] - marks["middle"][0]) * sign
    inner = np.quantile((points[:, 0] - marks["middle"][0]) * sign, 0.03)
    if pattern == "sacral_ala":
        assert inner > reach - 1.0
    elif pattern == "sacral_foramina":
        assert abs(inner - reach) < 9.0
    else:
        assert inner < 0.7 * reach


@pytest.mark.parametrize("pattern", ["spiral_shaft", "shaft"])
def test_shaft_parts_one_end(pelvis, pattern):
    points, _, shape = part(pelvis, "left_femur", pattern, 50.0)
    ends = [np.linalg.norm(points - shape.landmarks[name], axis=1).min() for name in ("head", "shaft_end")]
    assert sum(end < 15.0 for end in ends) == 1


def test_shaft_wedge_leaves_both_ends(pelvis):
    points, _, shape = part(pelvis, "left_femur", "shaft_wedge", 6.0)
    for name in ("head", "trochanter"):
        assert np.linalg.norm(points - shape.landmarks[name], axis=1).min() > 3.0


def test_many_fragments_come_from_one_spot(pelvis):
    plan, shape = pelvis["left_hip"]
    for seed in range(20):
        proposals = draw_proposals(np.random.default_rng(seed), shape, [6000.0] * 8)
        if len(proposals) > 1:
            break
    assert {proposal.pattern for proposal in proposals} == {"comminution"}
    seeds = np.array([proposal.seed for proposal in proposals])
    assert np.ptp(seeds, axis=0).max() < 110.0
    cells = np.array([proposal.surface(tuple(shape.points.T)) > 0 for proposal in proposals])
    # a cell ends where those that come later begin
    for first in range(len(cells)):
        for second in range(first + 1, len(cells)):
            at = int(np.argmin(((shape.points - seeds[second]) ** 2).sum(axis=1)))
            assert not cells[first][at]
    assert plan.plan.max() == 1


def test_small_fragments_break_from_the_edges_of_others(pelvis):
    shape = pelvis["left_hip"][1]
    seams = shape.points[:40]
    drawn = [draw_proposals(np.random.default_rng(s), shape, [800.0], seams=seams)[0] for s in range(40)]
    chips = [proposal for proposal in drawn if proposal.pattern == "chip"]
    assert 15 < len(chips) < 40
    for chip in chips:
        assert any(np.array_equal(chip.seed, seam) for seam in seams)


def test_cracks_of_hip_bones_run_through_rami_too(pelvis):
    drawn = [draw_crack(np.random.default_rng(s), pelvis["left_hip"][1]) for s in range(40)]
    names = [proposal.pattern for proposal, _, _ in drawn]
    assert {"superior_ramus", "inferior_ramus", "incomplete"} == set(names)
    for proposal, centre, radius in drawn:
        assert abs(float(proposal.surface(tuple(centre[:, None]))[0])) < 1e-6
        assert 10.0 <= radius <= 26.0


@pytest.mark.parametrize("target", [3.0, 20.0, 60.0])
def test_part_off_places_the_surface_for_a_size(pelvis, target):
    plan, shape = pelvis["left_hip"]
    (wing,) = [p for p in PATTERNS["hip"] if p.name == "iliac_wing"]
    proposal = wing.propose(np.random.default_rng(3), shape, 1000.0 * target)
    piece = part_off(
        plan, 1, Rough(proposal.surface, SMOOTH), seed=proposal.seed, target_mm3=1000.0 * target, slack_mm=(-200, 200)
    )
    assert piece.size_mm3 / 1000.0 == pytest.approx(target, rel=0.15)


def test_part_off_without_bone_or_beyond_is_none(pelvis):
    plan, _ = pelvis["left_hip"]
    far = Rough(Ball(np.array([900.0, 0.0, 0.0]), 5.0), SMOOTH)
    assert part_off(plan, 1, far) is None
    assert part_off(plan, 9, far) is None
    assert part_off(plan, 1, Rough(Ball(np.zeros(3), 900.0), SMOOTH)) is None
