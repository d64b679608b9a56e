"""The CT of a case: any kind of input, checked that it is a CT in HU; names of cases that are safe."""

import gc
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.ct import check_ct, find_ct_cases, list_series, read_ct
from nnunet_ext.volumes import Volume
from tests.nnunet_ext.dicom.made import body, write_enhanced, write_series

SPACING = (3.0, 2.0, 2.0)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct"


def thigh(shape=(20, 40, 40)):
    """HU with the shares of a real thigh: air, fat, muscle and a bone (z, y, x)."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: shape[1], : shape[2]]
    radius = np.hypot(y - shape[1] / 2, x - shape[2] / 2) / (shape[1] / 2)
    plane = np.select([radius < 0.15, radius < 0.3, radius < 0.7, radius < 0.9], [150, 900, 55, -100], -1000)
    return (plane[None] + random.normal(0, 12, shape)).astype(np.int16)


def mr(shape=(20, 40, 40)):
    """An MR: noise outside, broad tissue inside, nothing below 0."""
    random = np.random.default_rng(1)
    inside = thigh(shape) > -500
    values = np.where(inside, random.normal(700, 300, shape), random.rayleigh(12, shape))
    return np.clip(values, 0, 4095).astype(np.int16)


def volume(array):
    return Volume(array, SPACING)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_volume_files(tmp_path, save, oblique, suffix, dtype):
    array = thigh()
    image = read_ct(save(array.astype(dtype), tmp_path / f"a{suffix}"))
    assert image.kind == "file"
    assert image.volume.array.dtype == np.int16
    assert (image.volume.array == array).all()
    assert image.volume.spacing_mm == pytest.approx((1.5, 0.8, 0.9))
    assert image.volume.direction == pytest.approx(oblique, abs=1e-3)
    assert (image.instances, image.warnings) == ((), ())


def test_hu_that_are_not_whole_stay_so(tmp_path, save):
    array = thigh() + np.float32(0.25)
    image = read_ct(save(array, tmp_path / "a.mha"))
    assert image.volume.array.dtype == np.float32
    assert (image.volume.array == array).all()


def test_folder_zip_and_single_file_of_dicom(tmp_path):
    array = body()
    paths = write_series(tmp_path / "study" / "series", array)
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"deep/inside/{path.name}")
    write_enhanced(tmp_path / "one.dcm", array)
    for source in ("study", "study.zip", "one.dcm"):
        image = read_ct(tmp_path / source)
        assert image.kind == "dicom"
        assert (image.volume.array == array).all()
        assert len(list_series(tmp_path / source)) == 1


def test_files_of_a_zip_live_as_long_as_the_image(tmp_path):
    paths = write_series(tmp_path / "s", body())
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    image = read_ct(tmp_path / "s.zip")
    first = image.instances[0]
    assert first.read_bytes() == paths[0].read_bytes()
    del image
    gc.collect()
    assert not first.exists()


def test_an_offset_of_1024_is_taken_away_and_told():
    array = np.maximum(thigh(), -1024)
    for shifted in (array + 1024, (array + 1024).astype(np.uint16), (array + 1024).astype(np.float32)):
        image = check_ct(volume(shifted))
        assert (image.volume.array == array).all()
        assert image.volume.array.dtype == np.int16
        assert any("look like HU + 1024: 1024 was subtracted" in text for text in image.warnings)
    padded = array + 1024
    padded[:, :4] = -2000
    assert (check_ct(volume(padded)).volume.array[:, 4:] == array[:, 4:]).all()
    assert check_ct(volume(array)).warnings == ()


def test_an_offset_subtracted_twice_is_added_again():
    image = check_ct(volume(thigh() - 1024))
    assert (image.volume.array == thigh()).all()
    assert image.warnings == ("no voxel has the HU of muscle, all look like HU - 1024: 1024 was added",)


def test_an_offset_in_dicom_is_taken_away_too(tmp_path):
    array = thigh((5, 40, 40))
    write_series(tmp_path, array + 1024)
    image = read_ct(tmp_path)
    assert (image.volume.array == array).all()
    assert any("1024 was subtracted" in text for text in image.warnings)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (mr(), "no voxel has the HU of air or fat, as in MR"),
        (mr().astype(np.float32) * 2 + 1, "as in MR"),
        (np.random.default_rng(0).integers(-4096, 4096, (20, 40, 40)), "hardly a voxel has the HU of soft tissue"),
        (np.clip(thigh() + 100, 0, 255).astype(np.uint8), "values run from 0 to 255, as in an 8-bit picture"),
        (thigh() / np.float32(1000), "as after normalisation"),
        (np.where(thigh() > 500, thigh(), 0), "where the background was set to 0"),
        (np.full((20, 40, 40), -1024) + np.arange(20).reshape(20, 1, 1) * 14, "nearly every voxel has the HU of air"),
        (np.full((9, 9, 9), -1000, np.int16), "every voxel is -1000: this is an empty volume"),
        (thigh()[:2], r"40 x 40 x 2 voxels \(x, y, z\) is too thin: at least 3"),
        (thigh().astype(np.complex64), "voxels are of type complex64"),
        (np.stack([thigh()] * 3, -1), r"three axes \(z, y, x\), got 4: shape \(20, 40, 40, 3\)"),
    ],
)
def test_what_is_no_ct_is_refused(array, text):
    with pytest.raises(DataError, match=text):
        check_ct(volume(array))


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_told(tmp_path, save, suffix, value):
    array = thigh().astype(np.float32)
    array[4, 5, 6] = value
    path = save(array, tmp_path / f"a{suffix}")
    with pytest.raises(DataError, match=rf"'.*a{suffix}': .*NaN or infinite"):
        read_ct(path)


def test_four_axes_and_colours_are_told(tmp_path, save):
    image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(thigh())] * 2)
    SimpleITK.WriteImage(image, str(tmp_path / "four.nii.gz"))
    with pytest.raises(DataError, match=r"'.*four.nii.gz' has 4 axes"):
        read_ct(tmp_path / "four.nii.gz")
    save(np.zeros((20, 20, 20, 3), np.uint8), tmp_path / "rgb.nii.gz", vector=True)
    with pytest.raises(DataError, match=r"'.*rgb.nii.gz' has 3 numbers per voxel"):
        read_ct(tmp_path / "rgb.nii.gz")


def test_what_dicom_calls_ct_is_only_doubted(tmp_path):
    random = np.random.default_rng(0)
    write_series(tmp_path, random.integers(0, 200, (4, 14, 12)).astype(np.int16))
    assert any(text.startswith("the file says CT but values run from 0 to") for text in read_ct(tmp_path).warnings)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.clip(thigh(), -1000, 250), "no voxel is above 300 HU"),
        (np.clip(thigh(), -160, 2000), "values were cut off at -160 HU"),
        (np.where(thigh() > 800, 40000, thigh().astype(int)), "values beyond -32768..32767"),
    ],
)
def test_what_is_odd_is_told(array, text):
    assert any(text in warning for warning in check_ct(volume(array)).warnings)


def test_metal_is_told():
    array = thigh()
    array[10, 10, :20] = 2501
    metal = "metal, or contrast as dense: 0.3 cm3 are above 2500 HU; streaks round it may be taken for fractures"
    assert check_ct(Volume(array, (2.5, 2.5, 2.5))).warnings == (metal,)
    assert check_ct(Volume(array + np.int16(1024), (2.5, 2.5, 2.5))).warnings[1:] == (metal,)
    assert check_ct(Volume(array, (2.0, 2.0, 2.0))).warnings == ()


def test_thin_and_coarse_volumes_are_told():
    thin = check_ct(Volume(thigh((4, 40, 40)), (1.0, 1.0, 1.0))).warnings
    assert thin == ("the volume is only 4 mm thick: hardly a bone can be seen in it",)
    coarse = check_ct(Volume(thigh(), (5.0, 1.0, 1.0))).warnings
    assert coarse == ("voxels are 5 mm apart: thin fractures may not show",)


def test_files_that_do_not_say_how_they_lie_are_told(tmp_path, save):
    path = save(thigh(), tmp_path / "a.nii")
    raw = bytearray(path.read_bytes())
    raw[252:256] = bytes(4)  # qform and sform code
    path.write_bytes(raw)
    assert any("qform and sform code 0" in text for text in read_ct(path).warnings)


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(UsageError, match="no file or folder"):
        read_ct(tmp_path / "none")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(
        UsageError, match=r"unknown file type; accepted are .nii.gz, .nii, .mha, .nrrd, .zip, and DICOM"
    ):
        read_ct(tmp_path / "a.txt")
    (tmp_path / "a.nii.gz").write_bytes(b"")
    with pytest.raises(VolumeFileError, match="truncated"):
        read_ct(tmp_path / "a.nii.gz")


def test_a_series_can_only_be_chosen_of_dicom(tmp_path, save):
    path = save(thigh(), tmp_path / "a.mha")
    assert list_series(path) == ()
    with pytest.raises(UsageError, match=r"'a.mha' is one volume"):
        read_ct(path, series=1)


def names(path):
    return [(case.name, case.path.name) for case in find_ct_cases(path)]


def test_cases_of_volume_files(tmp_path, save):
    for name in ("b_0000.nii.gz", "a.mha", "c d.nrrd", ".hidden.mha"):
        save(thigh(), tmp_path / name)
    (tmp_path / "notes.txt").write_text("hello")
    assert names(tmp_path) == [("a", "a.mha"), ("b", "b_0000.nii.gz"), ("c_d", "c d.nrrd")]
    assert names(tmp_path / "b_0000.nii.gz") == [("b", "b_0000.nii.gz")]
    save(thigh(), tmp_path / "b_0001.nii.gz")
    assert [name for name, _ in names(tmp_path)] == ["a", "b_0000", "b_0001", "c_d"]
    save(thigh(), tmp_path / "c_d.nii")
    with pytest.raises(UsageError, match=r"both give the case name 'c_d'"):
        find_ct_cases(tmp_path)


def test_a_dicom_folder_is_one_case(tmp_path):
    write_series(tmp_path / "Case 7!" / "st" / "se1", body(), series="1", names="{}")
    write_series(tmp_path / "Case 7!" / "st" / "se2", body(), series="2", names="{}")
    assert names(tmp_path / "Case 7!") == [("Case_7", "Case 7!")]
    assert names(tmp_path / "Case 7!" / "st") == [("st", "st")]
    assert names(tmp_path / "Case 7!" / "st" / "se1") == [("se1", "se1")]
    assert names(tmp_path / "Case 7!" / "st" / "se1" / "0") == [("0", "0")]
    write_series(tmp_path / "other", body(), patient="P2")
    assert names(tmp_path) == [("Case_7", "Case 7!"), ("other", "other")]


def test_folders_of_patients_zips_and_volumes_are_many_cases(tmp_path, save):
    write_series(tmp_path / "in" / "p1", body(), patient="P1")
    write_series(tmp_path / "in" / "p2", body(), patient="P2")
    assert names(tmp_path) == [("p1", "p1"), ("p2", "p2")]  # one folder in the way
    (tmp_path / "in" / "z.zip").write_bytes(b"PK")
    save(thigh(), tmp_path / "in" / "v.nii")
    assert [name for name, _ in names(tmp_path / "in")] == ["p1", "p2", "v", "z"]
    assert names(tmp_path / "in" / "z.zip") == [("z", "z.zip")]


def test_volumes_beside_a_study(tmp_path, save):
    save(thigh(), tmp_path / "v.nii")
    write_series(tmp_path / "p1", body())
    assert [name for name, _ in names(tmp_path)] == ["p1", "v"]
    write_series(tmp_path / "p1 more", body(), series="2")
    with pytest.raises(UsageError, match=r"holds a DICOM study and also 'v.nii'"):
        find_ct_cases(tmp_path)


def test_folders_without_study_uid_are_cases_of_their_own(tmp_path):
    def edit(ds, _):
        ds.StudyInstanceUID = ds.PatientID = ds.PatientName = ""

    write_series(tmp_path / "a", body(), edit=edit)
    write_series(tmp_path / "b", body(), edit=edit)
    assert [name for name, _ in names(tmp_path)] == ["a", "b"]


def test_names_never_come_from_tags(tmp_path):
    write_series(tmp_path / "x", body(), patient="Secret")
    assert names(tmp_path / "x") == [("x", "x")]


def test_mixtures_and_empty_folders_are_refused(tmp_path, save):
    with pytest.raises(UsageError, match="nothing usable"):
        find_ct_cases(tmp_path)
    with pytest.raises(UsageError, match="no file or folder"):
        find_ct_cases(tmp_path / "none")
    write_series(tmp_path, body())
    save(thigh(), tmp_path / "a.mha")
    with pytest.raises(UsageError, match=r"holds DICOM files and also 'a.mha'"):
        find_ct_cases(tmp_path)


def test_volume_files_are_read_without_pydicom(environment):
    code = "import sys, nnunet_ext.ct; raise SystemExit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real CTs of ../shared/data/ct are not here")
@pytest.mark.parametrize(
    ("name", "warnings"),
    [
        ("ts_example_ct_3mm_hip_implant", ["metal, or contrast as dense: 11.6 cm3 are above 2500 HU"]),
        ("sts_001_ct", ["voxels are 3.27 mm apart"]),
        ("sts_003_ct", ["voxels are 3.27 mm apart"]),
    ],
)
def test_real_cts(name, warnings):
    image = read_ct(SHARED / f"{name}.nii.gz")
    assert [text.startswith(start) for text, start in zip(image.warnings, warnings, strict=True)] == [True]
    shifted = check_ct(image.volume.like(np.maximum(image.volume.array.astype(np.int32) + 1024, 0)))
    assert any("1024 was subtracted" in text for text in shifted.warnings)
    assert (shifted.volume.array == np.maximum(image.volume.array, -1024)).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real CTs of ../shared/data/ct are not here")
def test_a_picture_of_0_to_255_is_refused():
    with pytest.raises(DataError, match="as in an 8-bit picture"):
        read_ct(SHARED / "ct_pitch_oblique_head_phantom.nii.gz")
