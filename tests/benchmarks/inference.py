"""Tri-planar inference side by side with three runs of stock 2D inference: `python -m tests.benchmarks.inference`.

A  nnU-Net's predictor on a 2D network, once per axis of the volume, probabilities averaged
B  nnU-Net's predictor on the tri-planar network (what `nnUNetv2_predict` does)
C  our predictor on the tri-planar network (what `abbc-predict` does)

All have the same weights. Each side is a process of its own with one thread; sides take turns. The network is trained
for a minute on a volume of ellipsoids, so that its probabilities are as sharp as those of a trained model.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.benchmarks.measure import ROOT, THREADS, say

SIDES = {
    "A": "three runs of stock 2D inference",
    "B": "stock predictor, tri-planar network",
    "C": "our predictor, tri-planar network",
}
TARGETS = {"B": 1.6, "C": 1.0}
"""Largest ratio to A, in processor time and in memory."""
DIFFERENT = 1e-4
"""Share of voxels in which B and C may differ."""
SEED_SECONDS = 10.10
"""Time for a volume on a laptop with a GeForce 3080 Ti. Source: Ekman et al. 2025, section "Results"."""
CLASSES = 4


def make_volume(size, patch, seed=0):
    """Return an image of ellipsoids, bright, dark or coarse, and their classes, both of shape (size, size, size).

    They have diameters of 0.16 to 0.4 patches, so that no window lies within one, and fill a fifth of the volume.
    """
    random = np.random.default_rng(seed)
    axis = np.arange(size, dtype=np.float32)
    labels = np.zeros((size,) * 3, np.uint8)
    for number in range(round(16 * (size / patch) ** 3)):
        centre, radius = random.uniform(0, size, 3), patch * random.uniform(0.08, 0.2, 3)
        parts = [((axis - c) / r) ** 2 for c, r in zip(centre, radius, strict=True)]
        inside = parts[0][:, None, None] + parts[1][:, None] + parts[2] < 1
        labels[inside] = 1 + number % (CLASSES - 1)
    image = random.standard_normal(labels.shape, np.float32)
    image *= np.float32([0.3, 0.3, 0.3, 1.5])[labels]
    image += np.float32([0, 2, -2, 0])[labels]
    return image, labels


def make_network(features, patch, planes):
    """Return an untrained plain U-Net as nnU-Net plans it for such patches, 2D or, if there are planes, tri-planar."""
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    from nnunet_ext.triplanar.networks import TriPlanarUNet

    stages = int(np.log2(patch)) - 1
    settings = {
        "input_channels": 1,
        "n_stages": stages,
        "features_per_stage": [min(features * 2**stage, 512) for stage in range(stages)],
        "conv_op": torch.nn.Conv2d,
        "kernel_sizes": [[3, 3]] * stages,
        "strides": [[1, 1]] + [[2, 2]] * (stages - 1),
        "n_conv_per_stage": 2,
        "num_classes": CLASSES,
        "n_conv_per_stage_decoder": 2,
        "conv_bias": True,
        "norm_op": torch.nn.InstanceNorm2d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": torch.nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }
    return TriPlanarUNet(planes=planes, **settings) if planes else PlainConvUNet(**settings)


def prepare(folder, size, patch, features, steps, device):
    """Save a volume and the weights of a network trained on another one like it."""
    import torch

    torch.manual_seed(0)
    image, labels = make_volume(max(size // 2, patch), patch, seed=1)
    network = make_network(features, patch, None).to(device)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    random = np.random.default_rng(0)
    for step in range(steps):
        pictures, truths = [], []
        for _ in range(8):
            turn = random.permutation(3)
            number, row, column = (random.integers(0, len(image) - edge + 1) for edge in (1, patch, patch))
            cut = number, slice(row, row + patch), slice(column, column + patch)
            flips = tuple(axis for axis in range(2) if random.random() < 0.5)
            pictures.append(np.flip(image.transpose(turn)[cut], flips).copy())
            truths.append(np.flip(labels.transpose(turn)[cut], flips).astype(np.int64))
        logits = network(torch.from_numpy(np.stack(pictures))[:, None].to(device))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(np.stack(truths)).to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps) ** 0.9
    torch.save(network.state_dict(), Path(folder) / "weights.pth")
    np.save(Path(folder) / "image.npy", make_volume(size, patch)[0])
    return {"loss": loss.item()}


def side(folder, name, mirroring, patch, features, device):
    """Predict the volume as one side does; save the classes, return time and memory."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunet_ext.triplanar.planes import ORIENTATIONS
    from nnunet_ext.triplanar.predictor import TriPlanarPredictor
    from tests.benchmarks.side import peak_mb, resident_mb

    torch.set_num_threads(1)
    weights = torch.load(Path(folder) / "weights.pth", map_location="cpu", weights_only=True)
    planes = [] if name == "A" else list(ORIENTATIONS.values())
    network = make_network(features, patch, planes)
    predictor = (TriPlanarPredictor if name == "C" else nnUNetPredictor)(
        use_mirroring=mirroring, device=torch.device(device), allow_tqdm=False
    )
    configuration = SimpleNamespace(patch_size=[patch] * (3 if planes else 2))
    # What the predictor asks its managers for; a model folder would add nothing but files.
    labels = SimpleNamespace(get_label_manager=lambda _: SimpleNamespace(num_segmentation_heads=CLASSES))
    axes = tuple(range(len(configuration.patch_size)))
    predictor.manual_initialization(network, labels, configuration, [weights], {}, "", axes)
    image = torch.from_numpy(np.load(Path(folder) / "image.npy"))[None]

    def classes(image):
        if planes:
            return predictor.predict_logits_from_preprocessed_data(image).numpy().argmax(0)
        mean = torch.zeros((CLASSES, *image.shape[1:]))
        for plane in ORIENTATIONS.values():
            logits = predictor.predict_logits_from_preprocessed_data(image.permute(0, *(axis + 1 for axis in plane)))
            target = mean.permute(0, *(axis + 1 for axis in plane))
            for number in range(logits.shape[1]):  # slice by slice, which needs least memory
                target[:, number] += logits[:, number].float().softmax(0)
            del logits
        return mean.numpy().argmax(0)

    corner = image[:, :patch, :patch, :patch].contiguous()
    classes(corner)  # what is set up on first use is not part of the work
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = resident_mb()
    began = time.process_time(), time.perf_counter()
    found = classes(image)
    cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
    peak = peak_mb() - before
    np.save(Path(folder) / f"{name}{int(mirroring)}.npy", found.astype(np.uint8))
    row = {"cpu_s": cpu, "wall_s": wall, "peak_mb": peak}
    if device == "cuda":
        row["gpu_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return row


def run(role, **options):
    """Run `prepare` or `side` in a process of its own and return its answer."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": path}
    command = [sys.executable, "-m", "tests.benchmarks.inference", f"--{role}", json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"benchmark side '{role}' failed with status {done.returncode}; its message stands above")
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder, mirroring, repeat, common):
    """Return the rows of all sides, medians over rounds in which they take turns."""
    rounds = []
    for _ in range(repeat):
        rounds.append({})
        for name in SIDES:
            say(f"  {name} {'with' if mirroring else 'without'} mirroring ...")
            rounds[-1][name] = row = run("side", folder=folder, name=name, mirroring=mirroring, **common)
            say(f"    {row['cpu_s']:.1f} s processor, {row['peak_mb']:.0f} MB above the input")
    return {
        name: {key: statistics.median(turn[name][key] for turn in rounds) for key in rounds[0][name]} for name in SIDES
    }


def differing(folder, mirroring, first, second):
    """Return the share of voxels in which two sides differ."""
    a, b = (np.load(Path(folder) / f"{name}{int(mirroring)}.npy") for name in (first, second))
    return float((a != b).mean())


def report(title, rows, folder, mirroring, device):
    """Print the rows of one setting; return its ratios and whether the targets are reached."""
    time_key, memory_key = ("cpu_s", "peak_mb") if device == "cpu" else ("wall_s", "gpu_mb")
    print(f"\n{title}\n{'':40}{'processor s':>12}{'wall s':>10}{'peak MB':>10}{'time / A':>10}{'memory / A':>12}")
    ratios = {}
    for name, row in rows.items():
        ratios[name] = {"time": row[time_key] / rows["A"][time_key], "memory": row[memory_key] / rows["A"][memory_key]}
        print(
            f"{name}  {SIDES[name]:37}{row['cpu_s']:12.1f}{row['wall_s']:10.1f}{row[memory_key]:10.0f}"
            f"{ratios[name]['time']:10.2f}{ratios[name]['memory']:12.2f}"
        )
    for pair in ("BC", "AC"):
        ratios[pair] = differing(folder, mirroring, *pair)
        print(f"  {pair[0]} and {pair[1]} differ in {1e4 * ratios[pair]:.2f} of 10,000 voxels")
    is_reached = ratios["BC"] < DIFFERENT and all(max(ratios[name].values()) <= most for name, most in TARGETS.items())
    print(f"  targets (B at most {TARGETS['B']}, C at most {TARGETS['C']}, B and C differ in fewer than 1 of 10,000): "
          f"{'reached' if is_reached else 'MISSED'}")  # fmt: skip
    if device == "cuda":
        print(f"  C takes {rows['C']['wall_s']:.2f} s; the seed's laptop took {SEED_SECONDS} s for its volumes")
    return {"rows": rows, "ratios": ratios, "reached": is_reached}


def main(arguments=None):
    """Measure what the command line asks for and print it.

    Returns:
        Exit status: 0, or 1 where a target is missed (never with --quick).
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.inference",
        description="Measure tri-planar inference side by side with three runs of stock 2D inference.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--size", type=int, default=256, metavar="N", help="edge of the volume in voxels")
    parser.add_argument("--features", type=int, metavar="N", help="maps of the first stage; 8 on a CPU, else 32")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="rounds; medians are shown")
    parser.add_argument("--only", choices=("plain", "mirrored"), help="without mirroring only, or with it only")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="a tiny volume, to see that everything runs")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    for role in ROLES:
        parser.add_argument(f"--{role}", metavar="JSON", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for role, work in ROLES.items():
        if text := getattr(options, role):
            with contextlib.redirect_stdout(sys.stderr):  # nnU-Net's predictor prints
                answer = work(**json.loads(text))
            print(json.dumps(answer))
            return 0

    size, patch, steps = (32, 16, 40) if options.quick else (options.size, 128, 300)
    features = options.features or (4 if options.quick else 8 if options.device == "cpu" else 32)
    common = {"patch": patch, "features": features, "device": options.device}
    machine = f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}"
    results = {}
    with tempfile.TemporaryDirectory(prefix="abbc-inference-") as folder:
        say(f"training a U-Net with {features} features for {steps} steps ...")
        say(f"  cross entropy {run('prepare', folder=folder, size=size, steps=steps, **common)['loss']:.4f}")
        for mirroring in (False, True):
            name = "mirrored" if mirroring else "plain"
            if options.only in (None, name):
                rows = measure(folder, mirroring, options.repeat, common)
                title = f"{size}^3 voxels, {CLASSES} classes, {'with' if mirroring else 'without'} mirroring"
                results[name] = report(title, rows, folder, mirroring, options.device)
    print(f"\nPlain U-Net with {features} features in its first stage, patch {patch}, one thread per side; {machine}.")
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": machine, **common, "size": size, **results}, indent=1))
    return 0 if options.quick or all(result["reached"] for result in results.values()) else 1


ROLES = {"prepare": prepare, "side": side}

if __name__ == "__main__":
    sys.exit(main())
