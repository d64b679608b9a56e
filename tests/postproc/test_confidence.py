"""Confidence of interfaces: exact values on drawn borders, real lines against invented ones, and noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from label_gen import ABBC, generate_abbc
from label_gen.errors import DataError, GridError
from postproc.confidence import interface_confidence
from tests.volumes import DTYPES, MILLIMETRE, SPACINGS, bar, box, fixed, fragment_volumes, one_hot


def with_border(labels, value, places):
    """Return probabilities with the border at given ranges of x, core elsewhere in the bone."""
    probabilities = np.zeros((4, *labels.shape), np.float32)
    probabilities[ABBC.CORE] = labels > 0
    probabilities[ABBC.BACKGROUND] = labels == 0
    for x in places:
        probabilities[ABBC.BORDER, ..., slice(*x)] = value
        probabilities[ABBC.CORE, ..., slice(*x)] *= 1 - value
    return probabilities


@pytest.mark.parametrize("dtype", DTYPES)
def test_border_on_the_interface(dtype):
    labels = bar((9, (2, 12)), (4, (12, 22))).astype(dtype)
    (found,) = interface_confidence(labels, with_border(labels, 0.75, [(11, 13)]), (2.0, 0.5, 1.0))
    assert (found.first, found.second) == (4, 9)
    assert found.confidence == pytest.approx(0.75)
    assert found.contact_mm2 == 144.0
    assert found.supported_share == 1.0


@pytest.mark.parametrize(
    ("place", "spacing", "expected"),
    [
        ((12, 13), MILLIMETRE, 0.8),  # one voxel on one side
        ((13, 14), MILLIMETRE, 0.8),  # beside the interface, within 1.5 mm
        ((14, 15), MILLIMETRE, 0.0),  # too far away
        ((14, 15), (1, 1, 0.5), 0.8),
        ((15, 16), (1, 1, 0.5), 0.0),
        ((12, 13), (1, 1, 3), 0.8),  # one voxel is always looked at
        ((13, 14), (1, 1, 3), 0.0),
        ((9, 10), MILLIMETRE, 0.0),
    ],
)
def test_how_far_border_is_looked_for(place, spacing, expected):
    labels = bar((1, (2, 12)), (2, (12, 22)))
    (found,) = interface_confidence(labels, with_border(labels, 0.8, [place]), spacing)
    assert found.confidence == pytest.approx(expected)


def test_border_of_another_interface_does_not_count():
    labels = bar((1, (2, 12)), (2, (12, 13)), (3, (13, 22)))
    found = interface_confidence(labels, with_border(labels, 0.8, [(13, 15)]), MILLIMETRE, reach_mm=0)
    assert [(f.first, f.second, round(f.confidence, 3)) for f in found] == [(1, 2, 0.0), (2, 3, 0.8)]


def test_border_on_half_of_the_interface():
    labels = bar((1, (2, 12)), (2, (12, 22)))
    probabilities = with_border(labels, 0.9, [(11, 13)])
    probabilities[ABBC.BORDER, 8:] = 0.1
    (found,) = interface_confidence(labels, probabilities, MILLIMETRE)
    assert found.confidence == pytest.approx(0.5)
    assert found.supported_share == pytest.approx(0.5)


def test_the_least_sure_come_first():
    labels = bar((1, (2, 12)), (2, (12, 22)), (3, (22, 32)), (4, (32, 42)))
    probabilities = with_border(labels, 0.9, [(11, 13)])
    probabilities[ABBC.BORDER, ..., 21:23], probabilities[ABBC.BORDER, ..., 31:33] = 0.2, 0.6
    found = interface_confidence(labels, probabilities.astype(np.float16), MILLIMETRE)
    assert [(f.first, f.second) for f in found] == [(2, 3), (3, 4), (1, 2)]
    assert [f.confidence for f in found] == pytest.approx([0.2, 0.6, 0.9], abs=1e-3)


@pytest.mark.parametrize("spacing", [(0.8, 0.8, 0.8), (1.5, 0.8, 0.8)])
def test_real_lines_score_high_and_invented_ones_low(spacing):
    """Border as a network would give it: of the true fragments, blurred, with noise, a voxel off in places."""
    rng = np.random.default_rng(5)
    grid = np.indices((26, 40, 60)).astype(float)
    bone = ((grid[0] - 13) / 11) ** 2 + ((grid[1] - 20) / 17) ** 2 + ((grid[2] - 30) / 28) ** 2 < 1
    slope = 24 + 0.4 * grid[1] + 0.2 * grid[0] + 1.5 * np.sin(grid[1] / 3)
    truth = np.where(bone, np.where(grid[2] < slope, 1, 2), 0).astype(np.uint8)
    classes = generate_abbc(truth, spacing).abbc
    logits = 6.0 * one_hot(classes) + rng.normal(0, 0.7, (4, *classes.shape))
    logits = np.stack([ndimage.gaussian_filter(channel, 0.7) for channel in logits])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    recovered = truth.copy()
    recovered[(truth == 2) & (grid[2] > 44)] = 3  # a cut where nothing is broken
    recovered[(truth == 1) & (grid[1] > 26 - 0.3 * grid[2])] = 4
    by_pair = {(f.first, f.second): f for f in interface_confidence(recovered, probabilities, spacing)}
    assert by_pair[1, 2].confidence > 0.7
    assert by_pair[1, 2].supported_share > 0.8
    for invented in ((2, 3), (1, 4)):
        assert by_pair[invented].confidence < 0.2
        assert by_pair[invented].supported_share < 0.2


@fixed(12)
@given(fragment_volumes(), st.sampled_from(SPACINGS))
def test_of_generated_classes(labels, spacing):
    """Every interface within a bone lies on border of the generated labels, so its confidence is 1; and 0 without."""
    result = generate_abbc(labels, spacing)
    if any(piece.fallback == "touching" for piece in result.pieces):
        return
    found = interface_confidence(labels, one_hot(result.abbc), spacing, reach_mm=0)
    assert all(item.confidence == 1 and item.supported_share == 1 for item in found)
    nothing = interface_confidence(labels, np.zeros((4, *labels.shape), np.float32), spacing, reach_mm=0)
    assert [(i.first, i.second, i.contact_mm2) for i in nothing] == [(i.first, i.second, i.contact_mm2) for i in found]
    assert all(item.confidence == 0 for item in nothing)


def test_values_a_little_beyond_one_are_cut():
    labels = bar((1, (2, 12)), (2, (12, 22)))
    (found,) = interface_confidence(labels, with_border(labels, 1.0005, [(11, 13)]), MILLIMETRE)
    assert found.confidence == 1.0


def test_no_interfaces():
    apart = box((6, 6, 14), (1, (1, 5), (1, 5), (1, 5)), (2, (1, 5), (1, 5), (12, 13)))
    for labels in (apart, np.zeros((6, 6, 14), np.uint8), (apart == 1).astype(np.uint8)):
        assert interface_confidence(labels, np.ones((4, 6, 6, 14), np.float32), MILLIMETRE) == []


@pytest.mark.parametrize(("gap", "spacing"), [(1, MILLIMETRE), (6, MILLIMETRE), (3, (0.8, 0.8, 1.5))])
def test_across_a_gap_border_and_background_count(gap, spacing):
    labels = bar((5, (2, 12)), (8, (12 + gap, 22)))
    probabilities = with_border(labels, 0.0, [])
    probabilities[ABBC.BACKGROUND, ..., 12 : 12 + gap] = 0.5
    probabilities[ABBC.BORDER, ..., 12 : 12 + gap] = 0.25
    (found,) = interface_confidence(labels, probabilities, spacing)
    assert (found.first, found.second, found.contact_mm2) == (5, 8, 0.0)
    assert found.confidence == pytest.approx(0.75)
    assert found.supported_share == 1.0


def test_a_gap_of_which_the_network_was_not_sure():
    labels = bar((5, (2, 12)), (8, (14, 22)))
    probabilities = with_border(labels, 0.0, [])
    probabilities[:, ..., 12:14] = 0.25
    (found,) = interface_confidence(labels, probabilities, MILLIMETRE)
    assert found.confidence == pytest.approx(0.5)
    sure = with_border(labels, 0.0, [])
    assert interface_confidence(labels, sure, MILLIMETRE)[0].confidence == 1.0
    assert interface_confidence(labels, sure, MILLIMETRE, reach_mm=1.9) == []
    assert interface_confidence(labels, sure, MILLIMETRE, reach_mm=0) == []


def test_no_interface_through_a_third_fragment():
    labels = bar((1, (2, 12)), (2, (14, 15)), (3, (17, 22)))
    found = interface_confidence(labels, with_border(labels, 0.0, []), MILLIMETRE)
    assert [(item.first, item.second) for item in found] == [(1, 2), (2, 3)]


def test_fragments_that_meet_at_an_edge_only():
    labels = box((6, 10, 10), (1, (1, 5), (1, 5), (1, 5)), (2, (1, 5), (5, 9), (5, 9)))
    (found,) = interface_confidence(labels, np.full((4, 6, 10, 10), 0.25, np.float32), MILLIMETRE)
    assert (found.confidence, found.contact_mm2) == (0.5, 0.0)


def test_bones_leave_out_joints():
    labels = bar((1, (2, 12)), (2, (12, 22)), (3, (24, 32)), (4, (32, 40)))
    probabilities = with_border(labels, 0.5, [])
    bones = {1: "sacrum", 2: "left_hip", 3: "left_hip", 4: "sacrum"}
    found = interface_confidence(labels, probabilities, MILLIMETRE, bones=bones)
    assert [(item.first, item.second) for item in found] == [(2, 3)]
    assert len(interface_confidence(labels, probabilities, MILLIMETRE)) == 3


def test_wrong_input():
    labels = bar((1, (2, 12)), (2, (12, 22)))
    with pytest.raises(DataError, match=r"\(4, z, y, x\), one map per ABBC class. Got: dtype float32, shape \(3, "):
        interface_confidence(labels, np.zeros((3, *labels.shape), np.float32), MILLIMETRE)
    with pytest.raises(DataError, match="Got: dtype uint8"):
        interface_confidence(labels, np.zeros((4, *labels.shape), np.uint8), MILLIMETRE)
    with pytest.raises(GridError, match="labels and probabilities must have the same grid"):
        interface_confidence(labels, np.zeros((4, 3, 3, 3), np.float32), MILLIMETRE)
