"""Headers of the DICOM series that a result refers to, made fit to be copied into it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from label_gen.errors import DataError, UsageError, VolumeFileError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["read_source_headers"]

HARMLESS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesNumber",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "BitsAllocated",
)
"""What is kept where the patient is to be unknown: geometry, and the UIDs to refer to. Source: chosen here; the rest of
the Patient, Study and Equipment modules is left out, not searched for names."""

EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Attributes that have to be there but may be empty (type 2). Source: DICOM PS3.3, Patient and Study modules."""

IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
FRAMES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
GEOMETRY = ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence")


def read_source_headers(instances: Sequence[Path], *, deidentify: bool = False) -> list[Dataset]:
    """Read the headers of a series, without its pixels.

    Texts are decoded; attributes that have to exist are added empty where they are missing.

    Args:
        instances: The files of the series.
        deidentify: Keep geometry and UIDs only.

    Returns:
        The headers in the order of the files.

    Raises:
        UsageError: There are no files.
        VolumeFileError: A file cannot be read or is no DICOM file.
        DataError: The files are not of one series.
    """
    if not instances:
        raise UsageError(
            "a DICOM SEG refers to the files of a DICOM series, but there are none: the input was no DICOM series, or "
            "its slices were resampled; give a DICOM folder, or leave out --dicom-seg"
        )
    headers = [_read(Path(path), deidentify) for path in instances]
    for key in ("StudyInstanceUID", "SeriesInstanceUID"):
        found = {str(header[key].value) for header in headers}
        if len(found) > 1:
            raise DataError(
                f"the {len(headers)} DICOM files are of {len(found)} different series; pass the files of one series"
            )
    return headers


def _read(path: Path, deidentify: bool) -> Dataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that are not of their kind
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            for key in ("SOPClassUID", "SOPInstanceUID"):
                if not header.get(key):
                    setattr(header, key, header.file_meta.get(f"MediaStorage{key}", ""))
            missing = [key for key in IDENTITY if not header.get(key)]
            if missing:
                raise DataError(
                    f"'{path.name}' has no {missing[0]}: it is no DICOM image, or its UIDs were taken out; nothing can "
                    "refer to it: give the files as they came from the archive, or leave out --dicom-seg"
                )
            header.decode()
            return _fitted(header, deidentify)
    except (OSError, EOFError, InvalidDicomError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise VolumeFileError(f"cannot read '{path.name}': {text}; copy or export the series again") from error


def _fitted(header: Dataset, deidentify: bool) -> Dataset:
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    if deidentify:
        kept = Dataset()
        for key in (*HARMLESS, *FRAMES):
            if key in header:
                kept[key] = header[key]
        for group in (item for key in FRAMES for item in kept.get(key, ())):
            for element in list(group):
                if element.keyword not in GEOMETRY:
                    del group[element.tag]
        header = kept
    header.SpecificCharacterSet = "ISO_IR 192"
    if "SliceThickness" not in header and FRAMES[0] not in header:
        header.SliceThickness = None  # highdicom asks for it
    for key in EMPTY:
        if key not in header or header[key].value is None:
            setattr(header, key, "")
    if header.PatientSex not in ("", "M", "F", "O"):
        header.PatientSex = ""
    if not header.get("FrameOfReferenceUID"):
        # Without one the slices' places mean nothing outside their series: one that belongs to this series.
        header.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(header.SeriesInstanceUID), "frame of reference"])
    return header
