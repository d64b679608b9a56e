"""How long slabs of each orientation take to read: `python -m tests.benchmarks.loading [--size 280]`.

nnU-Net stores preprocessed cases in blocks that follow the patch of the configuration. The tri-planar configuration has
a cubic patch, so that axial, coronal and sagittal slabs cost the same; the blocks of a 2D patch favour axial slabs.
"""

import argparse
import statistics
import tempfile
import time

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

from label_gen.phantom import make_phantom
from nnunet_ext.triplanar.planes import ORIENTATIONS


def read_times(dataset, name, edge, plane, repeats, rng):
    """Return the milliseconds of reading random slabs of image and labels, one voxel thick."""
    times = []
    for _ in range(repeats):
        data, labels, _, _ = dataset.load_case(name)
        box = []
        for axis, length in enumerate(data.shape[1:]):
            size = 1 if axis == plane.slice_axis else min(edge, length)
            start = int(rng.integers(0, length - size + 1))
            box.append(slice(start, start + size))
        start = time.perf_counter()
        np.asarray(data[(slice(None), *box)]), np.asarray(labels[(slice(None), *box)])
        times.append(1000 * (time.perf_counter() - start))
    return times


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=280, help="voxels along each axis")
    parser.add_argument("--edge", type=int, default=150, help="edge of the slabs: a patch of 128 and its margin")
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    extent = (float(options.size),) * 3
    phantom = make_phantom(0, (1.0, 1.0, 1.0), field_of_view_mm=extent)
    image = (phantom.ct[None].astype(np.float32) - 300) / 250
    image += rng.normal(0, 0.05, image.shape).astype(np.float32)
    labels = (phantom.labels > 0).astype(np.int8)[None]
    with tempfile.TemporaryDirectory() as folder:
        for name, patch in (("cubic", (128, 128, 128)), ("flat", (1, 256, 256))):
            blocks, chunks = comp_blosc2_params(image.shape, patch, image.itemsize)
            blocks_seg, chunks_seg = comp_blosc2_params(labels.shape, patch, labels.itemsize)
            nnUNetDatasetBlosc2.save_case(
                image, labels, {}, f"{folder}/{name}", chunks=chunks, blocks=blocks, chunks_seg=chunks_seg,
                blocks_seg=blocks_seg,
            )  # fmt: skip
        dataset = nnUNetDatasetBlosc2(folder)
        times = {key: [] for key in ((store, plane) for store in ("cubic", "flat") for plane in ORIENTATIONS)}
        for _ in range(4):  # taken in turns, so that noise of the machine meets all
            for store, name in times:
                times[store, name] += read_times(
                    dataset, store, options.edge, ORIENTATIONS[name], options.repeats // 4, rng
                )
    print(f"median ms to read image and labels of a slab {options.edge}x{options.edge} from {image.shape[1:]} voxels")
    print(f"{'stored for':22}" + "".join(f"{name:>10}" for name in ORIENTATIONS) + f"{'worst/best':>12}")
    for store, text in (("cubic", "patch 128x128x128"), ("flat", "patch 256x256 (2d)")):
        medians = [statistics.median(times[store, name]) for name in ORIENTATIONS]
        print(f"{text:22}" + "".join(f"{m:10.1f}" for m in medians) + f"{max(medians) / min(medians):12.2f}")


if __name__ == "__main__":
    main()
