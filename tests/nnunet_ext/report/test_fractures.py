"""Where to look: slices through the fractures, and the middle of an interface, closed or open."""

import numpy as np
import pytest

from nnunet_ext.report.excerpt import Excerpt
from nnunet_ext.report.fractures import find_places, most_fractured

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def excerpt_of(indices, numbers=(1, 2)):
    return Excerpt(indices.astype(np.uint8), None, numbers, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)


def bar(gap):
    indices = np.zeros((20, 20, 50))
    indices[5:15, 6:12, 5:25] = 1
    indices[5:15, 6:12, 25 + gap : 45] = 2
    return indices


@pytest.mark.parametrize("gap", [0, 3])
def test_slices_run_through_the_fracture(gap):
    z, y, x = most_fractured(excerpt_of(bar(gap)), ["hip", "hip"])
    assert 5 <= z < 15
    assert 6 <= y < 12
    assert 22 <= x <= 28


def test_bones_that_touch_are_no_fracture():
    indices = bar(0)
    indices[5:15, 12:18, 5:9] = 3
    assert most_fractured(excerpt_of(indices, (1, 2, 9)), ["hip", "femur", "hip"])[2] < 12


@pytest.mark.parametrize("gap", [0, 4, 12])
def test_place_of_an_interface(gap):
    (z, y, x), (_, _, back) = find_places(excerpt_of(bar(gap), (11, 14)), [(11, 14), (14, 11)])
    assert z in (9, 10)
    assert y in (8, 9)
    assert x in (23, 24)
    assert back in (25 + gap, 26 + gap)


def test_place_of_what_is_not_there():
    assert find_places(excerpt_of(bar(0), (11, 14)), [(11, 13)]) == [None]
    assert find_places(excerpt_of(bar(0) * 0, ()), []) == []


def test_nothing_broken():
    assert len(most_fractured(excerpt_of(bar(0) * 0, ()), [])) == 3
