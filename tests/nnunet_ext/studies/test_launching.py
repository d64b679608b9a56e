"""Commands in processes of their own: what they cost, how they fail, and that they end with the study."""

import os
import signal
import subprocess
import sys
import time

import pytest

from label_gen.errors import DataError, UsageError
from nnunet_ext.studies import launching
from nnunet_ext.studies.child import tree_bytes
from nnunet_ext.studies.launching import run_entry_measured, spoken
from nnunet_ext.studies.locks import hold, take_one

MODULE = """
import os, random, sys, time

def eat():
    block = b"x" * 300_000_000
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    time.sleep(1.2)
    print(len(block), sys.argv, random.random(), os.environ["WORD"])

def fail():
    print("first")
    raise ValueError("no such thing in " + __file__)

def refuse():
    sys.exit(2)

def wait():
    print("waiting", flush=True)
    if os.fork() == 0:
        time.sleep(60)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path, monkeypatch, environment):
    """Run a function of a module of ours as a command."""
    (tmp_path / "study_helper.py").write_text(MODULE)
    path = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    for name in ("eat", "fail", "refuse", "wait"):
        monkeypatch.setitem(launching.ENTRIES, name, f"study_helper:{name}")
    monkeypatch.setattr(launching, "_PRELOADED", ("random",))

    def call(name, *arguments, **options):
        variables = {**environment, "PYTHONPATH": path, "WORD": "told"}
        return run_entry_measured(name, arguments, environment=variables, log=tmp_path / "log" / "x.log", **options)

    yield call
    launching._end_server()


@pytest.mark.parametrize("warm", [False, True])
def test_what_a_command_costs(run, tmp_path, warm):
    cost = run("eat", "-a", "b c", seed=5, warm=warm)
    assert 1.4 < cost.wall_s < 60
    assert 0.3 <= cost.processor_s < 5
    assert 300 < cost.peak_ram_mb < 450
    assert cost.peak_vram_mb is None
    line = (tmp_path / "log" / "x.log").read_text()
    assert "['study_helper', '-a', 'b c'] 0.6229016948897019 told" in line  # random.Random(5).random()
    assert line.startswith("300000000 ")


@pytest.mark.parametrize("warm", [False, True])
def test_a_command_that_fails_says_why(run, warm):
    with pytest.raises(
        DataError, match=r"fail failed \(status 1\): .*ValueError: no such thing in study_helper.py"
    ) as e:
        run("fail", warm=warm)
    assert "see log/x.log, mend that" in str(e.value)
    assert "/tmp" not in str(e.value)
    with pytest.raises(DataError, match=r"refuse failed \(status 2\)"):
        run("refuse", warm=warm)


SCRIPT = """
import sys
from pathlib import Path
from nnunet_ext.studies import launching
launching.ENTRIES["wait"] = "study_helper:wait"
launching._PRELOADED = ("random",)
import os
launching.run_entry_measured("wait", [], environment=os.environ, log=Path(sys.argv[1]), warm=sys.argv[2] == "warm")
"""


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes in /proc")
@pytest.mark.parametrize("way", ["cold", "warm"])
def test_a_command_ends_with_the_study_that_is_killed(tmp_path, environment, way):
    (tmp_path / "study_helper.py").write_text(MODULE)
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]]), "MARK": str(tmp_path)}
    log = tmp_path / "log" / "x.log"
    study = subprocess.Popen([sys.executable, "-c", SCRIPT, str(log), way], env=environment)
    _until(lambda: log.is_file() and "waiting" in log.read_text() and len(_marked(tmp_path)) >= 3)
    study.send_signal(signal.SIGKILL)
    study.wait()
    _until(lambda: not _marked(tmp_path))


def _marked(mark):
    """Return the processes that have our mark in their environment, but for those that ended already."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as stream:
                if f"MARK={mark}".encode() in stream.read().split(b"\0"):
                    found.append(name)
        except OSError:
            continue
    return found


def _until(condition):
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_memory_of_processes():
    assert tree_bytes(os.getpid()) > 10_000_000 or not os.path.isdir("/proc")
    assert tree_bytes(2**30) == 0


def test_commands_as_typed():
    assert spoken("abbc-x", ["-i", "a b", 3]) == "abbc-x -i 'a b' 3"


def test_locks(tmp_path):
    with hold(tmp_path / "locks" / "a", busy="it is busy"):
        with pytest.raises(UsageError, match="it is busy"), hold(tmp_path / "locks" / "a", busy="it is busy"):
            pass
        with take_one(tmp_path / "locks", (3, 5)) as first, take_one(tmp_path / "locks", (3, 5)) as second:
            assert (first, second) == (3, 5)
    with hold(tmp_path / "locks" / "a", busy="it is busy"), take_one(tmp_path / "locks", (3, 5)) as first:
        assert first == 3
