"""What a study is: data, cells (one training each), metrics, and the published tables it is set beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["COSTS", "FINE_TUNING", "PLANS_OF", "Cell", "DataSettings", "MetricSettings", "Published", "Study"]

PLANS_OF = {
    "ExperimentPlanner": "nnUNetPlans",
    "nnUNetPlannerResEncM": "nnUNetResEncUNetMPlans",
    "nnUNetPlannerResEncL": "nnUNetResEncUNetLPlans",
    "nnUNetPlannerResEncXL": "nnUNetResEncUNetXLPlans",
    "ABBCPlannerM": "ABBCPlansM",
    "ABBCPlannerL": "ABBCPlansL",
    "ABBCPlannerXL": "ABBCPlansXL",
    "TriPlanarPlanner": "TriPlanarPlans",
    "FineTuning": "FineTuningPlans",
}
"""Planners that a cell may name, with the names of their plans. Source: nnU-Net 2.8 and this package."""

FINE_TUNING = "FineTuning"
"""What stands for a planner where a training goes on from the weights of another model (`abbc-plan-finetuning`)."""

COSTS = ("training_s", "processor_s", "peak_vram_mb", "peak_ram_mb", "inference_s")
"""What is told of each cell beside its scores: wall time of the training, processor time of it, largest memory of GPU
and machine in it, and wall time of the prediction per volume."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the cases come from.

    Attributes:
        simulate: `femora` or `pelves`: cases are made; empty for a dataset of nnU-Net's.
        dataset: Number or name of a dataset in nnUNet_raw; None where cases are made.
        train: Names of the training cases of the dataset; empty for all that are not tested on.
        test: Names of the test cases, of `imagesTr`; empty for those of `imagesTs`.
        patient: Regular expressions with a group `patient` for whole case names; the dataset.json may tell too.
        donors: People to make training cases of; left and right femur of one are two cases.
        test_donors: The same for the test.
        spacing_mm: Edge of the voxels of cases that are made.
        seed: Of cases that are made, of their order, and of the folds.
        folds: Folds of the cross-validation.
    """

    simulate: str = ""
    dataset: int | str | None = None
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    patient: tuple[str, ...] = ()
    donors: int = 0
    test_donors: int = 0
    spacing_mm: float = 1.0
    seed: int = 0
    folds: int = 5

    @property
    def made_cases(self) -> int | None:
        """How many training cases are made; None where they are not made."""
        return {"femora": 2, "pelves": 1}[self.simulate] * self.donors if self.simulate else None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training of a study, with what it is tested on.

    Attributes:
        name: Its name, that of its folder.
        configuration: nnU-Net's word: `2d`, `3d_fullres`, `triplanar`, ...
        trainer: Class name without a number of epochs.
        planner: Class name; `FineTuning` for plans and weights of another model, TotalSegmentator's say.
        batch_size: Of the training; that of the plans if None.
        patch_size: Edge of the patches, one number for all axes; that of the plans if None.
        base_features: Feature maps of the first stage; those of the plans if None.
        most_blocks: Upper limit of blocks per stage; that of the plans if None.
        cases: Training cases; all if None. Those of a smaller number are among those of a larger one.
        epochs: Length of the training; that of the trainer if None.
        iterations: Steps per epoch; those of the trainer if None.
        folds: Folds that are trained, and averaged in the prediction; `all` trains on all training cases.
        mirroring: Average predictions over mirror images.
        validation: Predict and score the validation cases of each fold.
        variables: Environment variables of the training.
        labels: What this cell has on each axis of its grid, in the words of the study file.
    """

    name: str
    configuration: str
    trainer: str = "nnUNetTrainer"
    planner: str = ""
    batch_size: int | None = None
    patch_size: int | None = None
    base_features: int | None = None
    most_blocks: int | None = None
    cases: int | None = None
    epochs: int | None = None
    iterations: int | None = None
    folds: tuple[int | str, ...] = ("all",)
    mirroring: bool = True
    validation: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def plans(self) -> str:
        """Name of the plans."""
        return PLANS_OF[self.planner]

    @property
    def needs_weights(self) -> bool:
        """The training goes on from the weights of another model, whose network it has."""
        return self.planner == FINE_TUNING

    @property
    def trainer_name(self) -> str:
        """Class name of the trainer with its length, as nnU-Net finds it."""
        length = f"_{self.epochs}epochs" if self.epochs else ""
        return self.trainer + length + (f"_{self.iterations}iterations" if self.iterations else "")

    @property
    def configuration_name(self) -> str:
        """Name of the configuration in the plans: nnU-Net's, or one that inherits from it and differs in size."""
        parts = {"batch": self.batch_size, "patch": self.patch_size, "features": self.base_features}
        parts |= {"blocks": self.most_blocks}
        return "_".join([self.configuration, *(f"{word}{value}" for word, value in parts.items() if value)])

    def settings(self) -> dict[str, Any]:
        """Return what the training depends on, plain types."""
        return {
            "configuration": self.configuration_name,
            "trainer": self.trainer_name,
            "planner": self.planner,
            "cases": self.cases,
            "folds": list(self.folds),
            "mirroring": self.mirroring,
            "validation": self.validation,
            "variables": dict(self.variables),
        }


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    """What is measured.

    Attributes:
        structures: `all`, or names of labels of the dataset.
        columns: What tables and plots show, `dice` say; the first is the one that plots show.
        end_slices: Slices at each end of a structure that are scored as regions; None for none.
        slice_axis: Axis of the slices, of z, y, x.
    """

    structures: str | tuple[str, ...] = "all"
    columns: tuple[str, ...] = ("dice", "jaccard", "asd_mm", "hd95_mm")
    end_slices: int | None = None
    slice_axis: int = 0


@dataclass(frozen=True, kw_only=True)
class Published:
    """A table of a publication.

    Attributes:
        title: Which table.
        source: Authors, year, number of the table.
        note: How its study differs.
        columns: What it tells, in the words of `MetricSettings.columns`, with `.sd` behind for standard deviations.
        rows: Its values by name of a cell; None where it tells none.
        others: Its rows that are no cells, by their own names.
    """

    title: str
    source: str
    note: str = ""
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]
    others: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study.

    Attributes:
        name: Its name.
        description: One sentence.
        reference: What it repeats.
        data: Where the cases come from.
        cells: The trainings, in the order of the file.
        metrics: What is measured.
        published: Tables to set beside.
    """

    name: str
    description: str
    reference: str
    data: DataSettings
    cells: tuple[Cell, ...]
    metrics: MetricSettings
    published: tuple[Published, ...] = ()
