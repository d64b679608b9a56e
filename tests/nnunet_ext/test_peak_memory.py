import numpy as np

from nnunet_ext import peak_memory
from nnunet_ext.peak_memory import peak_bytes, reset_peak


def test_peak_grows_with_what_is_held():
    reset_peak()
    before = peak_bytes()
    held = np.ones(100_000_000, np.uint8)
    assert peak_bytes() >= before + 0.8 * held.nbytes


def test_peak_where_the_system_tells_less(monkeypatch, tmp_path):
    monkeypatch.setattr(peak_memory, "Path", lambda path: tmp_path / "none")
    reset_peak()
    assert 10e6 < peak_bytes() < 100e9
