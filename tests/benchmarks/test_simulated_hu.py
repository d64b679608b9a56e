"""The table of Hounsfield units by depth counts what it says."""

import numpy as np
import pytest

from tests.benchmarks.simulated_hu import EDGES_MM, contacts, main, profile


def test_profile_is_by_depth_below_the_outer_surface():
    bones = np.zeros((30, 30, 30), np.uint8)
    bones[5:25, 5:25, 5:25] = 2
    ct = np.full(bones.shape, -500, np.int16)
    for depth, value in enumerate((300, 700, 400, 200, 200, 150, 150, 150, 150, 150)):
        inner = slice(5 + depth, 25 - depth)
        ct[inner, inner, inner] = value
    table = profile(ct, bones, (1.0, 1.0, 1.0))
    assert table.shape == (len(EDGES_MM) - 1, 3)
    np.testing.assert_array_equal(table[:5, 1], [300, 700, 400, 200, 150])
    assert np.isnan(table[-1, 1])


def test_contacts_are_compared_with_what_lies_around():
    bones = np.zeros((30, 30, 40), np.uint8)
    bones[5:25, 5:25, 5:35] = 1
    labels = np.where(np.arange(40) < 20, bones, 2 * bones)
    ct = np.where(bones > 0, 200, 0)
    ct[:, :, 19:21] = 90
    ct[9:21, 9:21, 19:21] = 150
    (rows,) = contacts(ct, labels, bones, (1.0, 1.0, 1.0)).values()
    rings = [2 * (18**2 - 16**2), 2 * (16**2 - 12**2), 2 * (12**2 - 4**2)]
    np.testing.assert_array_equal(rows, np.transpose([rings, [90, 90, 150], [200] * 3]))


@pytest.mark.slow
def test_table_is_printed(capsys):
    main(["--cases", "1", "--spacing", "2.0"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("five real, published")
    assert any(line.startswith("all simulated") for line in lines)
    assert any(line.startswith("simulated, ") and "HU at contacts over HU around" in line for line in lines)
