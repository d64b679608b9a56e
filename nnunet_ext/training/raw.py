"""The cases of a dataset in nnUNet_raw: their files, what is missing, and the disk that they need preprocessed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, FractureError, VolumeFileError
from nnunet_ext.training.splits import few

__all__ = ["RawCase", "check_raw_cases", "estimate_preprocessed_bytes", "list_raw_cases"]

COMPRESSION = 0.36
"""Size of nnU-Net's compressed arrays against the plain ones. Measured here on a virtual patient at 1.5 mm, written by
nnU-Net 2.8.1: 0.36 on its own grid, 0.58 resampled; the smaller, so that nobody is refused who has room."""
SAMPLE = 25
"""Headers that are read for the estimate; larger datasets are scaled up."""


@dataclass(frozen=True)
class RawCase:
    """One training case in nnUNet_raw.

    Attributes:
        name: Its name.
        images: The files of its channels, in order.
        labels: Its label file, which may be missing.
    """

    name: str
    images: tuple[Path, ...]
    labels: Path


def list_raw_cases(folder: Path, dataset_json: Mapping[str, Any]) -> dict[str, RawCase]:
    """Return the training cases of a dataset, as nnU-Net finds them.

    Args:
        folder: The dataset's folder in nnUNet_raw.
        dataset_json: Its dataset.json; if it names the files itself (`dataset`), these are taken.

    Returns:
        The cases by name, sorted.

    Raises:
        VolumeFileError: The folder of images cannot be read.
    """
    if "dataset" in dataset_json:
        named = dataset_json["dataset"]
        return {
            name: RawCase(
                name,
                tuple(folder / os.path.expandvars(image) for image in named[name]["images"]),
                folder / os.path.expandvars(named[name]["label"]),
            )
            for name in sorted(named)
        }
    ending = str(dataset_json["file_ending"])
    try:
        files = sorted(os.listdir(folder / "imagesTr"))
    except OSError as error:
        raise VolumeFileError(
            f"cannot read the folder imagesTr of {folder.name}: {error.strerror or error}; make the dataset with "
            "abbc-prepare-dataset"
        ) from error
    images: dict[str, list[Path]] = {}
    for file in files:
        if match := re.fullmatch(r"(.+)_\d{4}" + re.escape(ending), file):
            images.setdefault(match[1], []).append(folder / "imagesTr" / file)
    return {
        name: RawCase(name, tuple(found), folder / "labelsTr" / f"{name}{ending}")
        for name, found in sorted(images.items())
    }


def check_raw_cases(name: str, cases: Mapping[str, RawCase], dataset_json: Mapping[str, Any]) -> None:
    """Check that all files are there that dataset.json announces.

    Args:
        name: Name of the dataset, for messages.
        cases: Its cases.
        dataset_json: Its dataset.json.

    Raises:
        DataError: Cases, channels or labels are missing.
    """
    cure = "make the dataset again with abbc-prepare-dataset, or add or remove the files"
    if not cases or len(cases) != dataset_json["numTraining"]:
        raise DataError(
            f"{name} has {len(cases)} cases in imagesTr (files CASE_0000{dataset_json['file_ending']}), its "
            f"dataset.json announces {dataset_json['numTraining']} (numTraining); {cure}"
        )
    channels = len(dataset_json["channel_names"])
    other = [case.name for case in cases.values() if len(case.images) != channels]
    if other:
        raise DataError(f"{name}: not {channels} image channels as dataset.json announces: {few(other)}; {cure}")
    lost = [case.name for case in cases.values() if not all(path.is_file() for path in (*case.images, case.labels))]
    if lost:
        raise DataError(f"{name}: images or labels are missing of {few(lost)}; {cure}")


def estimate_preprocessed_bytes(cases: Mapping[str, RawCase], *, configurations: int = 2) -> int:
    """Estimate the disk that preprocessed cases take, from the headers of some images.

    Args:
        cases: The cases.
        configurations: How many configurations will be preprocessed.

    Returns:
        Bytes, rather too few than too many: as many voxels as the images have (nnU-Net's default spacing is the
        median of the dataset), four bytes per channel and one for the label, compressed. Images whose header cannot
        be read count with the size of their files.
    """
    step = max(1, len(cases) // SAMPLE)
    sample = list(cases.values())[::step]
    per_case = [sum(_channel_bytes(image) for image in case.images) for case in sample]
    return int(sum(per_case) / max(len(sample), 1) * len(cases) * configurations)


def _channel_bytes(image: Path) -> float:
    from nnunet_ext._simpleitk import sitk, translated

    try:
        with translated(image):
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(image))
            reader.ReadImageInformation()
            return float(prod(reader.GetSize()) * 5 * COMPRESSION)
    except FractureError:
        return float(image.stat().st_size) if image.is_file() else 0.0
