"""Findings about bones: exact on boxes of 8 mm voxels (0.512 cm3), in the patient and not in the array."""

import numpy as np
import pytest

from label_gen.errors import DataError, GridError
from nnunet_ext.preparation.orientation import turned
from nnunet_ext.schemes import load_scheme
from nnunet_ext.stage1 import BONES, Finding, check_bones
from nnunet_ext.stage1.bones import bone_called
from nnunet_ext.stage1.totalsegmentator import pelvis_classes
from nnunet_ext.volumes import Volume
from tests.volumes import box

SPACING = (8.0, 8.0, 8.0)
PELVIS = (
    (1, (20, 30), (12, 18), (17, 23)),
    (2, (14, 28), (4, 12), (26, 34)),
    (3, (14, 28), (4, 12), (6, 14)),
    (4, (2, 12), (4, 12), (28, 34)),
    (5, (2, 12), (4, 12), (6, 12)),
)


def pelvis(*others, shape=(32, 20, 40), without=()):
    boxes = [part for part in PELVIS if part[0] not in without]
    return Volume(box(shape, *boxes, *others), SPACING, (-160.0, -80.0, 500.0))


def kinds(findings):
    return [(finding.kind, finding.level, finding.bone) for finding in findings]


def test_numbers_and_names_are_those_of_the_schemes():
    for name in ("pengwin2024", "pengwin2026"):
        scheme = load_scheme(name)
        assert scheme.anatomy == BONES
        for bone in scheme.bones:
            parts = {bone_called(part) for part in bone.totalsegmentator}
            assert parts == set(bone.parts)
    assert {bone_called(name) for name in pelvis_classes()} == set(BONES)
    assert len(pelvis_classes()) == 6


def test_a_pelvis_has_no_findings():
    assert check_bones(pelvis()) == []


@pytest.mark.parametrize("orientation", ["RAS", "SPL", "ALI"])
def test_findings_are_about_the_patient(orientation):
    volume = turned(pelvis((4, (0, 12), (4, 12), (28, 34)), without=(2,)), orientation)
    assert check_bones(volume) == [
        Finding("missing", "warning", "left_hip", "the left hip bone is missing: it was not found", 0.0),
        Finding("cut", "note", "left_femur", "the left femur is cut off by the field of view (bottom)"),
    ]


def test_missing_bones():
    findings = check_bones(pelvis((1, (20, 22), (12, 14), (17, 19)), without=(1, 4)))
    assert kinds(findings) == [("missing", "warning", "sacrum"), ("missing", "warning", "left_femur")]
    assert findings[0].text == "the sacrum is missing: only 4.1 cm3 of it were found"


def test_bones_that_the_model_doubts():
    sure = dict.fromkeys(BONES, 0.85)
    assert check_bones(pelvis(), certainty=sure) == []
    assert check_bones(pelvis(), certainty={"left_hip": 0.85}) == []
    (doubt,) = check_bones(pelvis(), certainty=sure | {"right_femur": 0.5, "left_hip": 0.95, "right_hip": 0.95})
    assert doubt == Finding(
        "doubt",
        "warning",
        "right_femur",
        "the right femur is doubtful: its mean probability is 0.50, 0.85 and more where the model is right",
        0.5,
    )
    few = pelvis(without=(4, 5))  # 360, 896 and 896 voxels
    doubt, *others = check_bones(few, certainty=sure | {"sacrum": 0.5, "left_hip": 0.9})
    assert (doubt.kind, doubt.level, doubt.value) == ("doubt", "error", 0.8123)
    assert {other.kind for other in others} == {"missing"}
    assert doubt.text == (
        "the model doubts the bones that it found (mean probability 0.81: sacrum 0.50, left hip bone 0.90, right hip "
        "bone 0.85; 0.85 and more where it is right): does this CT show the pelvis?"
    )


@pytest.mark.parametrize(
    ("parts", "has"),
    [
        ((), ""),
        (PELVIS[:1], ", only 184 cm3 of sacrum"),
        (((4, (2, 5), (4, 8), (28, 32)),), ", only 25 cm3 of left femur"),
    ],
)
def test_no_pelvis(parts, has):
    finding, *others = check_bones(pelvis(*parts, without=range(6)))
    assert {other.level for other in others} <= {"warning"}
    assert kinds([finding]) == [("no pelvis", "error", "")]
    assert finding.text == f"no pelvis was found in this CT{has}: does it show the pelvis?"


@pytest.mark.parametrize(
    ("z", "kind"), [((14, 18), "volume"), ((14, 28), ""), ((14, 32), "cut"), ((13, 40), "volume")]
)  # 4, 14, 18 and 27 slices of 32.8 cm3
def test_volumes(z, kind):
    found = check_bones(pelvis((2, z, (4, 12), (26, 34)), shape=(32 if z[1] == 32 else 45, 20, 40), without=(2,)))
    assert [finding.kind for finding in found] == ([kind] if kind else [])
    if kind == "volume":
        assert "than an adult's (150 to 800)" in found[0].text


def test_a_bone_that_holds_others():
    findings = check_bones(pelvis((2, (14, 28), (4, 12), (15, 40)), without=(1, 2)))
    assert ("volume", "error", "left_hip") in kinds(findings)


def test_a_bone_that_is_cut_may_be_small():
    findings = check_bones(pelvis((2, (27, 32), (4, 12), (26, 34)), without=(2,)))
    assert kinds(findings) == [("cut", "warning", "left_hip")]
    assert findings[0].text == "the left hip bone is cut off by the field of view (top)"


def test_mixed_up_sides():
    swapped = np.array([0, 1, 3, 2, 4, 5], np.uint8)[pelvis().array]
    found = check_bones(pelvis().like(swapped))
    assert {finding.bone for finding in found if finding.kind == "side"} == {"left_hip", "left_femur", "right_femur"}
    assert "160 mm to the right of the right hip bone: sides are mixed up" in found[0].text
    femur = check_bones(pelvis((4, (2, 12), (14, 20), (6, 12)), without=(4, 5)))
    assert ("side", "error", "left_femur") in kinds(femur)


def test_a_femur_above_its_hip_bone_is_none():
    assert ("place", "warning", "left_femur") in kinds(
        check_bones(pelvis((4, (22, 31), (13, 20), (28, 34)), without=(4,)))
    )


def test_density():
    bones = pelvis()
    hu = np.where(bones.array > 0, 300, 40).astype(np.int16)
    assert check_bones(bones, bones.like(hu)) == []
    hu[bones.array == 2] = 60
    share = np.flatnonzero(bones.array == 3)
    hu.ravel()[share[: len(share) * 9 // 10]] = 60
    findings = check_bones(bones, bones.like(hu))
    assert kinds(findings) == [("density", "error", "left_hip"), ("density", "warning", "right_hip")]
    assert "only 0 % of the left hip bone is as dense as bone (above 150 HU)" in findings[0].text


def test_bad_input():
    bones = pelvis()
    with pytest.raises(GridError, match="the CT"):
        check_bones(bones, Volume(bones.array.astype(np.int16), SPACING))
    with pytest.raises(DataError, match="the bones hold the number 11; expected are 1 sacrum, 2 left hip bone"):
        check_bones(bones.like(np.full(bones.array.shape, 11, np.uint8)))
