"""A small DICOM series as a scanner writes it, made from nothing, and a label volume on its grid."""

import numpy as np
import pytest

from nnunet_ext.fragment_names import name_fragments
from nnunet_ext.schemes import load_scheme
from nnunet_ext.volumes import Volume

SPACING = (2.0, 0.75, 0.5)
SHAPE = (10, 12, 16)


@pytest.fixture
def named():
    """Fragments of the sacrum, a hip bone and a femur (z, y, x), and their names."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[2:6, 2:7, 2:9], labels[3:8, 7:10, 2:9] = 51, 52
    labels[6:9, 1:4, 10:15] = 1
    labels[1, 11, 15] = 151
    return labels, name_fragments([1, 51, 52, 151], load_scheme("pengwin2026"), bones={151: "left_femur"})


@pytest.fixture
def volume(named, oblique):
    """The fragments on an oblique grid."""
    return Volume(named[0], SPACING, (-101.5, 20.25, 7.125), oblique)


@pytest.fixture
def make_series(tmp_path):
    """Write a CT series on the grid of a volume; return its files in the order of the slices."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (extra dicom)")

    def write(volume, *, changes=None, drop=(), name="series"):
        axes = np.reshape(volume.direction, (3, 3))
        uids = [pydicom.uid.generate_uid() for _ in range(3)]
        files = []
        (tmp_path / name).mkdir(exist_ok=True)
        for index, plane in enumerate(volume.array):
            header = pydicom.Dataset()
            header.SOPClassUID, header.SOPInstanceUID = pydicom.uid.CTImageStorage, pydicom.uid.generate_uid()
            header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = uids
            header.Modality, header.SeriesNumber, header.InstanceNumber = "CT", 7, index + 1
            header.PatientName, header.PatientID, header.PatientSex = "Secret^Person", "SECRET-1", "F"
            header.PatientBirthDate, header.StudyDate, header.StudyTime = "19501231", "20240229", "101112"
            header.AccessionNumber, header.StudyID, header.StudyDescription = "SECRET-2", "SECRET-3", "SECRET-4"
            header.ReferringPhysicianName, header.InstitutionName = "Secret^Doctor", "SECRET-5"
            header.Manufacturer, header.DeviceSerialNumber, header.StationName = "Maker", "SECRET-6", "SECRET-7"
            header.ImagePositionPatient = [float(v) for v in volume.origin + axes[:, 2] * index * volume.spacing_mm[0]]
            header.ImageOrientationPatient = [float(v) for v in axes[:, :2].T.ravel()]
            header.PixelSpacing = [volume.spacing_mm[1], volume.spacing_mm[2]]
            header.SliceThickness = volume.spacing_mm[0]
            header.Rows, header.Columns = plane.shape
            header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
            header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
            header.RescaleIntercept, header.RescaleSlope = 0, 1
            header.PixelData = plane.astype("<i2").tobytes()
            for key, value in (changes or {}).items():
                setattr(header, key, value)
            for key in drop:
                delattr(header, key)
            header.file_meta = pydicom.dataset.FileMetaDataset()
            header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            path = tmp_path / name / f"{len(volume.array) - index:03d}.dcm"
            pydicom.dcmwrite(path, header, enforce_file_format=True)
            files.append(path)
        return files

    return write
