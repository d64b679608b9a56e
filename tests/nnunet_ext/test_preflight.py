"""What is refused before planning and training, and what the message says."""

import copy
import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from label_gen.errors import DataError, SchemeError, UsageError, VolumeFileError
from nnunet_ext.schemes import load_scheme
from nnunet_ext.training import folders, labels, preflight, raw, splits

NAME = "Dataset003_Tiny"
CASES = [f"c{number}" for number in range(5)]
DATASET = {
    "labels": {"background": 0, "boundary": 1, "core": 2, "border": 3},
    "channel_names": {"0": "CT"},
    "numTraining": 5,
    "file_ending": ".mha",
    "abbc": {"task": "abbc", "scheme": "pengwin2024"},
}
PLANS = {
    "dataset_name": NAME,
    "plans_name": "ABBCPlansM",
    "experiment_planner_used": "ABBCPlannerM",
    "configurations": {
        "3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres", "normalization_schemes": ["CTNormalization"]},
        "3d_small": {"inherits_from": "3d_fullres", "data_identifier": "small"},
        "loop": {"inherits_from": "loop"},
    },
}
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """The three folders of nnU-Net, by variable."""
    found = {}
    for variable in folders.FOLDER_VARIABLES:
        found[variable] = tmp_path / variable.removeprefix("nnUNet_")
        found[variable].mkdir()
        monkeypatch.setenv(variable, str(found[variable]))
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    return found


@pytest.fixture
def preprocessed(roots):
    """A preprocessed dataset, by the names of its files."""
    folder = roots["nnUNet_preprocessed"] / NAME
    for case in CASES:
        for file in (f"nnUNetPlans_3d_fullres/{case}{end}" for end in (".b2nd", "_seg.b2nd", ".pkl")):
            write(folder / file)
        write(folder / "gt_segmentations" / f"{case}.mha")
    write(folder / "dataset.json", DATASET)
    write(folder / "dataset_fingerprint.json", {})
    write(folder / "splits_final.json", [{"train": CASES[1:], "val": CASES[:1]}])
    return folder


def write(path, content="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def check(fold=0, configuration="3d_fullres", plans=PLANS, dataset=DATASET, **options):
    preflight.check_training(plans, configuration, dataset, fold, **{"n_parameters": 1000, **options})


# --- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fold", [0, 3, "all"])
def test_good_training_passes_and_nothing_is_written(preprocessed, roots, fold):
    before = sorted(preprocessed.rglob("*"))
    roots["nnUNet_results"].rmdir()
    plans = copy.deepcopy(PLANS)
    check(fold, plans=plans)
    assert sorted(preprocessed.rglob("*")) == before
    assert not roots["nnUNet_results"].exists()
    assert plans == PLANS


@pytest.mark.parametrize("fold", [-1, "x", 1.5, True, None])
def test_fold_that_is_none(preprocessed, fold):
    with pytest.raises(UsageError, match=r"give a number from 0, or 'all'"):
        check(fold)


@pytest.mark.parametrize("variable", ["nnUNet_preprocessed", "nnUNet_results"])
def test_variable_not_set(preprocessed, monkeypatch, variable):
    monkeypatch.delenv(variable)
    with pytest.raises(UsageError, match=rf"variable {variable} is not set; .*export {variable}=FOLDER"):
        check()


def test_variable_names_no_folder(preprocessed, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "typo"))
    with pytest.raises(UsageError, match=r"a folder that does not exist; make it"):
        check()
    write(tmp_path / "file")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"which is a file and no folder"):
        check()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody may write to")
def test_results_cannot_be_written(preprocessed, monkeypatch):
    monkeypatch.setenv("nnUNet_results", "/proc")
    with pytest.raises(VolumeFileError, match=r"nnUNet_results is '/proc', and nothing can be written there"):
        check()


def test_plans_whose_dataset_is_not_there(preprocessed):
    plans = {**PLANS, "dataset_name": "Dataset001_Other"}
    with pytest.raises(DataError, match=r"no folder in nnUNet_preprocessed; .* nnUNetv2_move_plans_between_datasets"):
        check(plans=plans)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", {"background": 0, "x": 1}),
        ("channel_names", {"0": "MR"}),
        ("file_ending", ".nrrd"),
        ("numTraining", 9),
    ],
)
def test_plans_of_another_dataset(preprocessed, key, value):
    with pytest.raises(DataError, match=rf"of another dataset, '{NAME}': .* {key} .*move_plans_between_datasets"):
        check(dataset={**DATASET, key: value})


def test_configuration_not_in_plans(preprocessed):
    with pytest.raises(UsageError, match=r"have 3d_fullres, 3d_small, loop .* -pl TriPlanarPlanner -c triplanar"):
        check(configuration="triplanar")
    with pytest.raises(UsageError, match=r"-pl ABBCPlannerM"):
        check(configuration="2d")


def test_configuration_inherits():
    inherited = preflight.resolve_configuration(PLANS, "3d_small")
    assert inherited["data_identifier"] == "small"
    assert inherited["normalization_schemes"] == ["CTNormalization"]
    with pytest.raises(DataError, match=r"inherits from 'loop', wrongly; plan again"):
        preflight.resolve_configuration(PLANS, "loop")


def test_channels_planned_for(preprocessed):
    dataset = {**DATASET, "channel_names": {"0": "CT", "1": "PET"}}
    write(preprocessed / "dataset.json", dataset)
    with pytest.raises(DataError, match=r"planned for 1 image channels, the dataset has 2; plan again: abbc-plan"):
        check(dataset=dataset)


PREPROCESS = "run: nnUNetv2_preprocess -d 3 -plans_name ABBCPlansM -c 3d_fullres"


def test_not_preprocessed_at_all(preprocessed):
    shutil.rmtree(preprocessed / "nnUNetPlans_3d_fullres")
    with pytest.raises(DataError, match=rf"has no folder nnUNetPlans_3d_fullres of it; {PREPROCESS}"):
        check()


@pytest.mark.parametrize("fold", [0, "all"])
@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (["c2.pkl"], "in part only: files of c2 are missing"),
        (["c2_seg.b2nd"], "in part only: files of c2 are missing"),
        (["c2.b2nd", "c2_seg.b2nd", "c2.pkl"], "are not preprocessed: c2"),
    ],
)
def test_preprocessed_in_part(preprocessed, lost, message, fold):
    for name in lost:
        (preprocessed / "nnUNetPlans_3d_fullres" / name).unlink()
    with pytest.raises(DataError, match=rf"{message}; {PREPROCESS}"):
        check(fold)


def test_empty_file_is_no_case(preprocessed):
    write(preprocessed / "nnUNetPlans_3d_fullres" / "c1.b2nd", "")
    with pytest.raises(DataError, match=r"files of c1 are missing"):
        check()


def test_files_of_two_kinds(preprocessed):
    write(preprocessed / "nnUNetPlans_3d_fullres" / "c1.npz")
    with pytest.raises(DataError, match=r"of the kinds b2nd, npz; .* remove the others"):
        check()


def test_older_layout_of_preprocessed_files(preprocessed):
    data = preprocessed / "nnUNetPlans_3d_fullres"
    shutil.rmtree(data)
    for case in CASES:
        write(data / f"{case}.npz")
        write(data / f"{case}.pkl")
    check()


def test_labels_for_validation(preprocessed):
    (preprocessed / "gt_segmentations" / "c0.mha").unlink()
    with pytest.raises(DataError, match=r"labels of c0 are missing in gt_segmentations"):
        check()


def test_fingerprint(preprocessed):
    (preprocessed / "dataset_fingerprint.json").unlink()
    with pytest.raises(
        DataError, match=r"no dataset_fingerprint.json .* abbc-plan-and-preprocess -d 3 -pl ABBCPlannerM"
    ):
        check()


def test_too_few_cases_for_own_folds(preprocessed):
    (preprocessed / "splits_final.json").unlink()
    check()
    for file in preprocessed.rglob("c4*"):
        file.unlink()
    with pytest.raises(DataError, match=r"4 cases, too few for nnU-Net's own five folds; write a splits_final.json"):
        check()
    check("all")


def test_too_little_disk(preprocessed, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**12, 0, 3 * 10**9))
    with pytest.raises(VolumeFileError, match=r"about 4.9 GB, 3.0 GB are free; make space, or .*nnUNet_results=FOLDER"):
        check(n_parameters=100_000_000)
    check(n_parameters=100_000_000, continue_training=True)
    check(n_parameters=100_000_000, plans={**PLANS, "continue_training": True})
    assert preflight.needed_disk_bytes(10**8, moments=1, files=1) == 9 * 10**8


def with_network(**changes):
    plans = copy.deepcopy(PLANS)
    kwargs = {
        "n_stages": 2, "features_per_stage": [4, 8], "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3], [3, 3]], "strides": [[1, 1], [2, 2]], "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
    }  # fmt: skip
    plans["configurations"]["3d_fullres"]["architecture"] = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": kwargs,
        "_kw_requires_import": ["conv_op"],
        **changes,
    }
    return plans


@pytest.mark.filterwarnings("ignore")  # of torch and nnU-Net, at their import
def test_parameters_are_counted(preprocessed):
    count = preflight.count_parameters(with_network(), "3d_fullres", DATASET)
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = with_network()["configurations"]["3d_fullres"]["architecture"]
    network = get_network_from_plans(
        architecture["network_class_name"], architecture["arch_kwargs"], ["conv_op"], 1, 4, deep_supervision=True
    )
    assert count == sum(weights.numel() for weights in network.parameters()) > 500
    check(plans=with_network(), n_parameters=None)
    assert preflight.count_parameters(PLANS, "3d_fullres", DATASET) == 0
    with pytest.raises(DataError, match=r"asks for the network no.such.Network, which cannot be built"):
        check(plans=with_network(network_class_name="no.such.Network"), n_parameters=None)


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "good",
    [
        DATASET["labels"],
        {"background": 0, "core": 1, "border": 2, "boundary": 3},
        {"background": 0, "Core": 1, "Border": 2, "Boundary": 3, "ignore": 4},
    ],
)
def test_abbc_labels(good):
    preflight.check_abbc_labels({"labels": good})


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"background": 0, "sacrum": 1},
        {"background": 0, "boundary": 1, "core": 2},
        {**DATASET["labels"], "other": 4},
        {"background": 0, "boundary": 1, "core": 2, "border": 2},
        {"background": 0, "boundary": [1, 2], "core": 2, "border": 3},
    ],
)
def test_other_labels_are_refused(bad):
    with pytest.raises(SchemeError, match=r"the ABBC trainers need background, border, boundary, core.*abbc-prepare"):
        preflight.check_abbc_labels({"labels": bad})


def test_bones_of_the_scheme():
    scheme = load_scheme("pengwin2024")
    labels.check_anatomy_labels({"labels": {"background": 0, "sacrum": 1, "ignore": 2}}, scheme)
    with pytest.raises(SchemeError, match=r"labels skull are no bones of scheme 'pengwin2024'.*abbc-prepare-dataset"):
        labels.check_anatomy_labels({"labels": {"background": 0, "skull": 1}}, scheme)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (None, DataError, "is no table of keys"),
        ({"labels": None}, DataError, "'labels' in the dataset.json of D is None"),
        ({"file_ending": ""}, DataError, "'file_ending'"),
        ({"labels": {"bone": 1}}, SchemeError, "'background' must be there, numbered 0"),
        ({"labels": {"background": 0, "bone": 2}}, SchemeError, "without gaps"),
        ({"labels": {"background": 0, "bone": "1"}}, SchemeError, "label 'bone' .* is '1'; a number"),
        ({"labels": {"background": 0, "ignore": 1, "b": 2}}, SchemeError, "'ignore' must have the largest number"),
    ],
)
def test_dataset_json(change, kind, message):
    labels.check_dataset_json(DATASET, "D")
    labels.check_dataset_json({**DATASET, "labels": {"background": 0, "whole": [1, 2], "part": 2, "ignore": 3}}, "D")
    with pytest.raises(kind, match=message):
        labels.check_dataset_json(None if change is None else {**DATASET, **change}, "D")


def test_dataset_json_lacks_keys():
    with pytest.raises(
        DataError, match=r"lacks channel_names, numTraining, file_ending; make the dataset with abbc-pre"
    ):
        labels.check_dataset_json({"labels": {"background": 0}}, "D")


# --- planning -------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(roots, save):
    """A dataset in nnUNet_raw."""
    folder = roots["nnUNet_raw"] / NAME
    for case in CASES:
        save(np.zeros((4, 5, 6), np.int16), folder / "imagesTr" / f"{case}_0000.mha")
        save(np.zeros((4, 5, 6), np.uint8), folder / "labelsTr" / f"{case}.mha")
    write(folder / "dataset.json", DATASET)
    return folder


def test_planning_passes(dataset, roots):
    roots["nnUNet_preprocessed"].rmdir()
    assert preflight.check_planning(3) == dataset
    assert preflight.check_planning(NAME) == dataset
    assert not roots["nnUNet_preprocessed"].exists()


def test_planning_needs_the_raw_folder(dataset, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(UsageError, match=r"nnUNet_raw is not set"):
        preflight.check_planning(3)


def test_dataset_that_is_not_there(dataset, roots):
    with pytest.raises(UsageError, match=rf"no dataset number 7 .*there are {NAME}; .*abbc-prepare-dataset"):
        preflight.check_planning(7)
    with pytest.raises(UsageError, match=r"there is no dataset 'Pelvis'; give a number"):
        preflight.check_planning("Pelvis")
    dataset.rename(roots["nnUNet_preprocessed"] / NAME)
    with pytest.raises(UsageError, match=rf"{NAME} is not in nnUNet_raw"):
        preflight.check_planning("003")


def test_two_datasets_of_one_number(dataset, roots):
    (roots["nnUNet_results"] / "Dataset003_Old").mkdir()
    with pytest.raises(UsageError, match=r"several datasets have the number 3: .*Dataset003_Old in nnUNet_results"):
        preflight.check_planning(3)


def test_planning_reads_dataset_json(dataset):
    write(dataset / "dataset.json", "{")
    with pytest.raises(DataError, match=r"no valid JSON"):
        preflight.check_planning(3)
    (dataset / "dataset.json").unlink()
    with pytest.raises(VolumeFileError, match=r"No such file or directory; make the dataset with abbc-prepare-dataset"):
        preflight.check_planning(3)
    write(dataset / "dataset.json", {**DATASET, "labels": {"background": 0, "bone": 1}})
    with pytest.raises(SchemeError, match=r"labels background 0, bone 1; the ABBC trainers need"):
        preflight.check_planning(3)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("imagesTr/c1_0000.mha", "has 4 cases in imagesTr .*announces 5 .numTraining."),
        ("labelsTr/c1.mha", "images or labels are missing of c1"),
        ("imagesTr", "cannot read the folder imagesTr"),
    ],
)
def test_planning_misses_files(dataset, lost, message):
    shutil.rmtree(dataset / lost) if lost == "imagesTr" else (dataset / lost).unlink()
    with pytest.raises((DataError, VolumeFileError), match=message):
        preflight.check_planning(3)


def test_planning_counts_channels(dataset):
    write(dataset / "dataset.json", {**DATASET, "channel_names": {"0": "CT", "1": "PET"}})
    with pytest.raises(DataError, match=r"not 2 image channels as dataset.json announces: c0, c1, c2, c3, c4"):
        preflight.check_planning(3)


def test_planning_needs_disk(dataset, monkeypatch):
    cases = raw.list_raw_cases(dataset, DATASET)
    needed = raw.estimate_preprocessed_bytes(cases, configurations=2)
    assert needed == pytest.approx(5 * 2 * 4 * 5 * 6 * 5 * raw.COMPRESSION, abs=1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 0, needed - 1))
    with pytest.raises(VolumeFileError, match=r"too little disk in nnUNet_preprocessed .*export nnUNet_preprocessed="):
        preflight.check_planning(3)


def test_unreadable_headers_count_by_file_size(dataset):
    write(dataset / "imagesTr" / "c0_0000.mha", "no volume")
    cases = raw.list_raw_cases(dataset, DATASET)
    assert raw.estimate_preprocessed_bytes({"c0": cases["c0"]}, configurations=1) == len("no volume")


def test_files_named_in_dataset_json(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("ELSEWHERE", str(tmp_path))
    named = {"a": {"images": ["imagesTr/c0_0000.mha"], "label": "$ELSEWHERE/a.mha"}}
    (case,) = raw.list_raw_cases(dataset, {**DATASET, "dataset": named}).values()
    assert case == raw.RawCase("a", (dataset / "imagesTr" / "c0_0000.mha",), tmp_path / "a.mha")


# --- folds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no valid JSON"),
        ({}, "is no list of folds"),
        ([], "is no list of folds"),
        ([{"train": ["a"]}], "fold 0 has no list of case names 'val'"),
        ([{"train": ["a"], "val": [1]}], "fold 0 has no list of case names 'val'"),
        ([{"train": ["a"], "val": ["b"]}, {"train": [], "val": ["b"]}], "'train' of fold 1 is empty"),
        (["a"], "fold 0 has no list"),
    ],
)
def test_folds_that_are_none(tmp_path, content, message):
    write(tmp_path / "s.json", content)
    with pytest.raises(DataError, match=message):
        splits.read_splits(tmp_path / "s.json")


def test_leaks_and_strangers(tmp_path):
    write(tmp_path / "s.json", [{"train": ["a", "b1"], "val": ["b2"]}, {"train": ["a"], "val": ["a", "x"]}])
    folds = splits.read_splits(tmp_path / "s.json")
    assert splits.find_leaks(folds) == {1: ["a"]}
    assert splits.find_leaks(folds, {"b1": "B", "b2": "B"}) == {0: ["B"], 1: ["a"]}
    assert splits.unknown_cases(folds, ["a", "b1", "b2"]) == ["x"]
