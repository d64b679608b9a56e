import json

import pytest
import torch

from nnunet_ext.trainers.abbc import nnUNetTrainerABBC
from nnunet_ext.trainers.bones import nnUNetTrainerBones
from tests.nnunet_ext.training.tiny import need_no_data, triplanar_plans

ABBC_LABELS = {"background": 0, "boundary": 1, "core": 2, "border": 3}
BONES_LABELS = {"background": 0, "sacrum": 1, "left_hip": 2, "right_hip": 3}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Write what nnU-Net leaves of a training, of tiny networks with weights at random."""
    need_no_data(monkeypatch, tmp_path)

    def make(model="abbc"):
        labels = ABBC_LABELS if model == "abbc" else BONES_LABELS
        description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}
        description |= {"abbc": {"task": "abbc", "scheme": "pengwin2024", "patients": {"secret": ["case"]}}}
        description |= {"name": "Dataset991_Tiny", "description": "tiny"}
        trainer_class = nnUNetTrainerABBC if model == "abbc" else nnUNetTrainerBones
        configuration = "3d_fullres" if model == "abbc" else "triplanar"
        plans = {**triplanar_plans(), "dataset_fingerprint": "secret"}
        torch.manual_seed(0)
        trainer = trainer_class(plans, configuration, 0, description, torch.device("cpu"))
        trainer.initialize()
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        with torch.no_grad():
            for weight in trainer.network.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
        folder = tmp_path / "results" / "Dataset991_Tiny" / f"{trainer_class.__name__}__Plans__{configuration}"
        trainer.on_epoch_start()
        trainer.output_folder = str(folder / "fold_0")
        (folder / "fold_0").mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
        (folder / "plans.json").write_text(json.dumps({k: v for k, v in plans.items() if k != "continue_training"}))
        (folder / "dataset.json").write_text(json.dumps(description))
        (folder / "dataset_fingerprint.json").write_text("{}")
        return folder

    return make
