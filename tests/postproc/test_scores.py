"""Case scores: both matchings, merge and split errors, missing and surplus bones, invariances, summary."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.ndimage import gaussian_filter

from label_gen.errors import DataError, GridError, SchemeError, UsageError
from label_gen.scheme import FREE_SCHEME, Bone, LabelScheme
from postproc.one_to_one import match_fragments
from postproc.overlap import label_overlap
from postproc.pengwin2024 import pengwin2024_figures
from postproc.scores import CaseScores, evaluate_fragments, summarise_scores
from postproc.surface_distance import surface_distances

PELVIS = LabelScheme(
    "pelvis",
    (Bone("sacrum", 1, 10), Bone("left_hip", 11, 20), Bone("right_hip", 21, 30)),
    {"sacrum": 1, "left_hip": 2, "right_hip": 3},
)
BOTH = ("pengwin2024", "one-to-one")
UNIT = (1.0, 1.0, 1.0)


def rod(*pieces, length=40):
    """A rod along the last axis, 2 x 2 voxels thick: pieces are (label, start, stop)."""
    labels = np.zeros((4, 4, length), np.uint8)
    for label, start, stop in pieces:
        labels[1:3, 1:3, start:stop] = label
    return labels


def blobs(seed, ids=(1, 2, 11, 13, 21, 22), shape=(16, 18, 20)):
    rng = np.random.default_rng(seed)
    fields = np.stack([gaussian_filter(rng.normal(size=shape), 2.5) for _ in ids])
    fields /= fields.std()
    return np.where(fields.max(axis=0) > 0.3, np.asarray(ids)[fields.argmax(axis=0)], 0).astype(np.uint8)


def score(prediction, reference, spacing=UNIT, scheme=PELVIS, matching="one-to-one", **options) -> CaseScores:
    scores = evaluate_fragments(prediction, reference, spacing, scheme=scheme, matching=matching, **options)
    plain = scores.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert set(plain) == {"matching", "fragments", "case", "anatomy", "infinite"}
    assert list(plain["anatomy"]) == [bone.name for bone in scheme.bones]
    return scores


def errors(prediction, reference, **options):
    case = score(prediction, reference, **{"min_piece_mm3": 4, **options}).case
    return case["merge_errors"], case["split_errors"]


@pytest.mark.parametrize("matching", BOTH)
def test_identical_volumes(matching):
    labels = blobs(0)
    scores = score(labels, labels.copy(), (1.5, 0.8, 0.8), matching=matching)
    for name in ("fragment_iou", "fragment_dice", "anatomy_iou", "anatomy_dice", "recall", "precision", "f1"):
        assert scores.case[name] == 1
    for name in ("fragment_hd95_mm", "fragment_assd_mm", "anatomy_hd95_mm", "anatomy_assd_mm"):
        assert scores.case[name] == 0
    for name in ("merge_errors", "split_errors", "missed_fragments", "surplus_fragments", "uncounted_fragments"):
        assert scores.case[name] == 0
    assert scores.case["topology_consistent"] == 1
    assert {row.status for row in scores.fragments} == {"matched"}


def test_rows_of_one_to_one():
    reference = rod((1, 0, 10), (2, 10, 20), (11, 25, 30))
    prediction = rod((4, 0, 9), (6, 10, 12), (12, 25, 30), (21, 35, 40))
    spacing = (2.0, 2.0, 0.5)
    rows = {(row.reference_id, row.prediction_id): row for row in score(prediction, reference, spacing).fragments}
    assert list(rows) == [(1, 4), (2, None), (None, 6), (11, 12), (None, 21)]
    assert [row.status for row in rows.values()] == ["matched", "missed", "surplus", "matched", "surplus"]
    assert [row.bone for row in rows.values()] == ["sacrum", "sacrum", "sacrum", "left_hip", "right_hip"]
    first = rows[1, 4]
    distances = surface_distances(reference == 1, prediction == 4, spacing)
    assert (first.iou, first.dice) == (36 / 40, 72 / 76)
    assert (first.hd95_mm, first.assd_mm) == (distances.hd95, distances.assd)
    assert (first.reference_mm3, first.prediction_mm3) == (80, 72)
    missed = rows[2, None]
    radius = math.sqrt(1**2 + 1**2 + (4.5 * 0.5) ** 2)
    assert (missed.iou, missed.dice) == (0, 0)
    assert (missed.hd95_mm, missed.assd_mm) == pytest.approx((2 * radius, radius))
    surplus = rows[None, 6]
    assert (surplus.iou, surplus.hd95_mm, surplus.reference_mm3, surplus.prediction_mm3) == (None, None, 0, 16)


def test_case_figures_of_one_to_one():
    reference = rod((1, 0, 10), (2, 10, 20), (11, 25, 30))
    prediction = rod((4, 0, 9), (6, 10, 12), (12, 25, 30), (21, 35, 40))
    scores = score(prediction, reference)
    rows = [row for row in scores.fragments if row.reference_id is not None]
    for name in ("iou", "dice", "hd95_mm", "assd_mm"):
        assert scores.case[f"fragment_{name}"] == pytest.approx(np.mean([getattr(row, name) for row in rows]))
    assert scores.case["recall"] == pytest.approx(2 / 3)
    assert scores.case["precision"] == pytest.approx(2 / 4)
    assert scores.case["f1"] == pytest.approx(4 / 7)
    assert [scores.case[f"{name}_fragments"] for name in ("matched", "missed", "surplus")] == [2, 1, 2]
    assert (scores.case["reference_fragments"], scores.case["prediction_fragments"]) == (3, 4)
    assert scores.case["topology_consistent"] == 0
    assert [scores.anatomy[bone]["topology_consistent"] for bone in scores.anatomy] == [1, 1, 0]
    assert scores.anatomy["sacrum"]["recall"] == 0.5
    assert scores.anatomy["left_hip"]["fragment_iou"] == 1


def test_threshold_of_a_match():
    reference, prediction = rod((1, 0, 10)), rod((1, 0, 5))
    assert score(prediction, reference).case["recall"] == 1
    assert score(prediction, reference, min_iou=0.51).case["recall"] == 0
    assert score(rod((1, 9, 20)), reference, min_iou=0.01).case["recall"] == 1


def test_assignment_is_optimal_not_greedy():
    # The best single pair is (1, 2) with IoU 6/14, but then nothing is left for fragment 2.
    reference = rod((1, 0, 10), (2, 10, 14))
    prediction = rod((1, 0, 4), (2, 4, 14))
    match = match_fragments(label_overlap(prediction, reference), PELVIS.bones[0], min_iou=0.3, min_piece_voxels=1)
    assert match.pairs == {1: 1, 2: 2}


def test_merge_errors():
    reference = rod((1, 0, 10), (2, 10, 20), (3, 20, 30), (11, 30, 40))
    assert errors(reference, reference) == (0, 0)
    assert errors(rod((1, 0, 20), (3, 20, 30), (11, 30, 40)), reference) == (1, 0)
    assert errors(rod((1, 0, 30), (11, 30, 40)), reference) == (2, 0)
    assert errors(rod((1, 0, 15), (3, 20, 30), (11, 30, 40)), reference) == (0, 0), "half of a fragment is not enough"
    assert errors(rod((1, 0, 16), (3, 20, 30), (11, 30, 40)), reference) == (1, 0)
    assert errors(rod((11, 0, 40)), reference) == (0, 0), "fragments of other bones do not count"


def test_split_errors():
    reference = rod((1, 0, 20), (2, 20, 40))
    assert errors(rod((1, 0, 10), (3, 10, 20), (2, 20, 40)), reference) == (0, 1)
    assert errors(rod((1, 0, 8), (3, 8, 14), (4, 14, 20), (2, 20, 40)), reference) == (0, 2)
    assert errors(rod((1, 0, 19), (3, 19, 20), (2, 20, 40)), reference) == (0, 1)
    assert errors(rod((1, 0, 19), (3, 19, 20), (2, 20, 40)), reference, min_piece_mm3=5) == (0, 0), "a speck"
    assert errors(rod((1, 0, 15), (2, 15, 40)), reference) == (0, 0), "the second piece lies mostly elsewhere"
    assert errors(rod((1, 0, 4), (3, 4, 8), (2, 20, 40)), reference) == (0, 0), "less than half is covered"
    assert errors(rod((1, 0, 10), (3, 10, 20), (2, 20, 40)), reference, spacing=(0.5, 0.5, 0.5)) == (0, 1)
    assert errors(rod((1, 0, 7), (3, 7, 20), (2, 20, 40)), reference, spacing=(0.5, 0.5, 0.5)) == (0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_pengwin2024_mode_has_the_evaluators_figures(seed):
    prediction, reference, spacing = blobs(seed + 9, (2, 11, 12, 15)), blobs(seed), (0.8, 0.75, 0.75)
    scores = score(prediction, reference, spacing, matching="pengwin2024")
    figures = pengwin2024_figures(prediction, reference, spacing, scheme=PELVIS)
    for part, expected in (("fragment", figures.fragment_mean), ("anatomy", figures.anatomy_mean)):
        found = [scores.case[f"{part}_{name}"] for name in ("iou", "hd95_mm", "assd_mm")]
        assert found == pytest.approx(list(expected))
    assert scores.case["uncounted_fragments"] == 2
    assert [row.reference_id for row in scores.fragments] == [1, 2, 11, 13, 21, 22]
    assert [row.status for row in scores.fragments[-2:]] == ["missed", "missed"]
    assert [row.iou for row in scores.fragments[-2:]] == [None, None]
    strict = score(prediction, reference, spacing)
    for name in ("recall", "precision", "f1", "merge_errors", "split_errors", "matched_fragments"):
        assert scores.case[name] == strict.case[name]


def test_pengwin2024_infinite_distances_are_named():
    reference = rod((1, 0, 10), (11, 20, 30))
    scores = score(rod((1, 0, 10)), reference, matching="pengwin2024")
    assert scores.case["anatomy_hd95_mm"] == np.inf
    plain = scores.to_dict()
    assert plain["case"]["anatomy_hd95_mm"] is None
    assert plain["anatomy"]["left_hip"]["hd95_mm"] is None
    expected = ["case", "anatomy.left_hip", "anatomy.right_hip"]
    assert {name.rsplit(".", 1)[0] for name in plain["infinite"]} == set(expected)
    assert len(plain["infinite"]) == 6


@pytest.mark.parametrize("matching", BOTH)
def test_empty_prediction(matching):
    reference = rod((1, 0, 10), (11, 20, 30))
    scores = score(np.zeros_like(reference), reference, matching=matching)
    assert (scores.case["recall"], scores.case["precision"], scores.case["f1"]) == (0, None, 0)
    assert scores.case["fragment_iou"] == (None if matching == "pengwin2024" else 0)
    assert scores.case["uncounted_fragments"] == (2 if matching == "pengwin2024" else 0)
    assert scores.case["anatomy_iou"] == 0
    assert {row.status for row in scores.fragments} == {"missed"}


@pytest.mark.parametrize("matching", BOTH)
def test_empty_reference(matching):
    prediction = rod((1, 0, 10), (11, 20, 30))
    scores = score(prediction, np.zeros_like(prediction), matching=matching)
    assert (scores.case["recall"], scores.case["precision"], scores.case["f1"]) == (None, 0, 0)
    assert scores.case["fragment_iou"] is None
    assert scores.case["anatomy_iou"] == 0
    assert [row.status for row in scores.fragments] == ([] if matching == "pengwin2024" else ["surplus"] * 2)


def test_both_empty():
    nothing = rod()
    scores = score(nothing, nothing)
    assert {scores.case[n] for n in ("recall", "precision", "f1", "fragment_iou", "anatomy_iou")} == {None}
    assert scores.case["topology_consistent"] == 1
    assert scores.fragments == ()


def test_bone_only_in_the_prediction():
    reference = rod((1, 0, 10))
    scores = score(rod((1, 0, 10), (11, 20, 30)), reference)
    assert scores.case["anatomy_iou"] == 0.5
    assert scores.case["anatomy_hd95_mm"] == 0
    hip, absent = scores.anatomy["left_hip"], scores.anatomy["right_hip"]
    assert (hip["iou"], hip["hd95_mm"], hip["reference_mm3"], hip["prediction_mm3"]) == (0, None, 0, 40)
    assert (absent["iou"], absent["hd95_mm"], absent["recall"]) == (None, None, None)


def test_bone_only_in_the_reference():
    spacing = (1.0, 1.0, 2.0)
    scores = score(rod((1, 0, 10)), rod((1, 0, 10), (11, 20, 31)), spacing)
    radius = math.sqrt(0.5**2 + 0.5**2 + 10**2)
    hip = scores.anatomy["left_hip"]
    assert (hip["iou"], hip["hd95_mm"], hip["assd_mm"]) == pytest.approx((0, 2 * radius, radius))
    assert scores.case["anatomy_assd_mm"] == pytest.approx(radius / 2)


def test_anatomy_merges_the_fragments():
    reference = rod((11, 0, 10), (12, 10, 20))
    scores = score(rod((15, 0, 20)), reference)
    assert scores.anatomy["left_hip"]["iou"] == 1
    assert scores.anatomy["left_hip"]["assd_mm"] == 0
    assert scores.anatomy["left_hip"]["merge_errors"] == 1


def test_free_scheme_and_wide_integers():
    reference = np.where(rod((1, 0, 10), (2, 10, 20)) == 2, 60_000, rod((1, 0, 10))).astype(np.int64)
    scores = score(reference.astype(np.uint16), reference, scheme=FREE_SCHEME)
    assert scores.case["fragment_iou"] == 1


@pytest.mark.parametrize("spacing", [UNIT, (0.8, 0.8, 0.8), (1.5, 0.8, 0.8), (2.0, 0.7, 1.1)])
@pytest.mark.parametrize("seed", range(2))
def test_axis_order_changes_nothing(seed, spacing):
    reference = blobs(seed)
    prediction = np.where(blobs(seed + 5) > 20, 0, np.roll(reference, 1, 1))
    expected = score(prediction, reference, spacing).to_dict()
    for axes in itertools.permutations(range(3)):
        turned = [spacing[i] for i in axes]
        assert score(prediction.transpose(axes), reference.transpose(axes), turned).to_dict() == expected


@pytest.mark.parametrize("seed", range(3))
def test_new_numbers_within_the_bands_change_nothing(seed):
    reference, prediction = blobs(seed), np.roll(blobs(seed), 1, 2)
    rng = np.random.default_rng(seed)
    bands = [rng.permutation(np.arange(bone.first_id, bone.last_id + 1)) for bone in PELVIS.bones]
    lookup = np.concatenate([[0], *bands])
    before, after = score(prediction, reference), score(lookup[prediction], reference)
    assert after.case == before.case
    assert after.anatomy == before.anatomy
    assert score(prediction, lookup[reference]).case == before.case


def tiny_labels(shape):
    return npst.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 2, 11, 21, 22]))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data(), spacing=st.sampled_from([UNIT, (0.8, 0.8, 0.8), (2.0, 0.7, 0.7)]))
def test_properties_of_random_volumes(data, spacing):
    shape = data.draw(npst.array_shapes(min_dims=3, max_dims=3, max_side=4))
    prediction, reference = data.draw(tiny_labels(shape)), data.draw(tiny_labels(shape))
    one, other = score(prediction, reference, spacing), score(reference, prediction, spacing)
    assert (one.case["recall"], one.case["f1"]) == (other.case["precision"], other.case["f1"])
    assert one.case["anatomy_iou"] == other.case["anatomy_iou"]
    assert one.case["matched_fragments"] + one.case["surplus_fragments"] == one.case["prediction_fragments"]
    assert len(one.fragments) == one.case["reference_fragments"] + one.case["surplus_fragments"]
    official = score(prediction, reference, spacing, matching="pengwin2024")
    assert len(official.fragments) == one.case["reference_fragments"]
    axes = data.draw(st.permutations(range(3)))
    turned = score(prediction.transpose(axes), reference.transpose(axes), [spacing[i] for i in axes])
    assert (turned.case["recall"], turned.case["fragment_iou"]) == (one.case["recall"], one.case["fragment_iou"])
    assert turned.case["anatomy_assd_mm"] == one.case["anatomy_assd_mm"]


def test_summary():
    reference = rod((1, 0, 10), (11, 20, 30))
    cases = [reference, rod((1, 0, 8), (11, 20, 30)), rod((1, 0, 6), (11, 20, 30))]
    scores = [score(prediction, reference) for prediction in cases]
    summary = summarise_scores(scores)
    json.dumps(summary, allow_nan=False)
    assert (summary["cases"], summary["matching"]) == (3, "one-to-one")
    values = [1, 0.9, 0.8]
    assert summary["case"]["fragment_iou"] == {
        "mean": pytest.approx(0.9),
        "sd": pytest.approx(np.std(values, ddof=1)),
        "median": pytest.approx(0.9),
        "n": 3,
        "infinite": 0,
        "undefined": 0,
    }
    assert summary["anatomy"]["sacrum"]["iou"]["mean"] == pytest.approx(0.8)
    assert summary["anatomy"]["right_hip"]["iou"] == {
        "mean": None, "sd": None, "median": None, "n": 0, "infinite": 0, "undefined": 3,
    }  # fmt: skip
    assert summary["fragments"]["iou"]["n"] == 6


def test_summary_counts_infinite_values():
    reference = rod((1, 0, 10), (11, 20, 30), (21, 30, 40))
    scores = [score(p, reference, matching="pengwin2024") for p in (reference, rod((1, 0, 10)), rod())]
    summary = summarise_scores(scores)
    json.dumps(summary, allow_nan=False)
    assert summary["case"]["anatomy_hd95_mm"] == {
        "mean": 0, "sd": None, "median": 0, "n": 1, "infinite": 2, "undefined": 0,
    }  # fmt: skip
    assert summary["case"]["fragment_iou"]["undefined"] == 1


def test_summary_of_nothing_and_of_a_mixture():
    assert summarise_scores([]) == {"cases": 0, "matching": None, "case": {}, "anatomy": {}, "fragments": {}}
    labels = rod((1, 0, 10))
    with pytest.raises(UsageError, match="one-to-one, pengwin2024"):
        summarise_scores([score(labels, labels, matching=matching) for matching in BOTH])


def test_bad_input():
    labels = rod((1, 0, 10))
    with pytest.raises(GridError, match="same grid"):
        score(labels[1:], labels)
    with pytest.raises(DataError, match=r"prediction must be whole numbers.*float32"):
        score(labels.astype(np.float32), labels)
    with pytest.raises(DataError, match="three axes"):
        score(labels[None], labels)
    with pytest.raises(SchemeError, match="prediction: labels 31 are in no band"):
        score(labels * 31, labels)
    with pytest.raises(SchemeError, match="reference: labels 40 are in no band"):
        score(labels, labels * 40)
    with pytest.raises(UsageError, match=r"matching must be one of.*'best'"):
        score(labels, labels, matching="best")
    with pytest.raises(UsageError, match="min_iou"):
        score(labels, labels, min_iou=0)
    with pytest.raises(UsageError, match="min_piece_mm3"):
        score(labels, labels, min_piece_mm3=math.nan)
    with pytest.raises(UsageError, match="spacing_mm"):
        score(labels, labels, (1, 1, math.inf))
