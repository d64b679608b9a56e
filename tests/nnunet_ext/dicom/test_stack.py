"""Places of slices: order, geometry, and faults named by file."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from label_gen.errors import DataError
from nnunet_ext.ct import read_ct
from nnunet_ext.dicom.assembly import assemble
from nnunet_ext.dicom.finding import find_slices
from tests.nnunet_ext.dicom.made import ORIGIN, SPACING, body, write_series

OBLIQUE = tuple(Rotation.from_euler("zyx", [0.3, -0.2, 0.5]).as_matrix().ravel())
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)
TURNED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
UPSIDE_DOWN = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0)


@pytest.mark.parametrize("direction", [OBLIQUE, CORONAL, TURNED, UPSIDE_DOWN])
def test_the_grid_is_that_of_the_acquisition(tmp_path, direction):
    array = body()
    write_series(tmp_path, array, direction=direction)
    image = read_ct(tmp_path)
    assert (image.volume.array == array).all()
    assert image.volume.array.dtype == np.int16
    assert image.volume.spacing_mm == pytest.approx(SPACING)
    assert image.volume.origin == pytest.approx(ORIGIN)
    assert image.volume.direction == pytest.approx(direction, abs=1e-9)
    assert [path.name for path in image.instances] == [f"{k:03d}.dcm" for k in range(6)]


def test_slices_run_along_z_of_the_grid_whatever_the_files_say(tmp_path):
    array = body()
    names = ["f", "b", "a", "e", "c", "d"]
    for index, name in enumerate(names):
        write_series(
            tmp_path / name, array, names="IM", edit=lambda ds, k, index=index: k == index and reverse(ds, index)
        )
    image = read_ct(tmp_path)
    assert (image.volume.array == array[::-1]).all()
    assert image.volume.origin == pytest.approx((ORIGIN[0], ORIGIN[1], -(ORIGIN[2] + 5 * SPACING[0])))
    assert [path.parent.name for path in image.instances] == names[::-1]


def reverse(ds, index):
    """Put a slice at the mirrored height, with a number that says otherwise."""
    x, y, z = ds.ImagePositionPatient
    ds.ImagePositionPatient = [x, y, -z]
    ds.InstanceNumber = (index * 7) % 5
    return True


def test_every_gap_is_named(tmp_path):
    write_series(tmp_path, body((12, 14, 12)), edit=lambda _, index: index not in (3, 7, 8))
    with pytest.raises(
        DataError,
        match=r"unevenly spaced: 4 mm between '002.dcm' and '004.dcm' \(slices 3 and 4\), 6 mm between '006.dcm' and "
        r"'009.dcm' \(slices 6 and 7\) where 2 mm are usual; 3 slices may be missing.*--resample-irregular",
    ):
        read_ct(tmp_path)


def test_gaps_are_filled_by_interpolation(tmp_path):
    array = body((12, 14, 12))
    write_series(tmp_path, array, edit=lambda _, index: index not in (3, 7, 8), direction=OBLIQUE)
    image = read_ct(tmp_path, resample_irregular=True)
    kept = [k for k in range(12) if k not in (3, 7, 8)]
    result = image.volume.array.astype(int)
    assert image.volume.array.shape == array.shape
    assert (result[kept] == array[kept]).all()
    values = array.astype(float)
    assert np.abs(result[3] - (values[2] + values[4]) / 2).max() <= 0.5
    assert np.abs(result[7] - (2 * values[6] + values[9]) / 3).max() <= 0.51
    assert image.volume.direction == pytest.approx(OBLIQUE, abs=1e-9)
    assert image.volume.origin == pytest.approx(ORIGIN)
    assert image.instances == ()
    assert image.series["is_resampled"] is True
    assert any("resampled onto 12 regular slices 2 mm apart, 3 of them interpolated" in text for text in image.warnings)


def test_wide_gaps_are_not_bridged(tmp_path):
    write_series(tmp_path, body((12, 14, 12)), edit=lambda _, index: not 4 <= index < 15, spacing=(5.0, 0.8, 0.7))
    write_series(
        tmp_path, body((3, 14, 12)), origin=(*ORIGIN[:2], ORIGIN[2] + 60), names="z{}.dcm", spacing=(5, 0.8, 0.7)
    )
    with pytest.raises(DataError, match=r"'003.dcm' and 'z0.dcm' are 45 mm apart; gaps of more than 20 mm"):
        read_ct(tmp_path, resample_irregular=True)


@pytest.mark.parametrize(("tilt", "angle"), [(math.tan(math.radians(18.5)), "18.5"), (-0.25, "14.0")])
def test_gantry_tilt_is_named_and_set_straight(tmp_path, tilt, angle):
    array = np.repeat(body((1, 40, 12)), 9, axis=0)
    shifts = 0.8 * np.rint(np.arange(9) * tilt * 2.0 / 0.8)  # whole pixels, so that the truth is known

    def edit(ds, index):
        ds.ImagePositionPatient = [ORIGIN[0], ORIGIN[1] + shifts[index], ORIGIN[2] + 2.0 * index]

    write_series(tmp_path, array, edit=edit)
    with pytest.raises(DataError, match=r"gantry is tilted.*angle of \d.*'008.dcm' lies \d.* mm aside of '000.dcm'"):
        read_ct(tmp_path)
    image = read_ct(tmp_path, resample_irregular=True)
    lowest = min(0.0, shifts.min())
    assert image.volume.origin == pytest.approx((ORIGIN[0], ORIGIN[1] + lowest, ORIGIN[2]))
    for k in range(9):
        start = round((shifts[k] - lowest) / 0.8)
        assert (image.volume.array[k, start : start + 40] == array[k]).all()
        outside = np.delete(image.volume.array[k], slice(start, start + 40), axis=0)
        assert (outside == -1024).all()
    write_series(tmp_path / "even", array, tilt=tilt)
    with pytest.raises(DataError, match=f"an angle of {angle} degrees"):
        read_ct(tmp_path / "even")


def test_parts_of_pixels_are_interpolated(tmp_path):
    array = np.full((4, 20, 20), -1000, np.int16)
    array += (50 * np.arange(20)[:, None]).astype(np.int16)  # a ramp along y is kept exactly by linear interpolation
    write_series(tmp_path, array, tilt=0.3)
    result = assemble(find_slices(tmp_path).slices, resample_irregular=True).volume
    y = (np.arange(result.array.shape[1]) * 0.8)[None, :] - (np.arange(4) * 0.6)[:, None]
    inside = (y >= 0) & (y <= 19 * 0.8)
    expected = -1000 + 50 * y / 0.8
    assert np.abs(result.array[:, :, 10] - expected)[inside].max() <= 1


def test_uneven_shifts_are_named(tmp_path):
    def edit(ds, index):
        if index == 2:
            ds.ImagePositionPatient = [ORIGIN[0] + 9, ORIGIN[1], ORIGIN[2] + 4]

    write_series(tmp_path, body(), edit=edit)
    with pytest.raises(DataError, match=r"shifted sideways unevenly: '002.dcm' lies 9.0 mm aside of '000.dcm'"):
        read_ct(tmp_path)


def test_rounded_positions_are_no_gaps(tmp_path):
    array = body((40, 14, 12))

    def edit(ds, _):
        ds.ImagePositionPatient = [f"{float(value):.1f}" for value in ds.ImagePositionPatient]

    write_series(tmp_path, array, edit=edit, spacing=(0.625, 0.8, 0.7))
    image = read_ct(tmp_path)
    assert (image.volume.array == array).all()
    assert image.volume.spacing_mm[0] == pytest.approx(0.625, abs=0.003)


def test_repeated_slices_are_left_out_if_alike(tmp_path):
    array = body()
    write_series(tmp_path, array)
    write_series(tmp_path, array, names="copy{}.dcm", edit=lambda _, index: index in (1, 4))
    image = read_ct(tmp_path)
    assert (image.volume.array == array).all()
    assert any("2 repeated slices, alike in every pixel, were left out" in text for text in image.warnings)
    write_series(tmp_path, body(seed=3), names="other{}.dcm", edit=lambda _, index: index == 2)
    with pytest.raises(DataError, match=r"'002.dcm' and 'other2.dcm' are different slices at one position"):
        read_ct(tmp_path, resample_irregular=True)


def test_all_at_one_position(tmp_path):
    write_series(tmp_path, body(), spacing=(0.0, 0.8, 0.7), edit=lambda ds, _: setattr(ds, "SliceThickness", 1))
    with pytest.raises(DataError, match=r"all 6 slices lie at one position \('000.dcm', '001.dcm', '002.dcm', ...\)"):
        read_ct(tmp_path)


@pytest.mark.parametrize("value", [None, [1, 2]])
def test_the_slice_and_tag_at_fault_are_named(tmp_path, value):
    write_series(tmp_path, body(), edit=lambda ds, index: index != 3 or setattr(ds, "ImagePositionPatient", value))
    with pytest.raises(DataError, match=r"'003.dcm' has no valid ImagePositionPatient \(0020,0032\)"):
        read_ct(tmp_path)


@pytest.mark.parametrize("value", [b"inf    ", b"nan    ", b"east   ", b"       "])
def test_values_that_are_no_numbers_are_named(tmp_path, value):
    def edit(ds, index):
        if index == 3:
            ds.ImagePositionPatient = [1, 2, 77777]

    paths = write_series(tmp_path, body(), edit=edit)
    paths[3].write_bytes(paths[3].read_bytes().replace(b"77777.0", value))
    with pytest.raises(DataError, match=r"'003.dcm' has no valid ImagePositionPatient \(0020,0032\)"):
        read_ct(tmp_path)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [2, 0, 0, 0, 1, 0]),
        ("PixelSpacing", [0, 1]),
    ],
)
def test_impossible_geometry_is_refused(tmp_path, tag, value):
    write_series(tmp_path, body(), edit=lambda ds, _: setattr(ds, tag, value))
    with pytest.raises(DataError, match=f"has an impossible {tag}"):
        read_ct(tmp_path)


def test_thin_slices_far_apart_and_a_tilt_that_left_no_trace_are_told(tmp_path):
    def edit(ds, _):
        ds.SliceThickness, ds.GantryDetectorTilt = 1, "-12.5"

    write_series(tmp_path, body(), edit=edit)
    texts = " ".join(read_ct(tmp_path).warnings)
    assert "slices are 2 mm apart but only 1 mm thick" in texts
    assert "GantryDetectorTilt (0018,1120) is -12.5 degrees, but the slices neither lean nor shift" in texts


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5.0)] * 3),
    order=st.permutations(range(4)),
)
def test_any_right_angled_grid_survives(tmp_path_factory, angles, spacing, order):
    folder = tmp_path_factory.mktemp("series")
    array = body((4, 14, 12))
    matrix = Rotation.from_euler("xyz", angles).as_matrix()
    paths = write_series(folder, array, direction=tuple(matrix.ravel()), spacing=spacing)
    for index, path in zip(order, paths, strict=True):
        path.rename(folder / f"x{index}")
    result = assemble(find_slices(folder).slices).volume
    assert (result.array == array).all()
    assert result.spacing_mm == pytest.approx(spacing, rel=1e-6)
    assert result.origin == pytest.approx(ORIGIN)
    assert np.abs(np.array(result.direction) - matrix.ravel()).max() < 1e-6
