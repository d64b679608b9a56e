"""Simulated femora as a raw nnU-Net dataset: both femora of each donor, each in a CT of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen._sampling import Box, SampleGrid
from label_gen.errors import DataError, UsageError
from label_gen.phantom import PHANTOM_SCHEME
from label_gen.simulation.rendering import render_ct
from label_gen.simulation.settings import SimulationSettings
from label_gen.simulation.solids import Solid
from label_gen.simulation.variation import vary_solids
from nnunet_ext.atomic import check_writable
from nnunet_ext.batch import CaseResult, Task, run_batch
from nnunet_ext.manifest import Manifest
from nnunet_ext.preparation.raw_dataset import claim_folder, finish_dataset
from nnunet_ext.preparation.targets import Target, labels_of_task
from nnunet_ext.recipes import Recipe
from nnunet_ext.simulation.plan import check_view
from nnunet_ext.simulation.sources import Patient, Source, find_sources, load_patient
from nnunet_ext.volumes import Volume, read_labels, write_volume

__all__ = ["SIDES", "make_femora", "simulate_donor"]

SIDES = ("left", "right")
"""What stands behind the donor in the name of a case."""

MARGIN_MM = (8.0, 22.0)
"""Range of the room around a femur, drawn for each face of its volume. Source: chosen here, so that the femur is not
always in the middle; the acetabulum around the head is in view, as in CT of patients."""

LENGTH_MM = 160.0
"""How much of a femur is in view, from its top. Source: the proximal femora of Lang 2024 are 153 to 199 slices of 1 mm
long."""

ROLES = {"Tr": ("donor", 0), "Ts": ("test", 50_000)}
"""First part of the names of cases for training and testing, and where their seeds begin."""

SEEDS = 100_000
"""Seeds of donors of one study. Source: chosen here."""

RECIPE = Recipe(
    name="simulated_femora",
    description="Simulated femora: shapes from formulas or labels, CT made up",
    dataset_name="SimulatedFemora",
    tasks=("semantic",),
    layouts=(),
    classes={"femur": (1,)},
    reference="none, simulated",
    licence="that of the label volumes, if any were given",
)


def make_femora(
    folder_raw: str | Path,
    dataset_id: int,
    *,
    donors: int,
    test_donors: int = 0,
    seed: int = 0,
    spacing_mm: float | Sequence[float] = 1.5,
    length_mm: float = LENGTH_MM,
    anatomies: str | Path | None = None,
    name: str = RECIPE.dataset_name,
    folds: int = 5,
    workers: int = 1,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> Path:
    """Make the dataset `DatasetNNN_SimulatedFemora`.

    Each donor gives two cases, `donor_000_left` and `donor_000_right`: what lies around that femur in one CT of both,
    with the label `femur` (1) for the whole, filled bone. Folds of `splits_final.json` and the test set never part a
    donor, nor donors whose shape comes of one person. The same seed gives the same donors, however many are made:
    those of a smaller set are in a larger one.

    Args:
        folder_raw: nnUNet_raw.
        dataset_id: Number of the dataset, 1 to 999.
        donors: Donors for training, in `imagesTr` and `labelsTr`.
        test_donors: Donors for testing, in `imagesTs` and `labelsTs`: `test_000_left`, ...
        seed: Of everything random.
        spacing_mm: Voxel size in mm, one number or three in the order z, y, x.
        length_mm: How much of a femur is in view, from its top.
        anatomies: Bone labels, numbered as `abbc-simulate-fractures -i` takes them: a volume or a folder. They are used
            in turn, each time with other sizes and shapes; those without both femora are left out. Volumes whose names
            agree up to `_labels` are of one person; the last third of the people is for test donors only. None draws
            donors from formulas.
        name: What stands behind `DatasetNNN_`.
        folds: Folds of `splits_final.json`.
        workers: Donors made at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        overwrite: Make finished donors anew instead of keeping them.
        on_result: Called with the result of each donor as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        The dataset's folder.

    Raises:
        UsageError: A number makes no sense, the number or name of the dataset is taken, or no label volume is usable.
        DataError: A donor could not be made.
        VolumeFileError: A file cannot be read or written.
    """
    if donors < 1 or test_donors < 0 or seed < 0 or max(donors, test_donors) > ROLES["Ts"][1]:
        raise UsageError(
            f"{donors} donors, {test_donors} test donors and seed {seed} are wanted; the first has to be 1 or more, "
            f"the others 0 or more, and neither set larger than {ROLES['Ts'][1]}"
        )
    if not 20.0 <= length_mm <= 600.0:
        raise UsageError(f"{length_mm:g} mm of each femur are wanted in view; 20 to 600 are possible (length_mm)")
    wanted = [spacing_mm] if isinstance(spacing_mm, (int, float)) else list(spacing_mm)
    spacing, _ = check_view(wanted, None)
    assert spacing is not None
    usable = _usable_sources(anatomies, Path(folder_raw) / f"Dataset{dataset_id:03d}_{name}")
    shapes = "formulas" if anatomies is None else ", ".join(source.name for source in usable)
    about = {
        "task": "semantic",
        "recipe": f"{RECIPE.name}, seed {seed}, {_times(spacing)} mm, {length_mm:g} mm long, shapes of {shapes}",
        "classes": {"femur": [1]},
    }
    folder = claim_folder(Path(folder_raw), dataset_id, name, about)
    target = Target(folder, "semantic", ".nii.gz", labels_of_task("semantic", (), RECIPE.classes))
    sources = _share(usable, test_donors)
    parts = {f"donor_{number:03d}": ("Tr", number) for number in range(donors)}
    parts |= {f"test_{number:03d}": ("Ts", number) for number in range(test_donors)}
    tasks = []
    for donor, (part, number) in parts.items():
        files = {side: target.files(f"{donor}_{side}", part) for side in SIDES}
        arguments = {
            "source": sources[part][number % len(sources[part])],
            "seed": SEEDS * seed + ROLES[part][1] + number,
            "spacing_mm": spacing,
            "length_mm": float(length_mm),
            "files": files,
        }
        tasks.append(Task(donor, tuple(path for pair in files.values() for path in pair), arguments))
    manifest = folder / f"{RECIPE.name}.json"
    check_writable(manifest)
    settings = {"donors": donors, "test_donors": test_donors, "spacing_zyx_mm": spacing, "length_mm": length_mm}
    done = run_batch(
        simulate_donor,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=Manifest(manifest, RECIPE.name, settings, seed),
        on_result=on_result,
        progress=progress,
    )
    if done.failed:
        first = done.failed[0]
        raise DataError(
            f"{len(done.failed)} donors of {folder.name} could not be made, {first.name} first: {first.error}"
        )
    wanted_cases = {f"{donor}_{side}" for donor, (part, _) in parts.items() if part == "Tr" for side in SIDES}
    patients = {case: _patient(case, sources["Tr"]) for case in sorted({*wanted_cases, *target.finished("Tr")})}
    finish_dataset(target, RECIPE, about, patients, wanted_cases, folds=folds, seed=seed)
    return folder


def simulate_donor(
    *,
    source: Source,
    seed: int,
    spacing_mm: tuple[float, float, float],
    length_mm: float,
    files: Mapping[str, tuple[Path, Path]],
) -> dict[str, Any]:
    """Simulate the CT of one donor, and write what lies around each femur.

    Args:
        source: Where the bones come from.
        seed: Of everything random.
        spacing_mm: Voxel size in the order z, y, x.
        length_mm: How much of a femur is in view, from its top.
        files: Label file and image file of each side, `left` and `right`.

    Returns:
        What the manifest tells: the source, and the volume of each femur in mL.

    Raises:
        DataError: A femur is not in view.
        VolumeFileError: A file cannot be read or written.
    """
    patient = load_patient(source, seed, PHANTOM_SCHEME, spacing_mm, None, with_ct=False)
    bones: Mapping[str, Solid] = patient.bones
    if patient.may_vary:
        bones = vary_solids(bones, np.random.default_rng([seed, 1]))
    grid = _view(bones, patient, length_mm)
    owner, depth = _draw(bones, grid)
    numbers = [range(number, number + 1) for number in range(1, len(bones) + 1)]
    damage = np.zeros(grid.shape, np.float32)
    settings = SimulationSettings()
    ct = render_ct(np.random.default_rng([seed, 4]), owner, numbers, depth, damage, grid, settings, extra=patient.extra)
    room = np.random.default_rng([seed, 5])
    told: dict[str, Any] = {"source": source.name}
    for side, (label_file, image_file) in files.items():
        is_femur = owner == 1 + list(bones).index(f"{side}_femur")
        if not is_femur.any():
            raise DataError(f"the {side} femur of '{source.name}' is not in view; take labels that show it")
        box = _around(is_femur, room, grid.spacing_mm)
        origin = tuple(grid.origin_mm[axis] + grid.spacing_mm[2 - axis] * box[2 - axis].start for axis in range(3))
        for path, array in ((label_file, is_femur.astype(np.uint8)), (image_file, ct)):
            volume = Volume(np.ascontiguousarray(array[box]), grid.spacing_mm, (origin[0], origin[1], origin[2]))
            write_volume(volume, path)
        told[f"{side}_ml"] = round(float(is_femur[box].sum() * np.prod(grid.spacing_mm)) / 1000, 1)
    return told


def _usable_sources(anatomies: str | Path | None, output: Path) -> tuple[Source, ...]:
    """Return the label volumes that show both femora, or the formulas if none are given."""
    sources, _ = find_sources(anatomies, None, anatomies is None, output)
    wanted = [PHANTOM_SCHEME.anatomy[f"{side}_femur"] for side in SIDES]
    usable = []
    for source in sources:
        if source.problem:
            continue
        if source.anatomy is None or set(wanted) <= set(np.unique(read_labels(source.anatomy).array).tolist()):
            usable.append(source)
    if not usable:
        raise UsageError(
            f"no label volume in '{anatomies}' shows both femora ({wanted[0]} left, {wanted[1]} right); give others "
            "(anatomies), or none to draw donors from formulas"
        )
    return tuple(usable)


def _share(sources: tuple[Source, ...], test_donors: int) -> dict[str, tuple[Source, ...]]:
    """Return the sources of donors for training and for testing; formulas, which never repeat, are for both.

    Raises:
        UsageError: One person would be on both sides.
    """
    people = list(dict.fromkeys(_person(source) for source in sources))
    if sources[0].anatomy is None or (len(people) == 1 and test_donors == 0):
        return {"Tr": sources, "Ts": sources}
    if len(people) == 1:
        raise UsageError(
            f"'{people[0]}' is the only person whose label volumes show both femora, and a shape must not be on both "
            "sides; give more label volumes (anatomies), or make no test donors"
        )
    kept = people[-max(1, len(people) // 3) :]
    return {
        "Tr": tuple(source for source in sources if _person(source) not in kept),
        "Ts": tuple(source for source in sources if _person(source) in kept),
    }


def _person(source: Source) -> str:
    return source.name.partition("_labels")[0]


def _patient(case: str, sources: Sequence[Source]) -> str:
    """Return what must not be parted: the donor of a case, or the person whose shape it has."""
    donor, _, _ = case.rpartition("_")
    source = sources[int(donor.rpartition("_")[2]) % len(sources)]
    return donor if source.anatomy is None else _person(source)


def _view(bones: Mapping[str, Solid], patient: Patient, length_mm: float) -> SampleGrid:
    """Return the part of a patient's grid that holds both femora down to a length, with room around."""
    boxes = [bones[f"{side}_femur"].bounds() for side in SIDES]
    low = np.min([box[0] for box in boxes], axis=0) - MARGIN_MM[1]
    high = np.max([box[1] for box in boxes], axis=0) + MARGIN_MM[1]
    low[2] = min(float(box[1][2]) for box in boxes) - length_mm
    steps = np.array(patient.grid.spacing_mm[::-1])
    first = np.array(patient.grid.origin_mm) - steps / 2
    last = first + steps * np.array(patient.grid.shape[::-1])
    low[2], high[2] = max(low[2], first[2]), min(high[2], last[2])  # further down or up the bones are not known
    return SampleGrid.around(((low + high) / 2).tolist(), (high - low)[::-1].tolist(), patient.grid.spacing_mm)


def _draw(bones: Mapping[str, Solid], grid: SampleGrid) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Draw whole bones: their numbers from 1 in the order given, and the depth below the surface in mm (z, y, x)."""
    owner = np.zeros(grid.shape, np.uint16)
    depth = np.zeros(grid.shape, np.float32)
    for number, solid in enumerate(bones.values(), start=1):
        for block, points in grid.blocks(grid.box(*solid.bounds())):
            found = solid.depth(points)
            is_deeper = found > depth[block]
            owner[block][is_deeper] = number
            depth[block][is_deeper] = found[is_deeper]
    return owner, depth


def _around(mask: NDArray[np.bool_], rng: np.random.Generator, spacing_mm: Sequence[float]) -> Box:
    """Return a box around a mask with random room on each side, where the volume has that room."""
    box = []
    for axis, step in enumerate(spacing_mm):
        here = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        before, after = (round(float(room) / step) for room in rng.uniform(*MARGIN_MM, 2))
        box.append(slice(max(int(here[0]) - before, 0), min(int(here[-1]) + 1 + after, mask.shape[axis])))
    return box[0], box[1], box[2]


def _times(values: Sequence[float]) -> str:
    return "x".join(f"{value:g}" for value in values)
