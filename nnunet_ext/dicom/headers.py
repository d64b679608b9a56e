"""What one DICOM file says about its slices, read once into plain values so that pixels can wait."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, FractureError, VolumeFileError
from nnunet_ext.dicom.tags import integer_of, numbers_of, text_of, texts_of

__all__ = ["SliceHeader", "looks_like_dicom", "quiet_pydicom", "read_headers"]

_KEYWORDS = [
    *("SOPClassUID", "Modality", "ImageType", "PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID"),
    *("SeriesNumber", "SeriesDescription", "AcquisitionNumber", "TemporalPositionIdentifier", "InstanceNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns"),
    *("NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept"),
    *("RescaleType", "ModalityLUTSequence", "ConvolutionKernel", "Manufacturer", "ManufacturerModelName", "KVP"),
    *("LossyImageCompression", "GantryDetectorTilt"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
"""The first group of a file without preamble: file meta or identifying, in either byte order."""


_DEFLATED = "1.2.840.10008.1.2.1.99"
_CT = {f"1.2.840.10008.5.1.4.1.1.2{kind}" for kind in ("", ".1", ".2")}
"""CT image, enhanced CT image, legacy converted enhanced CT image."""

_DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory: the index that lies on a CD beside the images."""


@dataclass(frozen=True)
class SliceHeader:
    """One slice: a file, or a frame of one.

    Attributes:
        path: The file.
        frame: Index of the frame in a multi-frame file; None in a file of one image.
        patient: What tells patients apart; never shown.
        study: Study UID; never shown.
        series_uid: Series UID, empty where there is none.
        series_number: Number of the series, if any.
        description: Description of the series, for the list on the screen only.
        modality: `CT`, `MR` ..., empty where the file does not say.
        sop_class: UID of the kind of object, empty where the file does not say.
        image_type: Values of the image type, `ORIGINAL`, `PRIMARY`, `AXIAL`, say.
        phase: Acquisition number and temporal position; tells the phases of a series apart.
        instance_number: Number of the image; often wrong, used to break ties only.
        rows: Number of rows, 0 where there is no image.
        columns: Number of columns.
        is_grey: One number per pixel, larger is brighter.
        position: Centre of the first pixel in mm; x, y, z in LPS.
        orientation: Cosines of the direction in which columns count up, then of that of rows.
        pixel_spacing: Distance of rows and of columns in mm.
        thickness_mm: Slice thickness.
        slope: Factor from stored values to HU.
        intercept: What is added then; None where the file does not say.
        rescale_type: Unit after rescaling, `HU` or empty, say.
        facts: Harmless technical facts: kernel, manufacturer, model, tube voltage, transfer syntax,
            gantry tilt, and whether pixels were compressed with losses.
    """

    path: Path
    frame: int | None
    patient: tuple[str, str] = field(repr=False)
    study: str = field(repr=False)
    series_uid: str = field(repr=False)
    series_number: int | None
    description: str = field(repr=False)
    modality: str
    sop_class: str
    image_type: tuple[str, ...]
    phase: tuple[str, ...]
    instance_number: int
    rows: int
    columns: int
    is_grey: bool
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    thickness_mm: float | None
    slope: float
    intercept: float | None
    rescale_type: str
    facts: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """How messages name the slice."""
        return self.path.name if self.frame is None else f"{self.path.name}, frame {self.frame + 1}"


def looks_like_dicom(path: Path) -> bool:
    """Tell by its first bytes whether a file may be DICOM.

    Args:
        path: The file.

    Raises:
        VolumeFileError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError as error:
        raise VolumeFileError(
            f"cannot read '{path.name}': {error.strerror or error}; check your permission to read it"
        ) from error
    if head[128:] == b"DICM":
        return True
    # Without preamble the first element is in group 2 or 8 and has a small number, and a known form of its length.
    return len(head) >= 16 and head[:2] in _FIRST_GROUPS and 0 in head[2:4] and max(head[2:4]) <= 0x70


@contextmanager
def quiet_pydicom() -> Iterator[list[warnings.WarningMessage]]:
    """Keep pydicom from warning and logging, which would show values of tags; give the warnings as a list."""
    from pydicom.config import disable_value_validation

    logger = logging.getLogger("pydicom")
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings(record=True) as caught, disable_value_validation():
            warnings.simplefilter("always")
            yield caught
    finally:
        logger.disabled = was_disabled


def read_headers(path: Path) -> tuple[SliceHeader, ...]:
    """Read what a DICOM file says about its slices.

    Args:
        path: A file that `looks_like_dicom`.

    Returns:
        One header, or one per frame; a header with 0 rows for an object without image; none if the file turns out not
        to be DICOM.

    Raises:
        VolumeFileError: The file is DICOM but damaged or truncated before its pixels.
    """
    import pydicom  # takes a second, and volume files do without

    with path.open("rb") as stream:
        is_dicom = stream.read(132)[128:] == b"DICM"
    try:
        with quiet_pydicom() as caught, path.open("rb") as stream:
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=_KEYWORDS)
            if any("End of file" in str(warning.message) for warning in caught):
                is_dicom = is_dicom or "SOPClassUID" in dataset or "Modality" in dataset
                raise EOFError("it ends in the middle of a tag")
            if is_dicom and not dataset and not _stored_class(dataset):
                raise EOFError("it ends in the file meta information")
            if _is_ct_image(dataset) and not stream.read(1) and _syntax(dataset) != _DEFLATED:
                is_dicom = True
                raise EOFError("it ends before PixelData (7FE0,0010)")
            return _headers(path, dataset)
    except FractureError:
        raise
    except Exception as error:  # pydicom raises what it meets, whatever the class
        if not is_dicom:
            return ()
        raise _damaged(path, str(error) if isinstance(error, EOFError) else "its tags cannot be parsed") from error


def _damaged(path: Path, reason: str) -> VolumeFileError:
    return VolumeFileError(
        f"'{path.name}' is a damaged or truncated DICOM file ({reason}); copy or export the series again, or take the "
        "file away if it does not belong to it"
    )


def _stored_class(dataset: Any) -> str:
    """Return the kind of object by the file meta information."""
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("MediaStorageSOPClassUID", "")) if meta is not None else ""


def _syntax(dataset: Any) -> str:
    """Return the transfer syntax by the file meta information."""
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""


def _is_ct_image(dataset: Any) -> bool:
    """Tell whether an object has to have pixels; not all of modality CT have them, raw data for one."""
    classes = {_stored_class(dataset), text_of(dataset, "SOPClassUID")} - {""}
    return bool(classes & _CT) if classes else text_of(dataset, "Modality") == "CT"


def _headers(path: Path, dataset: Any) -> tuple[SliceHeader, ...]:
    sop_class = text_of(dataset, "SOPClassUID")
    if _stored_class(dataset) == _DIRECTORY or not any(tag in dataset for tag in ("SOPClassUID", "Modality", "Rows")):
        return ()
    syntax = _syntax(dataset)
    frames = integer_of(dataset, "NumberOfFrames")
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if frames is not None and frames > 1 and not per_frame:  # nothing says where the frames lie, so one stands for all
        return (_header(path, 0, sop_class, syntax, [dataset]),)
    if frames is not None and per_frame:
        shared = dataset.get("SharedFunctionalGroupsSequence") or [None]
        if len(per_frame) != frames:
            raise DataError(f"'{path.name}' describes {len(per_frame)} of its {frames} frames; export the series again")
        return tuple(
            _header(path, i, sop_class, syntax, [dataset, shared[0], group]) for i, group in enumerate(per_frame)
        )
    return (_header(path, None, sop_class, syntax, [dataset]),)


_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "FrameType": "CTImageFrameTypeSequence",
    "AcquisitionNumber": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
}
"""Functional group of a multi-frame object that holds a value. Source: DICOM PS3.3, C.7.6.16."""


def _header(path: Path, frame: int | None, sop_class: str, syntax: str, sources: list[Any]) -> SliceHeader:
    dataset = sources[0]

    def holder(keyword: str) -> Any:
        """Return the dataset that holds a value: that of the frame, that of all frames, or the file's own."""
        for source in reversed(sources[1:]):
            group = source.get(_GROUPS[keyword]) if source is not None else None
            if group and keyword in group[0]:
                return group[0]
        return dataset

    frame_type = texts_of(holder("FrameType"), "FrameType") if frame is not None else ()
    phase = [text_of(holder("AcquisitionNumber"), "AcquisitionNumber"), text_of(dataset, "TemporalPositionIdentifier")]
    phase.append(text_of(holder("TemporalPositionIndex"), "TemporalPositionIndex"))
    slope = numbers_of(holder("RescaleSlope"), "RescaleSlope", 1)
    intercept = numbers_of(holder("RescaleIntercept"), "RescaleIntercept", 1)
    thickness = numbers_of(holder("SliceThickness"), "SliceThickness", 1)
    facts = {
        "kernel": "/".join(texts_of(dataset, "ConvolutionKernel")),
        "manufacturer": text_of(dataset, "Manufacturer"),
        "model": text_of(dataset, "ManufacturerModelName"),
        "kvp": text_of(dataset, "KVP"),
        "transfer_syntax": syntax,
        "gantry_tilt": text_of(dataset, "GantryDetectorTilt"),
        "lossy": "yes" if text_of(dataset, "LossyImageCompression") == "01" else "",
    }
    return SliceHeader(
        path=path,
        frame=frame,
        patient=_patient(dataset),
        study=text_of(dataset, "StudyInstanceUID"),
        series_uid=text_of(dataset, "SeriesInstanceUID"),
        series_number=integer_of(dataset, "SeriesNumber"),
        description=text_of(dataset, "SeriesDescription"),
        modality=text_of(dataset, "Modality"),
        sop_class=sop_class,
        image_type=frame_type or texts_of(dataset, "ImageType"),
        phase=tuple(phase),
        instance_number=integer_of(dataset, "InstanceNumber") or 0,
        rows=integer_of(dataset, "Rows") or 0,
        columns=integer_of(dataset, "Columns") or 0,
        is_grey=(integer_of(dataset, "SamplesPerPixel") or 1) == 1
        and text_of(dataset, "PhotometricInterpretation") in ("", "MONOCHROME2"),
        position=numbers_of(holder("ImagePositionPatient"), "ImagePositionPatient", 3),
        orientation=numbers_of(holder("ImageOrientationPatient"), "ImageOrientationPatient", 6),
        pixel_spacing=numbers_of(holder("PixelSpacing"), "PixelSpacing", 2),
        thickness_mm=thickness[0] if thickness else None,
        slope=slope[0] if slope else 1.0,
        intercept=intercept[0] if intercept else None,
        rescale_type="LUT" if dataset.get("ModalityLUTSequence") else text_of(holder("RescaleType"), "RescaleType"),
        facts=tuple((name, value) for name, value in facts.items() if value),
    )


def _patient(dataset: Any) -> tuple[str, str]:
    """Return what tells patients apart: number and name, however the name is padded; the study where both are empty."""
    number = text_of(dataset, "PatientID").casefold()
    name = " ".join(text_of(dataset, "PatientName").replace("^", " ").casefold().split())
    return (number, name) if number or name else ("", text_of(dataset, "StudyInstanceUID"))
