"""`abbc-study`: a study that is killed and begun again, pelves, ordinary processes, and wrong usage."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_ext.commands.study import main, study_commands
from tests.nnunet_ext.studies.rows import rows_of

pytestmark = pytest.mark.usefixtures("study_processes")

QUICK = """name = "quick"
[dataset]
simulate = "femora"
donors = 3
test_donors = 1
[[grid]]
name = "{configuration}_n{cases}"
configuration = "2d"
cases = [1, 2, 3]
[metrics]
columns = ["dice", "jaccard", "slices.dice"]
"""


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on(tmp_path, environment, capsys):
    file, whole, killed = tmp_path / "quick.toml", tmp_path / "whole", tmp_path / "killed"
    file.write_text(QUICK)
    assert main([str(file), "-o", str(whole), "--smoke"]) == 0
    first, second, third = rows_of(whole)
    shutil.copytree(whole, killed)
    for cell in (second, third):
        shutil.rmtree(killed / "cells" / cell)
    (killed / "table.csv").unlink()
    command = [sys.executable, "-m", "nnunet_ext.commands.study", str(file), "-o", str(killed), "--smoke"]
    study = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    log = killed / "cells" / second / "commands.log"
    end = time.monotonic() + 240
    while not (log.is_file() and "poch" in log.read_text()):  # the second cell is training
        assert time.monotonic() < end
        assert study.poll() is None
        time.sleep(0.05)
    study.send_signal(signal.SIGKILL)
    study.wait()
    assert not (killed / "cells" / second / "record.json").exists()
    finished = killed / "cells" / first / "record.json"
    before = finished.read_bytes(), finished.stat().st_mtime_ns
    capsys.readouterr()
    assert main([str(file), "-o", str(killed), "--smoke"]) == 0
    assert "2 done, 1 skipped" in capsys.readouterr().err
    assert (finished.read_bytes(), finished.stat().st_mtime_ns) == before
    metrics = [key for key in rows_of(whole)[first] if "dice" in key or "jaccard" in key]
    assert len(metrics) >= 4
    for cell in (first, second, third):
        assert [rows_of(killed)[cell][key] for key in metrics] == [rows_of(whole)[cell][key] for key in metrics]
    table = (killed / "table.csv").read_bytes()
    assert main([str(file), "-o", str(killed), "--smoke"]) == 0
    assert "3 skipped" in capsys.readouterr().err
    assert (killed / "table.csv").read_bytes() == table
    file.write_text(QUICK.replace('configuration = "2d"', 'configuration = "2d"\ntrainer = "nnUNetTrainerDA5"'))
    assert main([str(file), "-o", str(killed), "--smoke"]) == 2
    assert f"cell '{first}' was made with other settings (trainer: nnUNetTrainer_1epochs" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_on_pelves_is_prepared(tmp_path):
    file, out = tmp_path / "pelves.toml", tmp_path / "out"
    file.write_text(QUICK.replace("femora", "pelves").replace("[1, 2, 3]", "[1]").replace("donors = 3", "donors = 1"))
    assert main([str(file), "-o", str(out), "--smoke", "--stage", "prepare"]) == 0
    raw = out / "nnunet" / "raw" / "Dataset001_quick"
    labels = json.loads((raw / "dataset.json").read_text())["labels"]
    assert {"sacrum", "left_hip", "right_hip"} <= set(labels)
    assert len(os.listdir(raw / "labelsTr")) == len(os.listdir(out / "test" / "labels")) == 1
    assert (out / "nnunet" / "preprocessed" / raw.name / "nnUNetPlans.json").is_file()
    assert not (out / "cells").exists()


def test_commands_for_any_scheduler(tmp_path, capsys):
    assert (
        main(["femur_nnunet_search", "-o", "OUT", "--print-commands", "--cells", "3d_small_da5", "2d_large_resenc"])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    plain = [line for line in lines if not line.startswith("#")]
    assert plain == [
        "abbc-study femur_nnunet_search -o OUT --stage prepare",
        "abbc-study femur_nnunet_search -o OUT --stage cells --cells 2d_large_resenc",
        "abbc-study femur_nnunet_search -o OUT --stage cells --cells 3d_small_da5",
        "abbc-study femur_nnunet_search -o OUT --stage tables",
    ]
    assert (
        "#    nnUNetv2_train 998 3d_fullres_batch2 0 -tr nnUNetTrainerDA5_100epochs -p nnUNetPlans -device cuda"
        in lines
    )
    assert (
        "#    nnUNetv2_train 998 2d_batch744 0 -tr nnUNetTrainer_100epochs -p nnUNetResEncUNetMPlans -device cuda"
        in lines
    )
    assert not Path("OUT").exists()
    told = study_commands("femur_2d_backbones", tmp_path, cells=["totalsegmentator_finetuned"], device="cpu")
    assert any("-pretrained_weights nnunet/preprocessed/" in line and "FineTuningPlans.pth" in line for line in told)
    assert all(
        line.endswith(f"-o {tmp_path} -device cpu --stage prepare") for line in told if "--stage prepare" in line
    )


def test_wrong_usage(tmp_path, capsys):
    bad = tmp_path / "bad.toml"
    bad.write_text(QUICK.replace("cases =", "case ="))
    assert main([str(bad), "-o", str(tmp_path / "out")]) == 2
    assert "abbc-study: error: study file 'bad.toml', line 9: unknown key 'case'" in capsys.readouterr().err
    bad.write_text(QUICK)
    assert main([str(bad), "-o", str(tmp_path / "out"), "--smoke", "--cells", "2d_n7"]) == 2
    assert "there is no cell '2d_n7'; there are 2d_n1, 2d_n2, 2d_n3" in capsys.readouterr().err
    assert main([str(bad), "-o", str(tmp_path / "out"), "--gpus", "0", "-device", "cpu"]) == 2
    assert main([str(bad), "--list"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "2d_n1\t2d\tnnUNetTrainer\tnnUNetPlans\tfolds all"
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        main([str(bad)])
    assert main(["femur_2d_backbones", "-o", str(tmp_path / "out"), "--cells", "totalsegmentator_finetuned"]) == 2
    assert "goes on from the weights of another model; give its folder" in capsys.readouterr().err


def test_pelves_of_label_volumes(tmp_path, capsys):
    file = tmp_path / "pelves.toml"
    file.write_text(QUICK.replace("femora", "pelves"))
    assert main([str(file), "-o", str(tmp_path / "out"), "--anatomies", str(tmp_path)]) == 2
    assert "would have the same shapes in training and test; leave --anatomies out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_test_set(tmp_path, monkeypatch, capsys):
    from tests.nnunet_ext.training.tiny import DATASET, write_tiny_raw

    write_tiny_raw(tmp_path, size=8)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "nnUNet_raw"))
    assert main(["femur_nnunet_search", "-o", str(tmp_path / "out"), "-d", "991", "-device", "cpu"]) == 2
    assert f"{DATASET} has no test set, which must be held out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_ordinary_processes_validation_and_chosen_test_cases(tmp_path, monkeypatch):
    """A cell as in a full study: each command in a process that starts from nothing, on a dataset of the user's."""
    from tests.nnunet_ext.training.tiny import write_tiny_raw

    write_tiny_raw(tmp_path, cases=4, size=20)
    for name, value in (("nnUNet_raw", str(tmp_path / "nnUNet_raw")), ("nnUNet_def_n_proc", "1")):
        monkeypatch.setenv(name, value)
    file = tmp_path / "own.toml"
    file.write_text(
        """name = "own"
[dataset]
dataset = 991
test = ["case_03"]
folds = 3
[[cells]]
name = "flat"
configuration = "2d"
batch_size = 2
patch_size = 16
base_features = 4
epochs = 1
iterations = 1
folds = [1]
[metrics]
structures = ["core"]
columns = ["validation.dice", "dice", "specificity"]
"""
    )
    assert main([str(file), "-o", str(tmp_path / "out"), "-device", "cpu"]) == 0
    row = rows_of(tmp_path / "out")["flat"]
    assert (row["cases"], row["test_cases"], row["folds"]) == ("3", "1", "1")
    record = json.loads((tmp_path / "out" / "cells" / "flat" / "record.json").read_text())
    told = record["training"]["1"]
    assert len(told["validation_dice"]) == 1
    assert row["validation.dice"] != "" or list(told["validation_dice"].values()) == [None]
    assert float(row["specificity"]) >= 0
    assert os.listdir(tmp_path / "out" / "test" / "labels") == ["case_03.nii.gz"]
