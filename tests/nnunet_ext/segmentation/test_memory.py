"""Peak memory is told beforehand, within a factor; and nothing opens a connection. Both in a process of its own."""

import json
import subprocess
import sys

import pytest

from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.memory import BASE_BYTES, BOX_BYTES, CT_BYTES, FACTOR, MODEL_BYTES, forecast

ALONE = """
import json, sys

seen = []

def guard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        seen.append(event)
        raise SystemExit(f"{event} {arguments}")

sys.addaudithook(guard)
from pathlib import Path
import numpy as np
import nnunet_ext
from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.frames import resampled
from tests.nnunet_ext.segmentation.phantom import FINE, acquired, draw_ct, save_model

folder = Path(sys.argv[1])
model = save_model(folder / "model")
ct, bones = draw_ct()
for name, step, report in (("small", 2.0, True), ("bigger", 0.6, False)):
    shape = tuple(int((n - 1) * 1.5 / step) for n in FINE.shape)
    grid = Grid(shape, (step,) * 3, FINE.origin)
    found = nnunet_ext.segment(
        acquired(ct, grid, order=1), bones=acquired(bones, grid, order=0), model=model, device="cpu",
        output=folder / name, report=report,
    )
    print(json.dumps({"name": name, "peak_mb": found.run["peak_mb"], **found.run["memory"]}))
assert not seen, seen
"""


def test_the_forecast_is_linear():
    ct, box, model = Grid((10, 10, 10), (1.0,) * 3), Grid((5, 5, 5), (1.0,) * 3), Grid((2, 3, 4), (2.0,) * 3)
    told = forecast(ct, (2.0, 2.0, 2.0), box=box, model=model, extra_bytes=7)
    assert told.bytes == BASE_BYTES + 1000 * CT_BYTES + 125 * BOX_BYTES + 24 * MODEL_BYTES + 7
    assert (told.ct_voxels, told.box_voxels, told.model_voxels) == (1000, 125, 24)
    unknown = forecast(ct, (2.0, 2.0, 2.0))
    assert (unknown.box_voxels, unknown.model_voxels) == (1000, 125)
    assert str(told).startswith("about 1.1 GB")


def test_a_large_ct_is_told_to_run_within_12_gb():
    ct = Grid((600, 512, 512), (0.7,) * 3)
    assert forecast(ct, (0.8,) * 3).bytes * FACTOR < 24e9
    assert forecast(ct, (1.3,) * 3).bytes < 12e9


@pytest.mark.slow
def test_memory_is_as_told_and_nothing_connects(tmp_path, environment):
    line = [sys.executable, "-c", ALONE, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    runs = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    assert [run["name"] for run in runs] == ["small", "bigger"]
    assert runs[1]["ct_voxels"] > 20 * runs[0]["ct_voxels"]
    for run in runs:
        assert run["forecast_mb"] / FACTOR < run["peak_mb"] < run["forecast_mb"] * FACTOR, run
        assert run["peak_mb"] < run["forecast_before_bones_mb"] * FACTOR
