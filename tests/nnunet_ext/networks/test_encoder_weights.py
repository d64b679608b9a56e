"""Weights of encoders: from files, from the library's cache, from the internet only if asked for."""

import pytest
import torch

from label_gen.errors import DataError, VolumeFileError
from nnunet_ext.networks import weights
from nnunet_ext.networks.library import import_library
from nnunet_ext.networks.weights import are_cached, load_encoder_weights


@pytest.fixture(scope="module")
def state():
    """Weights as torchvision has them, with the last layer, which no encoder has."""
    torch.manual_seed(7)
    encoder = import_library().encoders.get_encoder("resnet34", weights=None)
    return {**encoder.state_dict(), "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}


def encoder_of(channels):
    return import_library().encoders.get_encoder("resnet34", in_channels=channels, weights=None)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Give the library an empty cache, and let every download fail."""
    import huggingface_hub.constants

    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", offline)
    return tmp_path / "hub"


@pytest.mark.parametrize("channels", [1, 2])
def test_file_of_torchvision_fills_the_encoder(tmp_path, state, channels):
    torch.save(state, tmp_path / "resnet34.pth")
    encoder = encoder_of(channels)
    said = load_encoder_weights(encoder, "resnet34", str(tmp_path / "resnet34.pth"), channels)
    assert said == "The encoder resnet34 starts from the weights in 'resnet34.pth'"
    torch.testing.assert_close(encoder.layer4[2].conv2.weight, state["layer4.2.conv2.weight"])
    colours = state["conv1.weight"]
    expected = colours.sum(1, keepdim=True) if channels == 1 else colours[:, :2] * 3 / 2
    torch.testing.assert_close(encoder.conv1.weight, expected)


def test_prefixes_and_safetensors(tmp_path, state):
    from safetensors.torch import save_file

    save_file({f"model.encoder.{key}": value for key, value in state.items()}, tmp_path / "x.safetensors")
    encoder = encoder_of(1)
    load_encoder_weights(encoder, "resnet34", str(tmp_path / "x.safetensors"), 1)
    torch.testing.assert_close(encoder.bn1.weight, state["bn1.weight"])


def test_files_of_something_else_are_refused(tmp_path, state):
    path = tmp_path / "x.pth"
    torch.save({"state_dict": {key: state[key] for key in list(state)[:4]}}, path)
    with pytest.raises(
        DataError, match=r"'x.pth' does not fit the encoder resnet34: it has no weights bn1.running_var"
    ):
        load_encoder_weights(encoder_of(1), "resnet34", str(path), 1)
    torch.save({**state, "bn1.weight": torch.zeros(3)}, path)
    with pytest.raises(DataError, match=r"it has bn1.weight of shape \(3,\); take a file of a resnet34"):
        load_encoder_weights(encoder_of(1), "resnet34", str(path), 1)
    torch.save([1, 2], path)
    with pytest.raises(DataError, match="holds a list, not weights by name"):
        load_encoder_weights(encoder_of(1), "resnet34", str(path), 1)
    path.write_text("nothing")
    with pytest.raises(VolumeFileError, match=r"cannot read .* as weights: .*ABBC_ENCODER_WEIGHTS=none"):
        load_encoder_weights(encoder_of(1), "resnet34", str(path), 1)
    with pytest.raises(VolumeFileError, match="cannot read 'nowhere' as weights: No such file"):
        load_encoder_weights(encoder_of(1), "resnet34", "nowhere", 1)


def test_nothing_is_downloaded_unasked(cache):
    encoder = encoder_of(1)
    before = encoder.conv1.weight.clone()
    said = load_encoder_weights(encoder, "resnet34", None, 1)
    assert "random weights: ImageNet weights are not in the library's cache" in said
    assert "random weights, as" in load_encoder_weights(encoder, "resnet34", "None", 1)
    torch.testing.assert_close(encoder.conv1.weight, before)
    with pytest.raises(VolumeFileError, match=r"cannot get the ImageNet weights of resnet34: .*=FILE"):
        load_encoder_weights(encoder, "resnet34", "imagenet", 1)


def test_cache_is_used_without_the_internet(cache, state, monkeypatch):
    from safetensors.torch import save_file

    settings = import_library().encoders.encoders["resnet34"]["pretrained_settings"]["imagenet"]
    folder = cache / f"models--{settings['repo_id'].replace('/', '--')}" / "snapshots" / settings["revision"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert not are_cached("resnet34")
    save_file(state, folder / "model.safetensors")
    assert are_cached("resnet34")
    for source in (None, "imagenet"):
        encoder = encoder_of(1)
        assert load_encoder_weights(encoder, "resnet34", source, 1).endswith("ImageNet weights of the library")
        torch.testing.assert_close(encoder.conv1.weight, state["conv1.weight"].sum(1, keepdim=True))
    assert weights.are_cached is are_cached
