"""Is a volume file complete? SimpleITK fills a truncated NIfTI file with zeros and says nothing."""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_gen.errors import DataError, VolumeFileError

__all__ = ["check_intact", "holds_finite"]

_CHUNK = 1 << 20
_HEADER_BYTES = 544
_NIFTI_FLOATS = {16: "f4", 64: "f8"}
_META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4}
_META_BYTES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}


def check_intact(path: Path) -> None:
    """Check that a volume file holds as many bytes as its header announces.

    `.nii.gz` is judged by the length that the gzip trailer states, and only if that does not fit, by reading the whole
    stream. NRRD files are left to their reader, which notices.

    Args:
        path: A `.nii.gz`, `.nii`, `.mha` or `.nrrd` file.

    Raises:
        VolumeFileError: The file is truncated or damaged.
        DataError: The header announces a volume with no voxels, more than three axes, or no valid spacing.
    """
    name = path.name.lower()
    if os.path.getsize(path) == 0:
        raise _truncated(path, "it has 0 bytes")
    if name.endswith(".nii.gz"):
        _check_nifti_gz(path)
    elif name.endswith(".nii"):
        with path.open("rb") as stream:
            expected = _read_nifti_header(path, stream.read(_HEADER_BYTES)).length
        _compare(path, os.path.getsize(path), expected)
    elif name.endswith(".mha"):
        _check_mha(path)


def _truncated(path: Path, reason: str) -> VolumeFileError:
    return VolumeFileError(f"'{path}' is truncated or damaged: {reason}; copy or export it again")


def _compare(path: Path, got: int, expected: int) -> None:
    if got < expected:
        raise _truncated(path, f"it holds {got} bytes, its header announces {expected}")


def holds_finite(path: Path) -> bool:
    """Tell whether a volume file holds finite numbers only, as far as SimpleITK hides that.

    SimpleITK reads NaN and infinite values of NIfTI files as 0, so these files are looked at here. The readers of the
    other formats keep such values.

    Args:
        path: A complete file, see `check_intact`.

    Returns:
        False if a NIfTI file of floating-point numbers holds NaN or infinite values.
    """
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        return True
    with gzip.open(path, "rb") if name.endswith(".gz") else path.open("rb") as stream:
        header = _read_nifti_header(path, stream.read(_HEADER_BYTES))
        if header.kind not in _NIFTI_FLOATS:
            return True
        dtype = np.dtype(header.order + _NIFTI_FLOATS[header.kind])
        stream.seek(header.start)
        left = header.length - header.start
        while left > 0:
            block = stream.read(min(_CHUNK, left))
            if not block:
                break
            left -= len(block)
            if not np.isfinite(np.frombuffer(block, dtype)).all():
                return False
    return True


@dataclass(frozen=True)
class _NiftiHeader:
    """What is needed of a NIfTI header: byte order, code of the number type, where the voxels start and end."""

    order: str
    kind: int
    start: int
    length: int


def _read_nifti_header(path: Path, head: bytes) -> _NiftiHeader:
    """Read a NIfTI-1 or NIfTI-2 header from the first bytes of a file; check sizes and spacing."""
    if len(head) < 348:
        raise _truncated(path, f"its header has {len(head)} bytes, NIfTI needs 348")
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", head)
        if size == 348:
            dim = struct.unpack_from(order + "8h", head, 40)
            kind, bits = struct.unpack_from(order + "2h", head, 70)
            spacing = struct.unpack_from(order + "3f", head, 80)
            (offset,) = struct.unpack_from(order + "f", head, 108)
            break
        if size == 540 and len(head) >= 540:
            kind, bits = struct.unpack_from(order + "2h", head, 12)
            dim = struct.unpack_from(order + "8q", head, 16)
            spacing = struct.unpack_from(order + "3d", head, 112)
            (offset,) = struct.unpack_from(order + "q", head, 168)
            break
    else:
        raise VolumeFileError(f"'{path}' is not a NIfTI file although its name says so; convert it or name it rightly")
    sizes = [int(n) for n in dim[1 : min(max(dim[0], 0), 7) + 1]]
    is_vector = len(sizes) == 5 and sizes[3] == 1
    if len(sizes) > 3 and not is_vector:
        raise DataError(
            f"'{path}' has {len(sizes)} axes ({' x '.join(map(str, sizes))}); a volume of 3 axes is expected: "
            "save one volume of the series"
        )
    _check_sizes(path, sizes)
    if any(not math.isfinite(s) or s == 0 for s in spacing[: len(sizes)]):
        raise DataError(f"'{path}' has the voxel spacing {spacing} in its header; positive millimetres are expected")
    start = max(int(offset), size)
    return _NiftiHeader(order, kind, start, start + math.prod(sizes) * int(bits) // 8)


def _check_sizes(path: Path, sizes: list[int]) -> None:
    if not sizes or any(n < 1 for n in sizes):
        raise DataError(
            f"'{path}' is empty: its size is {' x '.join(map(str, sizes)) or 'not given'} voxels; export it again"
        )


def _check_nifti_gz(path: Path) -> None:
    try:
        with gzip.open(path, "rb") as stream:
            expected = _read_nifti_header(path, stream.read(_HEADER_BYTES)).length
        with path.open("rb") as raw:
            raw.seek(-4, os.SEEK_END)
            (stated,) = struct.unpack("<I", raw.read(4))
        if stated == expected % 2**32:
            return
        unpacked = 0
        with gzip.open(path, "rb") as stream:
            while block := stream.read(_CHUNK):
                unpacked += len(block)
    except gzip.BadGzipFile as error:
        raise _truncated(path, f"it is no valid gzip file ({error})") from error
    except EOFError as error:
        raise _truncated(path, "its gzip stream ends before its end mark") from error
    except zlib.error as error:
        raise _truncated(path, f"its gzip stream is broken ({error})") from error
    _compare(path, unpacked, expected)


def _check_mha(path: Path) -> None:
    with path.open("rb") as stream:
        fields: dict[str, str] = {}
        while "ElementDataFile" not in fields:
            line = stream.readline(4096)
            match = re.match(rb"\s*(\w+)\s*=\s*(.*?)\s*$", line)
            if not match:
                reason = f"its header stops after {len(fields)} lines" if fields else "it has no MetaImage header"
                raise _truncated(path, reason)
            fields[match[1].decode("ascii")] = match[2].decode("utf-8", "replace")
        sizes = [int(n) for n in fields.get("DimSize", "").split() if n.lstrip("-").isdigit()]
        _check_sizes(path, sizes)
        kind = fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
        if fields["ElementDataFile"] != "LOCAL" or kind not in _META_BYTES:
            return
        channels = fields.get("ElementNumberOfChannels", "1")
        expected = math.prod(sizes) * (int(channels) if channels.isdigit() else 1) * _META_BYTES[kind]
        if fields.get("CompressedData", "False").lower() != "true":
            _compare(path, os.path.getsize(path) - stream.tell(), expected)
            return
        unpacked = 0
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            while not inflate.eof and (block := stream.read(_CHUNK)):
                while block and not inflate.eof:
                    unpacked += len(inflate.decompress(block, 4 * _CHUNK))
                    block = inflate.unconsumed_tail
        except zlib.error as error:
            raise _truncated(path, f"its compressed data are broken ({error})") from error
        if not inflate.eof:
            raise _truncated(path, "its compressed data end before their end mark")
        _compare(path, unpacked, expected)
