"""A training can begin with all weights of another one, its last layers included."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from label_gen.errors import UsageError, VolumeFileError
from nnunet_ext.trainers.abbc import nnUNetTrainerABBC
from nnunet_ext.training.checkpoint_restoring import bare_network
from nnunet_ext.training.initial_weights import load_initial_weights
from tests.nnunet_ext.training.tiny import need_no_data, triplanar_plans


def small(seed, classes=4, features=4):
    torch.manual_seed(seed)
    return PlainConvUNet(1, 2, [features, 8], torch.nn.Conv2d, 3, [1, 2], 1, classes, 1)


def kept(network, file, prefix="", half=False):
    weights = {prefix + name: value.half() if half else value for name, value in network.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"network_weights": weights, "init_args": {}, "trainer_name": "nnUNetTrainer"}, file)
    return file


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return [bool(torch.equal(a, b)) for a, b in pairs]


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_all_weights_are_taken_the_last_layers_too(tmp_path, prefix):
    trained, new = small(1), small(2)
    assert not all(same(trained, new))
    said = load_initial_weights(new, str(kept(trained, tmp_path / "weights.pth", prefix)))
    assert all(same(trained, new))
    assert said == "The training begins with all weights of 'weights.pth'."
    assert any("seg_layers" in name for name in new.state_dict())


def test_a_model_folder_and_weights_of_half_precision(tmp_path):
    trained, new = small(1), small(2)
    kept(trained, tmp_path / "fold_0" / "checkpoint_final.pth", half=True)
    load_initial_weights(new, str(tmp_path))
    assert all(same(trained.half().float(), new))
    assert all(value.dtype == torch.float32 for value in new.state_dict().values())


@pytest.mark.parametrize(
    ("other", "words"),
    [({"classes": 6}, "weights decoder.seg_layers.0.weight of shape"), ({"features": 2}, "of shape (2, 1, 3, 3)")],
)
def test_weights_of_another_network_are_refused_and_nothing_is_changed(tmp_path, other, words):
    new, before = small(2), small(2)
    with pytest.raises(UsageError, match="belong to another network") as refusal:
        load_initial_weights(new, str(kept(small(1, **other), tmp_path / "other.pth")))
    assert words in str(refusal.value)
    assert "'other.pth'" in str(refusal.value)
    assert "-pretrained_weights" in str(refusal.value)
    assert all(same(new, before))


def test_missing_or_damaged_weights(tmp_path):
    with pytest.raises(VolumeFileError, match=r"cannot read .*none\.pth"):
        load_initial_weights(small(1), str(tmp_path / "none.pth"))
    (tmp_path / "damaged.pth").write_bytes(b"no weights")
    with pytest.raises(VolumeFileError, match=r"damaged\.pth"):
        load_initial_weights(small(1), str(tmp_path / "damaged.pth"))


def make_trainer():
    labels = {"background": 0, "boundary": 1, "core": 2, "border": 3}
    description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".mha"}
    return nnUNetTrainerABBC(triplanar_plans(), "3d_fullres", 0, description, torch.device("cpu"))


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    need_no_data(monkeypatch, tmp_path)
    trained = make_trainer()
    trained.initialize()
    monkeypatch.setenv("ABBC_INITIAL_WEIGHTS", str(kept(bare_network(trained), tmp_path / "weights.pth")))
    return trained


def test_a_trainer_begins_with_them(prepared):
    trainer = make_trainer()
    trainer.initialize()
    assert all(same(bare_network(prepared), bare_network(trainer)))


def test_a_training_that_goes_on_does_not_ask_for_them(prepared, tmp_path):
    prepared.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    (tmp_path / "weights.pth").unlink()
    trainer = make_trainer()
    trainer.load_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    assert all(same(bare_network(prepared), bare_network(trainer)))
