"""Tables and plots of a study whose cells are written by hand."""

import csv
import json

import pytest

from label_gen.errors import UsageError
from nnunet_ext.studies.columns import METRICS, check_column, column_values
from nnunet_ext.studies.folder import StudyFolder
from nnunet_ext.studies.pictures import draw_study
from nnunet_ext.studies.run import Machines, run_study
from nnunet_ext.studies.study import Cell, DataSettings, MetricSettings, Published, Study
from nnunet_ext.studies.tables import write_tables

COSTS = {"training_s": 61.5, "processor_s": 70.25, "peak_vram_mb": None, "peak_ram_mb": 812.0, "inference_s": 1.5}


def scores(*dice):
    cases = {}
    for number, value in enumerate(dice):
        volume = {"dice": value, "hd95_mm": None}
        cases[f"case{number}"] = {
            "status": "done",
            "structures": {
                "femur": {"volume": volume, "slices": {"dice": value / 2}, "regions": {"ends": {"volume": volume}}}
            },
        }
    return {"kind": "structures", "cases": cases}


@pytest.fixture
def study():
    cells = tuple(
        Cell(
            name=f"{kind}_n{cases}", configuration=kind, planner="ExperimentPlanner", cases=cases,
            labels={"configuration": kind, "cases": str(cases)},
        )
        for kind in ("2d", "3d_fullres") for cases in (3, 5)
    )  # fmt: skip
    return Study(
        name="tiny",
        description="A study.",
        reference="somebody",
        data=DataSettings(simulate="femora", donors=3, test_donors=1),
        cells=cells,
        metrics=MetricSettings(columns=("dice", "slices.dice", "validation.dice", "ends.dice", "hd95_mm")),
        published=(
            Published(
                title="Table 1",
                source="Nobody 2020, Table 1",
                note="A note.",
                columns=("dice", "dice.sd", "training_s"),
                rows={"2d_n3": (0.5, 0.1, 60.0), "2d_n5": (0.6, None, None)},
                others={"by hand": (1.0, None, None)},
            ),
        ),
    )


@pytest.fixture
def folder(tmp_path, study):
    """A folder in which three of the four cells are finished."""
    folder = StudyFolder(tmp_path)
    for cell, dice in zip(study.cells, ((0.8, 0.9), (0.9, 0.95), (0.7, float("nan"))), strict=False):
        place = folder.cell(cell.name)
        place.mkdir(parents=True)
        training = {"0": {"validation_dice": {"a": 0.75, "b": None}}} if cell.name == "2d_n3" else {"all": {}}
        settings = {"training_cases": ["x"] * (cell.cases or 0)}
        record = {"settings": settings, "training": training, "costs": COSTS, "status": "done"}
        (place / "record.json").write_text(json.dumps(record))
        plain = [None if value != value else value for value in dice]
        content = scores(*(value or 0.0 for value in plain))
        if None in plain:
            content["cases"]["case1"] = {"status": "failed", "error": "x"}
        (place / "scores.json").write_text(json.dumps(content))
    return folder


def test_tables(study, folder):
    found = write_tables(study, folder)
    assert list(found) == ["2d_n3", "2d_n5", "3d_fullres_n3"]
    with (folder.path / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["cell"] for row in rows] == list(found)
    first = rows[0]
    assert (first["trainer"], first["configuration"], first["cases"], first["test_cases"]) == (
        "nnUNetTrainer",
        "2d",
        "3",
        "2",
    )
    assert float(first["dice"]) == pytest.approx(0.85)
    assert float(first["dice.sd"]) == pytest.approx(0.0707106781)
    assert float(first["slices.dice"]) == pytest.approx(0.425)
    assert float(first["ends.dice"]) == pytest.approx(0.85)
    assert (first["validation.dice"], first["validation.dice.sd"], first["hd95_mm"]) == ("0.75", "", "")
    assert (first["training_s"], first["peak_vram_mb"]) == ("61.5", "")
    assert float(rows[2]["dice"]) == pytest.approx(0.7)
    lines = (folder.path / "table.md").read_text().splitlines()
    assert lines[:4] == ["# tiny", "", "A study.", ""]
    assert "Cases are simulated femora with CT that is made up, 1 mm." in lines
    assert "3 of 4 cells are finished. Mean ± standard deviation over the test cases; a cell is one training." in lines
    place = lines.index(next(line for line in lines if line.startswith("| cell | training cases |")))
    assert lines[place] == (
        "| cell | training cases | Dice | Dice, per slice | Dice, validation | Dice, ends | training (s) | "
        "processor time (s) | peak RAM (MB) | inference per volume (s) |"
    )
    assert lines[place + 2] == (
        "| 2d_n3 | 3 | 0.8500 ± 0.0707 | 0.4250 ± 0.0354 | 0.7500 | 0.8500 ± 0.0707 | 61.5 | 70.25 | 812 | 1.5 |"
    )
    assert lines[lines.index("## Table 1, beside it") + 2 :] == [
        "Published: Nobody 2020, Table 1.",
        "A note.",
        "",
        "| cell | Dice, here | Dice, published | training (s), here | training (s), published |",
        "|---|---|---|---|---|",
        "| 2d_n3 | 0.8500 ± 0.0707 | 0.5000 ± 0.1000 | 61.5 | 60 |",
        "| 2d_n5 | 0.9250 ± 0.0354 | 0.6000 | 61.5 |  |",
        "| by hand |  | 1.0000 |  |  |",
    ]
    before = (folder.path / "table.csv").read_bytes(), (folder.path / "table.md").read_bytes()
    write_tables(study, folder)
    assert ((folder.path / "table.csv").read_bytes(), (folder.path / "table.md").read_bytes()) == before


def test_plots(study, folder):
    drawn = draw_study(study, folder, write_tables(study, folder))
    assert set(drawn) >= {
        "dice-by-cases.png",
        "slices-dice-by-cases.png",
        "improvement-2d.png",
        "bars.png",
        "boxes.png",
    }
    assert all((folder.path / "plots" / name).stat().st_size > 5000 for name in drawn)
    assert draw_study(study, folder, {}) == []


def test_many_cells_are_drawn_in_several_pictures(study, folder, monkeypatch):
    monkeypatch.setattr("nnunet_ext.studies.pictures.MOST_TRAININGS", 2)  # three cells are finished
    drawn = draw_study(study, folder, write_tables(study, folder))
    assert [name for name in drawn if name.startswith("boxes")] == ["boxes-1.png", "boxes-2.png"]


def test_columns():
    assert {"dice", "jaccard", "sensitivity", "specificity", "asd_mm", "hd95_mm", "abs_surface_p95_mm"} <= set(METRICS)
    assert check_column("head.dice") == check_column("inference_s") == ""
    assert "unknown column 'dicee'; write METRIC" in check_column("dicee")
    two = {"cases": {"a": {"structures": {"x": {"volume": {"dice": 1.0}}, "y": {"volume": {"dice": 0.5}}}}}}
    assert column_values(two, "dice") == {"a": 0.75}
    assert column_values(two, "dice", "y") == {"a": 0.5}
    assert column_values(two, "slices.dice") == {}


def test_what_is_refused_before_anything_runs(study, folder, tmp_path):
    quiet = {"say": lambda text: None, "stages": ("tables",)}
    with pytest.raises(UsageError, match="there is no cell 'x'; there are 2d_n3, "):
        run_study(study, tmp_path, cells=["x"], **quiet)
    run_study(study, tmp_path, **quiet)
    with pytest.raises(UsageError, match="is the folder of another study, or of one on other cases"):
        run_study(study, tmp_path, smoke=True, **quiet)
    (folder.cell("2d_n3") / "settings.json").write_text(json.dumps({"trainer": "nnUNetTrainer_5epochs"}))
    with pytest.raises(
        UsageError, match=r"cell '2d_n3' was made with other settings \(configuration: None before, 2d now"
    ):
        run_study(study, tmp_path, **quiet)
    with pytest.raises(UsageError, match="there is no folder 'gone'; give that of a trained model"):
        run_study(study, tmp_path, weights="gone", **quiet)
    with pytest.raises(UsageError, match="GPUs are shared out on this machine and with -device cuda only"):
        Machines(device="cpu", gpus=(0,))
    with pytest.raises(UsageError, match="--gpus takes different numbers"):
        Machines(gpus=(1, 1))
