import numpy as np
import pytest

from label_gen import Bone, LabelScheme
from label_gen.errors import SchemeError
from label_gen.simulation.statistics import (
    NEAR_MM,
    PERCENTILES,
    TARGETS,
    FragmentFigures,
    measure_fragments,
    summarise_fragments,
)
from tests.volumes import PELVIS, box

SIDE = (2, 12)


def pair(gap, step=1.0, first=1, second=2):
    """Two cubes of ten voxels a side along x, apart by some voxels."""
    return box((14, 14, 30), (first, SIDE, SIDE, (2, 12)), (second, SIDE, SIDE, (12 + gap, 22 + gap)))


def test_volumes_and_bones():
    labels = box((14, 14, 30), (1, SIDE, SIDE, (2, 12)), (12, (2, 4), (2, 5), (20, 24)))
    one, other = measure_fragments(labels, (2.0, 1.5, 1.0), PELVIS)
    assert (one.label, one.bone, one.volume_mm3) == (1, "sacrum", 3000.0)
    assert (other.label, other.bone, other.volume_mm3) == (12, "left_hip", 72.0)


def test_surface_that_touches():
    one, other = measure_fragments(pair(0), (1.0, 1.0, 1.0), PELVIS)
    # The face has 100 voxels; distances of 1 to 6 mm hold six layers, five of them with their rim of 36 voxels only.
    assert one.touching_voxels == other.touching_voxels == 100
    assert one.near_voxels == other.near_voxels == 100 + 5 * 36


@pytest.mark.parametrize(("gap", "near"), [(1, 100 + 4 * 36), (5, 100), (6, 0)])
def test_surface_that_is_near(gap, near):
    assert [(f.near_voxels, f.touching_voxels) for f in measure_fragments(pair(gap), (1.0, 1.0, 1.0), PELVIS)] == [
        (near, 0),
        (near, 0),
    ]


def test_other_bones_are_no_neighbours():
    figures = measure_fragments(pair(0, second=11), (1.0, 1.0, 1.0), PELVIS)
    assert [(f.near_voxels, f.touching_voxels) for f in figures] == [(0, 0), (0, 0)]


def test_distances_are_millimetres():
    near = [f.near_voxels for f in measure_fragments(pair(0), (1.0, 1.0, NEAR_MM / 2), PELVIS)]
    assert near == [100 + 36, 100 + 36]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_types_and_no_labels(dtype):
    assert measure_fragments(pair(0).astype(dtype), (1.0, 1.0, 1.0), PELVIS)[0].volume_mm3 == 1000.0
    assert measure_fragments(np.zeros((3, 3, 3), dtype), (1.0, 1.0, 1.0), PELVIS) == ()


def test_numbers_outside_the_scheme():
    with pytest.raises(SchemeError, match=r"labels 44 are in no band of scheme 'pelvis'"):
        measure_fragments(pair(0, second=44), (1.0, 1.0, 1.0), PELVIS)


def test_sides_of_a_band_that_covers_both():
    scheme = LabelScheme("legs", (Bone("femur", 1, 9, anatomy_names=("left_femur", "right_femur")),), PELVIS.anatomy)
    anatomy = pair(9, first=4, second=5)
    assert [f.bone for f in measure_fragments(pair(9), (1.0, 1.0, 1.0), scheme)] == ["femur", "femur"]
    assert [f.bone for f in measure_fragments(pair(9), (1.0, 1.0, 1.0), scheme, anatomy)] == [
        "left_femur",
        "right_femur",
    ]


def fragment(bone, volume, near=0, touching=0):
    return FragmentFigures(1, bone, volume, near, touching)


def test_a_set():
    cases = [
        [fragment("sacrum", 9.0), fragment("left_hip", 5.0, 10, 5), fragment("left_hip", 2.0, 10, 4)],
        [fragment("sacrum", 8.0), fragment("left_hip", 4.0)],
        [fragment("left_hip", 3.0, 5, 1), fragment("left_hip", 7.0, 5, 1), fragment("left_hip", 1.0)],
    ]
    found = summarise_fragments(cases, [{"closed": 3, "crack": 1}, {"opened": 1}])
    assert (found.cases, found.fragments, found.mean_per_case, found.per_case) == (3, 8, 8 / 3, {2: 1, 3: 2})
    assert found.shares == {"sacrum": (1.0,), "left_hip": (1.0, 2 / 3, 1 / 3)}
    assert found.minor_volumes_mm3 == (1.0, 2.0, 3.0)
    assert list(found.minor_mm3) == list(PERCENTILES)
    assert (found.minor_mm3[0], found.minor_mm3[50], found.minor_mm3[100]) == (1.0, 2.0, 3.0)
    assert found.contact_share == 11 / 30
    assert found.contact_shares == (9 / 20, 2 / 10)
    assert found.kind_shares == {"closed": 0.75, "opened": 0.25}
    assert found.cracks == 1
    assert found.to_dict()["shares"]["left_hip"][1] == 2 / 3


def test_bones_that_no_real_figures_are_known_of_are_told_apart():
    femora = [fragment("left_femur", 50.0), fragment("left_femur", 40.0, 10, 9), fragment("right_femur", 60.0)]
    found = summarise_fragments([[fragment("sacrum", 9.0), *femora]])
    assert (found.bones, found.fragments, found.mean_per_case, found.minor_volumes_mm3) == (("sacrum",), 1, 1.0, ())
    assert found.contact_share is None
    assert found.shares == {"sacrum": (1.0,), "left_femur": (1.0, 1.0), "right_femur": (1.0,)}
    alone = summarise_fragments([femora])
    assert (alone.bones, alone.fragments, alone.minor_volumes_mm3) == (("left_femur", "right_femur"), 3, (40.0,))


def test_an_unbroken_set_and_an_empty_one():
    whole = summarise_fragments([[fragment("sacrum", 9.0)]])
    assert (whole.minor_mm3, whole.contact_share, whole.kind_shares, whole.cracks) == ({}, None, {}, None)
    assert summarise_fragments([]).mean_per_case == 0.0


def test_real_figures_agree_with_each_other():
    assert round(TARGETS.cases * sum(sum(shares) for shares in TARGETS.shares.values())) == TARGETS.fragments
    assert TARGETS.fragments / TARGETS.cases == TARGETS.mean_per_case
    assert max(map(len, TARGETS.shares.values())) == TARGETS.most_per_bone
