"""`abbc-env`: what a shell gets, and that nnU-Net's own search then finds the trainers."""

import os
import subprocess
import sys

import pytest

from nnunet_ext.commands import env
from nnunet_ext.environment import VARIABLE, ext_trainer_value, shell_line, trainer_folder
from tests.nnunet_ext.training.tiny import run_python


def test_folder_holds_reexports():
    assert (trainer_folder() / "abbc_trainers.py").is_file()


@pytest.mark.parametrize("before", ["", "elsewhere", f"elsewhere{os.pathsep}{trainer_folder()}"])
def test_other_folders_are_kept_and_ours_comes_once(before):
    value = ext_trainer_value({VARIABLE: before})
    assert value.split(os.pathsep) == [str(trainer_folder()), *(["elsewhere"] if before else [])]


def test_shell_evaluates_the_line(capsys, monkeypatch):
    monkeypatch.setenv(VARIABLE, "a folder with 'quotes'")
    assert env.main([]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == shell_line()
    assert "set nnUNet_extTrainer=" in printed.err
    shell = subprocess.run(
        ["sh", "-c", f'eval "$1"; echo "${VARIABLE}"', "sh", printed.out], capture_output=True, text=True, check=True
    )
    assert shell.stdout.strip() == ext_trainer_value()


def test_path_alone(capsys):
    assert env.main(["--path"]) == 0
    assert capsys.readouterr() == (f"{trainer_folder()}\n", "")


FIND = """
import pickle, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
for name in sys.argv[1:]:
    trainer = find(name)
    assert trainer.__name__ == name and trainer.__module__.startswith("nnunet_ext.trainers."), trainer
    assert pickle.loads(pickle.dumps(trainer)) is trainer
    print("epochs", trainer.epochs_in_name)
try:
    find("nnUNetTrainerABBC_0epochs")
except RuntimeError as error:
    print("no such trainer")
"""


@pytest.mark.slow
def test_nnunet_finds_the_trainers(environment):
    names = ["nnUNetTrainerABBC", "nnUNetTrainerBones", "nnUNetTrainerTriPlanar", "nnUNetTrainerTriPlanarEkman"]
    names += ["nnUNetTrainerABBC_250epochs", "nnUNetTrainerTriPlanar_1epoch"]
    said = run_python(["-c", FIND, *names], {**environment, VARIABLE: ext_trainer_value({})})
    assert [line for line in said.splitlines() if line.startswith("epochs")] == [
        *["epochs None"] * 4,
        "epochs 250",
        "epochs 1",
    ]
    assert "no such trainer" in said


def test_command_runs_as_a_module(environment):
    command = [sys.executable, "-m", "nnunet_ext.commands.env", "--path"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == str(trainer_folder())
