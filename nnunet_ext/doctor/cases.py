"""The cases of a dataset in nnUNet_raw: labels in range, equal grids, finite images, a core in every fragment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from label_gen.errors import FractureError
from nnunet_ext.cases import VOLUME_SUFFIXES
from nnunet_ext.doctor.findings import Finding, error, from_error, ok, warning
from nnunet_ext.training.labels import label_numbers
from nnunet_ext.training.splits import few

if TYPE_CHECKING:
    from label_gen.scheme import LabelScheme
    from nnunet_ext.training.raw import RawCase

__all__ = ["check_cases", "inspect_case", "scheme_of"]

KINDS = {
    "files": ("files", "volumes can be read", "export these files again"),
    "geometry": ("geometry", "images, labels, fragments and bones of each case share one grid",
                 "resample them onto the grid of the image, and make the dataset again"),
    "labels": ("labels", "all labels are in dataset.json", "mend the labels, or name them in dataset.json"),
    "scheme": ("scheme", "all fragment and bone numbers are in the label scheme",
               "make the dataset again: abbc-prepare-dataset with the scheme that the labels were made with"),
    "cores": ("cores", "every fragment has a core",
              "make the ABBC labels again: abbc-prepare-dataset, or abbc-generate-labels --audit"),
    "values": ("image values", "images hold finite numbers", "replace NaN and infinite values by those of air"),
}  # fmt: skip
"""What is looked for in each case: name of the check, what is said when all is well, and the cure."""


def check_cases(
    folder: Path,
    cases: Mapping[str, RawCase],
    dataset_json: Mapping[str, Any],
    workers: int = 1,
    progress: bool = False,
) -> list[Finding]:
    """Look into every case of a dataset.

    Args:
        folder: The dataset's folder in nnUNet_raw.
        cases: Its cases.
        dataset_json: Its dataset.json.
        workers: Cases looked at at the same time.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        A finding per kind of fault, or of health.
    """
    from nnunet_ext.batch import Task, run_batch

    ending = str(dataset_json["file_ending"])
    if ending.lower() not in VOLUME_SUFFIXES:
        cure = "use nnU-Net's own check: abbc-plan-and-preprocess --verify_dataset_integrity"
        return [warning("files", f"cases of type {ending} are not looked at here", cure)]
    about = dataset_json.get("abbc", {})
    extra = {part: folder / f"{part}Tr" for part in ("fragments", "anatomy") if (folder / f"{part}Tr").is_dir()}
    scheme, findings = None, []
    try:
        scheme = scheme_of(folder, about) if extra else None
    except FractureError as problem:
        findings.append(replace(from_error("scheme", problem), status="warning"))
    values = dataset_json["labels"].values()
    allowed = sorted({n for value in values for n in (value if isinstance(value, (list, tuple)) else [value])})
    numbers = {name.lower(): number for name, number in label_numbers(dataset_json).items()}
    core = numbers.get("core") if about.get("task", "abbc") == "abbc" else None
    tasks = [
        Task(name, (), {"images": case.images, "labels": case.labels, "allowed": allowed, "core": core,
                        "scheme": scheme, "fragments": None, "anatomy": None}
             | {part: place / f"{name}{ending}" for part, place in extra.items()})
        for name, case in cases.items()
    ]  # fmt: skip
    batch = run_batch(inspect_case, tasks, workers=workers, progress=progress)
    faults: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for result in batch.results:
        found = result.details if result.status == "done" else {"files": result.error}
        for kind, text in found.items():
            faults[kind][result.name] = text
    known = {"cores": core is not None and "fragments" in extra, "scheme": scheme is not None}
    findings += [_sum_up(kind, faults[kind], len(cases)) for kind in KINDS if known.get(kind, True) or faults[kind]]
    return findings


def scheme_of(folder: Path, about: Mapping[str, Any]) -> LabelScheme | None:
    """Return the label scheme of a dataset; None if it tells none.

    Args:
        folder: The dataset's folder; a scheme of the user's lies in it as `scheme.toml`.
        about: What stands under `abbc` in its dataset.json.

    Raises:
        SchemeError: It is not known, or wrong.
    """
    from nnunet_ext.schemes import load_scheme

    if not about.get("scheme"):
        return None
    own = folder / "scheme.toml"
    return load_scheme(own if own.is_file() else str(about["scheme"]))


def _sum_up(kind: str, faults: Mapping[str, str], total: int) -> Finding:
    check, healthy, cure = KINDS[kind]
    if not faults:
        return ok(check, f"{healthy} ({total} cases)")
    first = next(iter(faults))
    return error(
        check,
        f"{len(faults)} of {total} cases ({few(faults)}); {first}: {faults[first]}",
        cure,
        [f"{name}: {text}" for name, text in faults.items()],
    )


def inspect_case(
    images: tuple[Path, ...],
    labels: Path,
    allowed: list[int],
    core: int | None,
    scheme: LabelScheme | None,
    fragments: Path | None,
    anatomy: Path | None,
) -> dict[str, str]:
    """Look into one case.

    Args:
        images: Its channels.
        labels: Its labels.
        allowed: Numbers of dataset.json.
        core: Number of the core class; None if the labels are not the ABBC classes.
        scheme: The scheme of fragments and bones; None if unknown.
        fragments: Its true fragments, if the dataset has them.
        anatomy: Its bones, if the dataset has them.

    Returns:
        What is wrong, by kind; see `KINDS`.

    Raises:
        FractureError: A volume cannot be read.
    """
    import fastremap
    import numpy as np

    from nnunet_ext.volumes import read_labels

    faults: dict[str, str] = {}
    classes = read_labels(labels)
    partners = [path for path in (fragments, anatomy) if path is not None]
    if text := _grid_fault(labels, [*images, *partners]):
        faults["geometry"] = text
    if strange := set(fastremap.unique(classes.array).tolist()) - set(allowed):
        faults["labels"] = f"label {few(sorted(strange))} in {labels.name}, dataset.json has {few(allowed, 20)}"
    if strange_bones := _strange_bones(anatomy, scheme):
        faults["scheme"] = strange_bones
    if fragments is not None:
        pieces = read_labels(fragments).array
        ids = fastremap.unique(pieces)
        ids = ids[ids > 0]
        if scheme is not None:
            try:
                scheme.check_ids(ids)
            except FractureError as problem:
                faults["scheme"] = str(problem)
        if core is not None and pieces.shape == classes.array.shape:
            without = np.setdiff1d(ids, fastremap.unique(pieces[classes.array == core]))
            if len(without):
                faults["cores"] = f"no core in fragment {few(without.tolist())}"
    if unreal := [image.name for image in images if not _is_finite(image)]:
        faults["values"] = f"NaN or infinite values in {few(unreal)}"
    return faults


def _grid_fault(labels: Path, others: list[Path]) -> str:
    """Return how the grid of a volume differs from that of the labels; empty if none does."""
    from label_gen.errors import GridError
    from nnunet_ext.volumes import check_same_grid, read_grid

    grid = read_grid(labels)
    for path in others:
        try:
            check_same_grid(read_grid(path), grid, f"{path.parent.name}/{path.name}", f"labelsTr/{labels.name}")
        except GridError as problem:
            return str(problem).partition(". Resample")[0]
    return ""


def _strange_bones(anatomy: Path | None, scheme: LabelScheme | None) -> str:
    """Return which numbers in a volume of bones the scheme does not know; empty if it knows all."""
    if anatomy is None or scheme is None:
        return ""
    import fastremap

    from nnunet_ext.volumes import read_labels

    strange = set(fastremap.unique(read_labels(anatomy).array).tolist()) - {0, *scheme.anatomy.values()}
    bones = ", ".join(f"{name} {number}" for name, number in scheme.anatomy.items())
    return f"bone {few(sorted(strange))} in {anatomy.name}, scheme '{scheme.name}' has {bones}" if strange else ""


def _is_finite(image: Path) -> bool:
    """Tell whether an image holds finite numbers only. Images of whole numbers are not read."""
    import numpy as np

    from nnunet_ext._simpleitk import sitk, translated
    from nnunet_ext.intact import holds_finite
    from nnunet_ext.volumes import read_volume

    with translated(image):
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(image))
        reader.ReadImageInformation()
    if reader.GetPixelID() not in (sitk.sitkFloat32, sitk.sitkFloat64):
        return True
    return holds_finite(image) and bool(np.isfinite(read_volume(image).array).all())
