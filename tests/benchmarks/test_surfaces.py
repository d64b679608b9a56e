"""The comparison of surfaces measures what it says."""

import json

import numpy as np
import pytest
import SimpleITK

from tests.benchmarks.surfaces import bending, main, measure, plain
from tests.volumes import ball


def test_both_sides_are_measured():
    labels = ball((19, 19, 19), (9, 9, 9), 7)
    labels[:, :, 10:] *= 3
    rows = measure(labels, (1.0, 1.0, 1.0))
    assert [row["label"] for row in rows["plain"]] == [row["label"] for row in rows["ours"]] == [1, 3]
    for row in rows["ours"]:
        assert row["sound"]
        assert abs(row["volume_error"]) < 0.005
        assert row["overlap_mm3"] < 1e-5
    assert all(ours["bending"] < other["bending"] for ours, other in zip(rows["ours"], rows["plain"], strict=True))


def test_a_round_ball_bends_by_its_radius():
    surface = plain(ball((35, 35, 35), (17, 17, 17), 15), (1.0, 1.0, 1.0))[1]
    assert surface.volume_mm3 == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.03)
    round_ = surface.vertices - 17
    round_ *= 15 / np.linalg.norm(round_, axis=1, keepdims=True)
    # The integral of the mean curvature twice over, 2 / r per area; triangles add what they are off the ball.
    assert bending(type(surface)(round_, surface.faces)) == pytest.approx(np.degrees(2 / 15), rel=0.15)
    assert bending(surface) > 2 * np.degrees(2 / 15)


def test_table_is_printed(capsys, tmp_path):
    labels = ball((19, 19, 19), (9, 9, 9), 7)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), str(tmp_path / "ball.nii.gz"))
    main(["--labels", str(tmp_path), "--json", str(tmp_path / "figures.json")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["ball", "plain"],
        ["ball", "ours"],
        ["all", "plain"],
        ["all", "ours"],
    ]
    assert lines[5].startswith("largest overlap")
    assert [row["case"] for row in json.loads((tmp_path / "figures.json").read_text())["ours"]] == ["ball"]
