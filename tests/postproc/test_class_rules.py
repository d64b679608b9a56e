import itertools

import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from label_gen.errors import DataError, UsageError
from postproc import ClassReport, ClassRule, apply_class_rules
from postproc.class_rules import check_rules
from tests.volumes import AXIS_ORDERS, DTYPES, MILLIMETRE, box, fixed

NUMBERS = {"background": 0, "a": 1, "b": 2, "c": 3}
ANY = {"min_volume_mm3": 0.0}


def ruled(labels, *rules, spacing=MILLIMETRE, numbers=NUMBERS):
    """Apply rules and check what must hold of every result."""
    before = labels.copy()
    result = apply_class_rules(labels, spacing, rules, numbers)
    np.testing.assert_array_equal(labels, before)
    assert result.labels.dtype.kind == "u"
    for report in result.reports:
        count = int((result.labels == report.number).sum())
        assert report.after_mm3 == pytest.approx(count * np.prod(spacing))
        gone = report.small_mm3 + report.apart_mm3 + report.surplus_mm3
        assert report.before_mm3 + report.filled_mm3 - gone == pytest.approx(report.after_mm3)
    return result


def channels(*values):
    """Return probabilities of one voxel per tuple, in a row: (class, 1, 1, voxels)."""
    return np.array(values, np.float32).T[:, None, None, :]


# Threshold


@pytest.mark.parametrize(
    ("voxel", "expected"),
    [
        ((0.5, 0.5, 0.0), 1),  # reaches it
        ((0.51, 0.49, 0.0), 0),
        ((0.75, 0.125, 0.125), 2),  # b reaches its own, a does not
        ((0.76, 0.12, 0.12), 0),
        ((0.0, 0.5, 0.5), 1),  # equals: the smaller number
        ((0.0, 0.51, 0.49), 1),  # both reach theirs: the more probable
        ((0.0, 0.45, 0.55), 2),
        ((0.1, 0.55, 0.35), 1),
        ((0.3, 0.45, 0.25), 2),  # the most probable class does not reach its threshold, a less probable one does
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_thresholds(voxel, expected, dtype):
    rules = ClassRule("a", 0.5, **ANY), ClassRule("b", 0.125, **ANY)
    result = ruled(channels(voxel).astype(dtype), *rules, numbers={"a": 1, "b": 2})
    assert result.labels.ravel().tolist() == [expected]
    assert [report.threshold for report in result.reports] == [0.5, 0.125]


def test_the_default_threshold_is_a_half():
    probabilities = channels((0.4, 0.3, 0.3), (0.5, 0.5, 0.0), (0.4, 0.25, 0.35))
    rules = ClassRule("a", **ANY), ClassRule("b", **ANY)
    assert ruled(probabilities, *rules).labels.ravel().tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("voxel", "expected"),
    [
        ((0.3, 0.3, 0.4), 2),  # most probable of all
        ((0.4, 0.25, 0.35), 0),  # background is
        ((0.2, 0.45, 0.35), 0),  # the class with a rule is, but does not reach its threshold
        ((0.1, 0.5, 0.4), 1),
    ],
)
def test_classes_without_a_rule_are_decided_as_by_nnunet(voxel, expected):
    assert ruled(channels(voxel), ClassRule("a", **ANY)).labels.ravel().tolist() == [expected]


def test_no_rules_decide_as_nnunet():
    values = np.random.default_rng(0).random((4, 5, 6, 7)).astype(np.float16)
    values /= values.sum(0)
    np.testing.assert_array_equal(ruled(values).labels, values.argmax(0))


def test_thresholds_do_not_apply_to_labels():
    labels = box((4, 4, 4), (1, (1, 3), (1, 3), (1, 3)))
    result = ruled(labels, ClassRule("a", 1.0, **ANY))
    np.testing.assert_array_equal(result.labels, labels)
    assert result.reports[0].threshold is None


# Small objects


def test_objects_of_a_tenth_of_a_millilitre_stay():
    labels = box((12, 12, 30), (1, (1, 6), (1, 6), (1, 5)), (1, (1, 6), (1, 6), (8, 12)), (2, (8, 9), (8, 9), (8, 9)))
    labels[1, 1, 8] = 0
    result = ruled(labels, ClassRule("a"))
    expected = box(labels.shape, (1, (1, 6), (1, 6), (1, 5)), (2, (8, 9), (8, 9), (8, 9)))
    np.testing.assert_array_equal(result.labels, expected)
    assert result.reports == (ClassReport("a", 1, None, 199.0, 100.0, kept_objects=1, small_objects=1, small_mm3=99.0),)
    assert str(result.reports[0]) == "a: 1 object(s) kept (100 mm3), 1 too small (99 mm3)"


def test_volume_is_in_cubic_millimetres():
    labels = box((6, 6, 6), (1, (1, 4), (1, 4), (1, 4)))  # 27 voxels
    for spacing, stays in (((1.6, 1.6, 1.6), True), ((1.5, 1.5, 1.5), False), ((0.8, 0.8, 5.79), True)):
        assert ruled(labels, ClassRule("a"), spacing=spacing).labels.any() == stays
    exact = box((12, 12, 22), (1, (1, 11), (1, 11), (1, 21)))  # 2000 voxels of 0.05 mm3, not exact in floating point
    assert ruled(exact, ClassRule("a"), spacing=(0.5, 0.1, 1.0)).labels.any()


def test_corners_connect():
    labels = box((12, 12, 12), (1, (1, 5), (1, 5), (1, 5)), (1, (5, 9), (5, 9), (5, 9)))  # 64 voxels each
    assert (ruled(labels, ClassRule("a", n_largest=1)).labels == labels).all()
    assert not ruled(box(labels.shape, (1, (1, 5), (1, 5), (1, 5))), ClassRule("a")).labels.any()


# n largest


def row(*lengths, number=1):
    """Return bars of certain lengths, one voxel apart."""
    labels, start = np.zeros((3, 3, sum(lengths) + len(lengths) + 1), np.uint8), 1
    for length in lengths:
        labels[1, 1, start : start + length] = number
        start += length + 1
    return labels


def lengths_of(labels, number=1):
    line = "".join("x" if v == number else " " for v in labels[1, 1].tolist())
    return [len(part) for part in line.split()]


@pytest.mark.parametrize(("count", "expected"), [(None, [2, 5, 3, 4]), (1, [5]), (2, [5, 4]), (3, [5, 3, 4]), (9, 4)])
def test_n_largest(count, expected):
    result = ruled(row(2, 5, 3, 4), ClassRule("a", n_largest=count, **ANY))
    assert lengths_of(result.labels) == (expected if isinstance(expected, list) else [2, 5, 3, 4])
    if count == 1:
        assert result.reports[0].surplus_objects == 3
        assert result.reports[0].surplus_mm3 == 9.0


def test_equals_beyond_n_are_dropped_alike_in_any_axis_order():
    labels = row(4, 2, 2, 4, 2)
    first = ruled(labels, ClassRule("a", n_largest=3, **ANY)).labels
    assert lengths_of(first) in ([4, 2, 4], [4, 4, 2])
    for axes in AXIS_ORDERS:
        turned = ruled(labels.transpose(axes), ClassRule("a", n_largest=3, **ANY)).labels
        np.testing.assert_array_equal(turned, first.transpose(axes))


# Contact


def test_objects_must_touch():
    labels = box((5, 9, 20), (2, (1, 4), (1, 4), (1, 4)), (1, (3, 4), (3, 4), (4, 6)), (1, (1, 4), (6, 8), (1, 19)))
    expected = labels.copy()
    expected[:, 6:] = 0
    result = ruled(labels, ClassRule("a", touch="b", **ANY))
    np.testing.assert_array_equal(result.labels, expected)
    assert (result.reports[0].apart_objects, result.reports[0].apart_mm3, result.reports[0].kept_objects) == (
        1,
        108.0,
        1,
    )


@pytest.mark.parametrize(("shift", "touches"), [((1, 1, 1), True), ((0, 1, 0), True), ((0, 0, 2), False)])
def test_contact_is_with_the_26_neighbours(shift, touches):
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 2
    labels[tuple(2 + s for s in shift)] = 1
    assert (ruled(labels, ClassRule("a", touch="b", **ANY)).labels == 1).any() == touches


def test_contact_with_a_class_that_is_not_there_drops_all():
    result = ruled(row(3, 4), ClassRule("a", touch="b", **ANY))
    assert not result.labels.any()
    assert result.reports[0].apart_objects == 2


def test_contact_counts_with_what_is_left_of_the_other_class():
    labels = box((12, 12, 30), (2, (1, 7), (1, 7), (1, 7)), (2, (8, 10), (8, 10), (20, 22)))
    labels[8:10, 8:10, 22:28] = 1  # touches a speck of b only
    rules = ClassRule("a", touch="b", **ANY), ClassRule("b")
    assert not (ruled(labels, *rules).labels == 1).any()
    assert (ruled(labels, rules[0]).labels == 1).any()


def test_an_outlier_apart_does_not_win_by_its_size():
    labels = box((6, 6, 30), (2, (1, 5), (1, 5), (1, 5)), (1, (1, 5), (1, 5), (5, 8)), (1, (1, 5), (1, 5), (12, 28)))
    result = ruled(labels, ClassRule("a", n_largest=1, touch="b", **ANY))
    assert np.flatnonzero((result.labels == 1).any(axis=(0, 1))).tolist() == [5, 6, 7]


def test_a_chain_of_contacts():
    labels = row(12)
    labels[1, 1, 1:5], labels[1, 1, 5:9], labels[1, 1, 9:13] = 1, 2, 3
    rules = ClassRule("a", touch="b", **ANY), ClassRule("b", touch="c", **ANY), ClassRule("c", **ANY)
    for order in itertools.permutations(rules):
        np.testing.assert_array_equal(ruled(labels, *order).labels, labels)
        assert not ruled(np.where(labels == 3, 0, labels), *order).labels.any()


# Holes


def shell(number=1, size=7):
    """Return a hollow box; the hole is five voxels wide where it is seven."""
    labels = np.zeros((size + 2,) * 3, np.uint8)
    labels[1:-1, 1:-1, 1:-1] = number
    labels[2:-2, 2:-2, 2:-2] = 0
    return labels


def test_holes_are_filled():
    result = ruled(shell(), ClassRule("a"))
    np.testing.assert_array_equal(result.labels, box((9, 9, 9), (1, (1, 8), (1, 8), (1, 8))))
    assert result.reports == (ClassReport("a", 1, None, 218.0, 343.0, kept_objects=1, filled_mm3=125.0),)
    assert (ruled(shell(), ClassRule("a", fill=False)).labels == shell()).all()


def test_a_hole_is_closed_where_no_path_of_faces_leads_out():
    labels = shell()
    labels[1, 1, 1] = 0  # a corner: no face of it is open to the hole
    assert ruled(labels, ClassRule("a")).reports[0].filled_mm3 == 125.0
    labels[1, 4, 4] = 0
    assert ruled(labels, ClassRule("a")).reports[0].filled_mm3 == 0.0


def test_the_edge_of_the_volume_closes_nothing():
    labels = shell()[4:]
    assert ruled(labels, ClassRule("a", **ANY)).reports[0].filled_mm3 == 0.0


def test_other_classes_in_a_hole_stay():
    labels = shell()
    labels[4, 4, 4] = 2
    result = ruled(labels, ClassRule("a"))
    expected = box((9, 9, 9), (1, (1, 8), (1, 8), (1, 8)), (2, (4, 5), (4, 5), (4, 5)))
    np.testing.assert_array_equal(result.labels, expected)


@pytest.mark.parametrize("inner", [True, False])
def test_nested_shells(inner):
    labels = shell(1, 9)
    labels[3:8, 3:8, 3:8] = 2
    labels[4:7, 4:7, 4:7] = 0
    result = ruled(labels, ClassRule("a"), ClassRule("b", fill=inner, **ANY))
    expected = box((11, 11, 11), (1, (1, 10), (1, 10), (1, 10)), (2, (3, 8), (3, 8), (3, 8)))
    if not inner:
        expected[4:7, 4:7, 4:7] = 0  # a has no contact with it
    np.testing.assert_array_equal(result.labels, expected)


def test_background_that_two_classes_enclose_goes_to_the_smaller_number():
    labels = shell(2, 9)
    labels[3:8, 3:8, 3:8] = 1
    labels[4:7, 4:7, 4:7] = 0
    labels[5, 5, 5] = 2  # so class 2 encloses that background too, and touches it
    for rules in itertools.permutations([ClassRule("a", **ANY), ClassRule("b", **ANY)]):
        found = ruled(labels, *rules).labels
        assert (found[4:7, 4:7, 4:7] == 1).sum() == 26


def test_filling_comes_before_the_smallest_volume():
    labels = shell(1, 5)  # 98 mm3 with a hole of 27
    assert (ruled(labels, ClassRule("a")).labels == 1).sum() == 125
    assert not ruled(labels, ClassRule("a", fill=False)).labels.any()


def test_specks_of_another_class_leave_no_holes():
    labels = box((9, 9, 9), (1, (1, 8), (1, 8), (1, 8)), (2, (3, 5), (3, 5), (3, 5)))
    result = ruled(labels, ClassRule("a"), ClassRule("b"))
    assert (result.labels == 1).sum() == 343
    assert result.reports[0].filled_mm3 == 8.0
    assert result.reports[1].small_mm3 == 8.0


# Together


def test_the_airways():
    """Ekman 2025, Table 4: two lungs, one trachea that touches them."""
    labels = np.zeros((30, 20, 60), np.uint8)
    labels[2:20, 2:18, 2:20] = labels[2:20, 2:18, 40:58] = 1
    labels[10:16, 8:12, 20:40] = labels[16:30, 8:12, 28:32] = 2
    clean = labels.copy()
    labels[5:9, 5:9, 5:9] = 0
    labels[22:29, 2:9, 2:9] = 1
    labels[22:29, 12:19, 45:59] = 2
    labels[10, 10, 10] = 2
    rules = ClassRule("lungs", n_largest=2), ClassRule("trachea", n_largest=1, touch="lungs")
    result = ruled(labels, *rules, numbers={"lungs": 1, "trachea": 2})
    np.testing.assert_array_equal(result.labels, clean)
    lungs, trachea = result.reports
    assert (lungs.surplus_objects, lungs.surplus_mm3, lungs.filled_mm3) == (1, 343.0, 65.0)
    assert (trachea.small_objects, trachea.apart_objects, trachea.surplus_objects) == (1, 1, 0)
    assert result.to_dict()["classes"][1]["apart_mm3"] == 686.0


def check_rules_hold(labels, rules, spacing):
    for rule in rules:
        mask = labels == NUMBERS[rule.name]
        objects, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
        assert rule.n_largest is None or count <= rule.n_largest
        for number in range(1, count + 1):
            is_object = objects == number
            assert is_object.sum() * np.prod(spacing) >= rule.min_volume_mm3 - 1e-6
            if rule.touch:
                near = np.zeros(np.add(labels.shape, 2), bool)
                for shift in itertools.product(range(3), repeat=3):
                    near[tuple(slice(s, s + n) for s, n in zip(shift, labels.shape, strict=True))] |= is_object
                assert (labels == NUMBERS[rule.touch])[near[1:-1, 1:-1, 1:-1]].any()


@st.composite
def cases(draw):
    """Draw a volume of blobs, noise and holes of three classes, a spacing, and rules."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.lists(st.integers(4, 13), min_size=3, max_size=3)))
    coarse = rng.integers(0, 4, [-(-n // 3) for n in shape])
    labels = np.kron(coarse, np.ones((3, 3, 3), int))[tuple(slice(n) for n in shape)]
    noise = rng.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.3]))
    labels = np.where(noise, rng.integers(0, 4, shape), labels).astype(draw(st.sampled_from(DTYPES)))
    touches = draw(st.sampled_from([(None, None, None), ("b", None, None), ("b", "c", None), (None, "a", "a")]))
    rules = [
        ClassRule(
            name,
            n_largest=draw(st.sampled_from([None, 1, 2])),
            touch=touch,
            fill=draw(st.booleans()),
            min_volume_mm3=draw(st.sampled_from([0.0, 3.0, 10.0])),
        )
        for name, touch in zip("abc", touches, strict=True)
    ]
    spacing = draw(st.sampled_from([MILLIMETRE, (1.5, 0.8, 0.8), (3.0, 1.0, 0.7)]))
    return labels, spacing, draw(st.permutations(rules))[: draw(st.integers(1, 3))]


@fixed(150)
@given(cases(), st.sampled_from(AXIS_ORDERS))
def test_rules_hold_twice_is_once_and_axes_do_not_matter(case, axes):
    labels, spacing, rules = case
    first = ruled(labels, *rules, spacing=spacing)
    check_rules_hold(first.labels, rules, spacing)
    np.testing.assert_array_equal(ruled(first.labels, *rules, spacing=spacing).labels, first.labels)
    np.testing.assert_array_equal(ruled(labels, *rules[::-1], spacing=spacing).labels, first.labels)
    turned = ruled(labels.transpose(axes), *rules, spacing=[spacing[axis] for axis in axes])
    np.testing.assert_array_equal(turned.labels, first.labels.transpose(axes))
    assert turned.reports == first.reports
    ruled_numbers = [NUMBERS[rule.name] for rule in rules]
    others = ~np.isin(labels, [0, *ruled_numbers])
    np.testing.assert_array_equal(first.labels[others], labels[others])


@fixed(40)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.9))
def test_holes_of_one_class_are_those_of_scipy(seed, share):
    mask = np.random.default_rng(seed).random((9, 8, 7)) < share
    found = ruled(mask.astype(np.uint8), ClassRule("a", **ANY)).labels
    np.testing.assert_array_equal(found, ndimage.binary_fill_holes(mask))


@fixed(40)
@given(cases(), st.sampled_from(AXIS_ORDERS))
def test_probabilities_that_are_sure_give_the_same_as_labels(case, axes):
    labels, spacing, rules = case
    one_hot = np.stack([labels == number for number in range(4)]).astype(np.float16)
    expected = ruled(labels, *rules, spacing=spacing).labels
    turned = one_hot.transpose(0, *(axis + 1 for axis in axes))
    found = ruled(turned, *rules, spacing=[spacing[axis] for axis in axes]).labels
    np.testing.assert_array_equal(found, expected.transpose(axes))


@pytest.mark.parametrize("dtype", [*DTYPES, np.bool_])
def test_types_and_empty_classes(dtype):
    labels = np.zeros((4, 5, 6), dtype)
    assert not ruled(labels, ClassRule("a"), ClassRule("b")).labels.any()
    labels[1:3, 1:4, 1:5] = 1
    assert (ruled(labels, ClassRule("a", **ANY), ClassRule("c")).labels == labels).all()


def test_no_rules_change_nothing():
    labels = row(1, 2, 3)
    result = ruled(labels)
    assert (result.labels == labels).all()
    assert result.to_dict() == {"classes": []}


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "a rule needs the name of a class"),
        ({"threshold": 0.0}, r"'a': threshold must be above 0 and at most 1 \(50 % is 0.5\). Got: 0.0"),
        ({"threshold": 12.5}, "Got: 12.5"),
        ({"threshold": float("nan")}, "Got: nan"),
        ({"threshold": "half"}, "Got: 'half'"),
        ({"n_largest": 0}, "n_largest must be a whole number from 1 upward. Got: 0"),
        ({"n_largest": 1.0}, "n_largest must be"),
        ({"n_largest": True}, "n_largest must be"),
        ({"touch": "a"}, "touch must be the name of another class. Got: 'a'"),
        ({"touch": ""}, "touch must be"),
        ({"touch": 2}, "touch must be"),
        ({"fill": 1}, "fill must be true or false. Got: 1"),
        ({"min_volume_mm3": -1}, "min_volume_mm3 must be 0 or more. Got: -1"),
        ({"min_volume_mm3": float("inf")}, "min_volume_mm3 must be"),
    ],
)
def test_wrong_rules(options, message):
    with pytest.raises(UsageError, match=message):
        ClassRule(**{"name": "a", **options})


@pytest.mark.parametrize(
    ("rules", "numbers", "message"),
    [
        ([ClassRule("x")], NUMBERS, "a rule is for class 'x', which has no number; classes are background 0, a 1, b 2"),
        ([ClassRule("a", touch="x")], NUMBERS, "a rule for class 'a' demands contact with class 'x', which has no"),
        ([ClassRule("background")], NUMBERS, r"class 'background' has the number 0; .* from 1 to 65535"),
        ([ClassRule("a")], {"a": 1.0}, r"class 'a' has the number 1\.0"),
        ([ClassRule("a"), ClassRule("a", n_largest=1)], NUMBERS, "class 1 has two rules, 'a' and 'a'; leave one out"),
        ([ClassRule("a", touch="b")], {"a": 1, "b": 1}, "classes 'a' and 'b' have the same number 1"),
        (
            [ClassRule("a", touch="b"), ClassRule("b", touch="a")],
            NUMBERS,
            "rules for 'a', 'b' demand contact in a circ",
        ),
    ],
)
def test_rules_that_do_not_fit(rules, numbers, message):
    with pytest.raises(UsageError, match=message):
        apply_class_rules(row(3), MILLIMETRE, rules, numbers)
    with pytest.raises(UsageError, match=message):
        check_rules(rules, numbers)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4), np.float32), r"must have shape \(class, z, y, x\), class 0 .* Got: \(2, 3, 4\)"),
        (np.zeros((1, 2, 3, 4), np.float32), "must have shape"),
        (np.zeros((3, 2, 0, 4), np.float32), "must have shape"),
        (np.full((3, 2, 2, 2), np.nan), "between 0 and 1. Got: nan to nan in slice 0; give probabilities, not logits"),
        (np.full((3, 2, 2, 2), 1.5), r"between 0 and 1. Got: 1.5 to 1.5"),
        (np.full((3, 2, 2, 2), -0.1), r"between 0 and 1. Got: -0.1"),
        (np.zeros((2, 2, 2, 2)), "probabilities hold the classes 0 to 1 only; there is no class 2"),
        (np.zeros((2, 2, 2, 2), int), r"classes must have three axes"),
        (np.full((2, 2, 2), -1), "must not be negative"),
        (np.full((2, 2, 2), 70000), "class numbers up to 65535 are expected. Got: 70000"),
        ([[[1]]], "must be a NumPy array"),
    ],
)
def test_arrays_that_are_none(array, message):
    with pytest.raises(DataError, match=message):
        apply_class_rules(array, MILLIMETRE, [ClassRule("a"), ClassRule("b")], NUMBERS)


def test_wrong_spacing():
    with pytest.raises(UsageError, match="spacing_mm must be three positive numbers"):
        apply_class_rules(row(3), (1.0, 0.0, 1.0), [ClassRule("a")], NUMBERS)
