import pytest

pytest.importorskip("segmentation_models_pytorch", reason="the extra 'networks' is not installed")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that makes a trainer of plans without data."""
    import torch

    from tests.nnunet_ext.training.tiny import LABELS, need_no_data, triplanar_plans

    need_no_data(monkeypatch, tmp_path)
    monkeypatch.setenv("nnUNet_compile", "0")
    monkeypatch.setenv("ABBC_ENCODER_WEIGHTS", "none")

    def make(trainer, configuration="2d", **changes):
        description = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 2, "file_ending": ".mha"}
        plans = triplanar_plans()
        plans["configurations"][configuration] |= changes
        return trainer(plans, configuration, 0, description, torch.device("cpu"))

    return make
