"""The benchmark runs from end to end on tiny volumes, and its comparisons tell a difference when there is one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.benchmarks.compare import compare_fragments, compare_voxels
from tests.benchmarks.figures import FIGURES
from tests.benchmarks.literal_recipe import march_each
from tests.benchmarks.measure import ROOT


def run(*arguments):
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", *arguments]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_all_figures_are_measured(tmp_path):
    done = run("--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equals the listing voxel for voxel" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert list(figures) == list(FIGURES)
    for section in figures.values():
        assert section["rows"]
        assert all(row["cpu_s"] >= 0 and row["wall_s"] > 0 for row in section["rows"])
    assert all(row["peak_mb"] > 0 for row in figures["growth"]["rows"])


def test_few_marches_are_extrapolated():
    done = run("--only", "recovery", "--marches", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 5 marches done, the rest extrapolated" in done.stdout
    assert "recover-naive (" not in done.stdout


def test_march_gives_every_voxel_to_the_first_front():
    starts = np.zeros((5, 5, 11), np.int32)
    starts[2, 2, 1], starts[2, 2, 9] = 1, 2
    speed = np.ones(starts.shape)
    speed[:, :, 7] = 0.0
    owners, seconds = march_each(starts, speed, (1.0, 1.0, 1.0))
    assert (owners[:, :, :7] == 1).all()
    assert (owners[:, :, 7] == 0).all()
    assert (owners[:, :, 8:] == 2).all()
    assert len(seconds) == 2


def test_comparisons_tell_what_differs(tmp_path):
    first = np.zeros((4, 4, 10), np.uint8)
    first[..., :4], first[..., 4:8] = 7, 3
    second = np.zeros((4, 4, 10), np.int32)
    second[..., :4], second[..., 4:7] = 1, 2
    for name, volume in (("first", first), ("second", second), ("none", second * 0)):
        np.save(tmp_path / f"{name}.npy", volume)
    assert compare_voxels(tmp_path, "first", "first")["different"] == 0
    assert compare_voxels(tmp_path, "second", "none") == {"different": 112, "voxels": 160}
    found = compare_fragments(tmp_path, "first", "second")
    assert (found["first"], found["second"], found["min_iou"]) == (2, 2, 0.75)
    assert found["mean_iou"] == pytest.approx(0.875)


@pytest.mark.slow
def test_loading_is_measured():
    command = [sys.executable, "-m", "tests.benchmarks.loading", "--size", "96", "--edge", "48", "--repeats", "8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    rows = [line.split()[-4:] for line in done.stdout.splitlines() if line.startswith("patch ")]
    assert len(rows) == 2
    assert all(float(figure) > 0 for row in rows for figure in row)
