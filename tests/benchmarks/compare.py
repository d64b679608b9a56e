"""Compare two saved results: voxel for voxel, or fragment for fragment whatever their numbers."""

from pathlib import Path

import numpy as np


def compare_voxels(folder, first, second):
    """Return how many voxels of two saved volumes differ, out of how many."""
    a, b = (np.load(Path(folder) / f"{name}.npy") for name in (first, second))
    return {"different": int(np.count_nonzero(a != b)), "voxels": int(a.size)}


def compare_fragments(folder, first, second):
    """Return how well the fragments of one saved volume are found in another.

    Args:
        folder: Folder of both.
        first: Name of the volume whose fragments count.
        second: Name of the other one.

    Returns:
        Number of fragments in each, and mean and smallest IoU of the first one's fragments with the fragment of the
        second that covers most of them (0 where none does).
    """
    a, b = (np.load(Path(folder) / f"{name}.npy").ravel() for name in (first, second))
    either = (a != 0) | (b != 0)
    ids_a, a = np.unique(a[either], return_inverse=True)
    ids_b, b = np.unique(b[either], return_inverse=True)
    common = np.bincount(a * len(ids_b) + b, minlength=len(ids_a) * len(ids_b)).reshape(len(ids_a), len(ids_b))
    size_a, size_b = common.sum(axis=1), common.sum(axis=0)
    common = common[ids_a != 0][:, ids_b != 0]
    size_a, size_b = size_a[ids_a != 0], size_b[ids_b != 0]
    best = common.argmax(axis=1)
    overlap = common[np.arange(len(best)), best]
    iou = overlap / (size_a + size_b[best] - overlap)
    return {"first": len(size_a), "second": len(size_b), "mean_iou": float(iou.mean()), "min_iou": float(iou.min())}
