import pytest

pytest.importorskip("segmentation_models_pytorch", reason="the extra 'networks' is not installed")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that makes a trainer of plans without data."""
    import torch

    from tests.nnunet_ext.training.tiny import LABELS, triplanar_plans

    for room in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{room}", str(tmp_path / room))
    monkeypatch.setenv("nnUNet_compile", "0")
    monkeypatch.setenv("ABBC_ENCODER_WEIGHTS", "none")
    monkeypatch.setattr("nnunet_ext.trainers.base.check_training", lambda *args, **kwargs: None)
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda folder: None)

    def make(trainer, configuration="2d", **changes):
        description = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 2, "file_ending": ".mha"}
        plans = triplanar_plans()
        plans["configurations"][configuration] |= changes
        return trainer(plans, configuration, 0, description, torch.device("cpu"))

    return make
