import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from label_gen.errors import UsageError
from nnunet_ext.commands.prepare_dataset import PROG, main, prepare_dataset
from nnunet_ext.training.splits import read_splits
from nnunet_ext.volumes import read_volume

STRAIGHT = (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """An empty nnUNet_raw; nnU-Net's other folders are not set."""
    for variable in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    return tmp_path / "raw"


@pytest.fixture
def prepare(raw, capfd):
    """Run the command in this process; return its exit status and what it printed."""

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return status, out + err

    return run


@pytest.fixture
def source(save, labels, tmp_path):
    """Make a source: pairs of image and label files, by pattern, with labels shifted from case to case."""

    def make(images, label_files, *cases, numbers=None, **options):
        folder = tmp_path / "source"
        for shift, case in enumerate(cases):
            moved = np.roll(labels, shift % 3 - 1, axis=2)
            if numbers is not None:
                moved = np.select([moved == old for old in (1, 11, 12)], numbers, 0).astype(np.uint16)
            values = {"direction": STRAIGHT, **options}
            rng = np.random.default_rng(shift)
            ct = np.where(moved > 0, 400, -50).astype(np.int16) + rng.integers(0, 40, moved.shape, np.int16)
            save(ct, folder / images.format(case), **values)
            save(moved, folder / label_files.format(case), **values)
        return folder

    return make


@pytest.fixture
def ekman_like(source):
    return lambda *cases, **options: source("images/{}.nii.gz", "labels/{}.nii.gz", *cases, **options)


def read(folder, name="dataset.json"):
    return json.loads((folder / name).read_text())


def names(folder):
    return sorted(os.listdir(folder))


PENGWIN26 = [f"PENGWIN26_task1_2_train_part1/{{}}/{what}.mha" for what in ("image", "label")]
FEMUR26 = [f"PENGWIN26_task1_2_train_part3/{{}}/{what}.mha" for what in ("image", "label")]
PENGWIN24 = [f"PENGWIN_CT_train_{what}/{{}}.mha" for what in ("images_part1", "labels")]
BONE = (1, 1, 1)

VERIFY = """
import sys, types
from multiprocessing.pool import ThreadPool
from nnunetv2.experiment_planning import verify_dataset_integrity as module
module.multiprocessing = types.SimpleNamespace(get_context=lambda _: types.SimpleNamespace(Pool=ThreadPool))
for folder in sys.argv[1:]:
    module.verify_dataset_integrity(folder, 1)
"""
"""nnU-Net's own check, with threads in place of processes, each of which would import torch."""


def test_every_recipe_makes_what_nnunet_accepts(prepare, source, raw, tmp_path, environment):
    makes = [
        ("pengwin2024", PENGWIN24, ("001", "002"), None, ["--task", "both"]),
        ("pengwin2026", PENGWIN26, ("001", "002"), (1, 51, 101), ["--task", "both"]),
        ("femur_rizzoli", ["Images/{}_ct.nrrd", "GoldStandard/{}_gs.nrrd"], ("L1", "R1", "L2"), (1, 1, 2), []),
        ("femur_dallara", ["images/{}.nrrd", "labels/{}.nrrd"], ("F7L_fall", "F7R_fall", "10_L_fall"), BONE, []),
        ("ekman", ["images/{}.nii.gz", "labels/{}.nii.gz"], ("a", "b"), BONE, []),
        ("folder", ["ct/{}.nii", "seg/{}.nii.gz"], ("a", "b"), (3, 900, 7), ["--images", "ct", "--labels", "seg"]),
    ]
    for number, (recipe, patterns, cases, numbers, options) in enumerate(makes):
        folder = source(*patterns, *cases, numbers=numbers)
        status, said = prepare(recipe, folder, "-d", 10 * number + 1, *options)
        assert status == 0, said
        folder.rename(tmp_path / recipe)
    assert names(raw) == [
        "Dataset001_PENGWIN2024_ABBC",
        "Dataset002_PENGWIN2024_Anatomy",
        "Dataset011_PENGWIN2026_ABBC",
        "Dataset012_PENGWIN2026_Anatomy",
        "Dataset021_FemurRizzoli",
        "Dataset031_FemurDallAra",
        "Dataset041_EkmanSkeletal",
        "Dataset051_Folder_ABBC",
    ]
    endings = [read(raw / name)["file_ending"] for name in names(raw)]
    assert endings == [".mha"] * 4 + [".nrrd"] * 2 + [".nii.gz"] * 2
    command = [sys.executable, "-c", VERIFY, *(str(raw / name) for name in names(raw))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("verify_dataset_integrity Done") == 8
    assert "Error" not in done.stdout
    assert "Warning" not in done.stdout


def test_both_tasks(prepare, source, raw, labels, anatomy):
    folder = source(*PENGWIN24, "001", "002", "003")
    status, said = prepare("pengwin2024", folder, "-d", 1, "--task", "both", "--test", "003")
    assert status == 0, said
    abbc, bones = raw / "Dataset001_PENGWIN2024_ABBC", raw / "Dataset002_PENGWIN2024_Anatomy"
    assert "note: Dataset001_PENGWIN2024_ABBC: 2 training cases, 1 test cases, 2 folds" in said
    assert "note: Dataset002_PENGWIN2024_Anatomy: no labels of right_hip in 001, 002, 003; if it is in view" in said
    content = read(abbc)
    assert content["labels"] == {"background": 0, "boundary": 1, "core": 2, "border": 3}
    assert content["channel_names"] == {"0": "CT"}
    assert content["numTraining"] == 2
    assert content["abbc"]["task"] == "abbc"
    assert (content["abbc"]["scheme"], content["abbc"]["recipe"]) == ("pengwin2024", "pengwin2024")
    assert read(bones)["labels"] == {"background": 0, "sacrum": 1, "left_hip": 2, "right_hip": 3}
    assert names(abbc / "imagesTr") == ["001_0000.mha", "002_0000.mha"]
    for kind in ("labels", "fragments", "anatomy"):
        assert names(abbc / f"{kind}Tr") == ["001.mha", "002.mha"]
        assert names(abbc / f"{kind}Ts") == ["003.mha"]
    np.testing.assert_array_equal(read_volume(abbc / "fragmentsTr" / "002.mha").array, labels)
    np.testing.assert_array_equal(read_volume(abbc / "anatomyTr" / "002.mha").array, anatomy)
    np.testing.assert_array_equal(read_volume(bones / "labelsTr" / "002.mha").array, anatomy)
    image = folder / "PENGWIN_CT_train_images_part1" / "001.mha"
    assert os.path.samefile(image, abbc / "imagesTr" / "001_0000.mha")
    assert os.path.samefile(image, bones / "imagesTr" / "001_0000.mha")
    assert read_splits(abbc / "splits_final.json") == read_splits(bones / "splits_final.json")
    assert names(bones) == ["abbc-prepare-dataset.json", "dataset.json", "imagesTr", "imagesTs", "labelsTr", "labelsTs",
                            "splits_final.json"]  # fmt: skip


def test_partial_labels(prepare, source, raw):
    source(*PENGWIN26, "001", "002", numbers=(1, 51, 101))
    folder = source(*FEMUR26, "251", "252", numbers=(151, 152, 153))
    status, said = prepare("pengwin2026", folder, "-d", 7, 9, "--task", "both")
    assert status == 0, said
    abbc, pelvis = raw / "Dataset007_PENGWIN2026_ABBC", raw / "Dataset009_PENGWIN2026_Anatomy"
    assert "cases are labelled in part (pelvis in 2, femur in 2); bone in view without labels counts as" in said
    assert f"{pelvis.name}: left out, without labels of sacrum, left_hip, right_hip: 251, 252; a dataset of" in said
    assert read(abbc)["numTraining"] == 4
    assert (read(pelvis)["numTraining"], list(read(pelvis)["labels"])[1:]) == (2, ["sacrum", "left_hip", "right_hip"])
    assert {name for fold in read_splits(pelvis / "splits_final.json") for name in fold["val"]} == {"001", "002"}
    assert set(np.unique(read_volume(abbc / "anatomyTr" / "251.mha").array)) == {0, 4}

    status, again = prepare("pengwin2026", folder, "-d", 7, 9, "--task", "both")
    assert status == 0
    assert again.replace("4 skipped", "4 done") == said

    status, said = prepare("pengwin2026", folder, "-d", 10, "--task", "anatomy", "--group", "femur", "--name", "Femora")
    assert status == 0, said
    assert read(raw / "Dataset010_Femora")["labels"] == {"background": 0, "femur": 1}
    assert "left out, without labels of femur: 001, 002; a dataset of their own is made by --group pelvis" in said
    status, said = prepare("pengwin2026", folder, "-d", 7, "--group", "femur")
    assert status == 2
    assert "'Dataset007_PENGWIN2026_ABBC' is there already, made otherwise (bones: ['sacrum'" in said


def test_femora_of_a_donor_never_part(prepare, ekman_like, raw):
    cases = [f"{donor}{side}_fall" for donor in (1, 2, "F3", 4, 5, 6) for side in ("L", "R")]
    folder = ekman_like(*cases, numbers=BONE)
    status, said = prepare("femur_dallara", folder, "-d", 3, "--test", "F3L_fall")
    assert status == 2
    assert "patient F3 would be in training and in testing; add F3R_fall to --test" in said
    status, said = prepare("femur_dallara", folder, "-d", 3, "--test", "F3L_fall", "F3R_fall")
    assert status == 0, said
    dataset = raw / "Dataset003_FemurDallAra"
    splits = read_splits(dataset / "splits_final.json")
    assert len(splits) == 5
    for fold in splits:
        assert len({name[0] for name in fold["val"]}) == 1
        assert len(fold["val"]) == 2
        assert not {name[0] for name in fold["val"]} & {name[0] for name in fold["train"]}
    assert names(dataset / "imagesTs") == ["F3L_fall_0000.nii.gz", "F3R_fall_0000.nii.gz"]
    assert read(dataset)["abbc"]["patients"]["4R_fall"] == "4"
    assert read(dataset)["labels"] == {"background": 0, "femur": 1}


def test_rerun_skips_and_a_bad_case_does_not_stop_the_others(prepare, ekman_like, save, labels, raw):
    folder = ekman_like("a", "b", "c", "Jane", numbers=(1, 11, 12))
    save(labels[1:], folder / "labels" / "b.nii.gz", direction=STRAIGHT)
    (folder / "labels" / "Jane.nii.gz").unlink()
    arguments = ("folder", folder, "-d", 5, "--scheme", "pengwin2024", "--workers", 2)
    save(np.full_like(labels, 31), folder / "labels" / "c.nii.gz", direction=STRAIGHT)
    status, said = prepare(*arguments)
    assert status == 1
    assert f"{PROG}: error: case b: '{folder}/images/b.nii.gz' and '{folder}/labels/b.nii.gz' are on different" in said
    assert "error: case c: " in said
    assert "labels 31 are in no band of scheme 'pengwin2024'" in said
    assert "error: case Jane: " in said
    assert said.endswith(f"{PROG}: 1 done, 3 failed\n")
    dataset = raw / "Dataset005_Folder_ABBC"
    assert (read(dataset)["numTraining"], names(dataset / "imagesTr")) == (1, ["a_0000.nii.gz"])
    text = (dataset / f"{PROG}.json").read_text()
    assert str(folder.parent) not in text
    assert json.loads(text)["cases"]["b"]["status"] == "failed"

    made = (dataset / "labelsTr" / "a.nii.gz").stat().st_mtime_ns
    for case in ("b", "c", "Jane"):
        save(labels, folder / "labels" / f"{case}.nii.gz", direction=STRAIGHT)
    status, said = prepare(*arguments)
    assert status == 0, said
    assert said.endswith(f"{PROG}: 3 done, 1 skipped\n")
    assert read(dataset)["numTraining"] == 4
    assert made == (dataset / "labelsTr" / "a.nii.gz").stat().st_mtime_ns
    files = ["dataset.json", "splits_final.json"]
    before = [(dataset / file).read_bytes() for file in files]
    assert prepare(*arguments, "--overwrite")[1].endswith("4 done\n")
    assert before == [(dataset / file).read_bytes() for file in files]
    assert made != (dataset / "labelsTr" / "a.nii.gz").stat().st_mtime_ns


def test_nothing_complete_writes_no_dataset_json(prepare, ekman_like, raw):
    folder = ekman_like("a", numbers=(40, 41, 42))
    status, said = prepare("folder", folder, "-d", 5, "--scheme", "pengwin2024")
    assert status == 1
    assert "Dataset005_Folder_ABBC: no training case is complete, so that it has no dataset.json yet" in said
    assert not (raw / "Dataset005_Folder_ABBC" / "dataset.json").exists()


def test_moving_cases_to_the_test_set(prepare, ekman_like, raw):
    folder = ekman_like("a", "b", "c")
    assert prepare("folder", folder, "-d", 5)[0] == 0
    status, said = prepare("folder", folder, "-d", 5, "--test", "b")
    assert status == 0
    assert "moved between training and testing: b" in said
    assert said.endswith("3 skipped\n")
    dataset = raw / "Dataset005_Folder_ABBC"
    assert (names(dataset / "imagesTr"), names(dataset / "imagesTs")) == (
        ["a_0000.nii.gz", "c_0000.nii.gz"],
        ["b_0000.nii.gz"],
    )
    assert read(dataset)["numTraining"] == 2


def test_subsets(prepare, ekman_like, raw, tmp_path):
    folder = ekman_like(*"abcdef")
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    assert prepare("folder", folder, "-d", 1, "--cases", tmp_path / "names.txt", "-n", 2)[0] == 0
    first = set(names(raw / "Dataset001_Folder_ABBC" / "labelsTr"))
    assert len(first) == 2
    assert prepare("folder", folder, "-d", 2, "--cases", "a", "b", "c", "d", "-n", 3)[0] == 0
    assert first < set(names(raw / "Dataset002_Folder_ABBC" / "labelsTr")) < {f"{case}.nii.gz" for case in "abcd"}
    status, said = prepare("folder", folder, "-d", 1, "--cases", "e", "f")
    assert status == 0
    assert "4 training cases, 0 test cases, 4 folds; of earlier runs: " in said


def test_one_patient(prepare, ekman_like, raw):
    status, said = prepare("folder", ekman_like("a"), "-d", 1)
    assert status == 0
    assert "1 folds; the only patient is validated on its own training cases" in said
    assert read(raw / "Dataset001_Folder_ABBC", "splits_final.json") == [{"train": ["a"], "val": ["a"]}]


def test_other_orientation(prepare, ekman_like, labels, raw):
    folder = ekman_like("a", "b", direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    status, said = prepare("folder", folder, "-d", 1)
    assert status == 0
    assert "note: volumes were turned to LPS (2 from RAS), as training mirrors left and right by array axis" in said
    np.testing.assert_array_equal(
        read_volume(raw / "Dataset001_Folder_ABBC" / "fragmentsTr" / "b.nii.gz").array, labels[:, ::-1, ::-1]
    )
    status, said = prepare("folder", folder, "-d", 2, "--orientation", "refuse")
    assert status == 1
    assert "runs along RAS (x, y, z), LPS is expected" in said


def test_mixed_file_types_become_that_of_most(prepare, source, raw):
    source("images/{}.nrrd", "labels/{}.nrrd", "a", "b")
    folder = source("images/{}.nii", "labels/{}.mha", "c")
    assert prepare("folder", folder, "-d", 1)[0] == 0
    dataset = raw / "Dataset001_Folder_ABBC"
    assert names(dataset / "imagesTr") == ["a_0000.nrrd", "b_0000.nrrd", "c_0000.nrrd"]
    cases = read(dataset, f"{PROG}.json")["cases"]
    assert [cases[case]["details"]["image"] for case in "abc"] == ["linked", "linked", "converted"]


def test_classes_and_cohorts(prepare, ekman_like, raw):
    folder = ekman_like("a", "b", numbers=(5, 2, 2))
    status, said = prepare("ekman", folder, "-d", 1, "--cohort", "mandibulo_cranial")
    assert status == 1
    assert "labels 5 are in no class (mandible 1, cranium 2)" in said
    arguments = ("ekman", folder, "-d", 2, "--cohort", "mandibulo_cranial", "--name", "Jaw", "--classes")
    assert prepare(*arguments, "mandible=5", "cranium=2")[0] == 0
    assert read(raw / "Dataset002_Jaw")["labels"] == {"background": 0, "mandible": 1, "cranium": 2}
    assert set(np.unique(read_volume(raw / "Dataset002_Jaw" / "labelsTr" / "a.nii.gz").array)) == {0, 1, 2}
    assert prepare("folder", folder, "-d", 3, "--task", "semantic", "--classes", "x=2,5")[0] == 0
    assert read(raw / "Dataset003_Folder")["abbc"]["classes"] == {"x": [2, 5]}
    assert prepare("ekman", folder, "-d", 4, "--cohort", "fetal")[0] == 1


def test_own_scheme_travels_with_the_dataset(prepare, ekman_like, raw, tmp_path):
    text = Path(__file__).parents[3].joinpath("datasets", "schemes", "pengwin2024.toml").read_text()
    scheme = tmp_path / "mine.toml"
    scheme.write_text(text.replace('"pengwin2024"', '"mine"'))
    assert prepare("folder", ekman_like("a", "b"), "-d", 1, "--scheme", scheme)[0] == 0
    dataset = raw / "Dataset001_Folder_ABBC"
    assert read(dataset)["abbc"]["scheme"] == "mine"
    assert (dataset / "scheme.toml").read_text() == scheme.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: RECIPE, SOURCE, -d/--dataset-id"),
        (("x", "{s}", "-d", 1), "unknown recipe 'x'; known are ekman, femur_dallara"),
        (("folder", "no/such", "-d", 1), "the source 'no/such' does not exist; check the path"),
        (("folder", "{s}", "-d", 0), "the dataset ID is 0; nnU-Net takes 1 to 999 (-d)"),
        (("folder", "{s}", "-d", 8), "the dataset ID 8 is taken by 'Dataset008_Other' (in nnUNet_raw)"),
        (("folder", "{s}", "-d", 9), "'Dataset009_Folder_ABBC' is there already, made otherwise (task: unknown before"),
        (("folder", "{s}", "-d", 1, 2), "1 dataset of its own ID is made per task; got the IDs 1, 2 (-d)"),
        (("folder", "{s}", "-d", 7, "--task", "both"), "the dataset ID 8 is taken by"),
        (
            ("ekman", "{s}", "-d", 1, "--task", "abbc"),
            "recipe 'ekman' makes no dataset for the task abbc; it makes sem",
        ),
        (("folder", "{s}", "-d", 1, "--task", "semantic"), "the task semantic needs the names of the classes"),
        (("folder", "{s}", "-d", 1, "--classes", "a"), "classes belong to the task semantic; this one is abbc"),
        (("folder", "{s}", "-d", 1, "--group", "leg"), "there is no group 'leg'; the recipe has none (--group)"),
        (("ekman", "{s}", "-d", 1, "--group", "leg"), "groups of bones belong to the tasks abbc and anatomy"),
        (("ekman", "{s}", "-d", 1, "--scheme", "free"), "a label scheme belongs to the tasks abbc and anatomy"),
        (("folder", "{s}", "-d", 1, "--scheme", "x"), "unknown scheme 'x'"),
        (("folder", "{s}", "-d", 1, "--name", "a b"), "the dataset name is 'a b'; letters, digits"),
        (("folder", "{s}", "-d", 1, "--images", "ct"), "images and labels are given together or not at all"),
        (("folder", "{s}", "-d", 1, "--folds", 1), "1 folds are wanted"),
        (("folder", "{s}", "-d", 1, "--patient", "x"), "'x' is no regular expression that finds a patient"),
        (("folder", "{s}", "-d", 1, "--test", "z"), "there is no case z (--test); the source has a, b"),
        (("pengwin2024", "{s}/labels", "-d", 1), "no pair of image and labels"),
    ],
)
def test_wrong_usage_is_told_before_any_work(prepare, ekman_like, raw, arguments, message):
    folder = ekman_like("a", "b")
    (raw / "Dataset008_Other").mkdir(parents=True)
    (raw / "Dataset009_Folder_ABBC").mkdir()
    (raw / "Dataset009_Folder_ABBC" / "dataset.json").write_text("{}")
    status, said = prepare(*(str(argument).format(s=folder) for argument in arguments))
    assert status == 2
    assert message in said
    assert names(raw) == ["Dataset008_Other", "Dataset009_Folder_ABBC"]
    assert names(raw / "Dataset009_Folder_ABBC") == ["dataset.json"]


def test_wrong_values_of_the_function(raw, ekman_like):
    with pytest.raises(UsageError, match=r"unknown transfer 'move'; choose one of link, copy, symlink"):
        prepare_dataset("folder", ekman_like("a"), 1, transfer="move")


def test_nnunet_raw_is_not_set(prepare, ekman_like, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    status, said = prepare("folder", ekman_like("a"), "-d", 1)
    assert status == 2
    assert "the environment variable nnUNet_raw is not set; set it to" in said
    assert "export nnUNet_raw=" in said


def test_id_taken_by_a_trained_model(prepare, ekman_like, tmp_path, monkeypatch):
    (tmp_path / "results" / "Dataset001_Other").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    status, said = prepare("folder", ekman_like("a"), "-d", 1)
    assert status == 2
    assert "taken by 'Dataset001_Other' (in nnUNet_results)" in said
    assert prepare("folder", tmp_path / "source", "-d", 1, "--name", "Other")[0] == 0


def test_too_little_disk(prepare, ekman_like, raw, monkeypatch):
    folder = ekman_like("a", "b")
    monkeypatch.setattr("nnunet_ext.training.folders.free_bytes", lambda _: 1000)
    status, said = prepare("folder", folder, "-d", 1)
    assert status == 1
    assert "too little disk in nnUNet_raw" in said
    assert not raw.exists()


def test_dataset_is_not_its_own_source(prepare, ekman_like, raw):
    assert prepare("folder", ekman_like("a", "b"), "-d", 1)[0] == 0
    status, said = prepare("folder", raw / "Dataset001_Folder_ABBC", "-d", 1)
    assert status == 2
    assert "lies in the dataset that is to be made" in said


def test_list(prepare):
    status, said = prepare("--list")
    assert status == 0
    for word in ("pengwin2024", "--task abbc, anatomy", "--group pelvis, femur", "--cohort skeletal"):
        assert word in said


def test_help_is_quick_and_light(environment):
    started = time.perf_counter()
    code = f"import sys, {prepare_dataset.__module__}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert time.perf_counter() - started < 5
    assert not set(done.stdout.split()) & {"numpy", "scipy", "SimpleITK", "torch", "label_gen", "nnunetv2", "tqdm"}


def test_image_is_the_same_for_nnunet(prepare, source, raw):
    folder = source(*PENGWIN24, "001")
    assert prepare("pengwin2024", folder, "-d", 1, "--transfer", "copy")[0] == 0
    image = raw / "Dataset001_PENGWIN2024_ABBC" / "imagesTr" / "001_0000.mha"
    original = folder / "PENGWIN_CT_train_images_part1" / "001.mha"
    assert image.read_bytes() == original.read_bytes()
    assert not os.path.samefile(image, original)
    assert SimpleITK.ReadImage(str(image)).GetDirection() == STRAIGHT


@pytest.fixture
def whole(source, save):
    """A source of the recipe `simulated`: three cases with whole bones, femora of both sides among them."""
    cases = ("a_00001", "a_00002", "b_00003")
    folder = source("images/{}.mha", "labels/{}.mha", *cases)
    for case in cases:
        bones = np.zeros((14, 16, 30), np.uint8)
        for number in range(1, 6):
            bones[2:12, 2:12, 5 * number - 4 : 5 * number] = number
        save(bones, folder / "anatomy" / f"{case}.mha", direction=STRAIGHT)
    return folder


def test_whole_bones_have_volumes_of_their_own(prepare, whole, raw):
    status, text = prepare("simulated", whole, "-d", "20", "--task", "both")
    assert status == 0, text
    assert "no labels of" not in text
    abbc, bones = raw / "Dataset020_Simulated_ABBC", raw / "Dataset021_Simulated_Anatomy"
    about = json.loads((bones / "dataset.json").read_text())
    names = ["sacrum", "left_hip", "right_hip", "left_femur", "right_femur"]
    assert about["labels"] == {"background": 0} | {name: number for number, name in enumerate(names, 1)}
    assert about["abbc"]["bones"] == names
    assert about["abbc"]["patients"] == {"a_00001": "a", "a_00002": "a"}
    written = read_volume(bones / "labelsTr" / "a_00001.mha").array
    assert (written == read_volume(whole / "anatomy" / "a_00001.mha").array).all()
    assert set(np.unique(read_volume(abbc / "anatomyTr" / "a_00001.mha").array)) == {0, 1, 2}


def test_whole_bones_are_checked(prepare, whole, save):
    save(np.full((14, 16, 30), 9, np.uint8), whole / "anatomy" / "a_00001.mha", direction=STRAIGHT)
    save(np.ones((14, 16, 29), np.uint8), whole / "anatomy" / "a_00002.mha", direction=STRAIGHT)
    (whole / "anatomy" / "b_00003.mha").unlink()
    status, text = prepare("simulated", whole, "-d", "20", "--task", "anatomy")
    assert status == 1
    for message in (
        "a_00001.mha': the volume of whole bones holds the numbers 9; scheme 'pengwin2024' numbers bones sacrum 1",
        "anatomy/a_00002.mha' are on different grids: size",
        "b_00003.mha' has no volume of whole bones (anatomy/{case}); add it, or take the image away",
    ):
        assert message in text
    status, text = prepare(
        "simulated", whole, "-d", "22", "--cases", "a_00001", "--images", "images", "--labels", "labels"
    )
    assert status == 0, text


def test_whole_bones_are_turned_with_the_image(prepare, whole, raw):
    for path in whole.glob("*/a_00001.mha"):
        image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "RAS")
        SimpleITK.WriteImage(image, str(path))
    given = read_volume(whole / "anatomy" / "a_00002.mha").array
    assert prepare("simulated", whole, "-d", "20", "--task", "anatomy", "--cases", "a_00001")[0] == 0
    (written,) = (raw / "Dataset020_Simulated_Anatomy" / "labelsTr").iterdir()
    assert (read_volume(written).array == given).all()
