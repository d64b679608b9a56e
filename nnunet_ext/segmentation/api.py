"""`nnunet_ext.segment`: from an array, a SimpleITK image or a file to fragments, table and surfaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import UsageError
from label_gen.grid import check_spacing
from nnunet_ext._simpleitk import sitk
from nnunet_ext.ct import CtImage, check_ct, read_ct
from nnunet_ext.grids import IDENTITY
from nnunet_ext.segmentation.clock import Clock
from nnunet_ext.segmentation.pipeline import Segmentation, segment_ct
from nnunet_ext.segmentation.settings import Settings
from nnunet_ext.volumes import Volume

__all__ = ["segment"]


def segment(
    ct: str | Path | NDArray[Any] | Volume | CtImage | Any,
    *,
    spacing_mm: Sequence[float] | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    direction: Sequence[float] = IDENTITY,
    output: str | Path | None = None,
    bones: str | Path | NDArray[Any] | Volume = "bundled",
    exact_bones: bool = False,
    model: str | Path = "abbc",
    scheme: str | Path = "pengwin2026",
    device: str = "auto",
    fast: bool = False,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    step_size: float = 0.5,
    mirroring: bool = False,
    margin_mm: float = 10.0,
    series: str | int | None = None,
    resample_irregular: bool = False,
    download_weights: bool = False,
    clearance_mm: float = 0.0,
    dicom_seg: bool = False,
    deidentify: bool = False,
    meshes: bool = True,
    report: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Segmentation:
    """Find the bone fragments in a CT.

    Args:
        ct: A file, a DICOM folder or a zip of one; a SimpleITK image; a `Volume`; or an array of HU, axes (z, y, x).
        spacing_mm: Spacing of an array in its own order (z, y, x), millimetres.
        origin: Of an array: centre of its first voxel, LPS millimetres (x, y, z).
        direction: Of an array: cosines as SimpleITK gives them.
        output: Folder of the case to write everything to; None to write nothing.
        bones: Stage 1: `bundled`, `totalsegmentator`, a model folder, a volume file, or the whole bones themselves
            (1 sacrum, 2 left hip, 3 right hip, 4 left femur, 5 right femur) in the CT's voxels.
        exact_bones: The bones given are exact: fragments stay within them and fill them.
        model: Stage 2: `abbc`, or the folder of an ABBC model.
        scheme: Label scheme, by name or file.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        fast: Fewer windows, one fold, no mirroring, the fast way of stage 1.
        folds: Folds of stage 2 to average; None for all.
        checkpoint: File name of the checkpoint of stage 2.
        step_size: Distance of windows in parts of their size.
        mirroring: Average over mirror images.
        margin_mm: How far beyond the bones the model looks.
        series: Which DICOM series.
        resample_irregular: Accept gantry tilt and gaps by resampling.
        download_weights: Let TotalSegmentator fetch its weights.
        clearance_mm: Gap between touching fragments in the surfaces.
        dicom_seg: Write a DICOM SEG too.
        deidentify: Leave the patient out of the DICOM SEG.
        meshes: Make surfaces.
        report: Write `report.html` and `preview.png`.
        say: Called with a line about memory and each stage.

    Returns:
        Labels, fragments, statistics, surfaces, warnings and the record of the run.

    Raises:
        UsageError: An option makes no sense, or what it names is not there.
        DataError: The CT is none, or shows no bones.
        VolumeFileError: A file cannot be read or written.

    Example:
        >>> from nnunet_ext import segment
        >>> segment("ct.nii.gz", output="out/case", device="cpu")  # doctest: +SKIP
    """
    settings = Settings(
        bones=bones if isinstance(bones, (str, Path)) else "given",
        exact_bones=exact_bones,
        model=model,
        scheme=scheme,
        device=device,
        fast=fast,
        folds=None if folds is None else tuple(folds),
        checkpoint=checkpoint,
        step_size=step_size,
        mirroring=mirroring,
        margin_mm=margin_mm,
        series=series,
        resample_irregular=resample_irregular,
        download_weights=download_weights,
        clearance_mm=clearance_mm,
        dicom_seg=dicom_seg,
        deidentify=deidentify,
        meshes=meshes,
        report=report,
    )
    clock = Clock(say)
    with clock.stage("read"):
        image = _to_ct(ct, settings, spacing_mm, origin, direction)
    given = None
    if not isinstance(bones, (str, Path)):
        given = bones if isinstance(bones, Volume) else image.volume.like(np.asarray(bones))
    target = None if output is None else Path(output)
    return segment_ct(image, settings, output=target, clock=clock, say=say, bones=given)


def _to_ct(
    ct: Any,
    settings: Settings,
    spacing_mm: Sequence[float] | None,
    origin: Sequence[float],
    direction: Sequence[float],
) -> CtImage:
    """Return whatever was given as a CT."""
    if isinstance(ct, CtImage):
        return ct
    if isinstance(ct, (str, Path)):
        return read_ct(ct, series=settings.series, resample_irregular=settings.resample_irregular)
    if isinstance(ct, sitk.Image):
        ct = Volume.from_image(ct)
    if isinstance(ct, np.ndarray):
        if spacing_mm is None:
            raise UsageError("an array has no spacing; give spacing_mm=(z, y, x) in millimetres")
        first, second, third = (float(value) for value in origin)
        place = (first, second, third)
        ct = Volume(ct, check_spacing(spacing_mm), place, tuple(float(value) for value in direction))
    if not isinstance(ct, Volume):
        raise UsageError(
            f"a CT is a path, a NumPy array, a SimpleITK image or a Volume. Got: {type(ct).__name__}; convert it"
        )
    return check_ct(ct)
