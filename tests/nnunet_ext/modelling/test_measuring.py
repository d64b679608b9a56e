"""What a command costs, told from outside of it."""

import sys
import types

import pytest

from label_gen.errors import DataError, VolumeFileError
from nnunet_ext.modelling.measuring import main, run_measured

COMMAND = """
import os, sys, time
def main(arguments):
    print("about to", *arguments)
    if arguments[0] == "kill":
        os.kill(os.getpid(), 9)
    if arguments[0] == "work":
        block = bytearray(80_000_000)
        block[::4096] = b"x" * len(block[::4096])
        started = time.process_time()
        while time.process_time() - started < 0.2:
            pass
    return 0 if arguments[0] == "work" else 2
"""


@pytest.fixture
def command(tmp_path, monkeypatch, environment):
    """A command that works, fails or kills itself, importable in other processes."""
    starter = tmp_path / "sitecustomize.py"
    (tmp_path / "toy_command.py").write_text(COMMAND)
    starter.write_text(
        "import sys, types, importlib.util as u\n"
        f"s = u.spec_from_file_location('nnunet_ext.commands.toy', {str(tmp_path / 'toy_command.py')!r})\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m); sys.modules['nnunet_ext.commands.toy'] = m\n"
    )
    return {**environment, "PYTHONPATH": f"{tmp_path}:{environment['PYTHONPATH']}"}


def test_cost_of_a_command(command):
    cost = run_measured("toy", ["work"], environment=command)
    assert cost.wall_s >= 0.2
    assert 0.2 <= cost.processor_s < 20
    assert 80 < cost.peak_mb < 300


def test_failures_are_told(command):
    with pytest.raises(DataError, match=r"toy failed \(status 2\): about to fail"):
        run_measured("toy", ["fail"], environment=command)
    with pytest.raises(VolumeFileError, match="toy was ended by signal 9; was there too little memory"):
        run_measured("toy", ["kill"], environment=command)


def test_note_of_the_peak(tmp_path, monkeypatch):
    toy = types.ModuleType("nnunet_ext.commands.toy")
    toy.main = lambda arguments: len(arguments)
    monkeypatch.setitem(sys.modules, "nnunet_ext.commands.toy", toy)
    assert main([str(tmp_path / "note.json"), "toy", "a", "b"]) == 2
    assert "peak_mb" in (tmp_path / "note.json").read_text()
