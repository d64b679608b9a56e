"""Series: sorted, listed, chosen by the stated rule; what cannot be a CT volume says why."""

import pytest

from label_gen.errors import DataError, UsageError
from nnunet_ext.ct import list_series, read_ct
from nnunet_ext.dicom.finding import find_slices
from tests.nnunet_ext.dicom.made import body, dataset, place, save, uid, write_series


def numbers(folder):
    return [(line.number, line.slices, line.problem) for line in list_series(folder)]


def kind(**values):
    """Return an edit that sets values of every image."""

    def edit(ds, _):
        for name, value in values.items():
            setattr(ds, name, value)

    return edit


def test_most_slices_win_and_the_choice_is_told(tmp_path):
    write_series(tmp_path / "b", body((4, 14, 12)), series="2")
    write_series(tmp_path / "a", body((6, 14, 12)), series="3")
    write_series(tmp_path / "c", body((9, 14, 12)), series="4", edit=kind(ImageType=["DERIVED", "SECONDARY", "MPR"]))
    assert numbers(tmp_path) == [(1, 4, ""), (2, 6, ""), (3, 9, "")]
    assert [line.is_chosen for line in list_series(tmp_path)] == [False, True, False]
    image = read_ct(tmp_path)
    assert image.volume.array.shape == (6, 14, 12)
    assert image.warnings[0].startswith("series 2 was chosen of 3 CT series (original before derived, then most slices")
    assert "1: 4 images, 12 x 14; 2: 6 images, 12 x 14; 3: 9 images" in image.warnings[0]
    for series in (1, "1", uid("P1", "2")):
        assert len(read_ct(tmp_path, series=series).volume.array) == 4
    with pytest.raises(UsageError, match=r"no series '7' \(--series\); found: 1: 4 images"):
        read_ct(tmp_path, series=7)


def test_a_line_of_the_list_says_what_people_choose_by(tmp_path):
    write_series(tmp_path, body(), edit=kind(SeriesDescription="Pelvis bone", ConvolutionKernel="Br60"))
    write_series(tmp_path / "two", body((2, 14, 12)), series="2")
    first, second = map(str, list_series(tmp_path))
    assert first == (
        "*   1  CT axial, 6 images, 12 x 14, 0.7 x 0.8 x 2 mm, 2 mm thick, kernel Br60, ORIGINAL/PRIMARY/AXIAL, "
        f"patient 1, Pelvis bone, UID {uid('P1', '1')}"
    )
    assert second.startswith("    2  CT axial, 2 images, 12 x 14, ")
    assert "not usable: 2 slices; a volume has at least 3" in second


def test_thinner_slices_then_the_first_number_break_ties(tmp_path):
    write_series(tmp_path / "a", body(), series="1", spacing=(3.0, 0.8, 0.7))
    write_series(tmp_path / "b", body(), series="2", spacing=(1.0, 0.8, 0.7))
    write_series(tmp_path / "c", body(), series="3", spacing=(1.0, 0.8, 0.7))
    assert [line.is_chosen for line in list_series(tmp_path)] == [False, True, False]
    assert list_series(tmp_path)[0].spacing_mm == pytest.approx((3.0, 0.8, 0.7))


def test_patients_are_never_chosen_from(tmp_path):
    write_series(tmp_path, body((4, 14, 12)), patient="P1", names="a{}.dcm")
    write_series(tmp_path, body((6, 14, 12)), patient="P2", names="b{}.dcm")
    with pytest.raises(DataError, match=r"several patients; found: 1: 4 images of patient 1.*2: 6 images of patient 2"):
        read_ct(tmp_path)
    assert not any(line.is_chosen for line in list_series(tmp_path))
    assert len(read_ct(tmp_path, series=2).volume.array) == 6


def test_a_name_written_otherwise_is_no_other_patient(tmp_path):
    write_series(tmp_path / "a", body((4, 14, 12)), series="1", edit=kind(PatientName="P1^Secret^^"))
    write_series(tmp_path / "b", body((6, 14, 12)), series="2", edit=kind(PatientName="p1^SECRET"))
    assert [line.patient for line in list_series(tmp_path)] == [1, 1]


def test_nameless_studies_are_not_chosen_from(tmp_path):
    for name in ("1", "2"):
        edit = kind(PatientID="", PatientName="", StudyInstanceUID=uid(name))
        write_series(tmp_path / name, body(), series=name, edit=edit)
    with pytest.raises(DataError, match="several patients"):
        read_ct(tmp_path)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, r"not CT: Modality \(0008,0060\) is MR"),
        ({"Modality": "PT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}, "not CT: .* is PT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "PhotometricInterpretation"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "PhotometricInterpretation"),
        ({"RescaleType": "Z_EFF"}, r"RescaleType \(0028,1054\) is 'Z_EFF'"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
    ],
)
def test_what_is_no_ct_says_why(tmp_path, values, problem):
    write_series(tmp_path, body((3, 14, 12)), edit=kind(**values))
    with pytest.raises(DataError, match=rf"no series here can be read as a CT volume; found: 1: 3 images, .*{problem}"):
        read_ct(tmp_path)
    with pytest.raises(DataError, match=rf"series 1 cannot be read as a CT volume: .*{problem}"):
        read_ct(tmp_path, series=1)


@pytest.mark.parametrize("count", [1, 2])
def test_two_slices_are_no_volume(tmp_path, count):
    write_series(tmp_path, body((count, 14, 12)))
    with pytest.raises(DataError, match=f"{count} slices?; a volume has at least 3"):
        read_ct(tmp_path)


def test_other_objects_and_junk_are_passed_over(tmp_path):
    array = body()
    write_series(tmp_path / "CT", array)
    structure = dataset(array[0], series="9")
    for tag in ("Rows", "Columns", "PixelData"):
        delattr(structure, tag)
    structure.Modality = "RTSTRUCT"
    structure.file_meta.MediaStorageSOPClassUID = structure.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    save(structure, tmp_path / "RT" / "rt.dcm")
    localizer = dataset(array[0], series="8")
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    place(localizer, 0, direction=(0, 0, 1, 1, 0, 0, 0, -1, 0))
    save(localizer, tmp_path / "localizer")
    (tmp_path / "readme.txt").write_text("nothing to see here, in more than a hundred and thirty-two characters " * 3)
    (tmp_path / "empty.dcm").touch()
    (tmp_path / ".hidden").write_bytes(bytes(200))
    image = read_ct(tmp_path)
    assert (image.volume.array == array).all()
    assert any("1 files of 0 bytes were passed over: 'empty.dcm'" in text for text in image.warnings)
    assert any("hold no DICOM object were passed over: 'readme.txt'" in text for text in image.warnings)
    assert sorted(numbers(tmp_path)) == [(1, 6, ""), (2, 1, "localizer (a projection)"), (3, 1, "no image (RTSTRUCT)")]


def test_objects_of_modality_ct_without_pixels_are_no_damage(tmp_path):
    array = body()
    write_series(tmp_path, array)
    raw = dataset(array[0], series="9")
    raw.file_meta.MediaStorageSOPClassUID = raw.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66"
    for tag in ("Rows", "Columns", "PixelData"):
        delattr(raw, tag)
    save(raw, tmp_path / "raw.dcm")
    assert (read_ct(tmp_path).volume.array == array).all()
    assert numbers(tmp_path)[1] == (2, 1, "no image (CT)")


def test_frames_that_lie_nowhere(tmp_path):
    many = dataset(body()[0])
    many.NumberOfFrames = 2_000_000_000
    save(many, tmp_path / "many.dcm")
    with pytest.raises(DataError, match="no valid ImagePositionPatient"):
        read_ct(tmp_path)


def test_a_localizer_within_the_series_is_left_out(tmp_path):
    array = body()
    write_series(tmp_path, array)
    localizer = dataset(array[0])
    place(localizer, 0, direction=(0, 0, 1, 1, 0, 0, 0, -1, 0))
    save(localizer, tmp_path / "zzz.dcm")
    image = read_ct(tmp_path)
    assert (image.volume.array == array).all()
    assert "1 image of the same DICOM series left out: another ImageOrientationPatient" in image.warnings


def test_an_odd_slice_in_the_middle_leaves_a_gap_that_is_named(tmp_path):
    def edit(ds, index):
        if index == 3:
            ds.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    write_series(tmp_path, body(), edit=edit)
    with pytest.raises(
        DataError, match=r"4 mm between '002.dcm' and '004.dcm' \(slices 3 and 4\).*1 slice may be missing"
    ):
        read_ct(tmp_path)


def test_phases_are_parted(tmp_path):
    first, second = body(seed=1), body(seed=2)
    write_series(tmp_path, first, names="a{}.dcm", edit=kind(AcquisitionNumber=1))
    write_series(tmp_path, second, names="b{}.dcm", edit=kind(AcquisitionNumber=2))
    assert numbers(tmp_path) == [(1, 6, ""), (2, 6, "")]
    image = read_ct(tmp_path)
    assert (image.volume.array == first).all()
    assert "6 images of the same DICOM series left out: another phase" in image.warnings
    assert (read_ct(tmp_path, series="2").volume.array == second).all()
    with pytest.raises(UsageError, match=r"several stacks of slices, numbers 1, 2 in the list"):
        read_ct(tmp_path, series=uid("P1", "1"))


def test_acquisitions_that_make_one_volume_stay_together(tmp_path):
    array = body()
    write_series(tmp_path, array, edit=lambda ds, index: setattr(ds, "AcquisitionNumber", index // 2))
    assert (read_ct(tmp_path).volume.array == array).all()


def test_series_without_uid_are_told_by_their_folder(tmp_path):
    def edit(ds, _):
        ds.SeriesInstanceUID = ds.StudyInstanceUID = ds.PatientID = ds.PatientName = ""
        del ds.SOPClassUID, ds.SeriesNumber

    write_series(tmp_path / "a", body((4, 14, 12)), edit=edit)
    write_series(tmp_path / "b", body((5, 14, 12)), edit=edit)
    assert numbers(tmp_path) == [(1, 4, ""), (2, 5, "")]
    assert str(tmp_path) not in " ".join(map(str, list_series(tmp_path)))
    assert "UID" not in str(list_series(tmp_path)[0])
    with pytest.raises(UsageError, match="no series ''"):
        read_ct(tmp_path, series="")


def test_nothing_shown_names_the_patient(tmp_path):
    write_series(tmp_path, body(), edit=kind(SeriesDescription="Secret pelvis"))
    slices = find_slices(tmp_path).slices
    assert "Secret" not in repr(slices)
    assert "P1" not in repr(slices)
    assert "Secret" not in repr(list_series(tmp_path))
    assert list_series(tmp_path)[0].description == "Secret pelvis"
    image = read_ct(tmp_path)
    assert "Secret" not in repr((image.warnings, image.series))
    assert set(image.series) <= {
        *("modality", "kernel", "manufacturer", "model", "kvp", "transfer_syntax", "gantry_tilt", "lossy"),
        *("n_slices", "slice_distance_mm", "slice_thickness_mm", "image_type", "is_resampled"),
    }


def test_a_folder_without_dicom_says_so(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "inner.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="no DICOM file: 2 other and 0 empty files; 1 of them zips"):
        list_series(tmp_path)
