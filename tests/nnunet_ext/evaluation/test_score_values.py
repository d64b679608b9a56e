import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_gen.errors import UsageError
from nnunet_ext.evaluation.score_values import (
    better,
    case_values,
    gain,
    is_share,
    metric_label,
    natural,
    place_label,
    structures_of,
    unit_of,
)
from tests.nnunet_ext.evaluation.made_scores import fragment_scores, structure_scores


def test_values_of_structures_and_their_parts():
    scores = structure_scores({"a": 0.8, "b": None, "c": 0.0})
    assert structures_of(scores) == ("femur",)
    assert case_values(scores, "dice")["a"] == 0.8
    assert math.isnan(case_values(scores, "dice")["b"])
    assert case_values(scores, "dice", "femur", part="slices")["a"] == 0.4
    assert case_values(scores, "dice", part="head")["a"] == 0.2
    assert case_values(scores, "dice", part="head/slices")["a"] == 0.1
    assert list(case_values(scores, "hd95_mm").values())[::2] == [pytest.approx(2.0), math.inf]


def test_values_of_fragments_and_bones():
    scores = fragment_scores({"a": 0.8, "b": None, "c": 0.25})
    assert structures_of(scores) == ()
    assert case_values(scores, "fragment_iou")["a"] == 0.8
    assert case_values(scores, "iou", "sacrum")["c"] == 0.125
    far = case_values(scores, "fragment_hd95_mm")
    assert math.isnan(far["a"])
    assert far["c"] == math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: case_values(s, "area"), "no metric 'area'; known are dice, jaccard"),
        (lambda s: case_values(s, "dice", "tibia"), "no structure 'tibia'; known are femur"),
        (lambda s: case_values(s, "dice", part="shaft"), "no part 'shaft'; known are volume, slices, head"),
        (lambda s: case_values({"cases": {"a": {"status": "failed"}}}, "dice"), "no finished case, 1 failed"),
        (lambda s: case_values({"cases": {}}, "dice"), "no finished case, 0 failed"),
        (lambda s: case_values(fragment_scores({"a": 1.0}), "iou", "tibia"), "known are sacrum, left_hip"),
    ],
)
def test_what_is_not_there_is_named(call, message):
    with pytest.raises(UsageError, match=message):
        call(structure_scores({"a": 0.8}))


def test_several_structures_have_to_be_chosen_from():
    scores = structure_scores({"a": 0.8})
    scores["cases"]["a"]["structures"]["tibia"] = scores["cases"]["a"]["structures"]["femur"]
    with pytest.raises(UsageError, match="femur, tibia; name one"):
        case_values(scores, "dice")


@pytest.mark.parametrize(
    ("metric", "label", "unit", "way", "share"),
    [
        ("dice", "Dice", "", 1, True),
        ("slices.dice", "Slices.dice", "", 1, True),
        ("hd95_mm", "HD95 (mm)", "mm", -1, False),
        ("reference_mm3", "Reference (mm3)", "mm3", 1, False),
        ("merge_errors", "Merge errors", "", -1, False),
        ("signed_volume_similarity", "Signed volume similarity", "", 0, False),
        ("volume_similarity", "Volume similarity", "", 1, True),
        ("signed_surface_median_mm", "Signed surface distance, median (mm)", "mm", 0, False),
        ("inference_s", "Inference (s)", "s", -1, False),
        ("anatomy_iou", "Bone IoU", "", 1, True),
        ("missed_fragments", "Missed fragments", "", -1, False),
    ],
)
def test_what_is_known_of_a_metric(metric, label, unit, way, share):
    assert (metric_label(metric), unit_of(metric), better(metric), is_share(metric)) == (label, unit, way, share)


@settings(deadline=None)
@given(st.sampled_from(["dice", "hd95_mm", "signed_volume_similarity"]), *[st.floats(-5, 5)] * 2)
def test_gain_turns_with_its_sides(metric, before, after):
    assert gain(metric, before, after) == -gain(metric, after, before)
    assert gain(metric, before, before) == 0


@settings(deadline=None)
@given(st.lists(st.text("ab_019\N{SUPERSCRIPT TWO}", max_size=5), max_size=6))
def test_natural_order_keeps_all_and_is_an_order(names):
    assert sorted(natural(names)) == sorted(names)
    assert natural(natural(names)) == natural(names)


def test_places_have_names():
    assert place_label(None) == ""
    assert place_label("left_femur") == "Left femur"
    assert place_label("femur", "head") == "Femur, head"
