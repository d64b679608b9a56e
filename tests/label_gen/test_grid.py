import numpy as np
import pytest

from label_gen import DataError, GridError, UsageError
from label_gen.grid import (
    bounding_box,
    canonical_axes,
    check_label_array,
    check_same_shape,
    check_spacing,
    enclose,
    grow_box,
    intersect_boxes,
    shift_box,
)
from tests.volumes import AXIS_ORDERS, DTYPES, MILLIMETRE, box


def slices(*ranges):
    return tuple(slice(*r) for r in ranges)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([[[1]]], "must be a NumPy array. Got: list"),
        (np.ones((2, 2), np.uint8), r"three axes \(z, y, x\). Got: shape \(2, 2\)"),
        (np.ones((1, 2, 2, 2), np.uint8), "one volume at a time"),
        (np.ones((2, 2, 2), np.float32), "whole numbers. Got: dtype float32"),
        (np.full((2, 2, 2), np.nan), "whole numbers. Got: dtype float64"),
        (np.ones((2, 0, 2), np.uint8), r"empty array. Got: shape \(2, 0, 2\)"),
        (np.full((2, 2, 2), -3, np.int16), "not be negative. Got: minimum -3"),
    ],
)
def test_label_arrays_that_are_refused(array, message):
    with pytest.raises(DataError, match=f"^anatomy .*{message}"):
        check_label_array(array, "anatomy")


@pytest.mark.parametrize("dtype", [*DTYPES, bool])
def test_label_arrays_that_are_taken(dtype):
    check_label_array(np.ones((1, 1, 1), dtype))


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 1, 1), (1, 0, 1), (1, -1, 1), (1, np.nan, 1), (np.inf, 1, 1)])
def test_spacings_that_are_refused(spacing):
    with pytest.raises(UsageError, match=r"three positive numbers in array order \(z, y, x\)"):
        check_spacing(spacing)


def test_spacing_comes_back_as_floats():
    assert check_spacing(np.array([1, 2, 3])) == (1.0, 2.0, 3.0)
    assert all(type(s) is float for s in check_spacing([1, 2, 3]))


def test_shapes_that_differ():
    with pytest.raises(GridError, match=r"^CT and labels .*same grid.*\(1, 2, 3\) and \(3, 2, 1\)"):
        check_same_shape(np.zeros((1, 2, 3)), np.zeros((3, 2, 1)), ("CT", "labels"))


def test_boxes():
    labels = box((5, 6, 7), (3, (1, 3), (2, 3), (4, 7)))
    found = bounding_box(labels)
    assert found == slices((1, 3), (2, 3), (4, 7))
    assert bounding_box(np.zeros((2, 2, 2))) is None
    assert grow_box(found, 2, labels.shape) == slices((0, 5), (0, 5), (2, 7))
    assert grow_box(found, [0, 1, 9], labels.shape) == slices((1, 3), (1, 4), (0, 7))
    other = slices((2, 5), (0, 6), (0, 5))
    assert intersect_boxes(found, other) == slices((2, 3), (2, 3), (4, 5))
    assert intersect_boxes(found, slices((3, 5), (0, 6), (0, 7))) is None
    assert enclose([found, other]) == slices((1, 5), (0, 6), (0, 7))
    assert shift_box(found, slices((1, 9), (1, 9), (4, 9))) == slices((0, 2), (1, 2), (0, 3))


@pytest.mark.parametrize("order", AXIS_ORDERS)
@pytest.mark.parametrize(
    "spacing", [MILLIMETRE, (2.0, 1.0, 1.0), (1.0, 3.0, 2.0)], ids=["isotropic", "slices", "anisotropic"]
)
@pytest.mark.parametrize("kind", ["random", "equal profiles", "symmetric"])
def test_canonical_order_depends_on_the_content_alone(kind, spacing, order):
    if kind == "random":
        labels = np.random.default_rng(0).integers(0, 4, (4, 5, 5), np.uint8)
    else:
        labels = np.zeros((3, 3, 3), np.uint8)
        labels[1, 1, 1] = 1
    if kind == "equal profiles":  # a cycle: no reflection of axes maps it onto itself, but all profiles are equal
        labels[0, 1, 2] = labels[1, 2, 0] = labels[2, 0, 1] = 1
        labels[0, 0, 1] = labels[0, 1, 0] = labels[1, 0, 0] = 1

    def canonical(volume, steps):
        found = canonical_axes(volume, steps)
        return volume.transpose(found), [steps[axis] for axis in found]

    expected, steps = canonical(labels, spacing)
    found, steps_found = canonical(labels.transpose(order), [spacing[axis] for axis in order])
    np.testing.assert_array_equal(found, expected)
    assert steps_found == steps == sorted(spacing)
