"""Trainers of any length by name: nnU-Net's own and ours, found as nnU-Net finds them."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_ext.environment import VARIABLE, trainer_folder
from nnunet_ext.studies.trainer_names import is_trainer
from nnunet_ext.trainers import any_length
from nnunet_ext.trainers.triplanar_ekman import nnUNetTrainerTriPlanarEkman
from tests.nnunet_ext.training.tiny import tiny_description, triplanar_plans

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")  # of timm, which nnU-Net's search imports


@pytest.fixture
def find(monkeypatch):
    monkeypatch.setenv(VARIABLE, str(trainer_folder()))
    return recursive_find_trainer_class_by_name


@pytest.mark.parametrize(
    ("name", "base", "epochs", "steps"),
    [
        ("nnUNetTrainerDA5_100epochs", nnUNetTrainerDA5, 100, (250, 50)),
        ("nnUNetTrainerDA5_3epochs_12iterations", nnUNetTrainerDA5, 3, (12, 2)),
        ("nnUNetTrainerTriPlanarEkman_1epoch_1iteration", nnUNetTrainerTriPlanarEkman, 1, (1, 1)),
    ],
)
def test_trainers_with_their_length_in_the_name(find, tmp_path, monkeypatch, name, base, epochs, steps):
    found = find(name)
    assert issubclass(found, base)
    assert (found.__name__, found.__module__) == (name, "nnunet_ext.trainers.any_length")
    assert found is getattr(any_length, name)  # so that worker processes can unpickle what refers to it
    for room in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{room}", str(tmp_path / room))
    monkeypatch.setattr("nnunet_ext.trainers.base.check_training", lambda *args, **kwargs: None)
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda folder: None)
    description = {**tiny_description(), "name": "Dataset991_Tiny"}
    trainer = found(triplanar_plans(), "triplanar", 0, description, torch.device("cpu"))
    assert trainer.num_epochs == epochs
    assert (trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == steps
    assert trainer.my_init_kwargs["configuration"] == "triplanar"
    monkeypatch.setenv("ABBC_FINAL_VALIDATION", "off")
    trainer.perform_actual_validation()  # would need a network


def test_names_of_no_trainer(find):
    for name in ("nnUNetTrainerNone_5epochs", "nnUNetTrainer_0epochs", "nnUNetTrainer_5iterations"):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(any_length, name)
    assert find("nnUNetTrainer_100epochs").__module__.startswith("nnunetv2.")


def test_is_trainer(monkeypatch, tmp_path):
    for name in ("nnUNetTrainer", "nnUNetTrainerDA5", "nnUNetTrainerTriPlanarEkman", "nnUNetTrainerABBC_7epochs"):
        assert is_trainer(name), name
    assert not is_trainer("nnUNetTrainerNone")
    assert not is_trainer("object")
