"""Networks on a processor are laid out channels last, and compute what they did."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from nnunet_ext.trainers.abbc import nnUNetTrainerABBC
from nnunet_ext.training.memory_layout import lay_channels_last

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


def small(dimensions):
    torch.manual_seed(0)
    conv = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dimensions]
    norm = {2: torch.nn.InstanceNorm2d, 3: torch.nn.InstanceNorm3d}[dimensions]
    return PlainConvUNet(
        1, 2, [8, 16], conv, 3, [1, 2], 1, 4, 1, norm_op=norm, norm_op_kwargs={"affine": True}, nonlin=torch.nn.ReLU
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_layout_changes_no_result_and_is_handed_on(dimensions):
    plain, laid = small(dimensions), small(dimensions)
    lay_channels_last(laid)
    image = torch.randn(2, 1, *[16] * dimensions)
    seen = []
    for module in laid.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)) and module.kernel_size[0] > 1:
            module.register_forward_hook(lambda m, i, out: seen.append(out))
    expected, found = plain(image), laid(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(seen) == 3
    assert all(out.is_contiguous(memory_format=FORMATS[dimensions]) for out in seen)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    for a, b in zip(plain.parameters(), laid.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-3)


def test_weights_are_saved_and_loaded_as_ever(tmp_path):
    plain, laid = small(3), small(3)
    lay_channels_last(laid)
    torch.save(laid.state_dict(), tmp_path / "weights.pth")
    weights = torch.load(tmp_path / "weights.pth", weights_only=True)
    plain.load_state_dict(weights)
    laid.load_state_dict(small(3).state_dict())
    for a, b in zip(plain.parameters(), laid.parameters(), strict=True):
        assert torch.equal(a, b)
    kernel = next(p for p in laid.parameters() if p.ndim == 5 and min(p.shape[:2]) > 1)
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d)


def test_trainers_suit_networks_to_a_processor(tmp_path, monkeypatch):
    from tests.nnunet_ext.training.tiny import need_no_data, triplanar_plans

    need_no_data(monkeypatch, tmp_path)
    labels = {"background": 0, "boundary": 1, "core": 2, "border": 3}
    description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".mha"}
    trainer = nnUNetTrainerABBC(triplanar_plans(), "3d_fullres", 0, description, torch.device("cpu"))
    torch.set_num_threads(3)  # as nnU-Net's command does, with the number of cores
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trainer.initialize()
    assert torch.get_num_threads() == 1
    kernels = [p for p in trainer.network.parameters() if p.ndim == 5 and min(p.shape[:2]) > 1]
    assert kernels
    assert all(k.is_contiguous(memory_format=torch.channels_last_3d) for k in kernels)
