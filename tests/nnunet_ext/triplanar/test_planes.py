"""Orientations by name, in arrays whose axes nnU-Net has permuted."""

from itertools import permutations

import numpy as np
import pytest

from label_gen.errors import UsageError
from nnunet_ext.triplanar.planes import ORIENTATIONS, find_planes


@pytest.mark.parametrize("transpose_forward", list(permutations(range(3))))
def test_slices_are_the_same_pictures_whatever_the_transposition(transpose_forward):
    volume = np.random.default_rng(0).integers(0, 99, (3, 4, 5))
    transposed = volume.transpose(transpose_forward)
    planes = find_planes(tuple(ORIENTATIONS), transpose_forward)
    for plane, name in zip(planes, ORIENTATIONS, strict=True):
        assert np.array_equal(transposed.transpose(plane), volume.transpose(ORIENTATIONS[name]))


def test_names_mean_what_they_mean():
    assert {name: plane.slice_axis for name, plane in ORIENTATIONS.items()} == {"axial": 0, "coronal": 1, "sagittal": 2}


def test_order_and_subset_are_kept():
    planes = find_planes(["sagittal", "coronal"], [0, 1, 2])
    assert [plane.slice_axis for plane in planes] == [2, 1]


@pytest.mark.parametrize("wrong", [[0, 1], [0, 1, 1], [1, 2, 3]])
def test_transposition_must_be_one(wrong):
    with pytest.raises(UsageError, match="permutation of 0, 1, 2"):
        find_planes(["axial"], wrong)
