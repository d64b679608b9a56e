"""A set of virtual patients as files, in the layout of PENGWIN 2024, to train on and to try commands with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["write_patients"]

PROG = "abbc-demo"
SCHEME = "pengwin2024"


def write_patients(
    output: str | Path,
    number: int,
    *,
    first_seed: int = 1,
    spacing_mm: float = 1.0,
    workers: int = 1,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Write virtual patients: `images/NNN.mha` (CT, HU) and `labels/NNN.mha` (fragments, scheme pengwin2024).

    `abbc-prepare-dataset pengwin2024 OUTPUT -d ID` makes nnU-Net datasets of them.

    Args:
        output: The folder.
        number: How many patients.
        first_seed: Seed of the first; the next have the numbers after it. A patient's name is the seed.
        spacing_mm: Edge of the voxels.
        workers: Patients made at the same time, in processes of their own.
        overwrite: Make those anew that are there.
        on_result: Called with the result of each patient as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each patient.

    Raises:
        UsageError: The number is not positive; or the folder holds patients with another spacing.
        VolumeFileError: The manifest cannot be written.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.manifest import Manifest

    if number < 1:
        raise UsageError(f"the number of patients is {number}; it has to be 1 or more (--patients)")
    folder = Path(output)
    tasks = []
    for seed in range(first_seed, first_seed + number):
        files = tuple(folder / name / f"{seed:03d}.mha" for name in ("images", "labels"))
        arguments = {"seed": seed, "spacing_mm": spacing_mm, "ct": files[0], "labels": files[1]}
        tasks.append(Task(f"{seed:03d}", files, arguments))
    settings = {"scheme": SCHEME, "spacing_mm": spacing_mm}
    return run_batch(
        _write_patient,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=Manifest(folder / f"{PROG}.json", PROG, settings),
        on_result=on_result,
        progress=progress,
    )


def _write_patient(seed: int, spacing_mm: float, ct: Path, labels: Path) -> dict[str, Any]:
    import numpy as np

    from label_gen.phantom import make_phantom
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.volumes import Volume, write_volume

    patient = make_phantom(seed, (spacing_mm,) * 3, scheme=load_scheme(SCHEME))
    assert patient.ct is not None
    for array, path in ((patient.labels, labels), (patient.ct, ct)):
        write_volume(Volume(array, patient.spacing_mm, patient.origin_mm), path)
    return {"fragments": int(np.count_nonzero(np.bincount(patient.labels.ravel())[1:]))}
