"""Mirroring as nnU-Net's predictor does it costs half the stacks, and results never belong to other inputs."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ext.triplanar.mirror_memory import MirrorMemory
from nnunet_ext.triplanar.networks import TriPlanarUNet
from nnunet_ext.triplanar.planes import ORIENTATIONS
from tests.nnunet_ext.triplanar.conftest import settings
from tests.volumes import fixed

FLIPS = [axes for count in range(4) for axes in combinations((2, 3, 4), count)]


def count_stacks(network, monkeypatch):
    """Return a list that grows by one entry for each stack that goes through the network."""
    stacks, original = [], network.stack_probabilities

    def counted(volume, plane):
        stacks.append(plane)
        return original(volume, plane)

    monkeypatch.setattr(network, "stack_probabilities", counted)
    return stacks


def fresh(network, volume):
    """Return the result of a network that remembers nothing."""
    network._memory.clear()
    with torch.inference_mode():
        result = network(volume)
    network._memory.clear()
    return result


def agree(first, second):
    return torch.allclose(torch.softmax(first, 1), torch.softmax(second, 1), atol=1e-6)


@pytest.mark.parametrize("names", [list(ORIENTATIONS), ["sagittal", "coronal"]], ids=len)
def test_mirroring_costs_half(network, monkeypatch, names):
    made = network(planes=[ORIENTATIONS[name] for name in names])
    volume = torch.randn(1, 1, 4, 8, 6)
    expected = [fresh(made, volume.flip(axes)) for axes in FLIPS]
    stacks = count_stacks(made, monkeypatch)
    with torch.inference_mode():
        found = [made(volume.flip(axes)) for axes in FLIPS]
    assert len(stacks) == 4 * len(names)  # 8 * len(names) without memory
    assert all(agree(*pair) for pair in zip(found, expected, strict=True))
    assert not made._memory._results  # nothing is left over


def test_symmetric_volumes_are_right_too(network):
    made = network()
    half = torch.randn(1, 1, 4, 4, 4)
    for volume in (half + half.flip(2), torch.zeros(1, 1, 4, 4, 4)):
        expected = [fresh(made, volume.flip(axes)) for axes in FLIPS]
        with torch.inference_mode():
            assert all(agree(made(volume.flip(axes)), result) for axes, result in zip(FLIPS, expected, strict=True))


def load_other(network):
    network.load_state_dict({name: weight * 1.5 for name, weight in network.state_dict().items()})


def change(network):
    with torch.no_grad():
        next(network.parameters()).mul_(2)


def change_data(network):
    next(network.parameters()).data.mul_(2)


def transpose_data(network):
    weight = next(weight for weight in network.parameters() if weight.ndim == 4)
    weight.data.copy_(weight.data.transpose(2, 3).clone())


def replace_data(network):
    weight = next(network.parameters())
    weight.data = weight.data * 2


def change_after_training(network):
    network.train()
    next(network.parameters()).data.mul_(2)
    network.eval()


CHANGES = [load_other, change, change_data, transpose_data, replace_data, change_after_training]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("inference", [False, True], ids=["no_grad", "inference_mode"])
def test_no_result_of_other_weights(network, change, inference):
    made = network()
    volume = torch.randn(1, 1, 4, 8, 6)
    with torch.inference_mode() if inference else torch.no_grad():
        before = made(volume)
        change(made)
        after = made(volume.flip(2)).flip(2)
    assert agree(after, fresh(made, volume.flip(2)).flip(2))
    assert not agree(after, before)


def test_no_result_of_other_weights_made_in_inference_mode(network):
    volume = torch.randn(1, 1, 4, 8, 6)
    with torch.inference_mode():
        made = network()
        made(volume)
        next(made.parameters()).mul_(2)
        assert agree(made(volume.flip(2)), fresh(made, volume.flip(2)))


def test_no_result_of_another_volume(network):
    made = network()
    volume = torch.randn(1, 1, 4, 8, 6)
    with torch.inference_mode():
        made(volume)
        volume[0, 0, 1, 1, 1] += 1  # in place
        assert agree(made(volume), fresh(made, volume))
        made(volume)
        assert agree(made(volume.double().float() + 1e-3), fresh(made, volume + 1e-3))


def test_nothing_is_kept_while_training(network):
    made = network()
    volume = torch.randn(1, 1, 4, 8, 6)
    with torch.inference_mode():
        made(volume)
    assert made._memory._results
    made.train()
    assert not made._memory._results
    assert made._memory._reference is None
    made(volume)
    with torch.no_grad():
        made(volume)
    made.eval()
    made(volume)
    assert made._memory._reference is None


@fixed(15)
@given(steps=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(FLIPS), st.booleans()), min_size=1, max_size=12))
def test_any_order_of_calls_gives_what_no_memory_gives(steps):
    torch.manual_seed(0)
    made = TriPlanarUNet(**settings()).eval()
    volumes = [torch.randn(1, 1, 4, 4, 4) for _ in range(2)]
    forgetful = TriPlanarUNet(**settings()).eval()
    for number, axes, changes in steps:
        if changes:
            change(made)
        forgetful.load_state_dict(made.state_dict())
        volume = volumes[number].flip(axes)
        with torch.inference_mode():
            assert agree(made(volume), fresh(forgetful, volume))


def test_memory_recognises_mirror_images():
    memory = MirrorMemory()
    volume = torch.arange(24.0).reshape(1, 1, 2, 3, 4)
    assert memory.recognise(volume, 0) == frozenset()
    assert memory.recognise(volume.flip(2, 4), 0) == {0, 2}
    memory.keep(2, frozenset({0, 2}), volume)
    assert memory.take(2, frozenset({2})) is None
    assert torch.equal(memory.take(2, frozenset({0})), volume.flip(4))
    assert memory.take(2, frozenset({0})) is None
    assert memory.recognise(volume.flip(2), 1) == frozenset()
