"""Small DICOM series made by pydicom, so that the tests need no foreign data."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SPACING = (2.0, 0.8, 0.7)
ORIGIN = (-10.5, 20.25, 31.0)
SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg2000": JPEG2000Lossless,
}


def body(shape=(6, 14, 12), seed=0):
    """HU of a body in air with a bone, every slice different (z, y, x)."""
    random = np.random.default_rng(seed)
    array = np.full(shape, -1000, np.int16)
    array[:, 2:-2, 2:-2] = 40
    array[:, 5:-5, 4:-4] = 700
    return (array + random.integers(-20, 20, shape)).astype(np.int16)


def uid(*parts):
    """A UID that depends on the texts alone."""
    return generate_uid(entropy_srcs=["abbc", *map(str, parts)])


def dataset(plane, *, syntax="explicit", patient="P1", series="1", signed=True, slope=1, intercept=-1024):
    """One CT image with everything but its place."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CT_IMAGE
    ds.PatientID, ds.PatientName = patient, f"{patient}^Secret"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(patient, "study"), uid(patient, series)
    ds.SeriesNumber, ds.Modality, ds.ImageType = series, "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    stored = np.rint((plane.astype(np.float64) - intercept) / slope).astype("<i2" if signed else "<u2")
    set_pixels(ds, stored, syntax)
    return ds


def set_pixels(ds, stored, syntax):
    """Put stored numbers into a dataset in a transfer syntax."""
    ds.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    if syntax == "rle":
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.PixelData = stored.tobytes()
        ds["PixelData"].VR = "OW"
        ds.compress(RLELossless, generate_instance_uid=False)
    elif syntax == "jpeg2000":
        from openjpeg.utils import encode_array
        from pydicom.encaps import encapsulate

        frames = stored if stored.ndim == 3 else stored[None]
        ds.PixelData = encapsulate([encode_array(np.ascontiguousarray(frame)) for frame in frames])
        ds["PixelData"].VR = "OB"
    else:
        ds.PixelData = (stored.astype(stored.dtype.newbyteorder(">")) if syntax == "big" else stored).tobytes()
        ds["PixelData"].VR = "OW"


def save(ds, path):
    """Write a dataset as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "SOPInstanceUID" not in ds:
        ds.SOPInstanceUID = uid(path)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)
    return path


def as_ds(value):
    """A number in the 16 characters that DICOM allows."""
    return format_number_as_ds(float(value))


def place(ds, index, *, spacing=SPACING, origin=ORIGIN, direction=IDENTITY, tilt=0.0):
    """Say where an image lies; `tilt` is the sideways shift along y in mm per mm."""
    axes = np.array(direction).reshape(3, 3)
    step = axes[:, 2] * spacing[0] + axes[:, 1] * tilt * spacing[0]
    ds.ImagePositionPatient = [as_ds(value) for value in np.array(origin) + index * step]
    ds.ImageOrientationPatient = [as_ds(value) for value in (*axes[:, 0], *axes[:, 1])]
    ds.PixelSpacing = [as_ds(spacing[1]), as_ds(spacing[2])]
    ds.SliceThickness = as_ds(spacing[0])
    ds.InstanceNumber = index + 1


def write_series(
    folder,
    array,
    *,
    edit=None,
    names="{:03d}.dcm",
    spacing=SPACING,
    origin=ORIGIN,
    direction=IDENTITY,
    tilt=0.0,
    **image,
):
    """Write the slices of an array (z, y, x); `edit(ds, index)` may change one, or return False to leave it out."""
    paths = []
    for index, plane in enumerate(array):
        ds = dataset(plane, **image)
        place(ds, index, spacing=spacing, origin=origin, direction=direction, tilt=tilt)
        if edit is None or edit(ds, index) is not False:
            paths.append(save(ds, Path(folder) / names.format(index)))
    return paths


def write_enhanced(path, array, *, syntax="explicit", direction=IDENTITY, order=None):
    """Write an array (z, y, x) as one enhanced multi-frame CT."""
    from pydicom.sequence import Sequence

    order = list(range(len(array))) if order is None else order
    ds = dataset(array[0])
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = ENHANCED_CT
    del ds.RescaleSlope, ds.RescaleIntercept
    ds.NumberOfFrames = len(array)
    set_pixels(ds, (array[order].astype(np.int32) + 1024).astype("<i2"), syntax)
    shared, frames = Dataset(), []
    slim = Dataset()
    place(slim, 0, direction=direction)
    measures, orientation, rescale, kind = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = slim.PixelSpacing, slim.SliceThickness
    orientation.ImageOrientationPatient = slim.ImageOrientationPatient
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1024, "HU"
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelValueTransformationSequence = Sequence([rescale])
    shared.CTImageFrameTypeSequence = Sequence([kind])
    for index in order:
        place(slim, index, direction=direction)
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = slim.ImagePositionPatient
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return save(ds, Path(path))
