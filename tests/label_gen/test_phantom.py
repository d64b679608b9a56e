"""The procedural pelvis: deterministic, the same at any spacing, and fractured as it claims."""

import cc3d
import numpy as np
import pytest
from scipy.ndimage import binary_closing, distance_transform_edt

from label_gen.errors import UsageError
from label_gen.phantom import BONE_NAMES, PHANTOM_SCHEME, make_phantom
from label_gen.scheme import FREE_SCHEME, Bone, LabelScheme

FEMUR_SCHEME = LabelScheme(
    name="with femora",
    bones=(
        Bone("sacrum", 1, 50),
        Bone("left_hip", 51, 100),
        Bone("right_hip", 101, 150),
        Bone("femur", 151, 200, anatomy_names=("left_femur", "right_femur")),
    ),
    anatomy=PHANTOM_SCHEME.anatomy,
)


@pytest.fixture(scope="module")
def coarse():
    return make_phantom(3, (1.6, 1.6, 1.6))


def sizes(phantom):
    ids, counts = np.unique(phantom.labels[phantom.labels > 0], return_counts=True)
    return dict(zip(ids.tolist(), (counts * np.prod(phantom.spacing_mm)).tolist(), strict=True))


def contacts(labels, a, b):
    """Faces between two fragments."""
    total = 0
    for axis in range(3):
        x, y = np.moveaxis(labels, axis, 0)[1:], np.moveaxis(labels, axis, 0)[:-1]
        total += np.count_nonzero((x == a) & (y == b)) + np.count_nonzero((x == b) & (y == a))
    return total


def test_same_seed_same_bytes():
    one, two = (make_phantom(3, (2.0, 2.5, 2.2), field_of_view_mm=(180.0, 160.0, 200.0)) for _ in range(2))
    assert one.labels.any()
    assert one.labels.tobytes() == two.labels.tobytes()
    assert one.anatomy.tobytes() == two.anatomy.tobytes()
    assert one.ct.tobytes() == two.ct.tobytes()


def test_other_seed_other_pelvis(coarse):
    other = make_phantom(4, (1.6, 1.6, 1.6), with_femora=False, with_ct=False)
    assert other.ct is None
    assert np.count_nonzero((other.anatomy > 0) != (coarse.anatomy > 0)) > 10_000


def test_types_shapes_and_geometry(coarse):
    assert coarse.labels.dtype == np.uint8
    assert coarse.anatomy.dtype == np.uint8
    assert coarse.ct.dtype == np.int16
    assert coarse.labels.shape == coarse.anatomy.shape == coarse.ct.shape
    # the middle of the volume is the same place at every spacing
    middle = [o + 0.5 * (n - 1) * 1.6 for o, n in zip(coarse.origin_mm, coarse.labels.shape[::-1], strict=True)]
    assert middle == pytest.approx([0.0, 23.0, 27.0])


def test_left_is_at_larger_x_and_head_is_up(coarse):
    z, y, x = (
        {name: np.nonzero(coarse.anatomy == number)[k].mean() for name, number in PHANTOM_SCHEME.anatomy.items()}
        for k in range(3)
    )
    assert x["left_hip"] > x["sacrum"] > x["right_hip"]
    assert x["left_femur"] > x["left_hip"]
    assert z["sacrum"] > z["left_femur"]
    assert y["sacrum"] > y["left_hip"]


def test_labels_lie_in_their_bands_and_bones(coarse):
    for bone in PHANTOM_SCHEME.bones:
        ids = np.unique(coarse.labels[coarse.anatomy == PHANTOM_SCHEME.anatomy[bone.name]])
        assert list(ids) == list(range(bone.first_id, bone.first_id + len(ids)))
        volumes = [sizes(coarse)[i] for i in ids]
        assert volumes == sorted(volumes, reverse=True)
    femora = np.isin(coarse.anatomy, [4, 5])
    assert femora.any()
    assert not coarse.labels[femora].any()


@pytest.mark.parametrize("seed", [1, 2])
def test_each_fragment_is_one_piece_of_a_size(seed):
    phantom = make_phantom(seed, (1.5, 1.5, 1.5), with_femora=False, with_ct=False)
    volumes = sizes(phantom)
    assert 5 <= len(volumes) <= 13
    assert min(volumes.values()) >= 500
    assert cc3d.connected_components(phantom.labels, connectivity=26).max() == len(volumes)


def test_the_same_anatomy_at_other_spacings(coarse):
    for spacing in ((1.2, 1.2, 1.2), (1.8, 1.1, 1.1)):
        other = make_phantom(3, spacing, with_femora=False, with_ct=False)
        assert sizes(other).keys() == sizes(coarse).keys()
        for number, volume in sizes(other).items():
            assert volume == pytest.approx(sizes(coarse)[number], rel=0.03)
        # and at the same place: look both up at points of the world
        points = np.random.default_rng(0).uniform(0.05, 0.95, (200_000, 3)) * np.array([270.0, 220.0, 330.0])
        one, two = (p.labels[tuple(np.floor(points / p.spacing_mm).astype(int).T)] for p in (coarse, other))
        assert 2 * np.count_nonzero((one == two) & (one > 0)) > 0.9 * (np.count_nonzero(one) + np.count_nonzero(two))


def test_iliac_wings_are_sheets_of_about_3_mm():
    phantom = make_phantom(
        5,
        (0.8, 0.8, 0.8),
        fragments={"left_hip": 1},
        field_of_view_mm=(142.0, 150.0, 270.0),
        with_femora=False,
        with_ct=False,
    )
    hip = phantom.anatomy[-24:] == PHANTOM_SCHEME.anatomy["left_hip"]
    depth = distance_transform_edt(hip, sampling=0.8)[10]  # an axial slice through the wing, 90 mm above the hip joint
    # along the sheet, from front to back, the thickest place of each row
    rows = depth.max(axis=1)
    thickness = 2 * rows[rows > 0] - 0.8
    thinnest_third = np.sort(thickness)[: len(thickness) // 3]
    assert 2.2 < np.median(thinnest_third) < 3.8
    assert thickness.max() > 6.0


def test_most_fractures_are_closed():
    n_closed = n_bones = 0
    for seed in range(2):
        phantom = make_phantom(
            seed,
            (1.6, 1.6, 1.6),
            fragments={"left_hip": 2, "right_hip": 2, "sacrum": 2},
            with_femora=False,
            with_ct=False,
        )
        for first in (1, 11, 21):
            n_bones += 1
            n_closed += contacts(phantom.labels, first, first + 1) > 30
    assert n_bones / 2 < n_closed < n_bones


def test_joints_keep_the_bones_apart(coarse):
    sacrum, hips = coarse.anatomy == 1, np.isin(coarse.anatomy, [2, 3])
    near = distance_transform_edt(~sacrum, sampling=coarse.spacing_mm)[hips].min()
    assert near < 4.5
    # hip bones are separate from each other: a closing of one does not reach the other
    left = binary_closing(coarse.anatomy == 2, iterations=1)
    assert not (left & (coarse.anatomy == 3)).any()


def test_wanted_fragments_are_made():
    phantom = make_phantom(
        1, (1.8, 1.8, 1.8), scheme=FEMUR_SCHEME, fragments={"sacrum": 1, "left_hip": 6, "left_femur": 2}, with_ct=False
    )
    assert np.count_nonzero(np.array(list(sizes(phantom))) <= 50) == 1
    assert np.count_nonzero([51 <= i <= 100 for i in sizes(phantom)]) == 6
    femur_ids = set(np.unique(phantom.labels[phantom.anatomy == 4])) | set(
        np.unique(phantom.labels[phantom.anatomy == 5])
    )
    assert {151, 152, 153} <= femur_ids
    assert all(151 <= i <= 200 for i in femur_ids)


def test_without_femora():
    phantom = make_phantom(0, (2.0, 2.0, 2.0), with_femora=False, with_ct=False)
    assert set(np.unique(phantom.anatomy)) == {0, 1, 2, 3}


def test_scheme_that_knows_no_pelvis_gets_one_bone():
    phantom = make_phantom(0, (2.0, 2.0, 2.0), scheme=FREE_SCHEME, with_ct=False)
    assert set(np.unique(phantom.anatomy)) == {0, 1}
    assert np.array_equal(phantom.labels > 0, phantom.anatomy > 0)
    assert phantom.labels.dtype == np.uint16


def test_ct_has_cortex_marrow_soft_tissue_and_air(coarse):
    bone = coarse.anatomy > 0
    depth = distance_transform_edt(bone, sampling=coarse.spacing_mm)
    assert 350 < np.median(coarse.ct[(depth > 1) & (depth < 2)]) < 900
    assert 100 < np.median(coarse.ct[depth > 7]) < 260
    assert np.median(coarse.ct[~bone]) == pytest.approx(45, abs=30)
    assert coarse.ct.min() < -900


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "the seed is -1"),
        ({"seed": 0, "spacing_mm": (1.0, 1.0, 9.0)}, "0.3 to 3 mm"),
        ({"seed": 0, "field_of_view_mm": (1.0, 1.0, 1.0)}, "10 to 600 mm"),
        ({"seed": 0, "fragments": {"rib": 1}}, "has no bone 'rib'"),
        ({"seed": 0, "fragments": {"sacrum": 7}}, "1 to 6 are possible"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UsageError, match=message):
        make_phantom(**arguments)


def test_band_too_short_says_so():
    short = LabelScheme(name="short", bones=(Bone("left_hip", 1, 2),), anatomy={"left_hip": 2})
    with pytest.raises(UsageError, match="holds 2 fragments and the patient has 4"):
        make_phantom(3, (2.5, 2.5, 2.5), scheme=short, fragments={"left_hip": 4}, with_femora=False, with_ct=False)


def test_bone_names_are_those_of_the_scheme():
    assert tuple(PHANTOM_SCHEME.anatomy) == BONE_NAMES
