"""`abbc-doctor` as a command: exit status, table, JSON, and one run of all real checks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnunet_ext
from nnunet_ext.commands import doctor
from nnunet_ext.doctor.findings import Finding

GOOD = [Finding("Python", "ok", "3.11")]
BAD = [*GOOD, Finding("trainer", "error", "not found", 'eval "$(abbc-env)"', ("where it was looked for",))]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command on findings made up; return exit status, stdout, stderr and what was asked for."""

    def start(found, *arguments):
        asked = {}

        def diagnose(**options):
            asked.update(options)
            return found

        monkeypatch.setattr("nnunet_ext.doctor.diagnosis.diagnose", diagnose)
        try:
            status = doctor.main(list(arguments))
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr(), asked

    return start


def test_exit_status_and_table(run):
    status, out, err, _ = run(GOOD)
    assert (status, err) == (0, "")
    assert "0 errors, 0 warnings, 1 ok" in out
    status, out, err, _ = run(BAD)
    assert (status, err) == (1, "")
    assert '-> eval "$(abbc-env)"' in out
    assert "where it was looked for" not in out
    assert "where it was looked for" in run(BAD, "--verbose")[1]


def test_json(run):
    status, out, _, _ = run(BAD, "--json")
    content = json.loads(out)
    assert status == 1
    assert set(content) == {"command", "note", "versions", "would_fail", "findings"}
    assert content["would_fail"] is True
    assert [set(finding) for finding in content["findings"]] == [{"check", "status", "text", "cure", "details"}] * 2


def test_options(run):
    arguments = ["-d", "3", "-p", "P", "-c", "triplanar", "-tr", "T", "-f", "2", "-device", "cpu", "--workers", "4"]
    asked = run(GOOD, *arguments)[3]
    assert asked == {
        "dataset": "3", "plans": "P", "configuration": "triplanar", "trainer": "T", "fold": 2, "device": "cpu",
        "workers": 4, "progress": True,
    }  # fmt: skip
    assert run(GOOD, "-d", "3", "-c", "2d", "-f", "all")[3]["fold"] == "all"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "x"], "'x' is no fold; give a number from 0, or all"),
        (["-device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_wrong_usage(run, arguments, message):
    status, _, err, _ = run(GOOD, *arguments)
    assert status == 2
    assert message in err


def test_training_without_dataset(capsys):
    assert doctor.main(["-c", "2d"]) == 2
    assert "abbc-doctor: error: a training was named but no dataset" in capsys.readouterr().err


def test_help_imports_nothing_heavy(environment):
    code = "import sys, nnunet_ext.commands.doctor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not set(done.stdout.split()) & {"numpy", "SimpleITK", "torch", "nnunetv2", "label_gen", "tqdm"}


@pytest.mark.slow
def test_all_real_checks(environment, tmp_path):
    names = ("raw", "preprocessed", "results")
    for name in names:
        (tmp_path / name).mkdir()
    environment |= {f"nnUNet_{name}": str(tmp_path / name) for name in names}
    environment["nnUNet_extTrainer"] = str(Path(nnunet_ext.__file__).parent / "ext_trainers")
    environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, "-m", "nnunet_ext.commands.doctor", "--json", "-device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["trainer"]["status"] == "ok", findings["trainer"]
    assert findings["torch"]["status"] == "ok", findings["torch"]
    assert findings["GPU"]["status"] == "warning"
    assert all(finding["cure"] for finding in findings.values() if finding["status"] != "ok")
    assert str(tmp_path) not in done.stdout
    assert done.returncode == any(finding["status"] == "error" for finding in findings.values())
    assert os.listdir(tmp_path / "results") == []
