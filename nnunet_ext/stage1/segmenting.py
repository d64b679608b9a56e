"""The bones of a CT by whatever finds them, checked: the one way into stage 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from label_gen.errors import DataError, UsageError
from nnunet_ext.stage1.bones import Bones
from nnunet_ext.stage1.given import GivenBones
from nnunet_ext.stage1.plausibility import check_bones, findings_table, volumes_mm3
from nnunet_ext.volumes import Volume

__all__ = ["BoneFinder", "segment_bones"]

FALLS = {"no pelvis", "doubt", "density", "volume"}
"""Errors that end a case. Mixed-up sides are an error too, but one that a reader may judge: it leads the warnings."""

FALLS_OF_FILES = {"density"}
"""Errors that end a case whose bones the user gave: only that they lie beside the bones of the CT."""


class BoneFinder:
    """What finds the bones of CTs, loaded once for many.

    Args:
        how: `bundled` (the model that comes with the package), `totalsegmentator`, a model folder of nnU-Net, a label
            volume, a folder of TotalSegmentator's masks, or a folder with one of these two per case. A folder that is
            called `bundled` itself is `./bundled`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        fast: Less work, coarser bones.
        download_weights: Let TotalSegmentator's missing weights be downloaded; nothing else ever is.
        numbering: How to read the numbers of a label volume: `auto`, `anatomy`, `totalsegmentator` or a label scheme.

    Raises:
        UsageError: An option makes no sense, or there is nothing of that name.
        VolumeFileError: Weights are missing or damaged.
        DataError: A model does not find bones.
    """

    def __init__(
        self,
        how: str | Path = "bundled",
        *,
        device: str = "auto",
        fast: bool = False,
        download_weights: bool = False,
        numbering: str | Path = "auto",
    ) -> None:
        name, path = str(how), Path(how)
        if download_weights and name != "totalsegmentator":
            raise UsageError("--download-weights is for --bones totalsegmentator; leave it out")
        self._find: Callable[[Volume], Bones] | None = None
        self._given: GivenBones | None = None
        if name == "totalsegmentator":
            from nnunet_ext.stage1.totalsegmentator import TotalSegmentatorBones

            self._find = TotalSegmentatorBones(device=device, fast=fast, download=download_weights)
        elif name == "bundled":
            from nnunet_ext.models import model_folder

            self._find = _load(model_folder("bones"), "bundled", device, fast)
        elif (path / "plans.json").is_file():
            self._find = _load(path, "model", device, fast)
        else:
            self._given = GivenBones(path, numbering=numbering)

    @property
    def is_given(self) -> bool:
        """Whether the bones come out of files, and no model finds them."""
        return self._given is not None

    def __call__(self, ct: Volume, *, case: str = "") -> Bones:
        """Find the bones of a CT, and check them.

        Args:
            ct: The CT, HU, axes (z, y, x).
            case: Name of the case, where the bones come from a folder of cases.

        Returns:
            The bones on the CT's grid, with warnings and findings.

        Raises:
            DataError: No pelvis was found, the model doubts its bones, they lie in soft tissue, or a file holds
                something else.
            GridError: The grid of a file is not that of the CT.
            UsageError: The folder has nothing for this case.
            VolumeFileError: A file cannot be read.
        """
        if self._given is not None:
            bones = self._given(ct, case)
        else:
            assert self._find is not None
            bones = self._find(ct)
        findings = check_bones(bones.anatomy, ct, certainty=bones.certainty)
        falls = FALLS_OF_FILES if bones.source == "file" else FALLS
        for finding in findings:
            if finding.level == "error" and finding.kind in falls:
                raise DataError(finding.text + _cure(finding.text, bones.source))
        details = {**bones.details, "volumes_mm3": volumes_mm3(bones.anatomy), "findings": findings_table(findings)}
        warnings = tuple(finding.text for finding in findings if finding.level != "note")
        return replace(bones, warnings=(*bones.warnings, *warnings), details=details)


def _cure(text: str, source: str) -> str:
    """Return what can be done about such an error, as the end of its text; nothing if the user gave the bones."""
    if source == "file":
        return ""
    other = "" if source == "totalsegmentator" else "let TotalSegmentator find them (--bones totalsegmentator), or "
    return f"{'' if text.endswith('?') else '.'} If the bones are there, {other}give them (--bones FILE)"


def _load(folder: Path, source: str, device: str, fast: bool) -> Callable[[Volume], Bones]:
    """Load a model, unless it is the one loaded last and its plans were not touched since."""
    stamp = (folder / "plans.json").stat().st_mtime_ns
    return _load_once(folder.resolve(), stamp, source, device, fast)


@lru_cache(maxsize=1)
def _load_once(folder: Path, _: int, source: str, device: str, fast: bool) -> Callable[[Volume], Bones]:
    from nnunet_ext.stage1.bundled import ModelBones

    return ModelBones(folder, source=source, device=device, fast=fast, folds=(0,) if source == "bundled" else None)


def segment_bones(
    ct: Volume,
    how: str | Path = "bundled",
    *,
    device: str = "auto",
    fast: bool = False,
    download_weights: bool = False,
    numbering: str | Path = "auto",
    case: str = "",
) -> Bones:
    """Find the whole bones of a CT: sacrum, hip bones and femora.

    The model loaded last stays in memory for the next CT.

    Args:
        ct: The CT, HU, axes (z, y, x).
        how: As for `BoneFinder`, which the next four are for, too.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        fast: Less work, coarser bones.
        download_weights: Let TotalSegmentator's missing weights be downloaded.
        numbering: How to read the numbers of a label volume.
        case: Name of the case, where the bones come from a folder of cases.

    Returns:
        The bones on the CT's grid, with warnings and findings.

    Raises:
        FractureError: As for `BoneFinder`.
    """
    finder = BoneFinder(how, device=device, fast=fast, download_weights=download_weights, numbering=numbering)
    return finder(ct, case=case)
