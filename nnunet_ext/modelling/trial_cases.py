"""The cases that a model is tried on: folders as the simulator writes them, or real pelves prepared alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_gen.errors import DataError, UsageError
from label_gen.scheme import LabelScheme

__all__ = ["SOFT_TISSUE_HU", "TrialCase", "find_trial_cases", "prepare_fracsegnet"]

SOFT_TISSUE_HU = 40
"""What is written outside of bones that a CT was cut down to. Source: muscle has 30 to 60 HU."""


@dataclass(frozen=True)
class TrialCase:
    """One case.

    Attributes:
        name: Its name.
        image: The CT.
        labels: The true fragments.
        anatomy: The true bones of the broken patient.
    """

    name: str
    image: Path
    labels: Path
    anatomy: Path


def find_trial_cases(folder: str | Path) -> tuple[TrialCase, ...]:
    """Find the cases in a folder with `images/`, `labels/` and `anatomy/`.

    Args:
        folder: What `abbc-simulate-fractures` or `prepare_fracsegnet` made.

    Returns:
        The cases, sorted by name.

    Raises:
        UsageError: A folder is missing, there is no case, or a case lacks a volume.
    """
    from nnunet_ext.cases import find_cases

    found: dict[str, dict[str, Path]] = {}
    for kind in ("images", "labels", "anatomy"):
        place = Path(folder) / kind
        if not place.is_dir():
            raise UsageError(
                f"'{folder}' has no folder '{kind}'; give a folder that abbc-simulate-fractures made, with images, "
                "labels and anatomy"
            )
        for case in find_cases(place):
            found.setdefault(case.name, {})[kind] = case.path
    for name, files in found.items():
        if lacking := [kind for kind in ("images", "labels", "anatomy") if kind not in files]:
            raise UsageError(f"case '{name}' in '{folder}' has no volume in {', '.join(lacking)}; make it again")
    return tuple(TrialCase(name, *(found[name][k] for k in ("images", "labels", "anatomy"))) for name in sorted(found))


def prepare_fracsegnet(
    source: str | Path, output: str | Path, *, scheme: LabelScheme | None = None, outside_hu: int = SOFT_TISSUE_HU
) -> tuple[TrialCase, ...]:
    """Make cases of the real fractured pelves that come as bones cut out of their CT.

    Outside of the bones, where the files hold 0, one number is written: soft tissue without structure. Volumes are
    turned to LPS; neither their size nor their voxels are changed.

    Args:
        source: Folder with `NAME_bone_ct.nii.gz` and `NAME_labels.nii.gz`, fragments numbered by the scheme.
        output: Folder for `images/`, `labels/` and `anatomy/`.
        scheme: Of the numbers; `pengwin2024` if None.
        outside_hu: The number outside of the bones, HU.

    Returns:
        The cases.

    Raises:
        UsageError: There are no such files.
        DataError: A CT has values outside of the labelled bones, so that it was not cut out by them, or a volume does
            not fit its partner.
    """
    from nnunet_ext.preparation.orientation import turned_to_lps
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.volumes import check_same_grid, read_labels, read_volume, write_volume
    from postproc.audit import anatomy_of

    scheme = scheme or load_scheme("pengwin2024")
    images = sorted(Path(source).glob("*_bone_ct.nii.gz"))
    if not images:
        raise UsageError(f"there is no NAME_bone_ct.nii.gz in '{source}'; give the folder of the bones cut out of CTs")
    for image in images:
        name = image.name.removesuffix("_bone_ct.nii.gz")
        ct = turned_to_lps(read_volume(image))
        labels = turned_to_lps(read_labels(image.with_name(f"{name}_labels.nii.gz")))
        check_same_grid(ct.grid, labels.grid, image.name, f"{name}_labels.nii.gz")
        is_bone = labels.array > 0
        if np.count_nonzero(ct.array[~is_bone]) > 0.01 * np.count_nonzero(is_bone):
            raise DataError(f"'{image}' shows more than the labelled bones; it is a whole CT: use it as it is")
        filled = np.where(is_bone, ct.array, outside_hu).astype(np.int16)
        bones = anatomy_of(labels.array, scheme)
        for kind, volume in (("images", ct.like(filled)), ("labels", labels), ("anatomy", labels.like(bones))):
            write_volume(volume, Path(output) / kind / f"{name}.nii.gz")
    return find_trial_cases(output)
