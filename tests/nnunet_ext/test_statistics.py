"""Statistics of a case: every figure of a small one by hand, the files, and privacy."""

import csv
import json

import numpy as np
import pytest

from label_gen.errors import DataError, GridError
from nnunet_ext.fragment_names import name_fragments
from nnunet_ext.schemes import load_scheme
from nnunet_ext.statistics import make_statistics, write_statistics
from nnunet_ext.volumes import Volume
from postproc.confidence import InterfaceConfidence

KEYS = ["label", "segment_id", "name", "bone", "colour", "volume_mm3", "surface_mm2", "mean_hu"]
KEYS += ["centroid_lps_mm", "box_lps_mm", "neighbours"]


@pytest.fixture
def volume():
    """Three fragments of the left hip in a row, two touching, and a sacrum beside them, left and right femur away."""
    array = np.zeros((10, 14, 40), np.uint8)
    array[2:8, 2:8, 2:12], array[2:8, 2:8, 12:20], array[2:8, 2:8, 22:26] = 51, 52, 53
    array[2:8, 9:12, 2:12] = 1
    array[8:10, 12:14, 38:40], array[8:10, 10:12, 38:40] = 151, 152
    return Volume(array, (2.0, 0.5, 0.5), (10.0, -20.0, 30.0))


@pytest.fixture
def names():
    bones = {151: "left_femur", 152: "right_femur"}
    return name_fragments([1, 51, 52, 53, 151, 152], load_scheme("pengwin2026"), bones=bones)


CONFIDENCE = [InterfaceConfidence(51, 52, 0.81239, 11.0, 0.95), InterfaceConfidence(52, 53, 0.3, 1.0, 0.25)]


def test_every_figure_of_a_fragment(volume, names):
    ct = volume.like(np.where(volume.array > 0, volume.array * 10.0, -1000.0).astype(np.int16))
    statistics = make_statistics(volume, names, ct=ct, scheme="pengwin2026")
    assert statistics["scheme"] == "pengwin2026"
    assert statistics["spacing_mm"] == [2.0, 0.5, 0.5]
    assert "Research use only" in statistics["note"]
    assert [fragment["label"] for fragment in statistics["fragments"]] == [1, 51, 52, 53, 151, 152]
    fragment = statistics["fragments"][2]
    assert list(fragment) == KEYS
    surface, neighbours = fragment.pop("surface_mm2"), fragment.pop("neighbours")
    assert fragment == {
        "label": 52,
        "segment_id": "hip_left_frag02",
        "name": "Left hip bone, fragment 2",
        "bone": "left_hip",
        "colour": "#46a0e4",
        "volume_mm3": 144.0,
        "mean_hu": 520.0,
        "centroid_lps_mm": [17.75, -17.75, 39.0],
        "box_lps_mm": [[15.75, -19.25, 33.0], [19.75, -16.25, 45.0]],
    }
    assert surface == pytest.approx(2 * (12 * 4 + 12 * 3 + 4 * 3), rel=0.2)
    assert [(n["label"], n["smallest_gap_mm"]) for n in neighbours] == [(51, 0.0), (1, 0.5), (53, 1.0)]
    assert [n["contact_mm2"] > 0 for n in neighbours] == [True, False, False]


def test_neighbours_are_mutual(volume, names):
    fragments = {f["label"]: f for f in make_statistics(volume, names, ct=None)["fragments"]}
    for label, fragment in fragments.items():
        assert fragment["mean_hu"] is None
        for other in fragment["neighbours"]:
            back = [n for n in fragments[other["label"]]["neighbours"] if n["label"] == label]
            assert back == [{**other, "label": label}]


def test_interfaces_are_of_one_bone_and_the_least_sure_come_first(volume, names):
    statistics = make_statistics(volume, names, ct=None, confidence=CONFIDENCE)
    assert [(row["first"], row["second"], row["confidence"]) for row in statistics["interfaces"]] == [
        (52, 53, 0.3),  # near, across a gap
        (51, 52, 0.812),
    ]
    near, touching = statistics["interfaces"]
    assert (near["contact_mm2"], near["smallest_gap_mm"], near["supported_share"]) == (0.0, 1.0, 0.25)
    assert touching["contact_mm2"] == statistics["fragments"][1]["neighbours"][0]["contact_mm2"]


def test_without_probabilities_confidence_is_null(volume, names):
    (row,) = make_statistics(volume, names, ct=None)["interfaces"]
    assert (row["first"], row["second"], row["confidence"], row["supported_share"]) == (51, 52, None, None)


def test_confidence_of_what_is_not_there_is_left_out(volume, names):
    extra = [InterfaceConfidence(51, 99, 0.1, 5.0, 0.0), InterfaceConfidence(151, 152, 0.1, 5.0, 0.0)]
    statistics = make_statistics(volume, names, ct=None, confidence=extra)
    assert [row["confidence"] for row in statistics["interfaces"]] == [None]


def test_files(tmp_path, volume, names):
    statistics = make_statistics(volume, names, ct=volume, confidence=CONFIDENCE, events=["merged a", "split b"])
    write_statistics(tmp_path / "case", statistics)
    assert json.loads((tmp_path / "case" / "statistics.json").read_text()) == statistics
    assert statistics["decisions"] == ["merged a", "split b"]
    with (tmp_path / "case" / "statistics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6
    row = rows[2]
    assert (row["label"], row["name"], row["volume_mm3"]) == ("52", "Left hip bone, fragment 2", "144.0")
    assert (row["centroid_z_mm"], row["box_min_x_mm"], row["box_max_z_mm"]) == ("39.0", "15.75", "45.0")
    assert (row["touches"], row["near"], row["lowest_confidence"]) == ("51", "1 53", "0.3")
    assert "Research use only" in row["note"]
    assert str(tmp_path) not in (tmp_path / "case" / "statistics.json").read_text()


def test_definitions_name_every_figure(volume, names):
    statistics = make_statistics(volume, names, ct=None, confidence=CONFIDENCE)
    figures = {k for row in (*statistics["fragments"], *statistics["interfaces"]) for k in row}
    figures |= {k for fragment in statistics["fragments"] for n in fragment["neighbours"] for k in n}
    identities = {"label", "segment_id", "name", "bone", "colour", "neighbours", "first", "second"}
    assert figures - identities == set(statistics["definitions"])


def test_the_same_anywhere_in_the_world(volume, names, oblique):
    """Flipped storage of one patient: the same fragments in the same places."""
    axes = np.reshape(oblique, (3, 3))
    here = Volume(volume.array, volume.spacing_mm, volume.origin, oblique)
    end = np.array(volume.origin) + (axes * volume.spacing_mm[::-1]) @ (39, 0, 9)
    flipped = Volume(
        volume.array[::-1, :, ::-1].copy(), volume.spacing_mm, tuple(end), tuple((axes * (-1, 1, -1)).ravel())
    )
    one, other = make_statistics(here, names, ct=None), make_statistics(flipped, names, ct=None)
    for a, b in zip(one["fragments"], other["fragments"], strict=True):
        assert a["centroid_lps_mm"] == pytest.approx(b["centroid_lps_mm"], abs=0.02)
        assert np.ravel(a["box_lps_mm"]) == pytest.approx(np.ravel(b["box_lps_mm"]), abs=0.02)
        assert a["surface_mm2"] == pytest.approx(b["surface_mm2"], rel=3e-3)


def test_an_empty_case(tmp_path):
    empty = Volume(np.zeros((3, 3, 3), np.uint8), (1, 1, 1))
    statistics = make_statistics(empty, {}, ct=empty)
    assert (statistics["fragments"], statistics["interfaces"]) == ([], [])
    write_statistics(tmp_path, statistics)
    assert (tmp_path / "statistics.csv").is_file()


def test_wrong_input(volume, names):
    with pytest.raises(DataError, match=r"label 1, which has no name \(named are none\)"):
        make_statistics(volume, {}, ct=None)
    moved = Volume(volume.array, volume.spacing_mm, (0.0, 0.0, 0.0))
    with pytest.raises(GridError, match="'the CT' and 'the labels' are on different grids"):
        make_statistics(volume, names, ct=moved)
