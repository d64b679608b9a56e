"""Read the CT of one patient from whatever it comes in: a volume file, a DICOM folder, a zip of one, or an array."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from label_gen.errors import DataError, UsageError
from nnunet_ext.cases import VOLUME_SUFFIXES, split_suffix
from nnunet_ext.ct_cases import CtCase, find_ct_cases
from nnunet_ext.dicom.choice import SeriesSummary, choose_series, summarise_series
from nnunet_ext.hounsfield import check_hounsfield
from nnunet_ext.volumes import Volume, naming, read_volume

__all__ = ["CtCase", "CtImage", "SeriesSummary", "check_ct", "find_ct_cases", "list_series", "read_ct"]

MIN_VOXELS = 3
"""Fewest voxels along any axis. Chosen here, as for DICOM: fewer slices are pictures, not a volume."""

_THIN_MM = 20.0
"""Extent below which a warning says that hardly a bone can be seen. Chosen here: a hip joint has 50 mm."""

_COARSE_MM = 3.0
"""Slice distance above which a warning says that fractures may be missed. Chosen here: trauma CTs have 0.5 to 2 mm."""

_METAL_HU = 2500
_METAL_CM3 = 0.2
"""More than so much above so many HU is metal. Chosen here: bone of five real and three simulated pelves ends at 1573
HU; of a nail in a femur 11.6 cm3 are above."""


@dataclass(frozen=True)
class CtImage:
    """A CT, checked.

    Attributes:
        volume: HU (z, y, x), int16, or float32 if they are not whole numbers; the geometry of the acquisition, slices
            along +z of the grid.
        warnings: What was mended, left out or looks odd.
        kind: `dicom`, `file` or `array`.
        instances: DICOM files in the order of the slices; empty for multi-frame, resampled and other input. Files of a
            zip live as long as this object.
        series: Technical facts for a run's record; nothing of the patient, no UID, no date.
        keeper: What keeps the files of a zip.
    """

    volume: Volume
    warnings: tuple[str, ...]
    kind: str
    instances: tuple[Path, ...] = ()
    series: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    keeper: object = field(default=None, repr=False, compare=False)


def read_ct(path: str | Path, *, series: str | int | None = None, resample_irregular: bool = False) -> CtImage:
    """Read a CT and check that it is one.

    Of several DICOM series that may be CT volumes of one patient, the one is taken that is original before derived,
    then has the most slices, then the smallest distance of slices, then the first number in the list, and a warning
    says so. Of series of several patients none is taken.

    Args:
        path: A `.nii.gz`, `.nii`, `.mha` or `.nrrd` file; a DICOM folder, searched with its subfolders; a zip of one;
            or a DICOM file.
        series: Number in the list of `list_series`, or a series UID. For DICOM only.
        resample_irregular: Accept tilted or unevenly spaced slices by interpolating them onto a regular grid.

    Returns:
        The CT.

    Raises:
        UsageError: There is no such file or series, or the file is of an unknown type.
        VolumeFileError: A file is unreadable, damaged or truncated.
        DataError: It is no CT in HU, not one volume, or its slices do not form a regular volume.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"there is no file or folder '{path}'; check the path")
    if path.is_file() and split_suffix(path.name)[1] in VOLUME_SUFFIXES:
        if series is not None:
            raise UsageError(f"'{path.name}' is one volume; a series (--series) can only be chosen of DICOM")
        with naming(path):
            return _read_file(path)
    if path.is_file():
        find_ct_cases(path)  # tells unknown file types
    with naming(path.name):
        return _read_dicom(path, series, resample_irregular)


def list_series(path: str | Path) -> tuple[SeriesSummary, ...]:
    """List the series of a DICOM folder, zip or file.

    Args:
        path: As for `read_ct`.

    Returns:
        The series by number, those that cannot be read included, with the reason; none for a volume file.

    Raises:
        UsageError: There is no such file.
        VolumeFileError: As for `read_ct`.
        DataError: There is no DICOM in it.
    """
    from nnunet_ext.dicom.study import open_study

    path = Path(path)
    if path.is_file() and split_suffix(path.name)[1] in VOLUME_SUFFIXES:
        return ()
    return summarise_series(open_study(path).series)


def check_ct(volume: Volume, *, kind: str = "array", is_stated: bool = False) -> CtImage:
    """Check that a volume is a CT in HU.

    Args:
        volume: The volume.
        kind: Where it comes from: `dicom`, `file` or `array`.
        is_stated: Its file says that it is CT: doubts about HU become warnings.

    Returns:
        The CT, with an offset of 1024 taken away where there was one.

    Raises:
        DataError: It has not three axes or too few voxels, or is no CT in HU.
    """
    if volume.array.ndim != 3:
        raise DataError(f"a CT has three axes (z, y, x), got {volume.array.ndim}: shape {volume.array.shape}")
    if min(volume.array.shape) < MIN_VOXELS:
        sizes = " x ".join(map(str, volume.array.shape[::-1]))
        raise DataError(f"a volume of {sizes} voxels (x, y, z) is too thin: at least {MIN_VOXELS} slices were expected")
    array, warnings = check_hounsfield(volume.array, is_stated=is_stated)
    checked = volume.like(array)
    return CtImage(checked, (*warnings, *_look(checked)), kind)


def _look(volume: Volume) -> list[str]:
    """Return warnings about the grid, and about metal."""
    warnings = []
    extent = [n * step for n, step in zip(volume.array.shape, volume.spacing_mm, strict=True)]
    if min(extent) < _THIN_MM:
        warnings.append(f"the volume is only {min(extent):.3g} mm thick: hardly a bone can be seen in it")
    if max(volume.spacing_mm) > _COARSE_MM:
        warnings.append(f"voxels are {max(volume.spacing_mm):.3g} mm apart: thin fractures may not show")
    voxels = sum(int((plane > _METAL_HU).sum()) for plane in volume.array)
    metal = voxels * math.prod(volume.spacing_mm) / 1000
    if metal > _METAL_CM3:
        warnings.append(
            f"metal, or contrast as dense: {metal:.1f} cm3 are above {_METAL_HU} HU; streaks round it may be taken for "
            "fractures"
        )
    return warnings


def _read_file(path: Path) -> CtImage:
    from nnunet_ext.intact import holds_finite

    volume = read_volume(path)
    if volume.array.dtype.kind == "f" and not holds_finite(path):
        raise DataError("holds NaN or infinite values; replace them, with -1024 outside of the field of view, say")
    image = check_ct(volume, kind="file")
    warnings = [*image.warnings, *_unplaced(path)]
    return CtImage(image.volume, tuple(warnings), "file", series=MappingProxyType({"modality": "not stated"}))


def _unplaced(path: Path) -> list[str]:
    """Warn where a file does not say how it lies in the patient."""
    from nnunet_ext._simpleitk import sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    keys = set(reader.GetMetaDataKeys())
    is_nifti = split_suffix(path.name)[1] in (".nii", ".nii.gz")
    codes = [reader.GetMetaData(key).strip() for key in ("qform_code", "sform_code") if key in keys]
    if is_nifti and codes and all(code == "0" for code in codes):
        return ["the NIfTI file does not say how it lies in the patient (qform and sform code 0): sides may be swapped"]
    if path.name.lower().endswith(".nrrd") and "NRRD_space" not in keys:
        return ["the NRRD file does not say how it lies in the patient (no space field): sides may be swapped"]
    return []


def _read_dicom(path: Path, series: str | int | None, resample_irregular: bool) -> CtImage:
    from nnunet_ext.dicom.assembly import assemble
    from nnunet_ext.dicom.study import open_study

    study = open_study(path)
    chosen, notes = choose_series(study.series, series)
    result = assemble(chosen.slices, resample_irregular=resample_irregular)
    checked = check_ct(result.volume, kind="dicom", is_stated=True)
    return CtImage(
        checked.volume,
        (*notes, *result.warnings, *checked.warnings, *study.warnings),
        "dicom",
        result.instances,
        MappingProxyType(dict(result.facts)),
        study.unpacked,
    )
