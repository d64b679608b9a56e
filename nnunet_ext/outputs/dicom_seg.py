"""A segmentation for DICOM archives: a DICOM SEG object that refers to the CT series it was made from."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastremap
import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError, GridError, UsageError
from nnunet_ext import __version__
from nnunet_ext.atomic import replacing
from nnunet_ext.fragment_names import Code, FragmentName
from nnunet_ext.manifest import NOTE
from nnunet_ext.outputs.segments import find_segments
from nnunet_ext.outputs.source_headers import read_source_headers
from nnunet_ext.volumes import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["write_dicom_seg"]

SOFTWARE = "nnunet-abbc"

SAME_AXIS = 0.999
"""Smallest cosine between an axis of the labels and one of the series that are taken for the same. Source: chosen here;
2.6 degrees, far more than rounding and far less than any other axis."""

SERIES_OFFSET = 1000
"""Added to the series number of the CT. Source: chosen here, so that the new series is listed last."""


def write_dicom_seg(
    path: str | Path,
    labels: Volume,
    names: Mapping[int, FragmentName],
    instances: Sequence[Path],
    *,
    deidentify: bool = False,
) -> None:
    """Write a label volume as a binary DICOM SEG with a segment per fragment.

    The grid of the labels says where every frame lies; the files of the series may come in any order. Where the grids
    agree up to the order of the axes and slices, rows and columns are those of the CT and every frame refers to its CT
    slice; otherwise (a series with missing slices, say) the frames keep the grid of the labels and the object refers
    to the series as a whole. Only frames that hold a part of their segment are stored. Each object gets new UIDs.

    Args:
        path: The file, ending in `.dcm`. Missing folders are made.
        labels: Fragment numbers (z, y, x), 0 outside.
        names: Names by number; those of fragments that the volume lacks are left out.
        instances: The files of the CT series, or the one file of an enhanced multi-frame CT.
        deidentify: Leave patient, study and equipment attributes empty. The UIDs of study, series and instances
            stay, without which the object could not refer to the CT: who has the archive can still find the patient.

    Raises:
        UsageError: highdicom is not installed, or there are no files.
        DataError: The volume holds no fragment, one without a name, or the files are not one CT series.
        GridError: The labels lie outside the series.
        VolumeFileError: A file cannot be read, or the result cannot be written.
    """
    try:
        import highdicom
        from pydicom.sr.coding import Code as DicomCode
    except ImportError as error:
        raise UsageError(
            "DICOM SEG needs highdicom, which is not installed; install it with: pip install 'nnunet-abbc[dicom]'"
        ) from error

    boxes = find_segments(labels.array, names)
    if not boxes:
        raise DataError("the volume holds no fragment: every voxel is 0; there is nothing to write as DICOM SEG")
    headers = read_source_headers(instances, deidentify=deidentify)
    array, affine = _toward_series(labels, headers[0])
    _check_overlap(array, affine, headers)
    numbers = {number: index for index, number in enumerate(boxes, 1)}
    array, affine = _cut(array, affine)
    compact = fastremap.remap(array, {0: 0, **numbers}, preserve_missing_labels=False)
    compact = compact.astype(np.uint8 if len(numbers) < 256 else np.uint16)

    def code(item: Code) -> DicomCode:
        return DicomCode(item.value, "SCT", item.meaning)

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=SOFTWARE,
        family=DicomCode("123109", "DCM", "Artificial Intelligence"),
        version=__version__,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values of the CT's own headers
        described = []
        for number, index in numbers.items():
            name = names[number]
            item = highdicom.seg.SegmentDescription(
                segment_number=index,
                segment_label=name.display_name[:64],
                segmented_property_category=code(name.snomed.category),
                segmented_property_type=code(name.snomed.type),
                algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
                tracking_uid=highdicom.UID(),
                tracking_id=name.segment_id,
                display_color=highdicom.color.CIELabColor.from_rgb(*name.colour),
            )
            item.SegmentDescription = f"Label {number}. {NOTE}"
            if name.snomed.laterality is not None:
                kind = item.SegmentedPropertyTypeCodeSequence[0]
                side = highdicom.sr.CodedConcept.from_code(code(name.snomed.laterality))
                kind.SegmentedPropertyTypeModifierCodeSequence = [side]
            described.append(item)
        try:
            seg = highdicom.seg.Segmentation(
                source_images=headers,
                pixel_array=highdicom.Volume(
                    compact, affine, "PATIENT", frame_of_reference_uid=headers[0].FrameOfReferenceUID
                ),
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=described,
                series_instance_uid=highdicom.UID(),
                series_number=int(headers[0].get("SeriesNumber") or 0) + SERIES_OFFSET,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=SOFTWARE,
                manufacturer_model_name=SOFTWARE,
                software_versions=__version__,
                device_serial_number="0",
                content_label="BONE_FRAGMENTS",
                content_description=f"Bone fragments. {NOTE}",
                series_description="Bone fragments (research use only)",
                omit_empty_frames=True,
                specific_character_set="ISO_IR 192",
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise DataError(
                f"no DICOM SEG can be made for this series: {error}; check its headers, or leave out --dicom-seg"
            ) from error
        if deidentify:
            seg.PatientIdentityRemoved = "YES"
            seg.DeidentificationMethod = "Patient and study attributes emptied, UIDs kept"
        with replacing(Path(path)) as temporary:
            seg.save_as(temporary, enforce_file_format=True)


def _toward_series(labels: Volume, header: Dataset) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the labels with axes (slice, row, column) as in the series, and their affine from indices to LPS mm.

    Where no order of the axes fits, the labels stay as they are.
    """
    axes = np.reshape(labels.direction, (3, 3))[:, ::-1]  # columns are the z, y and x axes
    affine = np.eye(4)
    affine[:3, :3] = axes * labels.spacing_mm
    affine[:3, 3] = labels.origin
    array = labels.array
    orientation = header.get("ImageOrientationPatient")
    if orientation is None:
        return array, affine
    across, down = np.reshape(np.asarray(orientation, float), (2, 3))
    cosines = np.stack([np.cross(across, down), down, across]) @ axes
    order = np.abs(cosines).argmax(axis=1)
    if sorted(order) != [0, 1, 2] or (np.abs(cosines).max(axis=1) < SAME_AXIS).any():
        return array, affine
    flips = [axis for axis in range(3) if cosines[axis, order[axis]] < 0]
    array, affine = array.transpose(order), affine[:, [*order, 3]]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
    return np.flip(array, tuple(flips)), affine


def _check_overlap(array: NDArray[Any], affine: NDArray[np.float64], headers: Sequence[Dataset]) -> None:
    """Check that the boxes of the series and of the grid of the labels meet."""
    corners = []
    for header in headers:
        if "ImagePositionPatient" in header and "ImageOrientationPatient" in header and "PixelSpacing" in header:
            row, column = np.reshape(np.asarray(header.ImageOrientationPatient, float), (2, 3))
            down, across = (float(value) for value in header.PixelSpacing)
            steps = (row * across * (header.Columns - 1), column * down * (header.Rows - 1))
            start = np.asarray(header.ImagePositionPatient, float)
            corners += [start + a * steps[0] + b * steps[1] for a, b in itertools.product((0, 1), repeat=2)]
    if not corners:
        return
    index = list(itertools.product(*((0, n - 1) for n in array.shape)))
    ours = index @ affine[:3, :3].T + affine[:3, 3]
    margin = np.abs(affine[:3, :3]).sum(axis=1)
    theirs = np.stack(corners)
    if (ours.min(axis=0) > theirs.max(axis=0) + margin).any() or (ours.max(axis=0) < theirs.min(axis=0) - margin).any():
        raise GridError(
            "the labels lie outside the DICOM series: they reach from "
            f"{_say(ours.min(axis=0))} to {_say(ours.max(axis=0))} mm (LPS), the series from "
            f"{_say(theirs.min(axis=0))} to {_say(theirs.max(axis=0))}; pass the series that they were made from"
        )


def _say(point: NDArray[np.float64]) -> str:
    return "({})".format(", ".join(f"{value:.1f}" for value in point))


def _cut(array: NDArray[Any], affine: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the slices from the first to the last that hold a label, and their affine."""
    held = np.flatnonzero([plane.any() for plane in array])
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 0] * held[0]
    return array[held[0] : held[-1] + 1], affine
