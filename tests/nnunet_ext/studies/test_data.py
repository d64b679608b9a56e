"""Training sets of a study: nested, patients together, the test set apart."""

import json
from dataclasses import replace

import pytest

from label_gen.errors import UsageError
from nnunet_ext.studies.data import dataset_names, find_source, training_sets, write_set, write_test
from nnunet_ext.studies.folder import StudyFolder
from nnunet_ext.studies.study import Cell, DataSettings, MetricSettings, Study


@pytest.fixture
def raw(tmp_path):
    """A raw dataset of six patients with a left and a right case each; its files are empty."""
    folder = tmp_path / "Dataset021_Bones"
    for part, numbers in (("Tr", range(6)), ("Ts", range(6, 8))):
        for number in numbers:
            for side in "LR":
                for place in (f"images{part}/p{number}_{side}_0000.mha", f"labels{part}/p{number}_{side}.mha"):
                    (folder / place).parent.mkdir(parents=True, exist_ok=True)
                    (folder / place).write_text(place)
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "bone": 1}, "file_ending": ".mha"}
    (folder / "dataset.json").write_text(json.dumps({**content, "numTraining": 12}))
    return folder


PATIENT = (r"(?P<patient>p\d+)_[LR]",)
DATA = DataSettings(dataset=21, patient=PATIENT, seed=3)


def study_of(*sizes, data=DATA, **options):
    cells = tuple(
        Cell(name=f"n{size}", configuration="2d", planner="ExperimentPlanner", cases=size, **options) for size in sizes
    )
    return Study(name="s", description="", reference="", data=data, cells=cells, metrics=MetricSettings())


def test_sets_are_nested_and_patients_stay_together(raw):
    source = find_source(raw, DATA)
    assert sorted(source.test) == ["p6_L", "p6_R", "p7_L", "p7_R"]
    study = study_of(3, None, 2, 8)
    names = dataset_names(study)
    assert names == {
        2: (2, "Dataset002_s"), 3: (3, "Dataset003_s"), 8: (8, "Dataset008_s"), None: (998, "Dataset998_s")
    }  # fmt: skip
    sets = training_sets(study, source)
    assert [len(sets[size].cases) for size in (2, 3, 8, None)] == [2, 3, 8, 12]
    for smaller, larger in ((2, 3), (3, 8), (8, None)):
        assert set(sets[smaller].cases) < set(sets[larger].cases)
    assert len({name[:2] for name in sets[8].cases}) == 4
    assert not set(sets[None].cases) & set(source.test)
    for fold in sets[None].folds:
        assert not {name[:2] for name in fold["train"]} & {name[:2] for name in fold["val"]}
    assert (len(sets[None].folds), len(sets[3].folds)) == (5, 2)


def test_written_sets(raw, tmp_path):
    source, folder = find_source(raw, DATA), StudyFolder(tmp_path / "out")
    sets = training_sets(study_of(3), source)
    write_set(folder, source, sets[3])
    write_test(folder, source)
    place = folder.raw("Dataset003_s")
    names = list(sets[3].cases)
    assert sorted(path.name for path in (place / "imagesTr").iterdir()) == [f"{name}_0000.mha" for name in names]
    assert (place / "labelsTr" / f"{names[0]}.mha").read_text() == f"labelsTr/{names[0]}.mha"
    content = json.loads((place / "dataset.json").read_text())
    assert (content["numTraining"], content["name"]) == (3, "Dataset003_s")
    assert content["abbc"]["patients"] == {name: name[:2] for name in names}
    assert json.loads((place / "splits_final.json").read_text()) == [dict(fold) for fold in sets[3].folds]
    assert sorted(path.name for path in folder.test("labels").iterdir()) == [
        f"{name}.mha" for name in sorted(source.test)
    ]


def test_test_cases_by_name(raw):
    source = find_source(raw, replace(DATA, test=("p0_L", "p0_R")))
    assert sorted(source.test) == ["p0_L", "p0_R"]
    assert len(source.train) == 10
    source = find_source(raw, replace(DATA, test=("p0_L",)))  # its other side is left out of the training
    assert "p0_R" not in source.train
    assert len(source.train) == 10


def test_refusals(raw):
    with pytest.raises(UsageError, match=r"no training case 'x' \(key 'test' of the study\); it has p0_L, "):
        find_source(raw, replace(DATA, test=("x",)))
    with pytest.raises(UsageError, match="'p0_R' is of patient 'p0', who is in the test set"):
        find_source(raw, replace(DATA, test=("p0_L",), train=("p0_R", "p1_L")))
    with pytest.raises(UsageError, match="cell 'n3' wants fold 2; its 3 training cases make 2 folds"):
        training_sets(study_of(3, folds=(0, 2)), find_source(raw, DATA))
    with pytest.raises(UsageError, match="13 training cases are wanted, and there are 12"):
        training_sets(study_of(13), find_source(raw, DATA))
    (raw / "imagesTs" / "p0_L_0000.mha").write_text("")
    (raw / "labelsTs" / "p0_L.mha").write_text("")
    with pytest.raises(UsageError, match="the test case 'p0_L' of Dataset021_Bones is inside the training set too"):
        find_source(raw, DATA)
    for file in (raw / "labelsTs").iterdir():
        file.unlink()
    with pytest.raises(UsageError, match="has no test set, which must be held out"):
        find_source(raw, DATA)
