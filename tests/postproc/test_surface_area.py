"""Surface area: weights known from the literature, balls, and flat faces in all orientations."""

import math

import numpy as np
import pytest

from postproc.fragment_table import measure_fragments
from postproc.surface_area import DIRECTIONS, crossing_areas


def test_thirteen_directions_one_of_each_pair():
    assert len(DIRECTIONS) == 13
    assert not {tuple(-s for s in step) for step in DIRECTIONS} & set(DIRECTIONS)


def test_weights_of_equal_spacing():
    # Ohser and Muecklich 2000, table 3.2: 0.045778, 0.036981, 0.035196 for each of the 26 directions
    expected = {1: 0.045778, 2: 0.036981, 3: 0.035196}
    for step, area in zip(DIRECTIONS, crossing_areas((1, 1, 1)), strict=True):
        kind = sum(map(abs, step))
        assert area * math.sqrt(kind) / 2 == pytest.approx(2 * expected[kind], abs=2e-4)


@pytest.mark.parametrize(
    ("spacing", "low", "high"),
    [((1, 1, 1), -0.08, 0.03), ((1.0, 0.8, 0.8), -0.09, 0.06), ((3, 1, 1), -0.16, 0.11)],
)
def test_flat_faces_of_all_orientations(spacing, low, high):
    normals = np.random.default_rng(1).normal(size=(20000, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    # a plane of area 1 is crossed by lines along d as often as its shadow along d is large
    crossings = np.abs(normals @ (np.array(DIRECTIONS) * spacing).T) / np.prod(spacing)
    area = crossings @ crossing_areas(spacing)
    assert area.min() > 1 + low
    assert area.max() < 1 + high
    assert area.mean() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.7, 0.7), (2, 1, 1), (0.5, 1, 2)])
@pytest.mark.parametrize("radius", [4, 8, 14])
def test_balls(spacing, radius):
    radius *= max(spacing)
    grid = np.ogrid[tuple(slice(-n, n + 1) for n in (int(radius / s) + 3 for s in spacing))]
    ball = sum(((g + 0.21) * s) ** 2 for g, s in zip(grid, spacing, strict=True)) < radius**2
    (fragment,) = measure_fragments(ball.astype(np.uint8), spacing).fragments
    assert fragment.surface_mm2 == pytest.approx(4 * math.pi * radius**2, rel=0.02)


def test_a_spacing_of_another_order_gives_the_same():
    one = dict(zip(DIRECTIONS, crossing_areas((3, 1, 0.5)), strict=True))
    other = dict(zip(DIRECTIONS, crossing_areas((0.5, 1, 3)), strict=True))
    for step, area in one.items():
        turned = step[::-1] if step[::-1] in other else tuple(-s for s in step[::-1])
        assert other[turned] == pytest.approx(area, rel=3e-3)
