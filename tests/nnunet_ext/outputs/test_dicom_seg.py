"""DICOM SEG: read back by highdicom and, frame by frame, by pydicom; series in any order; privacy; clear errors."""

import random
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from label_gen.errors import DataError, GridError, UsageError, VolumeFileError
from nnunet_ext.fragment_names import name_fragments
from nnunet_ext.outputs import write_dicom_seg
from nnunet_ext.schemes import load_scheme
from nnunet_ext.volumes import Volume

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom)")
pydicom = pytest.importorskip("pydicom")

DICOM = Path(__file__).parents[4] / "shared" / "data" / "dicom"


def voxels_in_world(path):
    """Return the label and place (LPS mm) of every voxel of a SEG, by the letter of its functional groups."""
    seg = pydicom.dcmread(path)
    labels = [int(item.SegmentDescription.split()[1].rstrip(".")) for item in seg.SegmentSequence]
    rows, columns, count = seg.Rows, seg.Columns, int(seg.NumberOfFrames)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    frames = bits[: count * rows * columns].reshape(count, rows, columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    down, across = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found = []
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        assert frame.any(), "an empty frame is stored"
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        start = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        row, column = np.nonzero(frame)
        places = start + np.outer(column * across, orientation[:3]) + np.outer(row * down, orientation[3:])
        found += [(labels[number - 1], *place) for place in places]
    return np.array(found)


def as_array(path, volume):
    """Return a SEG as a label volume on a grid."""
    axes = np.reshape(volume.direction, (3, 3)) * volume.spacing_mm[::-1]
    found = voxels_in_world(path)
    index = np.linalg.solve(axes, (found[:, 1:] - volume.origin).T)
    assert np.abs(index - np.rint(index)).max() < 0.01
    x, y, z = np.rint(index).astype(int)
    result = np.zeros(volume.array.shape, np.uint16)
    result[z, y, x] = found[:, 0]
    assert np.count_nonzero(result) == len(found)
    return result


def check(path, volume):
    assert (as_array(path, volume) == volume.array).all()


@pytest.mark.parametrize("order", ["sorted", "reversed", "shuffled"])
def test_voxels_lie_where_they_lay(tmp_path, named, volume, make_series, order):
    files = make_series(volume)
    files = {"sorted": files, "reversed": files[::-1], "shuffled": random.Random(1).sample(files, len(files))}[order]
    write_dicom_seg(tmp_path / "new" / "seg.dcm", volume, named[1], files)
    check(tmp_path / "new" / "seg.dcm", volume)
    seg = highdicom.seg.segread(tmp_path / "new" / "seg.dcm")
    assert seg.NumberOfFrames == 4 + 5 + 3 + 1
    whole = seg.get_volume(combine_segments=True)
    numbers = np.array([0, 1, 51, 52, 151])
    here = highdicom.Volume.from_components(
        direction=np.reshape(volume.direction, (3, 3))[:, ::-1],
        array=volume.array,
        spacing=volume.spacing_mm,
        position=volume.origin,
        coordinate_system="PATIENT",
        frame_of_reference_uid=seg.FrameOfReferenceUID,
    )
    assert (numbers[whole.match_geometry(here, tol=1e-3).array] == volume.array).all()


def test_it_refers_to_the_series_slice_by_slice(tmp_path, named, volume, make_series):
    files = make_series(volume)
    write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], files[::-1])
    seg, sources = pydicom.dcmread(tmp_path / "seg.dcm"), [pydicom.dcmread(file) for file in files]
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    referred = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referred == {source.SOPInstanceUID for source in sources}
    assert (seg.Rows, seg.Columns) == (sources[0].Rows, sources[0].Columns)
    by_uid = {source.SOPInstanceUID: source for source in sources}
    for group in seg.PerFrameFunctionalGroupsSequence:
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        place = by_uid[image.ReferencedSOPInstanceUID].ImagePositionPatient
        assert np.allclose(group.PlanePositionSequence[0].ImagePositionPatient, place, atol=1e-3)
    for key in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID", "PatientBirthDate", "StudyID"):
        assert seg[key].value == sources[0][key].value
    assert seg.SeriesInstanceUID != sources[0].SeriesInstanceUID
    assert (seg.Modality, seg.SegmentationType, seg.SegmentsOverlap) == ("SEG", "BINARY", "NO")
    assert "Research use only" in seg.ContentDescription
    assert "PatientIdentityRemoved" not in seg


def test_names_codes_and_colours(tmp_path, named, volume, make_series):
    write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], make_series(volume))
    segments = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    for segment, (label, name) in zip(segments, named[1].items(), strict=True):
        assert segment.SegmentLabel == name.display_name
        assert segment.TrackingID == name.segment_id
        assert segment.SegmentDescription.startswith(f"Label {label}. Research use only")
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        colour = highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue)
        assert np.abs(np.subtract(colour.to_rgb(), name.colour)).max() <= 1
        (category,), (kind,) = segment.SegmentedPropertyCategoryCodeSequence, segment.SegmentedPropertyTypeCodeSequence
        assert (category.CodeValue, category.CodingSchemeDesignator) == ("123037004", "SCT")
        assert (kind.CodeValue, kind.CodeMeaning, kind.CodingSchemeDesignator) == (*name.snomed.type, "SCT")
        sides = [(m.CodeValue, m.CodeMeaning) for m in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])]
        assert sides == ([name.snomed.laterality] if name.snomed.laterality else [])
    assert len({segment.TrackingUID for segment in segments}) == 4


@pytest.mark.parametrize("how", ["flipped", "turned", "cropped", "shifted"])
def test_labels_on_another_grid_than_the_series(tmp_path, named, volume, make_series, how):
    files = make_series(volume)
    axes, array = np.reshape(volume.direction, (3, 3)), volume.array
    steps = axes * volume.spacing_mm[::-1]
    if how == "flipped":
        origin = volume.origin + steps @ (array.shape[2] - 1, 0, array.shape[0] - 1)
        direction = axes * (-1, 1, -1)
        other = Volume(array[::-1, :, ::-1].copy(), volume.spacing_mm, tuple(origin), tuple(direction.ravel()))
    elif how == "turned":
        turned = array.transpose(2, 0, 1).copy()
        z, y, x = volume.spacing_mm
        other = Volume(turned, (x, z, y), volume.origin, tuple(axes[:, [1, 2, 0]].ravel()))
    elif how == "cropped":
        other = Volume(array[1:9, 1:, 2:].copy(), volume.spacing_mm, tuple(volume.origin + steps @ (2, 1, 1)))
        other = Volume(other.array, other.spacing_mm, other.origin, volume.direction)
    else:
        other = Volume(array, volume.spacing_mm, tuple(volume.origin + steps @ (0.4, 0, 0.3)), volume.direction)
    write_dicom_seg(tmp_path / "seg.dcm", other, named[1], files)
    check(tmp_path / "seg.dcm", other)
    if how in ("flipped", "turned"):
        check(tmp_path / "seg.dcm", volume)
        seg = pydicom.dcmread(tmp_path / "seg.dcm")
        assert (seg.Rows, seg.Columns) == array.shape[1:]
        assert all("DerivationImageSequence" in group for group in seg.PerFrameFunctionalGroupsSequence)


def test_a_series_with_missing_slices(tmp_path, named, volume, make_series):
    files = make_series(volume)
    write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], files[:3] + files[5:])
    check(tmp_path / "seg.dcm", volume)


def test_deidentified(tmp_path, named, volume, make_series):
    files = make_series(volume)
    write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], files, deidentify=True)
    check(tmp_path / "seg.dcm", volume)
    content = (tmp_path / "seg.dcm").read_bytes()
    for word in (b"ecret", b"SECRET", b"19501231", b"20240229", b"101112", b"Maker", str(tmp_path).encode()):
        assert word not in content
    seg, source = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(files[0])
    assert (seg.PatientName, seg.PatientID, seg.PatientSex, seg.StudyDate) == ("", "", "", "")
    assert seg.PatientIdentityRemoved == "YES"
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == len(files)


def test_paths_are_nowhere(tmp_path, named, volume, make_series):
    write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], make_series(volume))
    assert str(tmp_path).encode() not in (tmp_path / "seg.dcm").read_bytes()


@pytest.mark.parametrize(
    ("changes", "drop"),
    [
        ({"PatientSex": "U"}, ()),
        ({"PatientAge": "old", "SliceThickness": None}, ()),
        ({}, ("PatientID", "PatientName", "PatientSex", "StudyID", "AccessionNumber", "StudyDate", "StudyTime")),
        ({}, ("FrameOfReferenceUID", "ReferringPhysicianName", "SeriesNumber", "SliceThickness")),
        ({"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jürgen"}, ()),
        ({"StudyDate": "", "StudyTime": "", "PatientBirthDate": ""}, ()),
    ],
    ids=["sex", "age", "no patient", "no frame of reference", "umlauts", "no dates"],
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_odd_headers(tmp_path, named, volume, make_series, changes, drop):
    files = make_series(volume, changes=changes, drop=drop)
    write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], files)
    check(tmp_path / "seg.dcm", volume)
    if "SpecificCharacterSet" in changes:
        assert str(pydicom.dcmread(tmp_path / "seg.dcm").PatientName) == "Müller^Jürgen"


def test_without_highdicom(tmp_path, named, volume, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UsageError, match=r"needs highdicom.*pip install 'nnunet-abbc\[dicom\]'"):
        write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], [tmp_path / "1.dcm"])


def test_without_files(tmp_path, named, volume):
    with pytest.raises(UsageError, match=r"there are none: the input was no DICOM series.*leave out --dicom-seg"):
        write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], [])


def test_without_fragments(tmp_path, named, volume, make_series):
    empty = volume.like(np.zeros_like(volume.array))
    with pytest.raises(DataError, match="holds no fragment: every voxel is 0"):
        write_dicom_seg(tmp_path / "seg.dcm", empty, named[1], make_series(volume))


def test_files_that_are_none_of_a_series(tmp_path, named, volume, make_series):
    files = make_series(volume)
    (tmp_path / "notes.txt").write_text("not DICOM, but long enough to look like a header of something" * 9)
    for wrong, error, text in (
        (tmp_path / "missing.dcm", VolumeFileError, "cannot read 'missing.dcm': No such file"),
        (tmp_path / "notes.txt", DataError, "'notes.txt' has no SOPClassUID"),
        (make_series(volume, name="other")[0], DataError, "are of 2 different series"),
    ):
        with pytest.raises(error, match=text) as caught:
            write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], [*files, wrong])
        assert str(tmp_path) not in str(caught.value)
    assert not (tmp_path / "seg.dcm").exists()


def test_uids_that_were_taken_out(tmp_path, named, volume, make_series):
    files = make_series(volume)
    for file in files:
        header = pydicom.dcmread(file)
        header.SOPInstanceUID = header.SOPClassUID = ""
        pydicom.dcmwrite(file, header)
    write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], files)
    check(tmp_path / "seg.dcm", volume)
    first = pydicom.dcmread(files[0]).file_meta.MediaStorageSOPInstanceUID
    referred = pydicom.dcmread(tmp_path / "seg.dcm").ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert referred[0].ReferencedSOPInstanceUID == first
    for file in files:
        header = pydicom.dcmread(file)
        header.StudyInstanceUID = ""
        pydicom.dcmwrite(file, header)
    with pytest.raises(DataError, match=r"has no StudyInstanceUID: .* its UIDs were taken out.*leave out --dicom-seg"):
        write_dicom_seg(tmp_path / "seg.dcm", volume, named[1], files)


def test_labels_of_another_place(tmp_path, named, volume, make_series):
    away = Volume(volume.array, volume.spacing_mm, (500.0, 0.0, 0.0), volume.direction)
    with pytest.raises(GridError, match="the labels lie outside the DICOM series: they reach from"):
        write_dicom_seg(tmp_path / "seg.dcm", away, named[1], make_series(volume))


def unzip(name, folder):
    archive = DICOM / name
    if not archive.is_file():
        pytest.skip(f"the DICOM samples of ../shared are not here: {name}")
    zipfile.ZipFile(archive).extractall(folder)
    return sorted(file for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("deidentify", [False, True])
def test_a_real_series(tmp_path, deidentify):
    files = unzip("derived/d00_reference_implicit_le.zip", tmp_path / "ct")
    headers = sorted((pydicom.dcmread(file) for file in files), key=lambda h: float(h.ImagePositionPatient[2]))
    array = np.stack([header.pixel_array for header in headers])
    ground = np.zeros(array.shape, np.uint16)
    ground[array > array.max() * 0.6] = 151
    ground[:12, 100:][array[:12, 100:] > array.max() * 0.75] = 152
    first = headers[0]
    spacing = (3.27, *map(float, first.PixelSpacing))
    volume = Volume(ground, spacing, tuple(float(v) for v in first.ImagePositionPatient))
    names = name_fragments([151, 152], load_scheme("pengwin2026"), bones={151: "left_femur", 152: "left_femur"})
    write_dicom_seg(tmp_path / "seg.dcm", volume, names, files, deidentify=deidentify)
    check(tmp_path / "seg.dcm", volume)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert all("DerivationImageSequence" in group for group in seg.PerFrameFunctionalGroupsSequence)
    assert (str(seg.PatientName) == "") == deidentify
    highdicom.seg.Segmentation.from_dataset(seg)


def test_an_enhanced_multi_frame_ct(tmp_path):
    files = unzip("pydicom_ct_singles.zip", tmp_path / "ct")
    (file,) = [file for file in files if file.name.startswith("eCT")]
    header = pydicom.dcmread(file)
    groups = header.PerFrameFunctionalGroupsSequence
    places = [np.array(group.PlanePositionSequence[0].ImagePositionPatient, float) for group in groups]
    shared = header.SharedFunctionalGroupsSequence[0]
    orientation = (shared if "PlaneOrientationSequence" in shared else groups[0]).PlaneOrientationSequence[0]
    measures = (shared if "PixelMeasuresSequence" in shared else groups[0]).PixelMeasuresSequence[0]
    across, down = np.reshape(np.array(orientation.ImageOrientationPatient, float), (2, 3))
    normal = places[1] - places[0]
    array = np.zeros((2, header.Rows, header.Columns), np.uint8)
    array[:, 30:60, 40:80], array[1, 70:75, 80:90] = 1, 2
    direction = tuple(np.stack([across, down, normal / np.linalg.norm(normal)], axis=1).ravel().tolist())
    spacing = (float(np.linalg.norm(normal)), *map(float, measures.PixelSpacing))
    volume = Volume(array, spacing, tuple(places[0].tolist()), direction)
    for deidentify in (False, True):
        names = name_fragments([1, 2], load_scheme("free"))
        write_dicom_seg(tmp_path / "seg.dcm", volume, names, [file], deidentify=deidentify)
        check(tmp_path / "seg.dcm", volume)
