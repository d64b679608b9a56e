"""Is there a trainer of a name: nnU-Net's, ours, or one in the user's own folders of trainers."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from functools import cache
from pathlib import Path

from nnunet_ext.environment import VARIABLE, trainer_folder

__all__ = ["is_trainer"]

_CLASS = re.compile(r"^class (nnUNetTrainer\w*)\b", re.MULTILINE)
_LENGTH = re.compile(r"_[1-9]\d*epochs?(_[1-9]\d*iterations?)?$")


def is_trainer(name: str) -> bool:
    """Say whether nnU-Net would find a trainer.

    The sources are read first, which takes no time; only a name that is in none of them is looked for by importing our
    own trainers, as some are made when they are asked for.

    Args:
        name: Class name, with or without a number of epochs.
    """
    base = _LENGTH.sub("", name)
    if not base.startswith("nnUNetTrainer"):
        return False
    if base in _written():
        return True
    for file in sorted(trainer_folder().glob("[!_]*.py")):
        if hasattr(importlib.import_module(f"nnunet_ext.ext_trainers.{file.stem}"), base):
            return True
    return False


@cache
def _written() -> frozenset[str]:
    """Return the names of all trainer classes in the sources of nnU-Net, of ours, and of the user's own folders."""
    folders = [Path(__file__).resolve().parents[1] / "trainers"]
    found = importlib.util.find_spec("nnunetv2")
    if found is not None and found.submodule_search_locations:
        folders.append(Path(found.submodule_search_locations[0]) / "training" / "nnUNetTrainer")
    folders += [Path(place) for place in os.environ.get(VARIABLE, "").split(os.pathsep) if place]
    files = [file for folder in folders if folder.is_dir() for file in folder.rglob("*.py")]
    return frozenset(
        name for file in files for name in _CLASS.findall(file.read_text(encoding="utf-8", errors="replace"))
    )
