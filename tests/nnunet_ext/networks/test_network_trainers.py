"""The trainers of the networks: what they change in the plans, and one training step of each."""

import copy

import pytest
import torch

from label_gen.errors import UsageError
from nnunet_ext.ext_trainers import abbc_trainers
from nnunet_ext.networks.backbones import UNetDeepLabV3, UNetPlusPlusResNet50
from nnunet_ext.networks.plans import with_backbone
from nnunet_ext.trainers import backbones
from tests.nnunet_ext.training.tiny import triplanar_plans

NAMES = [name for name in backbones.__all__ if name.startswith("nnUNet")]


def test_plans_get_the_network_and_patches_that_fit():
    plans = triplanar_plans()
    plans["configurations"]["2d"]["patch_size"] = [40, 64]
    before = copy.deepcopy(plans)
    changed = with_backbone(plans, "2d", UNetPlusPlusResNet50)
    found = changed["configurations"]["2d"]
    assert found["patch_size"] == [64, 64]
    assert found["architecture"] == {
        "network_class_name": "nnunet_ext.networks.backbones.UNetPlusPlusResNet50",
        "arch_kwargs": {"strides": [[1, 1]] + [[2, 2]] * 5},
        "_kw_requires_import": [],
    }
    same = ("data_identifier", "batch_size", "spacing", "normalization_schemes")
    assert [found[key] for key in same] == [before["configurations"]["2d"][key] for key in same]
    assert plans == before


def test_triplanar_and_inherited_configurations():
    plans = triplanar_plans()
    plans["configurations"]["small"] = {"inherits_from": "triplanar", "batch_size": 3}
    found = with_backbone(plans, "small", UNetDeepLabV3)["configurations"]["small"]
    assert (found["patch_size"], found["batch_size"]) == ([16, 16, 16], 3)
    arguments = found["architecture"]["arch_kwargs"]
    assert (arguments["planes"], arguments["regions"]) == ([[0, 1, 2], [1, 2, 0], [2, 0, 1]], False)
    assert "inherits_from" not in found


def test_plans_that_do_not_fit_are_refused():
    plans = triplanar_plans()
    with pytest.raises(UsageError, match="'3d_fullres' is 3D, and UNetDeepLabV3 is a network of slices; train 2d"):
        with_backbone(plans, "3d_fullres", UNetDeepLabV3)
    plans["configurations"]["2d"]["batch_size"] = 1
    with pytest.raises(UsageError, match="batches of one patch"):
        with_backbone(plans, "2d", UNetDeepLabV3)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_each(make, name):
    torch.manual_seed(3)
    trainer = make(getattr(abbc_trainers, name))
    assert trainer.enable_deep_supervision is False
    assert (trainer.num_epochs, trainer.initial_lr) == (100, 3e-4)
    trainer.initialize()
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    heads = trainer.network.decoder.seg_layers
    assert [p.requires_grad for head in heads for p in head.parameters()] == [False] * (2 * len(heads) - 2) + [True] * 2
    before = heads[-1][0].weight.detach().clone()
    trainer.network.train()
    target = torch.randint(0, 3, (2, 1, 32, 32))
    found = trainer.train_step({"data": torch.randn(2, 1, 32, 32), "target": target})
    assert 0.2 < float(found["loss"]) < 5
    assert not torch.equal(heads[-1][0].weight, before)
    assert trainer.plans_manager.plans["configurations"]["2d"]["architecture"]["network_class_name"].endswith(name[15:])


def test_loss_is_cross_entropy_alone(make):
    loss = make(backbones.nnUNetTrainerUNetDeepLabV3)._build_loss()
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
    torch.testing.assert_close(loss(logits, target), torch.nn.functional.cross_entropy(logits, target[:, 0]))


def test_settings_and_lengths(make, monkeypatch):
    trainer = make(abbc_trainers.nnUNetTrainerUNetDeepLabV3_7epochs)
    assert trainer.num_epochs == 7
    monkeypatch.setenv("ABBC_OPTIMIZER", "adamw")
    monkeypatch.setenv("ABBC_INITIAL_LR", "0.01")
    trainer = make(backbones.nnUNetTrainerUNetDeepLabV3)
    trainer.initialize()
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.01
    with open(trainer.log_file) as log:
        assert "The encoder resnet34 starts from random weights, as ABBC_ENCODER_WEIGHTS says" in log.read()


def test_triplanar_trains_slices(make):
    trainer = make(backbones.nnUNetTrainerUNetDeepLabV3, "triplanar")
    assert trainer.training_patch() == [16, 16]
    assert len(trainer.planes) == 3


def test_missing_library_is_said_before_all_else(make, monkeypatch):
    def fail():
        raise UsageError("pip install")

    monkeypatch.setattr(backbones, "import_library", fail)
    with pytest.raises(UsageError, match="pip install"):
        backbones.nnUNetTrainerUNetResNet34({}, "2d", 0, {})
