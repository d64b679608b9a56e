"""Study files: what a good one says, and bad ones, refused with the line."""

from pathlib import Path

import pytest

from label_gen.errors import UsageError
from nnunet_ext.studies import reading
from nnunet_ext.studies.grid import CELL_KEYS
from nnunet_ext.studies.pictures import series_of
from nnunet_ext.studies.reading import list_studies, read_study
from nnunet_ext.studies.smoke import reduce_study

DOCS = Path(__file__).resolve().parents[3] / "docs"

GOOD = """name = "tiny"
description = "a study"

[dataset]
simulate = "femora"
donors = 4
test_donors = 1
spacing_mm = 2

[defaults]
folds = "all"

[[grid]]
name = "{configuration}_{batch_size}_n{cases}"
configuration = { flat = "2d", solid = "3d_fullres" }
batch_size = { small = 2, large = 4 }
cases = [3, 5]
exclude = [{ configuration = "solid", cases = 5 }]

[[cells]]
name = "slices"
configuration = "triplanar"
trainer = "nnUNetTrainerTriPlanar"
epochs = 7
iterations = 3
folds = [0, 1]
variables = { ABBC_AUGMENTATION = "light" }

[metrics]
columns = ["dice", "slices.dice", "validation.dice", "ends/slices.hd95_mm", "training_s"]
end_slices = 20

[[published]]
title = "Table 1"
source = "Nobody 2020, Table 1"
columns = ["dice", "dice.sd"]
rows = { slices = [0.9, ""] }
others = { "by hand" = [1, 0] }
"""


@pytest.fixture
def read(tmp_path):
    """Read a study file of a text, with changes to it."""

    def make(*changes, text=GOOD, **options):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "s.toml").write_text(text)
        options.setdefault("knows_trainer", lambda name: name != "nnUNetTrainerNone")
        return read_study(tmp_path / "s.toml", **options)

    return make


def test_a_study(read):
    study = read()
    assert [cell.name for cell in study.cells] == [
        "flat_small_n3", "flat_small_n5", "flat_large_n3", "flat_large_n5", "solid_small_n3", "solid_large_n3",
        "slices",
    ]  # fmt: skip
    first, last = study.cells[0], study.cells[-1]
    assert (first.configuration_name, first.trainer_name, first.plans) == ("2d_batch2", "nnUNetTrainer", "nnUNetPlans")
    assert (first.cases, first.folds, first.labels["batch_size"]) == (3, ("all",), "small")
    assert last.trainer_name == "nnUNetTrainerTriPlanar_7epochs_3iterations"
    assert (last.plans, last.configuration_name, last.folds) == ("TriPlanarPlans", "triplanar", (0, 1))
    assert last.variables == {"ABBC_AUGMENTATION": "light"}
    assert study.data.made_cases == 8
    assert study.metrics.end_slices == 20
    assert study.published[0].rows == {"slices": (0.9, None)}
    assert study.published[0].others == {"by hand": (1.0, 0.0)}
    assert series_of(study)["flat_small_n5"] == series_of(study)["flat_small_n3"] != series_of(study)["flat_large_n3"]


def test_on_another_dataset(read):
    study = read(dataset=21)
    assert (study.data.dataset, study.data.simulate, study.data.donors) == (21, "", 0)


WRONG = [
    ("description =", "descripton =", 2, "unknown key 'descripton'"),
    ("donors = 4", "doners = 4", 6, "unknown key 'doners'"),
    ("donors = 4", "donors = 0", 4, "need 'donors' and 'test_donors' above 0"),
    ("spacing_mm = 2", 'spacing_mm = "2"', 8, "'spacing_mm' is '2'; a number is expected"),
    ('simulate = "femora"', 'simulate = "hands"', 5, "choose femora or pelves"),
    ('simulate = "femora"', "", 4, "give either 'dataset'"),
    ('folds = "all"', 'fold = "all"', 11, "unknown key 'fold'"),
    ("cases = [3, 5]", "case = [3, 5]", 17, "unknown key 'case'"),
    ("cases = [3, 5]", 'cases = [3, "five"]', 17, "'cases' is 'five'; a whole number above 0"),
    ("cases = [3, 5]", "cases = [3, 9]", 17, "wants 9 training cases, and 8 are made"),
    ("cases = [3, 5]", "cases = []", 13, "the grid has no cells"),
    ("_n{cases}", "", 14, "two cells are called 'flat_small'"),
    ("{cases}", "{epochs}", 14, "asks for 'epochs', which is no axis of this grid"),
    ("_n{cases}", "/{cases}", 14, "a name of letters, digits and"),
    ('configuration = "solid", cases = 5', "epochs = 5", 18, "'exclude' names 'epochs', which is no axis"),
    ('"nnUNetTrainerTriPlanar"', '"nnUNetTrainerNone"', 23, "unknown trainer 'nnUNetTrainerNone'"),
    ("epochs = 7", "epochs = 0", 24, "'epochs' is 0"),
    ("epochs = 7\n", "", 24, "'iterations' needs 'epochs'"),
    ("folds = [0, 1]", 'folds = [0, "all"]', 26, "'folds' holds 'all' beside others"),
    ("folds = [0, 1]", "folds = [-1]", 26, "a list of numbers from 0"),
    ("folds = [0, 1]", 'planner = "Best"', 26, "unknown planner 'Best'; known are ExperimentPlanner"),
    ("ABBC_AUGMENTATION", "ABBC_AUGMENT", 27, "unknown variable 'ABBC_AUGMENT'"),
    ("folds = [0, 1]", "mirroring = 1", 26, "true or false is expected"),
    ('"slices.dice", ', '"slices.bice", ', 30, "unknown column 'slices.bice'"),
    ("validation.dice", "validation.hd95_mm", 30, "of the validation there is 'validation.dice' only"),
    ("end_slices = 20", "end_slices = 0", 29, "'end_slices' above 0"),
    ("slices = [0.9", "slice = [0.9", 37, "'slice' is no cell of this study"),
    ('[0.9, ""]', "[0.9]", 37, "2 numbers are expected"),
    ("source =", "sauce =", 35, "unknown key 'sauce'"),
    ('"dice", "dice.sd"', '"dice", "dice.sb"', 36, "unknown column 'dice.sb'"),
]


@pytest.mark.parametrize(("old", "new", "line", "text"), WRONG, ids=[case[3][:30] for case in WRONG])
def test_bad_files_are_refused_with_the_line(read, old, new, line, text):
    with pytest.raises(UsageError) as caught:
        read((old, new))
    assert f"study file 's.toml', line {line}: " in str(caught.value)
    assert text in str(caught.value)


REAL = '[dataset]\ndataset = 21\ntest = [\n  "a",\n  "b",\n]\n'
CELL = 'name = "x"\n[[cells]]\nname = "c"\nconfiguration = "2d"\n'


def test_a_test_case_inside_the_training_set(read):
    assert read(text=CELL + REAL).data.test == ("a", "b")
    with pytest.raises(UsageError, match=r"line 9: the test case 'b' is inside the training set"):
        read(text=CELL + REAL + 'train = ["c", "b"]\n')
    with pytest.raises(UsageError, match=r"line 8: 'test' names 'a' twice"):
        read(('"b"', '"a"'), text=CELL + REAL)
    with pytest.raises(UsageError, match=r"line 11: 'x' is no regular expression with a group"):
        read(text=CELL + REAL + 'patient = ["x"]\n')


def test_no_cells_and_no_file(read, tmp_path):
    with pytest.raises(UsageError, match=r"line 1: there are no cells; add a \[\[grid\]\]"):
        read(text='name = "x"\n' + REAL)
    with pytest.raises(UsageError, match=r"no valid TOML: .*at line 2"):
        read(text='name = "x"\nname = 1\n')
    with pytest.raises(UsageError, match="unknown study 'none'; known are femur_2d_backbones, "):
        read_study("none")
    with pytest.raises(UsageError, match="cannot read the study file"):
        read_study(tmp_path / "gone.toml")


def test_sizes_of_a_fine_tuned_network_are_those_of_its_weights(read):
    cell = CELL + 'planner = "FineTuning"\npatch_size = 32\n' + REAL
    with pytest.raises(UsageError, match="line 2: 'patch_size' cannot be set where the network is that of the weights"):
        read(text=cell)


NETWORKS = {
    f"nnUNetTrainerUNet{plus}{encoder}"
    for plus in ("", "PlusPlus")
    for encoder in ("ResNet34", "ResNet50", "DeepLabV3")
}


@pytest.mark.parametrize(
    ("name", "cells", "trainers", "configurations"),
    [
        ("femur_2d_backbones", 7, NETWORKS | {"nnUNetTrainerFineTune"}, {"2d", "3d_fullres"}),
        ("femur_nnunet_search", 22, {"nnUNetTrainer", "nnUNetTrainerDA5"}, {"2d", "3d_fullres"}),
        (
            "triplanar_data_efficiency",
            20,
            {"nnUNetTrainer", "nnUNetTrainerTriPlanar", "nnUNetTrainerTriPlanarEkman"},
            {"2d", "3d_fullres", "triplanar"},
        ),
    ],
)
def test_studies_that_come_with_the_package(name, cells, trainers, configurations):
    study = read_study(name)
    assert len(study.cells) == cells
    assert {cell.trainer for cell in study.cells} == trainers
    assert {cell.configuration for cell in study.cells} == configurations
    assert study.published
    small = reduce_study(study)
    assert [cell.name for cell in small.cells] == [cell.name for cell in study.cells]
    assert {(cell.trainer, cell.configuration) for cell in small.cells} == {
        (cell.trainer, cell.configuration) for cell in study.cells
    }
    assert all(cell.epochs == 1 and cell.iterations == 2 for cell in small.cells)
    assert max(cell.cases or 0 for cell in small.cells) <= (small.data.made_cases or 0)


def test_the_search_has_the_batch_sizes_of_its_source():
    found = {(cell.configuration, cell.planner, cell.batch_size) for cell in read_study("femur_nnunet_search").cells}
    plain, residual = "ExperimentPlanner", "nnUNetPlannerResEncM"
    assert found == {
        *(("2d", plain, size) for size in (372, 744, 1116)),
        *(("2d", residual, size) for size in (377, 558, 744)),
        *(("3d_fullres", plain, size) for size in (2, 4, 6)),
        *(("3d_fullres", residual, size) for size in (3, 4)),
    }
    sizes = [cell.cases for cell in read_study("triplanar_data_efficiency").cells]
    assert {size: sizes.count(size) for size in sizes} == dict.fromkeys((3, 5, 10, 20, 40), 4)


def test_the_study_that_the_documentation_tells_of():
    study = read_study(DOCS / "studies" / "few_cases_cpu.toml")
    names = [f"{mode}_n{cases}" for mode in ("2d", "3d", "triplanar", "triplanar_ekman") for cases in (3, 5, 10, 20)]
    assert [cell.name for cell in study.cells] == names
    curves = {"2d", "3d", "triplanar", "triplanar ekman"}  # and not batch and patch size and steps, which differ too
    assert set(series_of(study).values()) == curves
    text = (DOCS / "studies.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in names)


def test_every_key_of_a_cell_is_described():
    text = (reading.data_folder(reading.KIND) / "README.md").read_text(encoding="utf-8")
    assert list_studies() == ("femur_2d_backbones", "femur_nnunet_search", "triplanar_data_efficiency")
    for key in CELL_KEYS:
        assert f"`{key}`" in text, key
