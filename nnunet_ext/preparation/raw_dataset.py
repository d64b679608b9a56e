"""The folder of a dataset in nnUNet_raw: is it free, is there room, and its dataset.json and folds."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from label_gen.errors import FractureError, UsageError
from nnunet_ext import __version__
from nnunet_ext._simpleitk import sitk, translated
from nnunet_ext.atomic import replacing, write_json
from nnunet_ext.cases import split_suffix
from nnunet_ext.grids import Grid
from nnunet_ext.preparation.orientation import LPS, orientation_of
from nnunet_ext.preparation.splits import make_folds
from nnunet_ext.preparation.targets import Target
from nnunet_ext.preparation.transfer import can_hard_link, is_usable_as_is
from nnunet_ext.recipes import Recipe
from nnunet_ext.training.folders import list_datasets, read_json

__all__ = ["ENDINGS", "choose_ending", "claim_folder", "estimate_bytes", "finish_dataset"]

ENDINGS = (".nii.gz", ".mha", ".nrrd")
"""File types that nnU-Net reads with the geometry kept; others are converted to the first."""

LABEL_GROWTH = 2
"""Size of each label file that is written, against that of the source, at the most. Source: chosen here; on the three
FracSegNet pelves the ABBC classes take 1.5 times the bytes of the fragments, which take as many as in the source."""

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")


def claim_folder(raw: Path, number: int, name: str, about: Mapping[str, Any]) -> Path:
    """Return the folder of a dataset, after checking that it is free or was made alike.

    Args:
        raw: nnUNet_raw.
        number: The dataset's ID.
        name: What stands behind `DatasetXXX_`.
        about: What will stand under `abbc` in dataset.json.

    Returns:
        The folder, which may not exist yet.

    Raises:
        UsageError: The ID or name makes no sense, the ID is taken, or the folder holds something else.
        FractureError: The dataset.json in the folder cannot be read.
    """
    if not 1 <= number <= 999:
        raise UsageError(f"the dataset ID is {number}; nnU-Net takes 1 to 999 (-d)")
    if not _NAME.fullmatch(name):
        raise UsageError(f"the dataset name is '{name}'; letters, digits, '_' and '-' are allowed (--name)")
    folder = raw / f"Dataset{number:03d}_{name}"
    for other, variables in list_datasets().items():
        if int(other[7:10]) == number and other != folder.name:
            raise UsageError(
                f"the dataset ID {number} is taken by '{other}' (in {' and '.join(variables)}), and nnU-Net wants one "
                f"name per ID; choose another ID (-d), or that name (--name {other[11:]})"
            )
    path = folder / "dataset.json"
    if not path.exists():
        return folder
    before = read_json(path, "move the folder away, or choose another ID (-d)").get("abbc", {})
    keys = ("task", "scheme", "recipe", "bones", "classes")
    if differs := [key for key in keys if before.get(key) != json.loads(json.dumps(about)).get(key)]:
        raise UsageError(
            f"'{folder.name}' is there already, made otherwise ({differs[0]}: "
            f"{before.get(differs[0], 'unknown')} before, {about.get(differs[0])} now); choose another ID "
            "(-d), or remove that folder"
        )
    return folder


def choose_ending(folder: Path, images: Iterable[Path]) -> str:
    """Return the file ending of a dataset: that which it has, or else that of most images.

    Args:
        folder: The dataset's folder.
        images: The image files of the source.
    """
    counts = Counter(split_suffix(path.name)[1] for path in images)
    best = max(ENDINGS, key=lambda ending: counts[ending])
    try:
        ending = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    except (OSError, ValueError, KeyError, TypeError):
        return best
    return ending if ending in ENDINGS else best


def estimate_bytes(image: Path, labels: Path, target: Target, transfer: str) -> int:
    """Estimate the disk that a case takes in a dataset, rather too much than too little.

    Args:
        image: The image file.
        labels: The label file.
        target: The dataset.
        transfer: How images get there.

    Returns:
        Bytes; 0 if the header cannot be read, as the case then fails.
    """
    try:
        with translated(image):
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(image))
            reader.ReadImageInformation()
            size, direction = reader.GetSize(), reader.GetDirection()
            voxel = sitk.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
        stays = is_usable_as_is(image, target.ending) and len(size) == 3
        is_turned = len(size) == 3 and orientation_of(Grid((1, 1, 1), (1.0, 1.0, 1.0), direction=direction)) != LPS
        needed = min(LABEL_GROWTH * labels.stat().st_size, prod(size)) * len(target.kinds)
        if is_turned or not stays:
            return int(needed + prod(size) * voxel)
        if transfer == "symlink" or (transfer == "link" and can_hard_link(image.resolve(), target.folder)):
            return int(needed)
        return int(needed + image.stat().st_size)
    except (FractureError, OSError, RuntimeError):
        return 0


def finish_dataset(
    target: Target,
    recipe: Recipe,
    about: Mapping[str, Any],
    patients: Mapping[str, str],
    chosen: Iterable[str],
    *,
    folds: int,
    seed: int,
    scheme_file: Path | None = None,
) -> int:
    """Write what nnU-Net needs beside the cases: dataset.json and splits_final.json, for the cases that are complete.

    Args:
        target: The dataset.
        recipe: The recipe.
        about: What stands under `abbc` in dataset.json.
        patients: The patient of each case of the source.
        chosen: The cases for training, finished or not. Folds are made of these and of what is in the folder, so that
            a case that comes later does not move the others.
        folds: How many folds.
        seed: Of the folds.
        scheme_file: Label scheme of the user, kept in the dataset as `scheme.toml`.

    Returns:
        The number of folds; 0 if no case is complete and nothing was written.

    Raises:
        VolumeFileError: A file cannot be written.
    """
    cases = target.finished("Tr")
    if not cases:
        return 0
    groups = {name: patients.get(name, name) for name in {*chosen, *cases}}
    splits: list[dict[str, list[str]]] = [
        {side: [name for name in names if name in cases] for side, names in fold.items()}
        for fold in make_folds(groups, folds, seed)
    ]
    if not all(fold[side] for fold in splits for side in fold):
        splits = make_folds({name: groups[name] for name in cases}, folds, seed)
    several = {patient for patient, count in Counter(groups[name] for name in cases).items() if count > 1}
    content = {
        "channel_names": {"0": recipe.channel},
        "labels": dict(target.labels),
        "numTraining": len(cases),
        "file_ending": target.ending,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "name": target.folder.name,
        "description": recipe.description,
        "reference": recipe.reference,
        "licence": recipe.licence,
        "converted_by": f"abbc-prepare-dataset {__version__}",
        "abbc": {**about, "patients": {name: groups[name] for name in cases if groups[name] in several}},
    }
    if scheme_file is not None:
        with replacing(target.folder / "scheme.toml") as temporary:
            shutil.copyfile(scheme_file, temporary)
    _write_list(target.folder / "splits_final.json", splits)
    write_json(target.folder / "dataset.json", content)
    return len(splits)


def _write_list(path: Path, content: Sequence[Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
