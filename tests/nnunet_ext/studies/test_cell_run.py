"""One cell: which commands it runs, what it notes, and how it goes on; the commands themselves are played."""

import json
import pickle
from types import SimpleNamespace

import pytest

from label_gen.errors import DataError
from nnunet_ext._worker import run_case
from nnunet_ext.studies import cell_run
from nnunet_ext.studies import run as study_run
from nnunet_ext.studies.cell_run import CellWork, run_cell
from nnunet_ext.studies.data import TrainingSet
from nnunet_ext.studies.folder import StudyFolder
from nnunet_ext.studies.launching import Cost
from nnunet_ext.studies.run import Machines, run_study
from nnunet_ext.studies.study import Cell, DataSettings, MetricSettings, Study

CELL = Cell(
    name="c", configuration="2d", trainer="nnUNetTrainerDA5", planner="ExperimentPlanner", batch_size=7, epochs=2,
    folds=(0, 1), mirroring=False, variables={"ABBC_AUGMENTATION": "light"},
)  # fmt: skip
SET = TrainingSet(903, "Dataset903_x_4", ("a", "b"), ({"train": ["a"], "val": ["b"]},))


@pytest.fixture
def played(monkeypatch, tmp_path):
    """Play the commands: note them, and leave the files that the real ones leave."""
    calls = []

    def run(command, arguments, *, environment, log, seed, warm):
        words = [str(word).replace(str(tmp_path), "OUT") for word in arguments]
        calls.append((command, words, environment))
        if run.broken == command:
            raise DataError(f"{command} failed")
        place = log.parent
        if command == "nnUNetv2_train":
            fold = place / "results" / SET.name / f"{words[4]}__{words[6]}__{words[1]}" / f"fold_{words[2]}"
            (fold / "validation").mkdir(parents=True, exist_ok=True)
            (fold / "checkpoint_final.pth").touch()
            metrics = {"1": {"Dice": 0.5}, "2": {"Dice": 1.0 if words[2] == "0" else float("nan")}}
            case = {"metrics": metrics, "prediction_file": f"/x/case_{words[2]}.nii.gz"}
            (fold / "validation" / "summary.json").write_text(json.dumps({"metric_per_case": [case]}))
        elif command == "abbc-predict":
            (place / "test").mkdir()
            cases = {"t1": {"status": "done", "seconds": 1.0}, "t2": {"status": "done", "seconds": 2.0}}
            (place / "test" / "abbc-predict.json").write_text(json.dumps({"cases": cases}))
        else:
            (place / "scores.json").write_text(json.dumps({"cases": {}}))
        return Cost(10.0, 12.0, 900.0, 3000.0 if command == "nnUNetv2_train" else None)

    run.broken = ""
    log = SimpleNamespace(epochs=(0, 1), seconds=(2.5, 3.5), train_loss=(0.5, 0.25))
    monkeypatch.setattr(cell_run, "run_entry_measured", run)
    monkeypatch.setattr(cell_run, "read_training_log", lambda place: log)
    return SimpleNamespace(calls=calls, run=run)


def work_in(tmp_path, cell=CELL, **options):
    return CellWork(cell, StudyFolder(tmp_path, "cuda"), SET, MetricSettings(end_slices=20), 5, **options)


def test_commands_and_record(played, tmp_path, monkeypatch):
    monkeypatch.setenv("ABBC_EPOCHS", "99")
    monkeypatch.setenv("ABBC_ENCODER_WEIGHTS", "none")
    costs = run_cell(work_in(tmp_path, gpus=(3,)))
    trained = "903 2d_batch7 0 -tr nnUNetTrainerDA5_2epochs -p nnUNetPlans -device cuda"
    model = "-d 903 -c 2d_batch7 -tr nnUNetTrainerDA5_2epochs -p nnUNetPlans -f 0 1 -device cuda"
    assert [(command, " ".join(words)) for command, words, _ in played.calls] == [
        ("nnUNetv2_train", trained),
        ("nnUNetv2_train", trained.replace(" 0 ", " 1 ")),
        (
            "abbc-predict",
            f"-i OUT/test/images -o OUT/cells/c/test {model} -npp 0 -nps 0 --disable_tta --disable_progress_bar",
        ),
        (
            "abbc-evaluate",
            "-p OUT/cells/c/test -r OUT/test/labels -o OUT/cells/c/scores.json --structures "
            f"OUT/nnunet/raw/{SET.name}/dataset.json --slice-axis 0 --end-slices 20",
        ),
    ]
    variables = played.calls[0][2]
    assert variables["CUDA_VISIBLE_DEVICES"] == "3"
    assert variables["nnUNet_results"] == str(tmp_path / "cells" / "c" / "results")
    assert (variables["ABBC_AUGMENTATION"], variables["ABBC_ENCODER_WEIGHTS"]) == ("light", "none")
    assert "ABBC_EPOCHS" not in variables
    assert "ABBC_FINAL_VALIDATION" not in variables
    expected = {
        "training_s": 12.0,
        "processor_s": 24.0,
        "peak_vram_mb": 3000.0,
        "peak_ram_mb": 900.0,
        "inference_s": 1.5,
    }
    assert costs == expected
    record = json.loads((tmp_path / "cells" / "c" / "record.json").read_text())
    assert record["costs"] == expected
    assert record["settings"]["training_cases"] == ["a", "b"]
    assert record["training"]["0"]["validation_dice"] == {"case_0": 0.75}
    assert record["training"]["1"]["validation_dice"] == {"case_1": 0.5}
    assert record["training"]["0"]["last_training_loss"] == 0.25
    assert str(tmp_path) not in json.dumps(record)
    played.calls.clear()
    assert run_cell(work_in(tmp_path)) == {}
    assert played.calls == []


def test_what_was_done_is_not_done_again(played, tmp_path):
    played.run.broken = "abbc-predict"
    with pytest.raises(DataError, match="abbc-predict failed"):
        run_cell(work_in(tmp_path))
    assert not (tmp_path / "cells" / "c" / "record.json").exists()
    played.run.broken = ""
    played.calls.clear()
    run_cell(work_in(tmp_path))
    assert [command for command, _, _ in played.calls] == ["abbc-predict", "abbc-evaluate"]


def test_a_training_that_was_interrupted_goes_on(played, tmp_path):
    work = work_in(tmp_path)
    fold = work.folder.trained(CELL, SET.name) / "fold_0"
    fold.mkdir(parents=True)
    (fold / "checkpoint_latest.pth").touch()
    run_cell(work)
    first, second = (words for command, words, _ in played.calls if command == "nnUNetv2_train")
    assert first[-1] == "--c"
    assert "--c" not in second


def test_a_fine_tuned_cell_and_one_without_validation(played, tmp_path):
    cell = Cell(name="f", configuration="3d_fullres", planner="FineTuning", trainer="nnUNetTrainerFineTune")
    run_cell(work_in(tmp_path, cell))
    _, words, variables = played.calls[0]
    assert words[-2:] == ["-pretrained_weights", f"OUT/nnunet/preprocessed/{SET.name}/FineTuningPlans.pth"]
    assert (words[2], variables["ABBC_FINAL_VALIDATION"]) == ("all", "off")
    assert "CUDA_VISIBLE_DEVICES" not in variables


def test_cells_on_a_cluster(played, tmp_path, monkeypatch):
    """The work of a cell travels as bytes; one bad cell does not stop the others."""
    study = Study(
        name="x", description="", reference="", data=DataSettings(simulate="femora", donors=2, test_donors=1),
        cells=(CELL, Cell(name="d", configuration="2d", planner="ExperimentPlanner")), metrics=MetricSettings(),
    )  # fmt: skip
    asked = []

    def cluster(address):
        asked.append(address)

        def run(function, cases):
            for name, arguments in cases.items():
                played.run.broken = "abbc-evaluate" if name == "d" else ""
                yield name, run_case(function, pickle.loads(pickle.dumps(arguments)))

        return run

    monkeypatch.setattr("nnunet_ext.simulation.cluster.run_on_dask", cluster)
    monkeypatch.setattr(study_run, "prepare_study", lambda *args, **kwargs: {None: SET})
    options = {"machines": Machines(dask="tcp://host:1"), "stages": ("cells",), "say": lambda text: None}
    batch = run_study(study, tmp_path / "out", **options)
    assert asked == ["tcp://host:1"]
    assert [(result.name, result.status) for result in batch.results] == [("c", "done"), ("d", "failed")]
    assert batch.exit_status == 1
    manifest = json.loads((tmp_path / "out" / "abbc-study.json").read_text())
    assert manifest["cases"]["c"]["details"]["inference_s"] == 1.5
    again = run_study(study, tmp_path / "out", cells=["c"], **options)
    assert [result.status for result in again.results] == ["skipped"]
