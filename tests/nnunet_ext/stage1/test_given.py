"""Bones that the user has: labels of all numberings, TotalSegmentator's masks, folders of cases; on the CT's grid."""

import json

import nibabel
import numpy as np
import pytest

from label_gen.errors import DataError, GridError, UsageError
from nnunet_ext.preparation.orientation import turned
from nnunet_ext.stage1 import segment_bones
from nnunet_ext.stage1.given import GivenBones
from nnunet_ext.stage1.numbering import bones_of_numbers, names_in
from nnunet_ext.volumes import Volume, write_volume

SPACING = (8.0, 8.0, 8.0)
TOTAL = {1: 25, 2: 77, 3: 78, 4: 75, 5: 76}


@pytest.fixture
def anatomy():
    array = np.zeros((32, 20, 40), np.uint8)
    array[20:30, 12:18, 17:23] = 1
    array[14:28, 4:12, 26:34] = 2
    array[14:28, 4:12, 6:14] = 3
    array[2:12, 4:12, 28:34] = 4
    array[2:12, 4:12, 6:12] = 5
    return array


@pytest.fixture
def ct(anatomy, oblique):
    return Volume(np.where(anatomy > 0, 400, 30).astype(np.int16), SPACING, (-160.0, 40.0, 900.0), oblique)


@pytest.fixture
def given(ct, tmp_path):
    """Write labels on the CT's grid; return what is read of them."""

    def read(array, name="bones.nii.gz", *, numbering="auto", case=""):
        write_volume(ct.like(array), tmp_path / name)
        return segment_bones(ct, tmp_path / name, numbering=numbering, case=case)

    return read


def renumbered(anatomy, numbers):
    return np.array([0, *(numbers.get(number, 0) for number in range(1, 6))], np.uint8)[anatomy]


def test_anatomy(given, anatomy, ct):
    found = given(anatomy)
    assert (found.anatomy.array == anatomy).all()
    assert found.anatomy.array.dtype == np.uint8
    assert found.anatomy.grid == ct.grid
    assert (found.source, found.warnings) == ("file", ())
    assert found.details["volumes_mm3"]["sacrum"] == 360 * 512
    assert found.details["numbering"] == "auto"
    json.dumps(found.details)


def test_what_is_implausible_is_a_warning(given, anatomy):
    found = given(np.where(anatomy == 1, 0, anatomy))
    assert found.warnings == ("the sacrum is missing: it was not found",)
    (finding,) = found.details["findings"]
    assert (finding["kind"], finding["level"], finding["bone"]) == ("missing", "warning", "sacrum")
    only = given(np.where(anatomy == 1, 1, 0))
    assert only.warnings[0].startswith("no pelvis was found in this CT, only 184 cm3 of sacrum")


def test_bones_in_soft_tissue(given, anatomy):
    with pytest.raises(DataError, match=r"only 0 % of the sacrum is as dense as bone.*it lies in soft tissue"):
        given(np.roll(np.where(anatomy == 1, 1, 0), 9, axis=1))


def test_totalsegmentator_numbers(given, anatomy):
    array = renumbered(anatomy, TOTAL)
    array[0, 0, 0] = 5  # liver
    array[25:30, 12:18, 17:23][array[25:30, 12:18, 17:23] == 25] = 26  # S1
    assert (given(array).anatomy.array == anatomy).all()
    assert (given(array, numbering="totalsegmentator").anatomy.array == anatomy).all()


def test_names_in_the_header(anatomy, ct, tmp_path):
    numbers = {
        "sacrum": 9,
        "vertebrae_S1": 8,
        "hip_left": 7,
        "hip_right": 6,
        "femur_left": 3,
        "femur_right": 2,
        "liver": 1,
    }
    array = renumbered(anatomy, {1: 9, 2: 7, 3: 6, 4: 3, 5: 2})
    array[0, 0, 0] = 1
    path = tmp_path / "total.nii.gz"
    write_volume(ct.like(array), path)
    image = nibabel.load(path)
    table = "".join(f'<Label Key="{n}" Red="1"><![CDATA[{name}]]></Label>\n' for name, n in numbers.items())
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><LabelTable>{table}</LabelTable></CaretExtension>\n  '
    )
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
    nibabel.save(image, path)
    assert names_in(path) == {number: name for name, number in numbers.items()}
    assert (segment_bones(ct, path).anatomy.array == anatomy).all()


def test_names_beside(given, anatomy, tmp_path):
    names = {"background": 0, "left_femur": 1, "right_femur": 2, "sacrum": 3, "right_hip": 4, "left_hip": 5}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": names}))
    assert (given(renumbered(anatomy, {1: 3, 2: 5, 3: 4, 4: 1, 5: 2}), "b.mha").anatomy.array == anatomy).all()


def test_fragments_of_a_scheme_without_femora(given, anatomy):
    array = renumbered(np.where(anatomy > 3, 0, anatomy), {1: 1, 2: 11, 3: 21})
    array[14:18][array[14:18] == 11] = 12
    assert (given(array).anatomy.array == np.where(anatomy > 3, 0, anatomy)).all()


def test_femur_fragments_get_their_sides(given, anatomy):
    array = renumbered(anatomy, {1: 1, 2: 51, 3: 101, 4: 151, 5: 152})
    array[2:6][array[2:6] == 152] = 153
    assert (given(array).anatomy.array == anatomy).all()
    without = np.where(array < 150, 0, array)
    assert (given(without, numbering="pengwin2026").anatomy.array == np.where(anatomy < 4, 0, anatomy)).all()


@pytest.mark.parametrize("orientation", ["RAS", "SRP"])
def test_the_order_of_the_axes_may_differ(ct, anatomy, tmp_path, orientation):
    write_volume(turned(ct.like(anatomy), orientation), tmp_path / "bones.nrrd")
    found = segment_bones(ct, tmp_path / "bones.nrrd")
    assert (found.anatomy.array == anatomy).all()
    assert found.anatomy.grid == ct.grid


def test_another_grid(ct, anatomy, tmp_path):
    write_volume(Volume(anatomy, SPACING, ct.origin), tmp_path / "bones.nii.gz")
    with pytest.raises(GridError, match=r"'the CT' and 'bones.nii.gz' are on different grids: direction"):
        segment_bones(ct, tmp_path / "bones.nii.gz")
    write_volume(ct.like(anatomy).like(anatomy), tmp_path / "part.nii.gz")
    with pytest.raises(GridError, match="size"):
        segment_bones(Volume(ct.array[1:], SPACING, ct.origin, ct.direction), tmp_path / "part.nii.gz")


def test_masks_of_totalsegmentator(ct, anatomy, tmp_path):
    folder = tmp_path / "masks"
    names = {"sacrum": 1, "hip_left": 2, "hip_right": 3, "femur_left": 4, "femur_right": 5}
    for name, number in names.items():
        write_volume(ct.like((anatomy == number).astype(np.uint8)), folder / f"{name}.nii.gz")
    write_volume(ct.like(np.ones_like(anatomy)), folder / "liver.nii.gz")
    write_volume(ct.like(np.zeros_like(anatomy)), folder / "vertebrae_S1.nii.gz")
    assert (segment_bones(ct, folder).anatomy.array == anatomy).all()
    assert (segment_bones(ct, tmp_path, case="masks").anatomy.array == anatomy).all()
    write_volume(ct.like(anatomy), folder / "hip_left.nii.gz")
    with pytest.raises(DataError, match=r"hip_left.nii.gz' holds the number 5; a mask holds 0 and 1 only"):
        segment_bones(ct, folder)


def test_folders_of_cases(given, anatomy, tmp_path):
    given(anatomy, "cases/a.nii.gz")
    find = GivenBones(tmp_path / "cases")
    assert find._file_of("a") == tmp_path / "cases" / "a.nii.gz"
    with pytest.raises(UsageError, match=r"holds no bones for case 'b'; name them 'b.nii.gz'"):
        find._file_of("b")
    given(anatomy, "cases/a.mha", case="a")
    with pytest.raises(UsageError, match=r"several files of bones for case 'a' \(a.nii.gz, a.mha\)"):
        find._file_of("a")
    with pytest.raises(UsageError, match="there is no file or folder 'none'; the bones are 'bundled'"):
        GivenBones("none")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([60, 70], r"'f' holds the numbers 60, 70, which are no known numbering of bones; expected are 1 sacrum"),
        ([1, 2, 3, 4, 5, 6], r"which may be pengwin2024 or pengwin2026;.*\(--numbering anatomy, totalsegmentator, pen"),
    ],
)
def test_numbers_that_may_be_anything(numbers, message):
    with pytest.raises(DataError, match=message):
        bones_of_numbers(numbers, numbering="auto", names={}, file="f")


@pytest.mark.parametrize(
    ("numbering", "numbers", "error", "message"),
    [
        ("anatomy", [1, 6, 7], DataError, "'f' holds the numbers 6, 7, which are no bones"),
        ("totalsegmentator", [1, 2], DataError, "'f' holds none of sacrum, left hip bone.*it holds the numbers 1, 2"),
        ("pengwin2024", [31], DataError, "'f' holds the number 31, which is none of the bones sacrum.*right_hip 21-30"),
        ("free", [1], DataError, "none of the bones"),
        (
            "other",
            [1],
            UsageError,
            "unknown numbering 'other' of bones; choose one of auto, anatomy, totalsegmentator,",
        ),
    ],
)
def test_numbers_that_do_not_fit(numbering, numbers, error, message):
    with pytest.raises(error, match=message):
        bones_of_numbers(numbers, numbering=numbering, names={}, file="f")


def test_an_empty_volume_and_an_image(given, anatomy):
    with pytest.raises(DataError, match="every voxel is 0"):
        given(np.zeros_like(anatomy))
    with pytest.raises(DataError, match="negative label"):
        given(np.where(anatomy > 0, 300, -1000).astype(np.int16))
