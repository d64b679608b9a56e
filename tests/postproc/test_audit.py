import json

import numpy as np
import pytest

from label_gen import ABBC, GeneratedABBC, generate_abbc
from postproc import audit_round_trip
from tests.volumes import MILLIMETRE, PELVIS, ball, bar, bar_classes, best_ious, cells

LABELS = bar((11, (2, 22)), (12, (22, 42)))


def audit(labels, classes, **options):
    """Audit a case as if label generation had made these classes."""
    generated = generate_abbc(labels, MILLIMETRE, scheme=PELVIS)
    generated = GeneratedABBC(classes, generated.pieces, "default")
    return audit_round_trip(labels, MILLIMETRE, scheme=PELVIS, generated=generated, **options)


def statuses(found):
    return {(piece.report.fragment_id, piece.report.piece): piece.status for piece in found.pieces}


def test_kept():
    found = audit_round_trip(LABELS, MILLIMETRE, scheme=PELVIS)
    assert statuses(found) == {(11, 1): "kept", (12, 1): "kept"}
    assert [piece.round_trip_iou for piece in found.pieces] == [1.0, 1.0]
    assert [piece.recovered_id for piece in found.pieces] == [11, 12]
    assert found.expected == 2


def test_merged():
    found = audit(LABELS, bar_classes((2, 42), cores=[(5, 39)]))
    assert statuses(found) == {(11, 1): "merged", (12, 1): "merged"}
    assert [piece.round_trip_iou for piece in found.pieces] == [0.5, 0.5]
    assert {piece.recovered_id for piece in found.pieces} == {11}
    assert found.expected == 2


def test_split():
    labels = bar((11, (2, 42)))
    found = audit(labels, bar_classes((2, 42), cores=[(5, 20), (24, 39)], borders=[(21, 23)]))
    assert statuses(found) == {(11, 1): "split"}
    assert found.pieces[0].round_trip_iou == 0.5
    assert (found.expected, len(found.recovered.fragments)) == (1, 2)


def test_lost():
    classes = bar_classes((2, 42), cores=[(5, 19)])
    classes[:, :, 22:] = ABBC.BACKGROUND
    found = audit(LABELS, classes)
    assert statuses(found) == {(11, 1): "kept", (12, 1): "lost"}
    assert (found.pieces[1].round_trip_iou, found.pieces[1].recovered_id) == (0.0, 0)


def test_satellite():
    labels = np.pad(LABELS, ((0, 0), (0, 0), (0, 8)))
    labels[6:9, 6:9, 46:49] = 12
    found = audit_round_trip(labels, MILLIMETRE, scheme=PELVIS)
    assert statuses(found) == {(11, 1): "kept", (12, 1): "kept", (12, 2): "satellite"}
    assert found.expected == 2
    assert found.to_dict()["status"] == {"kept": 2, "satellite": 1}
    assert found.to_dict()["worst_round_trip_iou"] > 0.98  # satellites do not count


def test_two_large_pieces_of_one_fragment_count_as_two():
    found = audit_round_trip(bar((11, (2, 22)), (11, (25, 42))), MILLIMETRE, scheme=PELVIS)
    assert statuses(found) == {(11, 1): "kept", (11, 2): "kept"}
    assert found.expected == len(found.recovered.fragments) == 2


def test_rows_are_flat_and_plain():
    found = audit_round_trip(LABELS, MILLIMETRE, scheme=PELVIS)
    rows = json.loads(json.dumps(found.rows()))
    assert rows == found.rows()
    assert all(isinstance(value, str | int | float) for row in rows for value in row.values())
    assert rows[0] | {"fallback": "", "core_voxels": 0, "thickness_mm": 0} == {
        "fragment_id": 11,
        "bone": "left_hip",
        "piece": 1,
        "volume_mm3": 2880.0,
        "thickness_mm": 0,
        "core_voxels": 0,
        "border_voxels": 144,
        "fallback": "",
        "round_trip_iou": 1.0,
        "status": "kept",
        "recovered_id": 11,
    }
    report = json.loads(json.dumps(found.to_dict()))
    assert report["expected_fragments"] == report["recovered_fragments"] == 2
    assert report["pieces"] == rows


@pytest.mark.parametrize("mode", ["default", "literal"])
def test_the_figures_are_those_of_masks(mode):
    labels = cells(np.random.default_rng(8), ball((40, 40, 40), (20, 20, 20), 18) > 0, 4).astype(np.uint8)
    found = audit_round_trip(labels, MILLIMETRE, mode=mode)
    expected = best_ious(labels, found.recovered.labels)
    assert {p.report.fragment_id: p.round_trip_iou for p in found.pieces if p.report.piece == 1} == pytest.approx(
        expected, abs=2e-3
    )
