"""Zips: unpacked whole, or refused before a byte is written."""

import gc
import stat
import struct
import zipfile

import pytest

from label_gen.errors import DataError, VolumeFileError
from nnunet_ext.dicom import archives
from nnunet_ext.dicom.archives import unpack


def zipped(path, entries):
    """Write a zip of names and contents; a name may be a ZipInfo."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_files_come_out_and_go_with_the_object(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x/1.dcm", b"one"), ("x/y/2.dcm", b"two"), ("empty/", b""), ("nul", b"")])
    unpacked = unpack(path)
    folder = unpacked.folder
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert files == {"x/1.dcm": b"one", "x/y/2.dcm": b"two", "nul": b""}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700  # nobody else may read patients' images
    del unpacked
    gc.collect()
    assert not folder.exists()
    other = unpack(path)
    other.close()
    assert not other.folder.exists()


@pytest.mark.parametrize(
    "name", ["../out.dcm", "x/../../out.dcm", "/out.dcm", "..\\out.dcm", "C:\\out.dcm", "C:/out.dcm", "../out/"]
)
def test_names_that_lead_out_are_refused(tmp_path, name, monkeypatch):
    monkeypatch.setattr(archives, "Unpacked", None)  # nothing may be written
    with pytest.raises(DataError, match=r"'a.zip' holds a name that leads out of its folder \('out"):
        unpack(zipped(tmp_path / "a.zip", [("good.dcm", b"1"), (name, b"2")]))


@pytest.mark.parametrize(("mode", "what"), [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "not a plain file")])
def test_links_and_devices_are_refused(tmp_path, mode, what):
    info = zipfile.ZipInfo("x/link.dcm")
    info.external_attr = (mode | 0o777) << 16
    with pytest.raises(DataError, match=rf"{what}.*'link.dcm'"):
        unpack(zipped(tmp_path / "a.zip", [(info, "/etc/passwd")]))


def test_count_size_and_ratio_are_limited(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", [(f"{i}.dcm", bytes(1000)) for i in range(5)])
    with pytest.raises(DataError, match="more than 4 files"):
        unpack(path, max_files=4)
    with pytest.raises(DataError, match="more than a CT study has"):
        unpack(path, max_bytes=4999)
    assert len(list(unpack(path, max_files=5, max_bytes=5000).folder.iterdir())) == 5
    monkeypatch.setattr(archives, "_RATIO_FREE_BYTES", 10_000)
    with pytest.raises(DataError, match="200 times"):
        unpack(zipped(tmp_path / "bomb.zip", [("0.dcm", bytes(1_000_000))]))


def test_twice_the_same_name_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(path, [("x.dcm", b"1"), ("x.dcm", b"2")])
    with pytest.raises(DataError, match=r"two files of the name 'x.dcm'"):
        unpack(path)


def test_a_zip_that_lies_about_sizes_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x.dcm", bytes(5000))])
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 10)
    path.write_bytes(raw)
    with pytest.raises((DataError, VolumeFileError), match=r"'a.zip'"):
        unpack(path)


def test_damaged_missing_and_encrypted_zips(tmp_path):
    with pytest.raises(VolumeFileError, match="no file"):
        unpack(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("no zip at all")
    with pytest.raises(VolumeFileError, match=r"'text.zip' is no intact zip"):
        unpack(tmp_path / "text.zip")
    path = zipped(tmp_path / "a.zip", [("x.dcm", bytes(range(256)) * 40)])
    raw = bytearray(path.read_bytes())
    raw[60] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(VolumeFileError, match=r"'a.zip' is no intact zip"):
        unpack(path)
    raw = bytearray(zipped(path, [("x.dcm", b"1")]).read_bytes())
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(VolumeFileError, match="encrypted; unpack it with its password"):
        unpack(path)


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_KEEP_FREE_BYTES", 1 << 60)
    with pytest.raises(VolumeFileError, match=r"no space to unpack 'a.zip'.*TMPDIR"):
        unpack(zipped(tmp_path / "a.zip", [("x.dcm", b"1")]))
