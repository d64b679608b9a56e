import math
from dataclasses import replace

import pytest

from label_gen.errors import GridError
from nnunet_ext.grids import Grid, check_same_grid

GRID = Grid((10, 20, 30), (1.5, 0.8, 0.9), (-100.0, 5.0, 7.0))


def turned(angle):
    c, s = math.cos(angle), math.sin(angle)
    return (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        GRID,
        replace(GRID, spacing_mm=(1.5000001, 0.80000001, 0.9)),
        replace(GRID, origin=(-100.00001, 5.0, 7.0)),
        replace(GRID, direction=turned(3e-4)),
    ],
)
def test_rounding_of_the_formats_is_no_difference(other):
    check_same_grid(GRID, other)
    check_same_grid(other, GRID)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(GRID, shape=(10, 20, 31)), r"size \(30, 20, 10\) against \(31, 20, 10\) voxels \(x, y, z\)"),
        (replace(GRID, spacing_mm=(1.5, 0.8, 0.91)), r"spacing \(0\.9, 0\.8, 1\.5\) against \(0\.91, 0\.8, 1\.5\) mm"),
        (replace(GRID, origin=(-100.0, 5.0, 8.5)), r"origin \(-100, 5, 7\) against \(-100, 5, 8\.5\) mm \(LPS\)"),
        (replace(GRID, direction=turned(0.1)), r"direction \(1, 0, 0, 0, 1.* against \(0\.995"),
        (replace(GRID, shape=(9, 20, 30), origin=(0.0, 5.0, 7.0)), r"size .*; origin .*"),
    ],
)
def test_message_says_what_differs(other, message):
    with pytest.raises(GridError, match=r"'ct.mha' and 'seg.mha' are on different grids: " + message):
        check_same_grid(GRID, other, "ct.mha", "seg.mha")
