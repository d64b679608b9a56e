"""The folder of a study: where everything lies in it, and the environment of the commands that run there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.studies.study import Cell

__all__ = ["ALL_CASES", "MADE_CASES", "StudyFolder"]

ALL_CASES, MADE_CASES = 998, 999
"""Numbers of datasets in the study's own nnUNet_raw: the training set of all cases, and the cases that are made. That
of a smaller training set is its number of cases, so that a study can grow."""

_KEPT = ("ABBC_ENCODER_WEIGHTS", "ABBC_CHECKPOINT_MINUTES", "ABBC_CHECKPOINT_MIRROR")
"""Variables of the user that commands get: what depends on the machine. All others of ours the study file says."""


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study.

    Attributes:
        path: The folder, absolute.
        device: `cuda`, `cpu` or `mps`.
        reduced: It is that of a reduced study, whose commands are forked from a process that has the libraries loaded.
    """

    path: Path
    device: str = "cuda"
    reduced: bool = False

    def nnunet(self, room: str) -> Path:
        """Return nnU-Net's folder `raw` or `preprocessed`, which all cells share."""
        return self.path / "nnunet" / room

    def raw(self, dataset: str) -> Path:
        """Return the raw folder of a dataset."""
        return self.nnunet("raw") / dataset

    def preprocessed(self, dataset: str) -> Path:
        """Return the preprocessed folder of a dataset."""
        return self.nnunet("preprocessed") / dataset

    def test(self, what: str) -> Path:
        """Return the folder of the test's `images` or `labels`."""
        return self.path / "test" / what

    def cell(self, cell: str) -> Path:
        """Return the folder of a cell."""
        return self.path / "cells" / cell

    def record(self, cell: str) -> Path:
        """Return the record of a cell, which is there when it is finished."""
        return self.cell(cell) / "record.json"

    def trained(self, cell: Cell, dataset: str) -> Path:
        """Return nnU-Net's folder of the training of a cell."""
        name = f"{cell.trainer_name}__{cell.plans}__{cell.configuration_name}"
        return self.cell(cell.name) / "results" / dataset / name

    def environment(self, cell: str | None = None, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a command.

        Args:
            cell: The cell, which has nnUNet_results of its own.
            more: Further variables.

        Returns:
            The variables of this process, with those that say where nnU-Net's folders and our trainers are.
        """
        from nnunet_ext.environment import VARIABLE, ext_trainer_value

        kept = {key: value for key, value in os.environ.items() if not key.startswith("ABBC_") or key in _KEPT}
        results = self.path / "nnunet" / "results" if cell is None else self.cell(cell) / "results"
        rooms = {"nnUNet_raw": self.nnunet("raw"), "nnUNet_preprocessed": self.nnunet("preprocessed")}
        rooms["nnUNet_results"] = results
        for room in rooms.values():
            room.mkdir(parents=True, exist_ok=True)
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        if self.device == "cpu":
            # Threads that wait let others have the processor, as several cells may share it.
            kept = {"nnUNet_n_proc_DA": "0", "OMP_WAIT_POLICY": "PASSIVE", **kept, "nnUNet_compile": "0"}
        if self.reduced:
            kept = {"OMP_NUM_THREADS": "1", **kept}
        own = {
            VARIABLE: ext_trainer_value(),
            "PYTHONPATH": path,
            "nnUNet_def_n_proc": kept.get("nnUNet_def_n_proc", "2"),
        }
        return {**kept, **{key: str(room) for key, room in rooms.items()}, **own, **(more or {})}
