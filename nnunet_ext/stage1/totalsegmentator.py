"""Whole bones by TotalSegmentator, through its Python API: private, without statistics, without a connection."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.devices import choose_device
from nnunet_ext.manifest import without_paths
from nnunet_ext.schemes import load_scheme
from nnunet_ext.stage1.bones import BONES, Bones, bone_called
from nnunet_ext.stage1.cleaning import clean_bones
from nnunet_ext.stage1.frame import labels_on, patient_grid, resampled_ct
from nnunet_ext.stage1.totalsegmentator_weights import check_weights, download_weights, link_weights
from nnunet_ext.volumes import Volume, read_labels, write_volume

__all__ = ["TotalSegmentatorBones", "pelvis_classes"]

SPACINGS_MM = {False: 1.5, True: 3.0}
"""Spacing of its models, by `fast`. Source: TotalSegmentator 2.18, `map_tasks_config`."""

INSTALL = "pip install 'nnunet-abbc[totalsegmentator]'"
_CHILD = Path(__file__).with_name("_totalsegmentator_child.py")


def pelvis_classes() -> tuple[str, ...]:
    """Return TotalSegmentator's names of the bones of the pelvis, as the label schemes give them."""
    return tuple(name for bone in load_scheme("pengwin2026").bones for name in bone.totalsegmentator)


class TotalSegmentatorBones:
    """TotalSegmentator, ready for many CTs.

    It runs in a process of its own, since it changes nnU-Net, the environment and torch for the whole process, with a
    private home folder: the user's settings stay as they are, its usage statistics are off, and that process and its
    workers cannot open a connection. Its models are taken from its usual place, or `TOTALSEG_WEIGHTS_PATH`.

    It is given the CT at the spacing of its models, on the patient's axes, interpolated linearly as it would do itself;
    so its labels come back at that spacing, and go onto the CT's grid along smooth surfaces, not as blocks.

    Args:
        device: As `choose_device` takes it.
        fast: Its model at 3 mm instead of those at 1.5 mm.
        download: Download models that are missing.

    Raises:
        UsageError: It is not installed, or there is no such device.
        VolumeFileError: Weights are missing.
    """

    source = "totalsegmentator"

    def __init__(self, *, device: str = "auto", fast: bool = False, download: bool = False) -> None:
        if importlib.util.find_spec("totalsegmentator") is None:
            raise UsageError(f"TotalSegmentator is not installed; {INSTALL}, or take --bones bundled")
        chosen = choose_device(device)
        self._device = str(chosen).replace("cuda", "gpu")
        self._fast = fast
        if download:
            download_weights(fast=fast)
        self._weights = check_weights(fast=fast)
        self.details = {
            "totalsegmentator": importlib.metadata.version("TotalSegmentator"),
            "models": [folder.name for folder in self._weights.values()],
            "spacing_mm": [SPACINGS_MM[fast]] * 3,
            "device": str(chosen),
            "fast": fast,
        }

    def __call__(self, ct: Volume) -> Bones:
        """Find the bones of a CT.

        Args:
            ct: The CT, HU, axes (z, y, x).

        Returns:
            The bones on its grid, not yet checked for plausibility.

        Raises:
            DataError: TotalSegmentator failed.
        """
        frame = patient_grid(ct.grid, [SPACINGS_MM[self._fast]] * 3)
        labels = self._run(resampled_ct(ct, frame, averaging=False))
        changes = clean_bones(labels, frame.spacing_mm)
        certain = np.stack([labels == number for number in (0, *BONES.values())])
        anatomy = ct.like(labels_on(ct.grid, certain, frame))
        return Bones(anatomy, self.source, (), {**self.details, "cleaning": [str(change) for change in changes]})

    def _run(self, ct: Volume) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Return the numbers of `BONES` (z, y, x) of a CT at the spacing of the models."""
        with tempfile.TemporaryDirectory(prefix="abbc_") as name:
            folder = Path(name)
            home, view = folder / "h", folder / "w"
            home.mkdir()
            link_weights(view, self._weights)
            settings = {"totalseg_id": "private", "send_usage_stats": False, "prediction_counter": 0}
            settings |= {"statistics_disclaimer_shown": True}
            _lend_fonts(home)
            (home / "config.json").write_text(json.dumps(settings), encoding="utf-8")
            image, found, task = folder / "ct.nii", folder / "bones.nii.gz", folder / "task.json"
            write_volume(ct, image)
            asked = {"image": str(image), "labels": str(found), "classes": list(pelvis_classes())}
            task.write_text(json.dumps({**asked, "device": self._device, "fast": self._fast}), encoding="utf-8")
            _run_child(task, _private_environment(home, view))
            return self._to_bones(read_labels(found), ct)

    def _to_bones(self, found: Volume, ct: Volume) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        from totalsegmentator.map_to_binary import class_map

        if found.array.shape != ct.array.shape:
            raise DataError(
                f"TotalSegmentator gave {found.array.shape[::-1]} voxels for {ct.array.shape[::-1]}; update it"
            )
        table = np.zeros(256, np.uint8)
        for number, name in class_map["total"].items():
            if bone := bone_called(name):
                table[number] = BONES[bone]
        result: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = table[found.array]
        return result


def _lend_fonts(home: Path) -> None:
    """Copy matplotlib's list of fonts, if the user has one, for making it anew takes seconds."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matplotlib"
    for path in Path(os.environ.get("MPLCONFIGDIR") or cache).glob("fontlist-*.json"):
        with suppress(OSError):
            shutil.copyfile(path, home / path.name)


def _private_environment(home: Path, weights: Path) -> dict[str, str]:
    """Return an environment in which nothing of the user's is written or read, but installed packages are found."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().startswith("nnunet_")}
    kept |= {
        name: str(home) for name in ("HOME", "TOTALSEG_HOME_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    }
    kept |= {"TOTALSEG_WEIGHTS_PATH": str(weights), "PYTHONUSERBASE": site.getuserbase(), "TMPDIR": str(home)}
    kept |= {name: str(weights) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    return kept


def _run_child(task: Path, environment: dict[str, str]) -> None:
    """Run TotalSegmentator in a process of its own, and end all processes that it leaves.

    Raises:
        DataError: It failed; with the last line of what it said.
    """
    log = task.with_suffix(".log")
    with log.open("wb") as stream:
        command = [
            sys.executable,
            "-P",
            "-W",
            "ignore",
            str(_CHILD),
            str(task),
        ]  # -P: this folder has modules of its own
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            status = child.wait()
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if status == 0:
        return
    said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    text = without_paths(said[-1] if said else "", [task.parent])
    if status == -signal.SIGKILL:
        text = "its process was killed, for lack of memory most likely; close other programs, or take --fast"
    if "PytorchStreamReader" in text or "checkpoint" in text:
        raise VolumeFileError(f"TotalSegmentator failed: {text}; download its weights again")
    raise DataError(f"TotalSegmentator failed: {text}; if it is not about this CT, run it by itself to see more")
