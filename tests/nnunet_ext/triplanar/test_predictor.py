"""The predictor of tri-planar networks averages exactly what it says, and agrees with nnU-Net's own predictor."""

import itertools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian

from label_gen.errors import DataError
from nnunet_ext.triplanar import networks, predictor
from nnunet_ext.triplanar.networks import TriPlanarUNet, probabilities_of
from nnunet_ext.triplanar.planes import ORIENTATIONS
from nnunet_ext.triplanar.predictor import TriPlanarPredictor
from tests.benchmarks.inference import make_volume
from tests.benchmarks.measure import ROOT
from tests.nnunet_ext.triplanar.conftest import settings

PATCH = (8, 8, 8)


def make(cls, network, folds=None, patch=PATCH, axes=(0, 1, 2), classes=3, **options):
    """Return a predictor for a network, with folds as state dicts."""
    options = {"device": torch.device("cpu"), "allow_tqdm": False, **options}
    made = cls(**options)
    managers = SimpleNamespace(get_label_manager=lambda _: SimpleNamespace(num_segmentation_heads=classes))
    weights = folds or [network.state_dict()]
    made.manual_initialization(network, managers, SimpleNamespace(patch_size=patch), weights, {}, "", axes)
    return made


def probabilities(made, image, folds=None):
    """Return the probabilities as they are before they become logits."""
    with torch.inference_mode():
        return torch.cat(made._sum_up(image, folds)._slabs, 1)


def starts(length, patch, step):
    """Return where windows start, as nnU-Net's documentation says: evenly, at most `step` patches apart."""
    count = int(np.ceil((length - patch) / (patch * step))) + 1
    return [round(i * (length - patch) / max(count - 1, 1)) for i in range(count)]


def by_hand(network, folds, image, patch, step, use_gaussian, mirror_axes):
    """Return the mean probabilities of an image by loops over everything, one window at a time."""
    total = 0
    for weights, plane in itertools.product(folds, network.planes):
        network.load_state_dict(weights)
        edges = [patch[plane.row_axis], patch[plane.column_axis]]
        gaussian = compute_gaussian(tuple(edges), dtype=torch.float64, device=torch.device("cpu"))
        gaussian = gaussian if use_gaussian else torch.ones(edges)
        moved = image.permute(0, plane.slice_axis + 1, plane.row_axis + 1, plane.column_axis + 1)
        results = []
        for number in range(moved.shape[1]):
            picture = moved[:, number]
            missing = [max(edge - length, 0) for edge, length in zip(edges, picture.shape[1:], strict=True)]
            (top, bottom), (left, right) = ((n // 2, n - n // 2) for n in missing)
            padded = torch.nn.functional.pad(picture, (left, right, top, bottom))
            sums, weight = 0, torch.zeros(padded.shape[1:], dtype=torch.float64)
            sums = torch.zeros((3, *padded.shape[1:]), dtype=torch.float64)
            rows, columns = (starts(n, e, step) for n, e in zip(padded.shape[1:], edges, strict=True))
            for row, column in itertools.product(rows, columns):
                place = slice(row, row + edges[0]), slice(column, column + edges[1])
                window = padded[(slice(None), *place)][None]
                dims = [dim for dim, axis in ((2, plane.row_axis), (3, plane.column_axis)) if axis in mirror_axes]
                flips = [f for count in range(len(dims) + 1) for f in itertools.combinations(dims, count)]
                for flip in flips:
                    logits = network(window.flip(flip)).flip(flip)
                    sums[(slice(None), *place)] += gaussian * probabilities_of(logits, regions=network.regions)[0]
                    weight[place] += gaussian
            height, width = picture.shape[1:]
            results.append((sums / weight)[:, top : top + height, left : left + width])
        stack = torch.stack(results, 1)
        total = total + stack.permute(0, *(tuple(plane).index(axis) + 1 for axis in range(3)))
    return total / (len(folds) * len(network.planes))


@pytest.mark.parametrize(
    ("shape", "patch", "step", "use_gaussian", "axes", "names", "regions"),
    [
        ((13, 8, 17), (8, 8, 8), 0.5, True, (0, 1, 2), list(ORIENTATIONS), False),
        ((5, 11, 7), (8, 8, 8), 0.5, True, (0, 2), list(ORIENTATIONS), False),
        ((12, 9, 20), (8, 8, 8), 1.0, False, None, ["sagittal", "coronal"], False),
        ((9, 14, 8), (4, 8, 6), 0.3, True, (1,), ["axial", "sagittal"], True),
    ],
)
def test_predictor_equals_loops_over_everything(
    network, monkeypatch, shape, patch, step, use_gaussian, axes, names, regions
):
    monkeypatch.setitem(networks.PIXELS_AT_ONCE, "cpu", 5 * 64)  # groups of five slices and a rest
    monkeypatch.setattr(predictor, "SLAB_BYTES", 4 * 3 * shape[1] * shape[2] * 2)  # slabs of two layers
    made = network(planes=[ORIENTATIONS[name] for name in names], regions=regions)
    folds = [{n: w.clone() for n, w in network(seed=seed).state_dict().items()} for seed in (1, 2)]
    image = torch.randn(1, *shape)
    ours = make(TriPlanarPredictor, made, folds, patch, axes, tile_step_size=step, use_gaussian=use_gaussian)
    with torch.inference_mode():
        expected = by_hand(made, folds, image, patch, step, use_gaussian, axes or ())
    torch.testing.assert_close(probabilities(ours, image, folds).double(), expected, atol=1e-5, rtol=0)

    logits = ours.predict_logits_from_preprocessed_data(image)
    assert (logits.dtype, logits.shape, logits.device.type) == (torch.half, (3, *shape), "cpu")
    found = probabilities_of(logits[None], regions=regions)[0].double()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_disabled_mirroring_and_single_weights(network):
    made = network()
    image = torch.randn(1, 9, 10, 11)
    with torch.inference_mode():
        expected = by_hand(made, [made.state_dict()], image, PATCH, 0.5, True, ())
    ours = make(TriPlanarPredictor, made, use_mirroring=False)
    torch.testing.assert_close(probabilities(ours, image).double(), expected, atol=1e-5, rtol=0)
    found = ours.predict_sliding_window_return_logits(image)
    assert torch.equal(found, ours.predict_logits_from_preprocessed_data(image))


def test_weights_of_a_fold_are_loaded_once(network, monkeypatch):
    made = network()
    loads, original = [], made.load_state_dict
    monkeypatch.setattr(made, "load_state_dict", lambda weights: (loads.append(1), original(weights)))
    folds = [network(seed=seed).state_dict() for seed in range(3)]
    make(TriPlanarPredictor, made, folds).predict_logits_from_preprocessed_data(torch.randn(1, 9, 9, 9))
    assert len(loads) == 3


def test_few_pixels_are_in_work_however_many_slices(network, monkeypatch):
    monkeypatch.setitem(networks.PIXELS_AT_ONCE, "cpu", 512)
    made = network()
    sizes = []
    made.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].numel()))
    make(TriPlanarPredictor, made).predict_logits_from_preprocessed_data(torch.randn(1, 64, 16, 8))
    assert max(sizes) == 512


@pytest.mark.parametrize("dims", [2, 3])
def test_any_other_network_is_predicted_by_nnunet(dims):
    torch.manual_seed(0)
    options = settings()
    if dims == 3:
        options |= {"conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d}
    network = PlainConvUNet(**options).eval()
    folds = [{name: weight * factor for name, weight in network.state_dict().items()} for factor in (1, 1.1)]
    image = torch.randn(1, 9, 12, 10)
    first, second = (
        make(cls, network, folds, PATCH[:dims], tuple(range(dims))).predict_logits_from_preprocessed_data(image)
        for cls in (nnUNetPredictor, TriPlanarPredictor)
    )
    assert torch.equal(first, second)


def clear_volume(seed):
    """Return an image whose classes are bright and dark ellipsoids with little noise, and the classes."""
    labels = make_volume(48, 32, seed)[1] % 3
    noise = np.random.default_rng(seed).normal(0, 0.1, labels.shape)
    return (np.array([0, 2, -2])[labels] + noise).astype(np.float32), labels


@pytest.fixture(scope="module")
def trained():
    """A small network trained until it is sure of itself."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    image, labels = clear_volume(1)
    made = TriPlanarUNet(**settings(stages=3, features=8))
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)
    random = np.random.default_rng(0)
    for _ in range(150):
        axis, numbers = random.integers(3), random.integers(0, 48, 6)
        pictures, truths = (torch.from_numpy(np.moveaxis(v, axis, 0)[numbers].copy()) for v in (image, labels))
        loss = torch.nn.functional.cross_entropy(made(pictures[:, None]), truths.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return made.eval()


@pytest.mark.parametrize("mirroring", [False, True])
def test_stock_predictor_agrees(trained, mirroring):
    image = torch.from_numpy(clear_volume(2)[0])[None]
    first, second = (
        make(cls, trained, patch=(32, 32, 32), use_mirroring=mirroring)
        .predict_logits_from_preprocessed_data(image)
        .argmax(0)
        for cls in (nnUNetPredictor, TriPlanarPredictor)
    )
    assert len(first.unique()) == 3
    assert (first != second).float().mean() < 1e-4


def test_wrapped_networks_are_known(network):
    made = network()
    expected = make(TriPlanarPredictor, made).predict_logits_from_preprocessed_data(torch.ones(1, 9, 9, 9))

    class Wrapper(torch.nn.Module):
        """Like DistributedDataParallel."""

        def __init__(self):
            super().__init__()
            self.module = made

        def forward(self, x):
            return self.module(x)

    wrapped = make(TriPlanarPredictor, made)
    wrapped.network = Wrapper()
    assert torch.equal(wrapped.predict_logits_from_preprocessed_data(torch.ones(1, 9, 9, 9)), expected)


def test_numbers_that_are_not_finite_are_told(network):
    image = torch.ones(1, 9, 9, 9)
    image[0, 4, 4, 4] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        make(TriPlanarPredictor, network()).predict_logits_from_preprocessed_data(image)


def test_results_go_to_the_cpu_when_the_device_is_full(network, monkeypatch, capsys):
    made = make(TriPlanarPredictor, network())
    made.device, made.perform_everything_on_device = SimpleNamespace(type="small"), True
    monkeypatch.setattr(made.network, "to", lambda _: made.network)
    image = SimpleNamespace(to=lambda _: "on device", cpu=lambda: "on cpu")
    tried = []

    def sum_up(where, folds):
        tried.append(where)
        if where == "on device":
            raise torch.OutOfMemoryError("out of memory")
        return SimpleNamespace(to_logits=lambda regions: "logits")

    monkeypatch.setattr(made, "_sum_up", sum_up)
    assert made.predict_sliding_window_return_logits(image) == "logits"
    assert tried == ["on device", "on cpu"]
    assert "out of memory" in capsys.readouterr().out


@pytest.mark.slow
def test_benchmark_runs(tmp_path):
    command = [sys.executable, "-m", "tests.benchmarks.inference", "--quick", "--only", "plain"]
    command += ["--json", str(tmp_path / "figures.json")]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())["plain"]
    assert set(figures["rows"]) == {"A", "B", "C"}
    assert all(row["cpu_s"] > 0 and row["wall_s"] > 0 for row in figures["rows"].values())
    assert figures["ratios"]["B"]["time"] > 0
