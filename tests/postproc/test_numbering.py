import numpy as np

from label_gen import Bone, LabelScheme
from postproc.numbering import number_fragments
from tests.volumes import PELVIS, bar, box

NO_EDGES = ((False, False),) * 3
NAMES = {number: name for name, number in PELVIS.anatomy.items()}


def numbered(owners, region_of, scheme=PELVIS, edges=NO_EDGES, bones=NAMES):
    return number_fragments(owners.astype(np.int32), region_of, bones, scheme, 2.0, edges)


def test_the_largest_of_each_bone_comes_first():
    owners = bar((1, (2, 5)), (2, (5, 15)), (3, (15, 20)), (4, (20, 30)))
    table, fragments, events = numbered(owners, [0, 2, 2, 1, 2])
    assert table.tolist() == [0, 13, 11, 1, 12]  # of equals, the first
    assert [(f.fragment_id, f.bone, f.volume_mm3, f.is_cut) for f in fragments] == [
        (1, "sacrum", 1440.0, False),
        (11, "left_hip", 2880.0, False),
        (12, "left_hip", 2880.0, False),
        (13, "left_hip", 864.0, False),
    ]
    assert events == []


def test_without_scheme_numbers_start_at_one():
    owners = bar((1, (2, 5)), (2, (5, 15)))
    table, fragments, _ = numbered(owners, [0, 1, 1], scheme=None, bones={1: "bone"})
    assert table.tolist() == [0, 2, 1]
    assert [f.bone for f in fragments] == ["bone", "bone"]


def test_the_smallest_beyond_the_band_are_left_out():
    scheme = LabelScheme("short", (Bone("a", 5, 6), Bone("b", 7, 9)), {"a": 1, "b": 2})
    owners = bar((1, (2, 5)), (2, (5, 15)), (3, (15, 20)), (4, (20, 22)))
    table, fragments, events = numbered(owners, [0, 1, 1, 1, 1], scheme, bones={1: "a", 2: "b"})
    assert table.tolist() == [0, 0, 5, 6, 0]
    assert [f.fragment_id for f in fragments] == [5, 6]
    assert [(e.kind, e.bone, e.volume_mm3, e.count) for e in events] == [("beyond band", "a", 144.0 * 5 * 2, 2)]


def test_two_bones_that_share_a_band_are_numbered_together():
    legs = LabelScheme(
        "legs",
        (Bone("femur", 31, 40, anatomy_names=("left_femur", "right_femur")),),
        {"left_femur": 4, "right_femur": 5},
    )
    owners = bar((1, (2, 5)), (2, (5, 15)), (3, (15, 20)))
    table, fragments, _ = numbered(owners, [0, 4, 5, 4], legs)
    assert table.tolist() == [0, 33, 31, 32]
    assert [f.bone for f in fragments] == ["right_femur", "left_femur", "left_femur"]


def test_fragments_at_an_edge_of_the_volume_are_cut():
    owners = box((6, 6, 20), (1, (1, 5), (1, 5), (0, 8)), (2, (1, 5), (1, 5), (8, 20)))
    for edges, cut in [(NO_EDGES, []), (((False, False), (False, False), (True, False)), [1])]:
        _, fragments, events = numbered(owners, [0, 1, 1], edges=edges)
        sizes = [f.volume_mm3 for f in fragments if f.is_cut]
        assert sizes == [256.0] * len(cut)
        assert [e.kind for e in events] == ["cut"] * len(cut)
