"""The models that come with the package, by name: ordinary nnU-Net model folders, checked before they are used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, UsageError, VolumeFileError

__all__ = ["INDEX", "MODELS", "PRETRAINED", "find_model", "hash_of", "list_models", "model_folder", "ships", "sums_of"]

MODELS = {
    "bones": "whole bones: sacrum, hip bones and femora, each side by its own number",
    "abbc": "the ABBC classes of bone fragments: boundary, core and border",
}
"""Names of the models, and what each finds."""

PRETRAINED = Path(__file__).resolve().parent / "pretrained"
"""Where they lie: a folder for each, and beside them the index."""

INDEX = "index.json"
"""Lists the files of each model with their SHA-256."""

CURE = "install the package anew (pip install --force-reinstall --no-deps nnunet-abbc), or train it by 'make models'"


def list_models(place: Path | None = None) -> tuple[str, ...]:
    """Return the names of the models that are there, in the order of `MODELS`; they are not checked.

    Args:
        place: Folder with the models; that of the package if None.
    """
    folder = PRETRAINED if place is None else place
    return tuple(name for name in MODELS if (folder / name / "plans.json").is_file())


def model_folder(name: str, *, place: Path | None = None) -> Path:
    """Return the folder of a model that comes with the package, after comparing its files with their checksums.

    `nnUNetv2_predict_from_modelfolder -m FOLDER -f 0` takes it too.

    Args:
        name: One of `MODELS`.
        place: Folder with the models; that of the package if None.

    Returns:
        The folder, which holds `dataset.json`, `plans.json` and `fold_0/checkpoint_final.pth`.

    Raises:
        UsageError: There is no model of that name.
        VolumeFileError: A file of it is missing or cannot be read.
        DataError: A file of it is not what the index says.
    """
    place = PRETRAINED if place is None else place
    if name not in MODELS:
        raise UsageError(f"there is no model '{name}'; there are {', '.join(MODELS)}, or give a model folder (-m)")
    folder = place / name
    for file, expected in _listed(place, name).items():
        if not (folder / file).is_file():
            raise VolumeFileError(f"the model '{name}' is not complete: '{file}' is missing; {CURE}")
        if _sum_of(folder / file) != expected:
            raise DataError(f"the model '{name}' is damaged: '{file}' is not the file that was packed; {CURE}")
    return folder


def ships(model: str | Path) -> bool:
    """Return whether a name means a model that comes with the package; a folder of that name goes first.

    Args:
        model: Model folder, or name.
    """
    return str(model) in MODELS and not Path(model).is_dir()


def find_model(model: str | Path) -> Path:
    """Return the folder of a model; those that come with the package are checked.

    Args:
        model: Model folder, or the name of a model that comes with the package.

    Raises:
        FractureError: The model that comes with the package is missing or damaged.
    """
    return model_folder(str(model)) if ships(model) else Path(model)


def sums_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files below a folder, by their relative path, sorted.

    Args:
        folder: The folder.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sum_of(path) for path in files}


def hash_of(files: Iterable[Path]) -> str:
    """Return one SHA-256 over several files: of the sums of each, in the order given.

    Args:
        files: The files.

    Raises:
        VolumeFileError: One cannot be read.
    """
    total = hashlib.sha256()
    for path in files:
        total.update(bytes.fromhex(_sum_of(path)))
    return total.hexdigest()


def _listed(place: Path, name: str) -> Mapping[str, str]:
    """Return the checksums of a model's files as the index has them."""
    index = place / INDEX
    try:
        content: Any = json.loads(index.read_text(encoding="utf-8"))
        files = {str(file): str(value) for file, value in content["models"].get(name, {}).get("files", {}).items()}
    except FileNotFoundError:
        files = {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise VolumeFileError(f"the list of models '{index.name}' cannot be read ({error}); {CURE}") from error
    if not files:
        raise VolumeFileError(f"the model '{name}' does not come with this version of the package; {CURE}")
    return files


def _sum_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise VolumeFileError(f"cannot read '{path}': {error.strerror or error}; {CURE}") from error
