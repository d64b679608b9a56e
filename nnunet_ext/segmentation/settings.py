"""The settings of a segmentation: what `abbc-segment` and `nnunet_ext.segment` can be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.stage1.bones import NAMED_MODELS

__all__ = ["FAST_STEP", "Settings"]

FAST_STEP = 0.75
"""Distance of windows with `--fast`, in parts of their size. Source: chosen here; three windows in ten of those at
nnU-Net's 0.5, and windows still overlap by a quarter, so that no voxel is seen only at the rim of one."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to segment.

    Attributes:
        bones: Stage 1: `bundled`, `totalsegmentator`, a model folder, or a volume with the bones.
        exact_bones: The bones given are exact: fragments stay within them and fill them, instead of having the outlines
            that the network draws.
        model: Stage 2: `abbc`, which comes with the package, or a folder of any ABBC model.
        scheme: Label scheme of the fragments, by name or file.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        fast: Windows overlap by a quarter instead of a half, one fold, no mirroring, and the fast way of stage 1.
        folds: Folds of stage 2 to average; None for all that the model has.
        checkpoint: File name of the checkpoint in each fold of stage 2.
        step_size: Distance of windows in parts of their size.
        mirroring: Average over mirror images as far as the model allows it, up to eight times the work.
        margin_mm: How far beyond the bones the model looks.
        series: Which series of a DICOM folder; None for the stated rule of `nnunet_ext.ct.read_ct`.
        resample_irregular: Accept gantry tilt and gaps in DICOM by resampling.
        download_weights: Let TotalSegmentator fetch its weights.
        clearance_mm: Gap between touching fragments in the surfaces, for printing.
        dicom_seg: Write a DICOM SEG too.
        deidentify: Leave the patient out of the DICOM SEG.
        meshes: Make surfaces.
        report: Write `report.html` and `preview.png`.
    """

    bones: str | Path = "bundled"
    exact_bones: bool = False
    model: str | Path = "abbc"
    scheme: str | Path = "pengwin2026"
    device: str = "auto"
    fast: bool = False
    folds: tuple[int | str, ...] | None = None
    checkpoint: str = "checkpoint_final.pth"
    step_size: float = 0.5
    mirroring: bool = False
    margin_mm: float = 10.0
    series: str | int | None = None
    resample_irregular: bool = False
    download_weights: bool = False
    clearance_mm: float = 0.0
    dicom_seg: bool = False
    deidentify: bool = False
    meshes: bool = True
    report: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.step_size <= 1:
            raise UsageError(f"the step size must be above 0 and at most 1; got: {self.step_size} (-step_size)")
        if not 0 <= self.margin_mm <= 200:
            raise UsageError(f"the margin must be 0 to 200 mm; got: {self.margin_mm} (--margin)")
        if not 0 <= self.clearance_mm <= 5:
            raise UsageError(f"the clearance must be 0 to 5 mm; got: {self.clearance_mm} (--clearance)")

    @property
    def step(self) -> float:
        """Distance of windows as it is used."""
        return max(self.step_size, FAST_STEP) if self.fast else self.step_size

    @property
    def uses_mirroring(self) -> bool:
        """Whether mirror images are averaged."""
        return self.mirroring and not self.fast

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for `run.json`: without folders, and without file names of bones."""
        told = asdict(self)
        told["bones"] = self.bones if self.bones in NAMED_MODELS else "given"
        told["model"], told["scheme"] = Path(self.model).name, Path(self.scheme).name
        told["folds"] = None if self.folds is None else [str(fold) for fold in self.folds]
        told["series"] = None if self.series is None else "chosen"
        return told | {"step_size": self.step, "mirroring": self.uses_mirroring}
