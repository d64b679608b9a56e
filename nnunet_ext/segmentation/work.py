"""What a case is recovered from, made by stage 2 and kept in `work/`: probabilities, bones and the CT round them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError, UsageError
from label_gen.grid import Box
from label_gen.scheme import LabelScheme
from nnunet_ext.atomic import replacing
from nnunet_ext.cases import SEGMENTATION
from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.exact_bones import fill
from nnunet_ext.segmentation.frames import box_in, crop, crop_grid, resampled
from nnunet_ext.segmentation.model import AbbcModel
from nnunet_ext.segmentation.paste import bone_margin, labels_on
from nnunet_ext.volumes import Volume, check_same_grid, read_grid, read_labels, read_volume, write_volume
from postproc.recover import RecoveredFragments, recover_fragments

__all__ = ["FILES", "Work", "make_work", "read_work", "write_fragments", "write_work"]

FILES = ("abbc.nii.gz", "abbc.npz", "bones.nii.gz", "ct.nii.gz", "fragments.nii.gz")
"""Names of the files: classes and their probabilities, whole bones on the same grid, CT round the bones, and the
fragments on the model's grid."""

LIMITS = "limits.nii.gz"
"""Name of the file with bones that are known exactly, on the grid of the CT round them."""

NEGLIGIBLE = 2e-3
"""Probabilities below this are written as 0, so that files are small. Source: chosen here; recovery asks which class is
largest, and for means of the border's probability, which this changes by less than it says."""


@dataclass(frozen=True)
class Work:
    """What a case is recovered from.

    Attributes:
        probabilities: Of the ABBC classes on the model's grid, float16, shape (4, z, y, x).
        bones: Whole bones on the model's grid.
        ct: The CT in the box round the bones.
        ct_grid: Grid of the whole CT.
        limits: Bones that are known exactly, in the voxels of `ct`: above 0 where fragments may lie; None where the
            network draws the outlines.
    """

    probabilities: NDArray[np.float16]
    bones: Volume
    ct: Volume
    ct_grid: Grid
    limits: Volume | None = None

    @property
    def box(self) -> Box:
        """Where the CT in the box lies in the whole CT."""
        return _placed(self.ct.grid, self.ct_grid)

    def within(self, bones: Volume) -> Work:
        """Return the same for bones that are known exactly: in the CT's voxels fragments end where they end.

        They are recovered as ever, since border goes on outside of the bones and helps to part them.

        Args:
            bones: Whole bones on the CT's grid.
        """
        inner = crop(bones, self.box)
        return replace(self, limits=inner.like((inner.array > 0).astype(np.uint8)))

    def recover(self, scheme: LabelScheme) -> RecoveredFragments:
        """Return the fragments on the model's grid.

        Args:
            scheme: Their numbers.

        Raises:
            DataError: Classes and bones do not fit together.
        """
        return recover_fragments(self.probabilities, self.bones.spacing_mm, anatomy=self.bones.array, scheme=scheme)

    def on_ct(self, labels: NDArray[Any]) -> Volume:
        """Return fragments in the CT's own voxels, in the box round the bones.

        Args:
            labels: On the model's grid.
        """
        margin = bone_margin(self.probabilities, labels)
        found = labels_on(labels, margin, self.bones.grid, self.ct.grid)
        if self.limits is not None:
            fill(found, self.limits.array > 0)
        return Volume.on_grid(found, self.ct.grid)

    def whole(self, labels: Volume) -> Volume:
        """Return labels of the box in the whole CT.

        Args:
            labels: In the box round the bones.
        """
        largest = int(labels.array.max(initial=0))
        array = np.zeros(self.ct_grid.shape, np.uint8 if largest < 256 else np.uint16)
        array[self.box] = labels.array
        return Volume.on_grid(array, self.ct_grid)


def _placed(inner: Grid, outer: Grid) -> Box:
    """Return where a grid that was cut out of another lies in it."""
    box = box_in(outer, inner, 0)
    check_same_grid(inner, crop_grid(outer, box), "the CT of the case folder", "its segmentation")
    return box


def make_work(ct: Volume, bones: Volume, model: AbbcModel, grid: Grid) -> Work:
    """Ask the model for the classes round the bones.

    Args:
        ct: The CT, HU.
        bones: Whole bones on the CT's grid.
        model: The model.
        grid: Grid of the model round the bones, as `nnunet_ext.segmentation.frames.model_grid` gives it.

    Raises:
        DataError: The network gives numbers that are not finite.
    """
    probabilities = model.predict(ct, grid)
    part = crop(ct, box_in(ct.grid, grid))
    placed = Volume.on_grid(resampled(bones.array, bones.grid, grid, order=0), grid)
    return Work(probabilities, placed, part.like(np.ascontiguousarray(part.array)), ct.grid)


def write_work(work: Work, folder: Path) -> None:
    """Write what a case is recovered from.

    Args:
        work: It.
        folder: The folder `work` of the case.

    Raises:
        VolumeFileError: A file cannot be written.
    """
    classes = work.probabilities.argmax(axis=0).astype(np.uint8)
    write_volume(Volume.on_grid(classes, work.bones.grid), folder / "abbc.nii.gz")
    kept = np.where(work.probabilities < NEGLIGIBLE, np.float16(0), work.probabilities)
    with replacing(folder / "abbc.npz") as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, probabilities=kept)
    write_volume(work.bones, folder / "bones.nii.gz")
    write_volume(work.ct, folder / "ct.nii.gz")
    if work.limits is None:
        (folder / LIMITS).unlink(missing_ok=True)
    else:
        write_volume(work.limits, folder / LIMITS)


def write_fragments(work: Work, labels: NDArray[Any], folder: Path) -> None:
    """Write the fragments on the model's grid, from which corrections go on.

    Args:
        work: What they were recovered from.
        labels: The fragments (z, y, x).
        folder: The folder `work` of the case.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    write_volume(Volume.on_grid(labels, work.bones.grid), folder / "fragments.nii.gz")


def read_work(case: str | Path, scheme: LabelScheme) -> Work:
    """Read what a case was recovered from.

    Args:
        case: Folder of the case, as `abbc-segment` leaves it.
        scheme: Gives the names of the classes.

    Raises:
        UsageError: It is no such folder.
        VolumeFileError: A file is damaged.
        DataError: The files do not belong together.
    """
    from nnunet_ext.probabilities import read_abbc

    folder = Path(case) / "work"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing or not (Path(case) / SEGMENTATION).is_file():
        raise UsageError(
            f"'{Path(case).name}' is no case folder of abbc-segment: {', '.join(missing) or 'segmentation.nii.gz'} is "
            "missing in it; give OUT/CASE, and keep its folder work"
        )
    found = read_abbc(folder / "abbc.npz", scheme)
    if found.array.dtype.kind != "f":
        raise DataError("'abbc.npz' holds no probabilities; run abbc-segment again with --overwrite")
    bones = read_labels(folder / "bones.nii.gz")
    check_same_grid(found.grid, bones.grid, "abbc.npz", "bones.nii.gz")
    grid = read_grid(Path(case) / SEGMENTATION)
    ct, limits = read_volume(folder / "ct.nii.gz"), None
    if (folder / LIMITS).is_file():
        limits = read_labels(folder / LIMITS)
        check_same_grid(limits.grid, ct.grid, LIMITS, "ct.nii.gz")
    return Work(found.array.astype(np.float16, copy=False), bones, ct, grid, limits)
