import subprocess
import sys
import time

import pytest

from nnunet_ext import __version__

COMMANDS = ["generate_labels", "recover_instances", "evaluate"]


def start(module, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", f"nnunet_ext.commands.{module}", *arguments], capture_output=True, text=True, **options
    )


@pytest.mark.parametrize("module", COMMANDS)
def test_help_is_quick_and_shows_defaults(module, environment):
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = start(module, "--help", env=environment)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5
    assert done.returncode == 0
    assert "(default: pengwin2024)" in " ".join(done.stdout.split())
    assert "None" not in done.stdout
    assert "not a medical device" in done.stdout


@pytest.mark.parametrize("module", COMMANDS)
def test_help_imports_nothing_heavy(module, environment):
    code = f"import sys, nnunet_ext.commands.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not set(done.stdout.split()) & {"numpy", "scipy", "SimpleITK", "torch", "label_gen", "postproc", "tqdm"}


def test_version(call):
    assert call("generate", "--version")[:2] == (0, f"abbc-generate-labels {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: -i/--input, -o/--output"),
        (("-i", "a", "-o", "b", "--mode", "x"), "invalid choice: 'x'"),
        (("-i", "a", "-o", "b", "--workers", "-1"), "'-1' is no whole number from 0 upward"),
        (("-i", "a", "-o", "b", "--scheme", "x"), "unknown scheme 'x'; known are free, pengwin2024, pengwin2026"),
        (("-i", "no/such", "-o", "b"), "there is no file or folder 'no/such'; check the path"),
    ],
)
def test_wrong_usage(call, arguments, message):
    status, _, err = call("generate", *arguments)
    assert status == 2
    assert f"abbc-generate-labels: error: {message}" in err or message in err


def test_traceback_only_with_verbose(call, tmp_path):
    assert "Traceback" in call("generate", "-i", "no/such", "-o", tmp_path, "--verbose")[2]


def test_interrupt(call, save, labels, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnunet_ext.volumes.read_labels", interrupt)
    status, _, err = call("generate", "-i", save(labels, tmp_path / "a.mha"), "-o", tmp_path / "out")
    assert (status, err) == (130, "abbc-generate-labels: stopped; run the same command again to do the rest\n")
