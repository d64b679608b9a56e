"""Names, codes and colours of fragments: exact ones of every scheme, sides of femora, odd schemes of users."""

import re

import pytest

from label_gen import Bone, LabelScheme
from label_gen.errors import SchemeError
from nnunet_ext.colours import fragment_colour
from nnunet_ext.fragment_names import Code, name_fragments
from nnunet_ext.schemes import load_scheme

FEMORA = {151: "left_femur", 152: "right_femur", 154: "left_femur"}
LEFT, RIGHT = Code("7771000", "Left"), Code("24028007", "Right")


@pytest.mark.parametrize(
    ("label", "bone", "segment_id", "display_name", "kind", "laterality"),
    [
        (1, "sacrum", "sacrum_frag01", "Sacrum, fragment 1", ("54735007", "Sacrum"), None),
        (52, "left_hip", "hip_left_frag02", "Left hip bone, fragment 2", ("29836001", "Hip"), LEFT),
        (112, "right_hip", "hip_right_frag12", "Right hip bone, fragment 12", ("29836001", "Hip"), RIGHT),
        (151, "left_femur", "femur_left_frag01", "Left femur, fragment 1", ("71341001", "Femur"), LEFT),
        (152, "right_femur", "femur_right_frag01", "Right femur, fragment 1", ("71341001", "Femur"), RIGHT),
        (154, "left_femur", "femur_left_frag02", "Left femur, fragment 2", ("71341001", "Femur"), LEFT),
        (153, "femur", "femur_frag03", "Femur, fragment 3", ("71341001", "Femur"), None),
    ],
)
def test_names_of_pengwin2026(label, bone, segment_id, display_name, kind, laterality):
    scheme = load_scheme("pengwin2026")
    names = name_fragments([154, 153, 152, 151, 112, 0, 52, 1], scheme, bones=FEMORA)
    assert list(names) == [1, 52, 112, 151, 152, 153, 154]
    name = names[label]
    assert (name.label, name.bone, name.segment_id, name.display_name) == (label, bone, segment_id, display_name)
    assert (name.snomed.type, name.snomed.laterality) == (kind, laterality)
    assert name.snomed.category == ("123037004", "Anatomical Structure")
    assert name.colour == fragment_colour(scheme, label)
    assert bytes.fromhex(name.hex_colour[1:]) == bytes(name.colour)


def test_a_name_does_not_depend_on_the_other_fragments():
    scheme = load_scheme("pengwin2024")
    assert name_fragments([13], scheme)[13] == name_fragments([11, 12, 13, 21], scheme)[13]


def test_bones_of_the_anatomy_are_accepted_for_every_band():
    names = name_fragments([1, 51], load_scheme("pengwin2026"), bones={1: "sacrum", 51: "left_hip"})
    assert names == name_fragments([1, 51], load_scheme("pengwin2026"))


def test_free_scheme_is_coded_as_bone():
    (name,) = name_fragments([7], load_scheme("free")).values()
    assert (name.segment_id, name.display_name) == ("bone_frag07", "Bone, fragment 7")
    assert name.snomed.type == ("272673000", "Bone")


def test_every_number_has_a_segment_id_of_its_own_that_is_a_safe_file_name():
    for scheme in map(load_scheme, ("pengwin2024", "pengwin2026")):
        names = name_fragments(range(1, scheme.last_id + 1), scheme)
        ids = {name.segment_id for name in names.values()}
        assert len(ids) == scheme.last_id
        assert all(re.fullmatch("[A-Za-z0-9._-]+", segment_id) for segment_id in ids)


def test_bone_names_of_users_become_safe_and_distinct():
    bones = (Bone("hüft/bein", 1, 9), Bone("hüft bein", 10, 19), Bone("../", 20, 29), Bone("left_tibia", 30, 39))
    scheme = LabelScheme("mine", bones, {bone.name: number for number, bone in enumerate(bones, 1)})
    names = name_fragments([1, 10, 20, 30], scheme)
    assert [n.segment_id for n in names.values()] == [
        "h_ft_bein_1_frag01",
        "h_ft_bein_2_frag01",
        "bone_frag01",
        "tibia_left_frag01",
    ]
    assert names[30].display_name == "Left tibia, fragment 1"
    assert names[30].snomed.laterality == LEFT


def test_a_band_of_two_kinds_of_bone():
    band = Bone("leg", 1, 9, "Lower leg", anatomy_names=("tibia", "right_fibula"), snomed={"type": "30021000"})
    names = name_fragments([1, 2], LabelScheme("leg", (band,), {"tibia": 1, "right_fibula": 2}), bones={1: "tibia"})
    assert [name.display_name for name in names.values()] == ["Tibia, fragment 1", "Lower leg, fragment 2"]
    assert names[1].snomed.type == ("30021000", "Leg")


def test_a_code_for_the_side_that_the_scheme_gives():
    band = Bone("flank", 1, 9, snomed={"type": "1", "laterality": "2"})
    (name,) = name_fragments([1], LabelScheme("s", (band,), {"flank": 1})).values()
    assert (name.snomed.type, name.snomed.laterality) == (("1", "Flank"), ("2", "Side"))


def test_number_outside_the_bands():
    with pytest.raises(SchemeError, match="label 31 is in no band"):
        name_fragments([31], load_scheme("pengwin2024"))


def test_bone_of_another_band():
    with pytest.raises(SchemeError, match=r"label 151 was given the bone 'left_hip', but its band .* left_femur and r"):
        name_fragments([151], load_scheme("pengwin2026"), bones={151: "left_hip"})
