"""The pixels of one slice in Hounsfield units, from whatever transfer syntax, checked for completeness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from label_gen.errors import DataError, FractureError, VolumeFileError
from nnunet_ext.dicom.headers import SliceHeader, quiet_pydicom

__all__ = ["AIR_HU", "read_slices"]

AIR_HU = -1024
"""What replaces padding outside the field of view: the HU of a stored 0 at the usual intercept. Chosen here."""

_MOST_TEXT = 160
"""Most characters of a decoder's complaint, which can fill a screen. Chosen here: two lines."""

_NATIVE_BITS = (8, 16, 32)
_JPEG2000 = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
"""Decoded by openjpeg itself: pydicom would want a further package for it."""


def read_slices(slices: Sequence[SliceHeader]) -> Iterator[NDArray[Any]]:
    """Read slices one after the other; only the file of the current one is held.

    Args:
        slices: The slices. Frames of one file should lie together.

    Yields:
        HU of each slice, axes (y, x): int16 where the rescaling keeps whole numbers, else float32.

    Raises:
        VolumeFileError: A file is missing, damaged, truncated, or packed in a way that no decoder here knows.
        DataError: The pixels are not what the header says.
    """
    path: Path | None = None
    dataset: Any = None
    for header in slices:
        try:
            with quiet_pydicom():
                if path != header.path:
                    dataset = None  # before the next is read: two would be held else
                    dataset = pydicom.dcmread(header.path, force=True)
                    path = header.path
                    _check(header, dataset)
                stored, padding = _stored(header, dataset)
        except FractureError:
            raise
        except Exception as error:  # pydicom and its decoders raise what they meet, whatever the class
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise _damaged(header, text[:_MOST_TEXT]) from error
        yield _to_hounsfield(header, stored, padding)


def _damaged(header: SliceHeader, reason: str) -> VolumeFileError:
    return VolumeFileError(
        f"the pixels of '{header.name}' are damaged or truncated ({reason}); copy or export it again"
    )


def _check(header: SliceHeader, dataset: Any) -> None:
    """Check that a file has pixels that can be decoded."""
    if "PixelData" not in dataset:
        other = [name for name in ("FloatPixelData", "DoubleFloatPixelData") if name in dataset]
        if other:
            raise DataError(f"'{header.name}' holds {other[0]}; whole numbers in PixelData (7FE0,0010) were expected")
        raise _damaged(header, "it ends before PixelData (7FE0,0010)")
    for tag in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        if tag not in dataset:
            raise DataError(f"'{header.name}' has no {tag}; export the series again")
    allocated, stored, high = int(dataset.BitsAllocated), int(dataset.BitsStored), int(dataset.HighBit)
    if allocated not in _NATIVE_BITS or not 0 < stored <= allocated or not stored - 1 <= high < allocated:
        raise DataError(
            f"'{header.name}' has BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}; 8, 16 or 32 bits "
            "allocated, and no more than these stored, were expected"
        )


def _syntax(dataset: Any) -> UID:
    """Return the transfer syntax; for files without meta information that in which they could be read."""
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        return UID(str(meta.TransferSyntaxUID))
    is_implicit, is_little = dataset.original_encoding
    if is_little is False:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian


def _stored(header: SliceHeader, dataset: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the stored numbers of a slice, and where they are padding."""
    syntax = _syntax(dataset)
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise VolumeFileError(
            f"'{header.name}' has the unknown transfer syntax (0002,0010) {syntax}; export it uncompressed"
        )
    words = _decoded(header, dataset, syntax) if syntax.is_encapsulated else _native(header, dataset, syntax)
    padding = _padding(dataset, words)
    stored, high = int(dataset.BitsStored), int(dataset.HighBit)
    is_signed = int(dataset.PixelRepresentation) == 1
    # Bits outside of those stored may hold overlays.
    bits: NDArray[Any] = words.astype(np.int64 if words.dtype.itemsize > 2 else np.int32)
    bits = (bits >> (high + 1 - stored)) & ((1 << stored) - 1)
    if is_signed:
        bits -= (bits >> (stored - 1)) << stored
    return bits, padding


def _native(header: SliceHeader, dataset: Any, syntax: UID) -> NDArray[Any]:
    """Return the words of a slice that is stored as it is."""
    allocated = int(dataset.BitsAllocated)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    signed = "i" if int(dataset.PixelRepresentation) == 1 else "u"
    dtype = np.dtype(f"{order}{signed}{allocated // 8}")
    count = header.rows * header.columns
    data = dataset.PixelData
    start = (header.frame or 0) * count * dtype.itemsize
    announced = _frames(dataset) * count * dtype.itemsize
    if len(data) < announced:
        raise _damaged(header, f"PixelData (7FE0,0010) has {len(data)} bytes of {announced}")
    return np.frombuffer(data, dtype, count, start).reshape(header.rows, header.columns)


def _frames(dataset: Any) -> int:
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def _decoded(header: SliceHeader, dataset: Any, syntax: UID) -> NDArray[Any]:
    """Return the numbers of a compressed slice."""
    if syntax in _JPEG2000 and find_spec("openjpeg"):
        return _jpeg2000(header, dataset)
    try:
        decoder = get_decoder(syntax)
        is_available = decoder.is_available
    except NotImplementedError:
        is_available = False
    if not is_available:
        raise VolumeFileError(
            f"'{header.name}' is compressed as '{syntax.name}' (TransferSyntaxUID (0002,0010)), for which no decoder "
            "is installed; export the series uncompressed, or decompress it with dcmtk's dcmdjpeg or gdcmconv --raw"
        )
    if "PhotometricInterpretation" not in dataset:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    if "SamplesPerPixel" not in dataset:
        dataset.SamplesPerPixel = 1
    if not dataset["PixelData"].is_undefined_length:
        dataset["PixelData"].is_undefined_length = True
    array, _ = decoder.as_array(dataset, index=header.frame or 0, raw=True)
    if array.shape != (header.rows, header.columns):
        raise _damaged(header, f"decoded to {array.shape} instead of {(header.rows, header.columns)}")
    return array


def _jpeg2000(header: SliceHeader, dataset: Any) -> NDArray[Any]:
    """Return the numbers of a slice compressed as JPEG 2000."""
    from openjpeg.utils import decode

    table = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        table = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    frame = get_frame(dataset.PixelData, header.frame or 0, number_of_frames=_frames(dataset), extended_offsets=table)
    if frame.rstrip(b"\0")[-2:] != b"\xff\xd9":  # padded by a zero to even length; the decoder fills up what is missing
        raise _damaged(header, "the JPEG 2000 stream has no end mark")
    array = np.asarray(decode(frame))
    if array.shape != (header.rows, header.columns):
        raise _damaged(header, f"decoded to {array.shape} instead of {(header.rows, header.columns)}")
    return array


def _padding(dataset: Any, words: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where a slice is padding. Source: DICOM PS3.3, C.7.5.1.1.2."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    limit = limit if isinstance(limit, int) else value
    low, high = min(value, limit), max(value, limit)
    bits = 8 * words.dtype.itemsize
    if words.dtype.kind == "u" and low < 0:  # written as a signed number beside unsigned pixels
        low, high = low + (1 << bits), high + (1 << bits) if high < 0 else high
    elif words.dtype.kind == "i" and high >= 1 << (bits - 1):
        low, high = low - (1 << bits) if low >= 1 << (bits - 1) else low, high - (1 << bits)
    if low > high:
        return None
    return (words >= low) & (words <= high)


def _to_hounsfield(header: SliceHeader, stored: NDArray[Any], padding: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Rescale stored numbers. Padding below `AIR_HU` becomes that; padding that has an HU of tissue is left alone."""
    slope, intercept = header.slope, header.intercept or 0.0
    if slope == 0:
        raise DataError(f"'{header.name}' has RescaleSlope (0028,1053) 0; export the series again")
    is_whole = slope.is_integer() and intercept.is_integer()
    hu = stored * int(slope) + int(intercept) if is_whole else stored * slope + intercept
    if padding is not None:
        hu[padding & (hu < AIR_HU)] = AIR_HU
    if not is_whole and (hu == np.rint(hu)).all():
        is_whole = True
    if not is_whole:
        return np.asarray(hu, np.float32)
    limits = np.iinfo(np.int16)
    return np.clip(hu, limits.min, limits.max).astype(np.int16)
