"""The folder in which models are made: where everything lies in it, and commands run with nnU-Net's variables set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from label_gen.errors import DataError
from nnunet_ext.manifest import without_paths
from nnunet_ext.modelling.profile import Profile

__all__ = ["DATASETS", "Workshop"]

DATASETS = {"abbc": (801, "Dataset801_Simulated_ABBC"), "bones": (802, "Dataset802_Simulated_Anatomy")}
"""Number and name of the nnU-Net dataset of each model."""

_TRAINED = {
    "abbc": ("nnUNetTrainerABBC", "ABBCPlansM", "3d_fullres"),
    "bones": ("nnUNetTrainerBones", "TriPlanarPlans", "triplanar"),
}
"""Trainer, plans and configuration of each model."""


@dataclass(frozen=True)
class Workshop:
    """The folder of one making of the models.

    Attributes:
        folder: The folder, absolute.
        profile: The settings.
    """

    folder: Path
    profile: Profile

    def cases(self, kind: str) -> Path:
        """Return the folder of cases: `training`, `test` or `real`."""
        return self.folder / "cases" / kind

    def nnunet(self, room: str) -> Path:
        """Return nnU-Net's folder: `raw`, `preprocessed` or `results`."""
        return self.folder / "nnunet" / room

    def trained(self, model: str) -> Path:
        """Return nnU-Net's folder of the training of `bones` or `abbc`."""
        return self.nnunet("results") / DATASETS[model][1] / "__".join(_TRAINED[model])

    def training_arguments(self, model: str) -> list[str]:
        """Return what is typed after `nnUNetv2_train`."""
        trainer, plans, configuration = _TRAINED[model]
        number = str(DATASETS[model][0])
        return [number, configuration, "0", "-tr", trainer, "-p", plans, "-device", self.profile.device]

    def packed(self, model: str) -> Path:
        """Return the folder of a packed model."""
        return self.folder / "packed" / model

    def environment(self, **more: object) -> dict[str, str]:
        """Return the environment for commands of nnU-Net and ours: its folders are here, our trainers are found.

        Args:
            **more: Further variables.
        """
        from nnunet_ext.environment import VARIABLE, ext_trainer_value

        kept = {key: value for key, value in os.environ.items() if not key.startswith("ABBC_")}
        rooms = {f"nnUNet_{room}": str(self.nnunet(room)) for room in ("raw", "preprocessed", "results")}
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        numbers = {"nnUNet_n_proc_DA": self.profile.loaders, "nnUNet_def_n_proc": self.profile.workers}
        if self.profile.device == "cpu":
            numbers["nnUNet_compile"] = 0
        texts = {key: str(value) for key, value in {**numbers, **more}.items()}
        return {**kept, **rooms, VARIABLE: ext_trainer_value(), "PYTHONPATH": path, **texts}

    def run(self, stage: str, module: str, arguments: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Run a Python module as a command, its words kept in `logs/STAGE.log`.

        Args:
            stage: Name of the stage.
            module: The module.
            arguments: What is typed after the command.
            environment: Environment variables.

        Raises:
            DataError: It failed; the text holds its last words.
        """
        for room in ("raw", "preprocessed", "results"):
            self.nnunet(room).mkdir(parents=True, exist_ok=True)
        log = self.folder / "logs" / f"{stage}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as stream:
            line = [sys.executable, "-m", module, *map(str, arguments)]
            done = subprocess.run(line, stdout=stream, stderr=subprocess.STDOUT, env=dict(environment), check=False)
        if done.returncode:
            words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = without_paths(" ".join(word.strip() for word in words[-2:]))
            raise DataError(
                f"the stage '{stage}' failed ({module}, status {done.returncode}): {last}; see logs/{log.name}, mend "
                "that, and run the same command again: it goes on from there"
            )
