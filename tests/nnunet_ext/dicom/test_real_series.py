"""The real series of ../shared: each read right, or refused for the right reason."""

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from label_gen.errors import FractureError
from nnunet_ext.ct import find_ct_cases, list_series, read_ct
from nnunet_ext.dicom.headers import quiet_pydicom
from nnunet_ext.dicom.study import open_study
from nnunet_ext.grids import check_same_grid

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the real series of ../shared/data/dicom are not here")


def derived(number):
    (path,) = (SHARED / "dicom" / "derived").glob(f"d{number:02d}_*.zip")
    return path


@pytest.fixture(scope="module")
def truth():
    """The untouched series that the derived ones were made of."""
    image = read_ct(derived(0))
    assert image.volume.array.shape == (24, 202, 198)
    assert (image.volume.array.min(), image.volume.array.max()) == (-1000, 1397)
    assert image.volume.array.mean() == pytest.approx(-72.38, abs=0.01)
    return image


def test_every_series_has_a_test():
    names = {path.stem for path in (SHARED / "dicom").rglob("*.zip")}
    tested = {*READ, *REFUSED, *(derived(number).stem for number in range(13))}
    assert names == tested


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 8, 11])
def test_faults_that_change_nothing(truth, number):
    image = read_ct(derived(number))
    assert (image.volume.array == truth.volume.array).all()
    check_same_grid(image.volume.grid, truth.volume.grid)
    assert len(image.instances) == 24
    assert all(path.is_file() for path in image.instances)
    assert any("3 repeated slices" in text for text in image.warnings) == (number == 6)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (
            5,
            r"9.81 mm between '006.dcm' and '009.dcm'.*6.54 mm between '014.dcm' and '016.dcm'.*3 slices may be",
        ),
        (7, r"6.54 mm between '012.dcm' and '014.dcm'.*5 slices may be missing"),
        (9, "several patients; found: 1: 16 images of patient 1, 154 x 158; 3: 24 images of patient 2, 198 x 202"),
        (12, r"'012.dcm' are damaged or truncated \(PixelData \(7FE0,0010\) has 38762 bytes of 79992\)"),
    ],
)
def test_faults_that_are_refused(number, text):
    with pytest.raises(FractureError, match=text):
        read_ct(derived(number))


@pytest.mark.parametrize(("number", "lost"), [(5, [7, 8, 15]), (7, [13, 15, 17, 19, 21])])
def test_gaps_are_filled(truth, number, lost):
    image = read_ct(derived(number), resample_irregular=True)
    count = len(image.volume.array)
    assert count == {5: 24, 7: 23}[number]  # the last slice of d07 is missing too
    kept = [k for k in range(count) if k not in lost]
    assert (image.volume.array[kept] == truth.volume.array[kept]).all()
    difference = np.abs(image.volume.array[lost].astype(int) - truth.volume.array[lost])
    assert difference.mean() < 60
    assert image.volume.origin == pytest.approx(truth.volume.origin)
    assert image.volume.spacing_mm == pytest.approx(truth.volume.spacing_mm)


def test_two_patients_are_told_apart(truth):
    lines = list_series(derived(9))
    assert [(line.slices, line.patient, line.problem) for line in lines] == [
        (16, 1, ""),
        (1, 2, "no image (RTSTRUCT)"),
        (24, 2, ""),
    ]
    image = read_ct(derived(9), series=3)
    assert (image.volume.array == truth.volume.array).all()
    assert any("1 files of 0 bytes were passed over: 'empty.dcm'" in text for text in image.warnings)
    other = read_ct(derived(9), series=lines[0].uid).volume
    whole = read_ct(SHARED / "dicom" / "sts_003_ct_with_rtstruct.zip").volume
    start = round((other.origin[2] - whole.origin[2]) / whole.spacing_mm[0])
    assert (other.array == whole.array[start : start + 16]).all()


def test_turned_pixels_lie_at_the_same_place(truth):
    image = read_ct(derived(10))
    assert image.volume.direction == pytest.approx((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    assert (image.volume.array[:, ::-1, ::-1] == truth.volume.array).all()
    far = np.array(image.volume.origin[:2]) - np.array(image.volume.spacing_mm[:0:-1]) * [197, 201]
    assert far == pytest.approx(truth.volume.origin[:2], abs=1e-3)


READ = {
    "crlm_1004_abdomen_no_pelvis": ((41, 512, 512), (5.0, 0.796875, 0.796875), -375.0),
    "dcmqi_ct_3slice": ((3, 512, 512), (1.0, 0.810547, 0.810547), -128.690002),
    "qa_philips_phantom_study_localizer_axial_secondary": ((28, 512, 512), (5.0, 0.451171875, 0.451171875), 696.21),
    "sts_001_ct_with_rtstruct": ((59, 202, 198), (3.27, 0.976562, 0.976562), -881.32),
    "sts_003_ct_with_rtstruct": ((51, 158, 154), (3.27, 0.976562, 0.976562), -849.32),
    "ts_example_ct_dicom_jpeg2000": ((20, 512, 512), (2.0, 0.9765625, 0.9765625), -804.5),
}


@pytest.mark.parametrize("name", READ)
def test_real_series_are_read_as_pydicom_reads_their_slices(name):
    image = read_ct(SHARED / "dicom" / f"{name}.zip")
    shape, spacing, z = READ[name]
    assert image.volume.array.shape == shape
    assert image.volume.spacing_mm == pytest.approx(spacing, rel=1e-5)
    assert image.volume.origin[2] == pytest.approx(z, abs=0.01)
    assert len(image.instances) == shape[0]
    for k in (0, shape[0] // 2, shape[0] - 1):
        with quiet_pydicom():
            ds = pydicom.dcmread(image.instances[k])
            hu = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
            assert float(ds.ImagePositionPatient[2]) == pytest.approx(z + k * spacing[0], abs=0.05)
        assert (image.volume.array[k] == np.maximum(hu, -1024)).all()


@pytest.mark.parametrize("name", ["sts_001", "sts_003"])
def test_dicom_and_nifti_of_one_ct_are_the_same(name):
    dicom = read_ct(SHARED / "dicom" / f"{name}_ct_with_rtstruct.zip")
    nifti = read_ct(SHARED / "ct" / f"{name}_ct.nii.gz")
    assert (dicom.volume.array == nifti.volume.array).all()
    check_same_grid(dicom.volume.grid, nifti.volume.grid)
    assert nifti.kind == "file"


REFUSED = {
    "d2n_gantrytilting_001": r"tilted.*14.0 degrees; 'IM-0001-0004.dcm' lies 3.6 mm aside of 'IM-0001-0001.dcm'",
    "d2n_notavolume_001": r"all 4 slices lie at one position \('001.dcm'.*ImagePositionPatient",
    "d2n_sliceincrement_001": "10 mm between 'IM-0001-0009-0001.dcm' and 'IM-0001-0010-0001.dcm'.*1 slice may be",
    "pydicom_ct_singles": r"1: 2 images of patient 1, 2 slices; .*2: 2 images of patient 2, not HU: RescaleType.*'US'",
    "qa_ge_head_tilt18.5_nonuniform": r"18.5 degrees; '28.dcm' lies 48.2 mm aside.*1.081 mm between '14.dcm' and",
    "qa_philips_phantom_tilt-18.5_plus_localizer": r"tilted.*18.5 degrees; 'I400' lies 21.4 mm aside of 'I130'",
}


@pytest.mark.parametrize("name", REFUSED)
def test_irregular_series_are_refused(name):
    with pytest.raises(FractureError, match=REFUSED[name]):
        read_ct(SHARED / "dicom" / f"{name}.zip")


@pytest.mark.parametrize("name", ["qa_ge_head_tilt18.5_nonuniform", "qa_philips_phantom_tilt-18.5_plus_localizer"])
def test_tilted_slices_end_at_their_place_in_the_patient(name):
    path = SHARED / "dicom" / f"{name}.zip"
    volume = read_ct(path, resample_irregular=True).volume
    axes = np.array(volume.direction).reshape(3, 3)
    series = max(open_study(path).series, key=lambda one: len(one.slices))
    study = open_study(path)  # keeps the files
    header = max(study.series, key=lambda one: len(one.slices)).slices
    del series
    spacing = np.array(volume.spacing_mm[::-1])
    checked = 0
    for one in header:
        place = axes.T @ (np.array(one.position) - volume.origin) / spacing
        if abs(place[2] - round(place[2])) > 0.02:
            continue  # lies between two slices of the new grid
        with quiet_pydicom():
            ds = pydicom.dcmread(one.path)
            hu = np.maximum(ds.pixel_array * one.slope + one.intercept, -1024)
        x, y, z = np.rint(place).astype(int)
        rows = slice(y, min(y + 512, volume.array.shape[1]))
        moved = volume.array[z, rows, x : x + 512]
        inner = hu[: moved.shape[0], : moved.shape[1]]
        assert np.corrcoef(moved.ravel(), inner.ravel())[0, 1] > 0.99
        checked += 1
    assert checked >= 5


def test_cases_are_found(tmp_path):
    names = [case.name for case in find_ct_cases(SHARED / "dicom" / "derived")]
    assert len(names) == 13
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
