"""`abbc-study`: the ready studies from end to end, in their reduced form."""

import json

import pytest

from nnunet_ext.commands.study import main
from nnunet_ext.studies.reading import read_study
from tests.nnunet_ext.studies.rows import rows_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("study_processes")]


def check_study(name, folder):
    """Check that every cell of a reduced study left all that it should, and that no path got into it."""
    cells = [cell.name for cell in read_study(name).cells]
    assert list(rows_of(folder)) == cells
    for cell in cells:
        record = json.loads((folder / "cells" / cell / "record.json").read_text())
        assert record["status"] == "done"
        assert record["costs"]["training_s"] > 0
        assert record["costs"]["inference_s"] > 0
        assert record["costs"]["peak_ram_mb"] > 100
        assert set(record["prediction"]["seconds"]) == {"test_000_left", "test_000_right"}
        scores = json.loads((folder / "cells" / cell / "scores.json").read_text())
        assert all(case["status"] == "done" for case in scores["cases"].values())
    text = (folder / "table.md").read_text()
    for table in read_study(name).published:
        assert f"## {table.title}, beside it" in text
        assert table.source in text
    assert (folder / "plots" / "bars.png").stat().st_size > 10_000
    for file in [*folder.glob("*.json"), *folder.glob("cells/*/*.json"), folder / "table.md", folder / "table.csv"]:
        assert str(folder) not in file.read_text(), file


@pytest.mark.parametrize("name", ["femur_nnunet_search", "triplanar_data_efficiency"])
def test_a_ready_study_in_its_reduced_form(name, tmp_path):
    assert main([name, "-o", str(tmp_path / "out"), "--smoke"]) == 0
    check_study(name, tmp_path / "out")


def test_the_study_of_backbones_in_its_reduced_form(tmp_path, monkeypatch):
    pytest.importorskip("segmentation_models_pytorch", reason="the extra 'networks' is not installed")
    from tests.nnunet_ext.stage1.networks import save_model

    monkeypatch.setenv("ABBC_ENCODER_WEIGHTS", "none")
    weights = tmp_path / "Dataset294_TotalSegmentator_part4_muscles"
    labels = {"background": 0, "femur_left": 1, "femur_right": 2}
    model = weights / "nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres"
    save_model(model, labels, {"femur_left": 400, "femur_right": 900}, dims=3, spacing=3.0, trainer="nnUNetTrainer")
    out = tmp_path / "out"
    assert main(["femur_2d_backbones", "-o", str(out), "--smoke", "--weights", str(weights)]) == 0
    check_study("femur_2d_backbones", out)
