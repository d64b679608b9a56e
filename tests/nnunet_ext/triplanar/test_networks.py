"""A volume through a tri-planar network is its slices through the 2D network; turning the volume turns the result."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from hypothesis import given
from hypothesis import strategies as st

from label_gen.errors import UsageError
from nnunet_ext.triplanar import networks
from nnunet_ext.triplanar.networks import TriPlanarUNet, logits_of, probabilities_of
from nnunet_ext.triplanar.planes import ORIENTATIONS, find_planes
from tests.volumes import AXIS_ORDERS, fixed

CYCLIC = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]


def in_slices(network, volume):
    """Return the probabilities of a volume, one slice after the other."""
    total = 0
    for slice_axis, row_axis, column_axis in network.planes:
        moved = volume.permute(0, 1, slice_axis + 2, row_axis + 2, column_axis + 2)
        slices = [
            probabilities_of(network(moved[:, :, number]), regions=network.regions) for number in range(moved.shape[2])
        ]
        result = torch.stack(slices, 2)
        back = [(slice_axis, row_axis, column_axis).index(axis) + 2 for axis in range(3)]
        total = total + result.permute(0, 1, *back)
    return total / len(network.planes)


def probabilities(network, volume):
    with torch.inference_mode():
        return probabilities_of(network(volume), regions=network.regions)


def permuted(volume, order):
    return volume.permute(0, 1, *(axis + 2 for axis in order)).contiguous()


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("names", [["axial"], ["sagittal", "coronal"], list(ORIENTATIONS)], ids=len)
@pytest.mark.parametrize("regions", [False, True], ids=["classes", "regions"])
def test_volume_equals_a_loop_over_slices(network, monkeypatch, residual, names, regions):
    monkeypatch.setitem(networks.PIXELS_AT_ONCE, "cpu", 200)  # some slices in one go, and a rest
    planes = [ORIENTATIONS[name] for name in names]
    made = network(residual, planes, regions, channels=2, stages=3)
    volume = torch.randn(2, 2, 12, 20, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(probabilities(made, volume), in_slices(made, volume), atol=1e-5, rtol=0)


def test_slice_axes_need_no_divisible_length(network):
    made = network(planes=[ORIENTATIONS["axial"]])
    volume = torch.randn(1, 1, 5, 10, 6)
    with torch.inference_mode():
        torch.testing.assert_close(probabilities(made, volume), in_slices(made, volume), atol=1e-5, rtol=0)


@fixed(20)
@given(
    order=st.sampled_from(AXIS_ORDERS),
    names=st.lists(st.sampled_from(list(ORIENTATIONS)), min_size=1, unique=True),
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    seed=st.integers(0, 99),
)
def test_planes_follow_the_transposition_of_the_plans(order, names, shape, seed):
    # The fixture would be shared by all examples, which hypothesis forbids.
    from tests.nnunet_ext.triplanar.conftest import settings

    torch.manual_seed(seed)
    straight = TriPlanarUNet(planes=find_planes(names, (0, 1, 2)), **settings()).eval()
    turned = TriPlanarUNet(planes=find_planes(names, order), **settings()).eval()
    turned.load_state_dict(straight.state_dict())
    volume = torch.randn(1, 1, *(4 * length for length in shape))
    expected = permuted(probabilities(straight, volume), order)
    torch.testing.assert_close(probabilities(turned, permuted(volume, order)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("order", AXIS_ORDERS)
def test_permuting_the_volume_permutes_the_result(network, order):
    made = network()
    volume = torch.randn(1, 1, 8, 12, 16)
    expected, got = permuted(probabilities(made, volume), order), probabilities(made, permuted(volume, order))
    is_equal = torch.allclose(got, expected, atol=1e-5)
    assert is_equal == (order in CYCLIC)  # any other permutation transposes the slices
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 4:
                weight.copy_((weight + weight.transpose(2, 3)) / 2)
    expected, got = permuted(probabilities(made, volume), order), probabilities(made, permuted(volume, order))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_slices_are_what_the_2d_network_says(network, arguments):
    made = network()
    plain = PlainConvUNet(**arguments()).eval()
    plain.load_state_dict(made.state_dict())  # no weights of its own either
    slices = torch.randn(3, 1, 8, 8)
    assert torch.equal(made(slices), plain(slices))


def test_deep_supervision_is_for_slices(network):
    made = network(stages=3)
    made.decoder.deep_supervision = True
    assert [tuple(level.shape) for level in made(torch.randn(1, 1, 8, 8))] == [(1, 3, 8, 8), (1, 3, 4, 4)]
    volume = torch.randn(1, 1, 8, 8, 8)
    found = made(volume)
    made.decoder.deep_supervision = False
    assert torch.equal(found, made(volume))


def test_gradients_flow_through_volumes(network):
    made = network()
    made.train()
    made(torch.randn(1, 1, 4, 4, 4)).sum().backward()
    assert all(weight.grad is not None for weight in made.parameters())


@pytest.mark.parametrize("planes", [[], [[0, 1, 1]], [[0, 1, 3]]])
def test_planes_must_name_the_axes(arguments, planes):
    with pytest.raises(UsageError, match="slice, row and column"):
        TriPlanarUNet(planes=planes, **arguments())


def test_logits_give_the_probabilities_back():
    found = torch.rand(2, 4, 5, 6, 7)
    assert torch.allclose(torch.sigmoid(logits_of(found.clone(), regions=True)), found, atol=1e-6)
    found /= found.sum(1, keepdim=True)
    assert torch.allclose(torch.softmax(logits_of(found.clone(), regions=False), 1), found, atol=1e-6)
    certain = torch.tensor([[1.0, 0.0]])
    for regions in (False, True):
        logits = logits_of(certain.clone(), regions=regions).half()
        assert logits.isfinite().all()
        assert logits[0, 0] > logits[0, 1]


def test_half_precision_keeps_the_order_of_classes():
    close = torch.rand(1, 2, 100_000) * 1e-6 + 0.5
    logits = logits_of(close.clone(), regions=False).half()
    is_apart = (close[:, 0] - close[:, 1]).abs() > 1e-7
    assert torch.equal(logits.argmax(1)[is_apart], close.argmax(1)[is_apart])
