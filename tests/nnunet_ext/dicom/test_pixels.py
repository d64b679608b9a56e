"""Pixels: every transfer syntax gives the same HU, every truncation is told."""

import tracemalloc

import numpy as np
import pytest

from label_gen.errors import DataError, FractureError, VolumeFileError
from nnunet_ext.ct import read_ct
from nnunet_ext.dicom import pixels
from nnunet_ext.dicom.assembly import assemble
from nnunet_ext.dicom.finding import find_slices
from tests.nnunet_ext.dicom.made import IDENTITY, SYNTAXES, body, set_pixels, write_enhanced, write_series

LARGE = (4, 40, 36)  # JPEG 2000 wants 32 and more


def series(folder):
    return assemble(find_slices(folder).slices).volume.array


def outcome(folder):
    """Return the volume, or None and the text of an error of ours; any other error fails the test."""
    try:
        return read_ct(folder).volume.array, ""
    except FractureError as error:
        return None, str(error)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax(tmp_path, syntax, signed):
    array = body(LARGE) if signed else np.maximum(body(LARGE), -1024)
    write_series(tmp_path, array, syntax=syntax, signed=signed)
    result = series(tmp_path)
    assert result.dtype == np.int16
    assert (result == array).all()


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_enhanced_multi_frame(tmp_path, syntax):
    array = body(LARGE)
    direction = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    path = write_enhanced(tmp_path / "e.dcm", array, syntax=syntax, direction=direction, order=[2, 0, 3, 1])
    image = read_ct(path)
    assert (image.volume.array == array).all()
    assert image.volume.direction == pytest.approx(direction)
    assert image.instances == ()
    assert image.series["n_slices"] == 4


def test_frames_at_fault_are_named(tmp_path):
    path = write_enhanced(tmp_path / "e.dcm", body((5, 14, 12)), order=[0, 1, 1, 2, 4])
    with pytest.raises(DataError, match=r"4 mm between 'e.dcm, frame 4' and 'e.dcm, frame 5'"):
        read_ct(path)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_cut_anywhere_is_never_read_as_something_else(tmp_path, syntax):
    array = body(LARGE)
    path = write_series(tmp_path, array, syntax=syntax)[1]
    raw = path.read_bytes()
    for length in (*range(0, len(raw), len(raw) // 15), *range(len(raw) - 10, len(raw), 3)):
        path.write_bytes(raw[:length])
        result, text = outcome(tmp_path)
        if result is None:
            assert "'001.dcm'" in text or "between '000.dcm' and '002.dcm'" in text
        else:  # only what comes after the pixels was cut
            assert len(raw) - length <= 8
            assert (result == array).all()


def test_cut_last_slices_are_refused_although_no_gap_shows(tmp_path):
    path = write_series(tmp_path, body())[-1]
    raw = path.read_bytes()
    for length in range(150, len(raw), 50):
        path.write_bytes(raw[:length])
        with pytest.raises(VolumeFileError, match=r"'005.dcm'"):
            read_ct(tmp_path)


def test_files_without_preamble_and_meta_information(tmp_path):
    array = body()
    paths = write_series(tmp_path, array, syntax="implicit", names="IM{}")
    for path in paths:
        raw = path.read_bytes()
        path.write_bytes(raw[raw.index(b"\x08\x00\x08\x00") :])
    assert (series(tmp_path) == array).all()


@pytest.mark.parametrize(("stored", "high"), [(12, 11), (12, 13), (16, 15)])
@pytest.mark.parametrize("signed", [True, False])
def test_bits_beside_the_pixels_are_no_pixels(tmp_path, stored, high, signed):
    array = np.maximum(body(), -1024)

    def edit(ds, _):
        low = high + 1 - stored
        words = np.frombuffer(ds.PixelData, "<u2").astype(np.uint32) & ((1 << stored) - 1)
        overlay = 0xFFFF & ~(((1 << stored) - 1) << low)
        ds.PixelData = ((words << low) | overlay).astype("<u2").tobytes()
        ds.BitsStored, ds.HighBit = stored, high

    intercept = 0 if signed else -1024
    write_series(tmp_path, array, signed=signed, intercept=intercept, edit=edit)
    assert (series(tmp_path) == array).all()


@pytest.mark.parametrize(("bits", "dtype"), [(8, "u1"), (32, "<i4")])
def test_other_sizes_of_numbers(tmp_path, bits, dtype):
    array = np.random.default_rng(0).integers(0, 256, (3, 14, 12))

    def edit(ds, index):
        ds.BitsAllocated = ds.BitsStored = bits
        ds.HighBit, ds.PixelRepresentation = bits - 1, int(bits == 32)
        ds.PixelData = array[index].astype(dtype).tobytes()

    write_series(tmp_path, array - 1024, edit=edit)
    assert (series(tmp_path) == array - 1024).all()


def test_every_slice_has_its_own_rescaling(tmp_path):
    array = body()

    def edit(ds, index):
        intercept = (-1024, -2000, 0)[index % 3]
        ds.RescaleIntercept = intercept
        set_pixels(ds, (array[index].astype(int) - intercept).astype("<i2"), "explicit")

    write_series(tmp_path, array, edit=edit)
    assert (series(tmp_path) == array).all()


def test_hu_that_are_not_whole_stay_so(tmp_path):
    array = body()
    write_series(tmp_path, array, slope=0.5, edit=lambda ds, _: setattr(ds, "RescaleIntercept", "-1024.25"))
    result = series(tmp_path)
    assert result.dtype == np.float32
    assert np.abs(result - (array - 0.25)).max() < 1e-3
    write_series(tmp_path / "whole", array, slope=0.5)
    assert series(tmp_path / "whole").dtype == np.int16


def test_padding_becomes_air_unless_it_is_tissue(tmp_path):
    array = body()
    array[:, 0] = -3024
    write_series(tmp_path / "a", array, edit=lambda ds, _: setattr(ds, "PixelPaddingValue", -2000))
    assert (series(tmp_path / "a")[:, 0] == -1024).all()
    assert (series(tmp_path / "a")[:, 1:] == array[:, 1:]).all()
    array[:, 0], array[:, 1] = 0, -1500
    write_series(tmp_path / "b", array, intercept=0, edit=lambda ds, _: setattr(ds, "PixelPaddingValue", 0))
    assert (series(tmp_path / "b") == array).all()  # padding that says water: left alone


def test_values_beyond_int16_end_at_its_limits(tmp_path):
    array = body().astype(int)
    array[:, 0] = 60_000
    write_series(tmp_path, array, signed=False)
    assert (series(tmp_path)[:, 0] == 32767).all()


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda ds: setattr(ds, "PixelData", ds.PixelData[:-2]), r"PixelData \(7FE0,0010\) has 334 bytes of 336"),
        (lambda ds: delattr(ds, "PixelData"), r"ends before PixelData \(7FE0,0010\)"),
        (lambda ds: delattr(ds, "BitsStored"), "has no BitsStored"),
        (lambda ds: setattr(ds, "BitsStored", 17), "BitsStored 17"),
        (lambda ds: setattr(ds, "BitsAllocated", 12), "BitsAllocated 12"),
        (lambda ds: setattr(ds, "RescaleSlope", 0), r"RescaleSlope \(0028,1053\) 0"),
    ],
)
def test_pixels_that_cannot_be_read_name_the_file(tmp_path, edit, text):
    def change(ds, index):
        if index == 1:
            edit(ds)

    write_series(tmp_path, body(), edit=change)
    with pytest.raises(FractureError, match=rf"'001.dcm'.*{text}|{text}"):
        series(tmp_path)


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        (b"1.2.840.10008.1.2.9", r"unknown transfer syntax \(0002,0010\)"),
        (b"1.2.840.10008.1.2.5", "damaged or truncated"),
    ],
)
def test_a_wrong_transfer_syntax_names_the_file(tmp_path, syntax, text):
    path = write_series(tmp_path, body())[1]
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1", syntax))
    with pytest.raises(VolumeFileError, match=rf"'001.dcm'.*{text}|{text}.*'001.dcm'|'001.dcm' are {text}"):
        series(tmp_path)


def test_a_header_that_announces_too_much_takes_no_memory(tmp_path):
    def edit(ds, _):
        ds.Rows = ds.Columns = 60_000

    write_series(tmp_path, body(), edit=edit)
    with pytest.raises(VolumeFileError, match="has 336 bytes of 7200000000"):
        read_ct(tmp_path)


def test_a_missing_decoder_names_the_way_out(tmp_path, monkeypatch):
    write_series(tmp_path, body(), syntax="rle")

    class Missing:
        is_available = False

    monkeypatch.setattr(pixels, "get_decoder", lambda _: Missing())
    with pytest.raises(VolumeFileError, match=r"compressed as 'RLE Lossless'.*no decoder is installed.*gdcmconv --raw"):
        series(tmp_path)


def test_a_missing_intercept_is_told(tmp_path):
    def edit(ds, _):
        del ds.RescaleIntercept, ds.RescaleSlope

    write_series(tmp_path, body(), edit=edit, intercept=0)
    assert any("RescaleIntercept (0028,1052) is missing in 6 slices" in text for text in read_ct(tmp_path).warnings)


@pytest.mark.parametrize("kind", ["files", "frames", "tilted"])
def test_a_series_is_held_about_twice_at_most(tmp_path, kind):
    array = body((48, 128, 128))
    if kind == "frames":
        write_enhanced(tmp_path / "e.dcm", array)
    else:
        write_series(tmp_path, array, tilt=0.01 if kind == "tilted" else 0.0, direction=IDENTITY)
    slices = find_slices(tmp_path).slices
    tracemalloc.start()
    result = assemble(slices, resample_irregular=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (2.3 if kind == "frames" else 1.6) * result.volume.array.nbytes


def test_damaged_bytes_never_end_in_a_traceback(tmp_path):
    path = write_series(tmp_path, body((3, 14, 12)))[1]
    raw = path.read_bytes()
    random = np.random.default_rng(5)
    for _ in range(80):
        damaged = bytearray(raw)
        for at in random.integers(132, len(raw), 4):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        outcome(tmp_path)
