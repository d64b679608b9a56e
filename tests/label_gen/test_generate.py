import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_gen import ABBC, FREE_SCHEME, DataError, GenerationSettings, SchemeError, UsageError, generate_abbc
from tests.volumes import (
    AXIS_ORDERS,
    DTYPES,
    MILLIMETRE,
    PELVIS,
    SPACINGS,
    ball,
    bar,
    box,
    cells,
    check_guarantees,
    fixed,
    fragment_volumes,
)


@fixed(120)
@given(fragment_volumes(), st.sampled_from(SPACINGS))
def test_guarantees(labels, spacing):
    check_guarantees(labels, spacing, generate_abbc(labels, spacing))


@fixed(40)
@given(fragment_volumes(steps=(1,)), st.sampled_from(SPACINGS))
def test_guarantees_with_bones(labels, spacing):
    check_guarantees(labels, spacing, generate_abbc(labels, spacing, scheme=PELVIS), PELVIS)


@fixed(8)
@given(fragment_volumes(), st.sampled_from(SPACINGS))
def test_axis_orders_are_exact(labels, spacing):
    expected = generate_abbc(labels, spacing)
    for order in AXIS_ORDERS[1:]:
        found = generate_abbc(labels.transpose(order), [spacing[axis] for axis in order])
        np.testing.assert_array_equal(found.abbc, expected.abbc.transpose(order))
        assert found.pieces == expected.pieces


@pytest.mark.parametrize("mode", ["default", "literal"])
def test_types_numbers_and_memory_layout_do_not_matter(mode):
    labels = cells(np.random.default_rng(5), ball((30, 30, 30), (15, 15, 15), 13) > 0, 4)
    expected = generate_abbc(labels.astype(np.uint8), MILLIMETRE, mode=mode).abbc
    for dtype in DTYPES:
        numbers = np.array([0, 3, 17, 40, 120])
        found = generate_abbc(numbers[labels].astype(dtype), MILLIMETRE, mode=mode)
        np.testing.assert_array_equal(found.abbc, expected)
        assert sorted({piece.fragment_id for piece in found.pieces}) == [3, 17, 40, 120]
    wide = np.zeros((30, 60, 30), np.uint16, order="F")
    wide[:, ::2] = labels
    wide.flags.writeable = False
    np.testing.assert_array_equal(generate_abbc(wide[:, ::2], MILLIMETRE, mode=mode).abbc, expected)
    large = np.array([0, 300, 301, 40_000, 65_535])[labels]
    np.testing.assert_array_equal(generate_abbc(large, MILLIMETRE, mode=mode).abbc, expected)


def test_the_input_stays_as_it_was():
    labels = bar((1, (2, 18)), (2, (18, 34)))
    before = labels.copy()
    generate_abbc(labels, MILLIMETRE)
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("thickness", [1, 2])
def test_sheets_keep_a_core(thickness, axis, spacing):
    labels = box((20, 20, 20), (5, (9, 9 + thickness), (2, 18), (2, 18)))
    labels = np.moveaxis(labels, 0, axis)
    result = generate_abbc(labels, spacing)
    check_guarantees(labels, spacing, result)
    (piece,) = result.pieces
    assert piece.core_voxels >= min(256 * thickness, 25.6 / np.prod(spacing))
    assert piece.border_voxels == 0


@pytest.mark.parametrize("where", [(0, 0, 0), (2, 3, 4), (4, 4, 4)])
def test_a_single_voxel_is_core(where):
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[where] = 9
    result = generate_abbc(labels, MILLIMETRE)
    assert result.abbc[where] == ABBC.CORE
    assert result.abbc.sum() == ABBC.CORE
    (piece,) = result.pieces
    assert (piece.fragment_id, piece.volume_mm3, piece.core_voxels, piece.fallback) == (9, 1.0, 1, "thin")


def test_a_volume_full_of_bone_is_cut_by_the_field_of_view():
    result = generate_abbc(np.ones((12, 12, 12), np.uint8), MILLIMETRE)
    check_guarantees(np.ones((12, 12, 12), np.uint8), MILLIMETRE, result)


def test_pieces_from_500_mm3_get_a_core_and_smaller_ones_do_not():
    labels = box(
        (16, 16, 60),
        (1, (2, 14), (2, 14), (2, 18)),
        (1, (2, 12), (2, 12), (22, 27)),  # 500 mm3
        (1, (2, 12), (2, 12), (32, 36)),  # 400 mm3
    )
    labels[2, 2, 36] = 2
    result = generate_abbc(labels, MILLIMETRE)
    check_guarantees(labels, MILLIMETRE, result)
    assert [(p.fragment_id, p.piece, p.volume_mm3, p.fallback == "satellite") for p in result.pieces] == [
        (1, 1, 2304.0, False),
        (1, 2, 500.0, False),
        (1, 3, 400.0, True),
        (2, 1, 1.0, False),
    ]


def test_thickness_and_report():
    result = generate_abbc(bar((3, (2, 18)), across=13), MILLIMETRE)
    (piece,) = result.pieces
    assert piece.thickness_mm == 13.0
    assert piece.bone == "bone"
    assert piece.border_voxels == 0
    assert json.loads(json.dumps(result.to_dict()))["pieces"][0]["fragment_id"] == 3
    assert result.to_dict()["mode"] == "default"


def test_the_box_around_the_bone_does_not_matter():
    labels = np.pad(bar((1, (2, 18)), (2, (18, 34))), 6)  # the smoothing reaches six voxels
    wide = np.pad(labels, ((5, 9), (20, 0), (3, 40)))
    found = generate_abbc(wide, MILLIMETRE).abbc[5:-9, 20:, 3:-40]
    np.testing.assert_array_equal(found, generate_abbc(labels, MILLIMETRE).abbc)


def test_settings_change_the_result():
    labels = bar((1, (2, 22)), (2, (22, 42)), across=16)
    default = generate_abbc(labels, MILLIMETRE).abbc
    deep = generate_abbc(labels, MILLIMETRE, settings=GenerationSettings(laplacian_per_mm=9.0, core_depth_mm=6.5)).abbc
    assert (deep == ABBC.CORE).sum() < (default == ABBC.CORE).sum()
    far = generate_abbc(labels, MILLIMETRE, settings=GenerationSettings(clearance_mm=5.0)).abbc
    assert (far[8, 8] == ABBC.CORE).sum() < (default[8, 8] == ABBC.CORE).sum()


@pytest.mark.parametrize(
    ("labels", "spacing", "options", "error", "message"),
    [
        (np.zeros((3, 3, 3), np.uint8), MILLIMETRE, {}, DataError, "hold no fragment: all 27 voxels are 0"),
        (np.ones((3, 3, 3)), MILLIMETRE, {}, DataError, "whole numbers. Got: dtype float64"),
        (np.ones((3, 3), np.uint8), MILLIMETRE, {}, DataError, "three axes"),
        (np.full((3, 3, 3), -1), MILLIMETRE, {}, DataError, "negative. Got: minimum -1"),
        (np.ones((3, 3, 3), np.uint8), (1, 1), {}, UsageError, "three positive numbers"),
        (np.ones((3, 3, 3), np.uint8), MILLIMETRE, {"mode": "exact"}, UsageError, "'default' or 'literal'. Got: 'ex"),
        (np.full((3, 3, 3), 31), MILLIMETRE, {"scheme": PELVIS}, SchemeError, "labels 31 are in no band .*sacrum 1-10"),
        (np.full((3, 3, 3), 65536), MILLIMETRE, {"scheme": FREE_SCHEME}, SchemeError, "labels 65536 are in no band"),
    ],
)
@pytest.mark.parametrize("mode", ["default", "literal"])
def test_what_is_refused(labels, spacing, options, error, message, mode):
    with pytest.raises(error, match=message):
        generate_abbc(labels, spacing, **({"mode": mode} | options))


@pytest.mark.parametrize("name", list(GenerationSettings.__dataclass_fields__))
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_settings_have_to_be_positive(name, value):
    with pytest.raises(UsageError, match=f"{name} must be positive. Got: {value}"):
        GenerationSettings(**{name: value})


def test_no_core_within_the_border():
    with pytest.raises(UsageError, match=r"clearance_mm must be at least border_mm\. Got: 1.0 and 2.0"):
        GenerationSettings(border_mm=2.0, clearance_mm=1.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_row(axis):
    shape = [1, 1, 1]
    shape[axis] = 3
    labels = np.array([1, 0, 2], np.uint8).reshape(shape)
    assert generate_abbc(labels, (8.0, 8.0, 8.0)).abbc.ravel().tolist() == [ABBC.CORE, ABBC.BACKGROUND, ABBC.CORE]


@pytest.mark.parametrize(("border", "layers"), [(0.7, 1), (1.6, 2), (2.4, 3)])
def test_width_of_the_border(border, layers):
    labels = np.zeros((30, 30, 60), np.uint8)
    labels[2:28, 2:28, 2:30] = 1
    labels[2:28, 2:28, 30:58] = 2
    settings = GenerationSettings.for_mode("default", border)
    result = generate_abbc(labels, (0.8, 0.8, 0.8), settings=settings)
    row = result.abbc[15, 15]
    assert (row == ABBC.BORDER).nonzero()[0].tolist() == list(range(30 - layers, 30 + layers))
    assert (row[:30] == ABBC.CORE).any()
    assert (row[30:] == ABBC.CORE).any()


def test_impossible_width_of_the_border():
    assert GenerationSettings.for_mode("literal", None) == GenerationSettings()
    with pytest.raises(UsageError, match=r"0\.3 to 5 mm wide"):
        GenerationSettings.for_mode("default", 9.0)
    with pytest.raises(UsageError, match="belongs to the default mode"):
        GenerationSettings.for_mode("literal", 1.0)
