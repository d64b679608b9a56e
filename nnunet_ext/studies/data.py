"""The training sets of a study, each within the next, and its test set: raw datasets of links to one source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, UsageError
from nnunet_ext.atomic import replacing, write_json
from nnunet_ext.preparation.splits import make_folds, patients_of, select_cases
from nnunet_ext.preparation.transfer import transfer
from nnunet_ext.studies.folder import ALL_CASES, StudyFolder
from nnunet_ext.studies.study import Cell, DataSettings, Study
from nnunet_ext.training.folders import find_dataset, nnunet_folder, read_json
from nnunet_ext.training.raw import RawCase, list_raw_cases
from nnunet_ext.training.splits import few

__all__ = ["Source", "TrainingSet", "dataset_names", "find_source", "training_sets", "user_folder", "write_set"]
__all__ += ["write_test"]


@dataclass(frozen=True)
class Source:
    """The dataset that all sets are taken from.

    Attributes:
        dataset_json: Its dataset.json.
        train: Cases to train on.
        test: Cases to test on.
        patients: The patient of each case.
    """

    dataset_json: Mapping[str, Any]
    train: Mapping[str, RawCase]
    test: Mapping[str, RawCase]
    patients: Mapping[str, str]


@dataclass(frozen=True)
class TrainingSet:
    """One set of training cases.

    Attributes:
        number: Of the dataset in the study's nnUNet_raw.
        name: `DatasetNNN_...`.
        cases: Its cases, sorted.
        folds: nnU-Net's `splits_final.json`.
    """

    number: int
    name: str
    cases: tuple[str, ...]
    folds: tuple[Mapping[str, list[str]], ...]


def dataset_names(study: Study) -> dict[int | None, tuple[int, str]]:
    """Return number and name of the dataset for each number of training cases that the cells name.

    Args:
        study: The study.
    """
    sizes = sorted({cell.cases for cell in study.cells}, key=lambda cases: (cases is None, cases))
    return {cases: (cases or ALL_CASES, f"Dataset{cases or ALL_CASES:03d}_{study.name}") for cases in sizes}


def user_folder(dataset: int | str) -> Path:
    """Return the folder of a dataset in the user's own nnUNet_raw.

    Raises:
        UsageError: The variable is not set, or there is no such dataset.
    """
    return nnunet_folder("nnUNet_raw") / find_dataset(dataset)


def find_source(folder: Path, data: DataSettings) -> Source:
    """Look at the dataset that the study takes its cases from, and part training from test.

    Args:
        folder: Its folder in nnUNet_raw.
        data: What the study file says.

    Returns:
        The cases of both.

    Raises:
        UsageError: A case that is named is not there, nothing is left on a side, or a patient is on both.
        VolumeFileError: A folder cannot be read.
    """
    content = read_json(folder / "dataset.json", "make the dataset with abbc-prepare-dataset")
    found = list_raw_cases(folder, content)
    ending = str(content["file_ending"])
    apart = _test_folder(folder, ending, len(content["channel_names"]))
    for key, names in (("test", data.test), ("train", data.train)):
        if strange := [name for name in names if name not in found]:
            raise UsageError(
                f"{folder.name} has no training case '{strange[0]}' (key '{key}' of the study); it has {few(found)}"
            )
    if both := sorted(found.keys() & apart.keys()):
        raise UsageError(f"the test case '{both[0]}' of {folder.name} is inside the training set too (imagesTr)")
    test = {name: found[name] for name in data.test} or apart
    if not test:
        raise UsageError(
            f"{folder.name} has no test set, which must be held out: name cases (key 'test' of the study), or make "
            "imagesTs and labelsTs with abbc-prepare-dataset --test"
        )
    patients, _ = patients_of([*found, *apart], data.patient)
    patients |= content.get("abbc", {}).get("patients", {}) if not data.patient else {}
    tested = {patients[name] for name in test}
    wanted = data.train or [name for name in found if name not in test]
    shared = [name for name in wanted if patients[name] in tested]
    if shared and data.train:
        raise UsageError(
            f"the training case '{shared[0]}' is of patient '{patients[shared[0]]}', who is in the test set; take it "
            "out of 'train'"
        )
    train = {name: found[name] for name in wanted if name not in shared}
    if not train:
        raise UsageError(f"no case of {folder.name} is left to train on beside the test set")
    return Source(content, train, test, patients)


def _test_folder(folder: Path, ending: str, channels: int) -> dict[str, RawCase]:
    """Return the cases of imagesTs that have labels in labelsTs."""
    if not (folder / "labelsTs").is_dir():
        return {}
    labels = sorted((folder / "labelsTs").glob(f"[!.]*{ending}"))
    cases = {}
    for label in labels:
        name = label.name.removesuffix(ending)
        images = tuple(folder / "imagesTs" / f"{name}_{channel:04d}{ending}" for channel in range(channels))
        if all(image.is_file() for image in images):
            cases[name] = RawCase(name, images, label)
    return cases


def training_sets(study: Study, source: Source) -> dict[int | None, TrainingSet]:
    """Choose the cases of each training set and its folds: those of a smaller set are among those of a larger one.

    Args:
        study: The study.
        source: Its cases.

    Returns:
        The sets by number of cases; None for all.

    Raises:
        UsageError: A cell wants more cases than there are, or a fold that there is not.
    """
    data = study.data
    patients = {name: source.patients[name] for name in source.train}
    sets = {}
    for cases, (number, name) in dataset_names(study).items():
        if (cases or 0) > len(patients):
            raise UsageError(f"{cases} training cases are wanted, and there are {len(patients)} (key 'cases')")
        chosen = sorted(select_cases(patients, number=cases, seed=data.seed))
        folds = make_folds({case: patients[case] for case in chosen}, data.folds, data.seed)
        sets[cases] = TrainingSet(number, name, tuple(chosen), tuple(folds))
    for cell in study.cells:
        _check_folds(cell, sets[cell.cases])
    return sets


def _check_folds(cell: Cell, chosen: TrainingSet) -> None:
    highest = max((fold for fold in cell.folds if isinstance(fold, int)), default=-1)
    if highest >= len(chosen.folds):
        raise UsageError(
            f"cell '{cell.name}' wants fold {highest}; its {len(chosen.cases)} training cases make {len(chosen.folds)} "
            "folds, counted from 0, as those of a patient never part (key 'folds')"
        )


def write_set(folder: StudyFolder, source: Source, chosen: TrainingSet) -> None:
    """Make the raw dataset of a training set: links to the files of the source, where the file system allows.

    Args:
        folder: The folder of the study.
        source: The cases.
        chosen: The training set.

    Raises:
        VolumeFileError: A file cannot be written.
        DataError: A file of the source is gone.
    """
    ending = str(source.dataset_json["file_ending"])
    place = folder.raw(chosen.name)
    for name in chosen.cases:
        _link(source.train[name], name, place / "imagesTr", place / "labelsTr", ending)
    about = dict(source.dataset_json.get("abbc", {}))
    patients = {name: source.patients[name] for name in chosen.cases if source.patients[name] != name}
    content = {key: value for key, value in source.dataset_json.items() if key != "dataset"}
    content |= {"numTraining": len(chosen.cases), "name": chosen.name}
    content |= {"abbc": {**about, "patients": patients}} if about or patients else {}
    with replacing(place / "splits_final.json") as temporary:
        temporary.write_text(json.dumps(list(chosen.folds), indent=1) + "\n", encoding="utf-8")
    write_json(place / "dataset.json", content)


def write_test(folder: StudyFolder, source: Source) -> None:
    """Make the test set: links, as `write_set` does.

    Args:
        folder: The folder of the study.
        source: The cases.

    Raises:
        VolumeFileError: A file cannot be written.
        DataError: A file of the source is gone.
    """
    ending = str(source.dataset_json["file_ending"])
    for name, case in source.test.items():
        _link(case, name, folder.test("images"), folder.test("labels"), ending)


def _link(case: RawCase, name: str, images: Path, labels: Path, ending: str) -> None:
    pairs = [(image, images / f"{name}_{channel:04d}{ending}") for channel, image in enumerate(case.images)]
    for source, target in [*pairs, (case.labels, labels / f"{name}{ending}")]:
        if not source.is_file():
            raise DataError(f"'{source.name}' of case '{name}' is not there; make the dataset complete")
        transfer(source, target, "link")
