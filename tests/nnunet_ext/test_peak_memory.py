import subprocess
import sys

from nnunet_ext import peak_memory
from nnunet_ext.peak_memory import peak_bytes, reset_peak

HELD = """
import numpy as np
from nnunet_ext.peak_memory import peak_bytes, reset_peak

before = peak_bytes()
held = np.ones(200_000_000, np.uint8)
grown = peak_bytes()
del held
reset_peak()
print(before, grown, peak_bytes())
"""


def test_peak_of_what_was_held(environment):
    line = [sys.executable, "-c", HELD]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    before, grown, later = map(int, done.stdout.split())
    assert grown > before + 150e6
    assert later <= grown  # less where the system can begin anew


def test_peak_where_the_system_tells_less(monkeypatch, tmp_path):
    monkeypatch.setattr(peak_memory, "Path", lambda path: tmp_path / "none")
    reset_peak()
    assert 10e6 < peak_bytes() < 100e9
