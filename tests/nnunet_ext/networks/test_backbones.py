"""What the six networks give for slices and volumes, and how nnU-Net's plans, deep supervision and heads fit them."""

import functools
import importlib

import pytest
import torch

from label_gen.errors import UsageError
from nnunet_ext.networks import backbones
from nnunet_ext.networks.backbones import UNetDeepLabV3, UNetResNet34

NAMES = [name for name in backbones.__all__ if name.startswith("UNet")]


@functools.cache
def network(name):
    """Return a network with deep supervision, tri-planar; weights do not matter."""
    torch.manual_seed(1)
    built = getattr(backbones, name)(2, 3, deep_supervision=True, planes=[[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    return built.eval()


@pytest.fixture(params=NAMES)
def net(request):
    found = network(request.param)
    found.decoder.deep_supervision = True
    return found


def test_all_networks_are_there():
    decoders, encoders = ("UNet", "UNetPlusPlus"), ("ResNet34", "ResNet50", "DeepLabV3")
    assert sorted(NAMES) == sorted(decoder + encoder for decoder in decoders for encoder in encoders)


def test_deep_supervision_gives_the_scales_that_nnunet_reads_in_the_strides(net):
    divisor = 2 ** net.depth()
    with torch.no_grad():
        found = net(torch.randn(1, 2, 2 * divisor, divisor))
        scale, expected = 1, []
        for stride in net.plan_strides()[:-1]:
            scale *= stride[0]
            expected.append((1, 3, 2 * divisor // scale, divisor // scale))
        assert [tuple(logits.shape) for logits in found] == expected
        net.decoder.deep_supervision = False
        assert tuple(net(torch.randn(1, 2, divisor, 2 * divisor)).shape) == (1, 3, divisor, 2 * divisor)


def test_deep_supervision_changes_no_name_and_no_result(net):
    x = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        first = net(x)[0]
        net.decoder.deep_supervision = False
        torch.testing.assert_close(net(x), first)
    heads = [key for key in net.state_dict() if ".seg_layers." in key]
    assert len(heads) == 2 * (len(net.plan_strides()) - 1)  # weight and bias; these nnU-Net leaves out as pretrained


def test_slices_of_another_size_are_refused(net):
    divisor = 2 ** net.depth()
    with pytest.raises(UsageError, match=rf"multiples of {divisor}; got {divisor} x 40: set such a patch_size"):
        net(torch.zeros(1, 2, divisor, 40))


def test_volume_is_the_mean_over_slices_of_all_orientations():
    net = network("UNetDeepLabV3")
    net.decoder.deep_supervision = False
    volume = torch.randn(1, 2, 16, 16, 16)
    with torch.no_grad():
        found = torch.softmax(net(volume), 1)
        expected = 0
        for axes in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            turned = volume[0].permute(axes[0] + 1, 0, axes[1] + 1, axes[2] + 1)
            slices = torch.softmax(net(turned), 1).permute(1, 0, 2, 3)
            expected = expected + slices.permute(0, *(1 + axes.index(axis) for axis in range(3))) / 3
    torch.testing.assert_close(found[0], expected, atol=2e-6, rtol=1e-4)


def test_atrous_encoder_keeps_stride_16_and_sees_far():
    encoder = network("UNetDeepLabV3").encoder
    x = torch.zeros(1, 2, 64, 64)
    with torch.no_grad():
        features = encoder(x)
    assert [tuple(f.shape[1:]) for f in features] == [(2, 64, 64), (64, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4)]
    rates = {m.dilation for m in encoder.pyramid.modules() if isinstance(m, torch.nn.Conv2d)}
    assert rates == {(1, 1), (6, 6), (12, 12), (18, 18)}
    assert all(m.stride == (1, 1) for m in encoder.backbone.layer4.modules() if isinstance(m, torch.nn.Conv2d))


def test_strides_of_other_networks_are_refused():
    with pytest.raises(UsageError, match=r"UNetDeepLabV3 has the strides .* the plans say \[\[1, 1\], \[2, 2\]\]"):
        UNetDeepLabV3(1, 2, strides=[[1, 1], [2, 2]])


def test_missing_library_names_the_extra(monkeypatch):
    def fail(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(UsageError, match=r"pip install 'nnunet-abbc\[networks\]'"):
        UNetResNet34(1, 2)
