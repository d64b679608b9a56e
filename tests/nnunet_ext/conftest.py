import math
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

import nnunet_ext

_C, _S = math.cos(0.3), math.sin(0.3)
OBLIQUE = (_C, -_S * _C, _S * _S, _S, _C * _C, -_C * _S, 0.0, _S, _C)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Small tensors are slower in many threads, much slower where other processes run too."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def environment():
    """Environment in which other Python processes find the project, wherever they start."""
    root = str(Path(nnunet_ext.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


@pytest.fixture
def oblique():
    """A rotation about two axes, row-major."""
    return OBLIQUE


@pytest.fixture
def save():
    """Write an array (z, y, x) as a volume; spacing and origin in x, y, z."""

    def write(array, path, *, spacing=(0.9, 0.8, 1.5), origin=(-101.5, 20.25, 7.125), direction=OBLIQUE, vector=False):
        image = SimpleITK.GetImageFromArray(np.asarray(array), isVector=vector)
        if image.GetDimension() == 3:
            image.SetSpacing(spacing)
            image.SetOrigin(origin)
            image.SetDirection(direction)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(path), True)
        return Path(path)

    return write


@pytest.fixture
def labels():
    """Two touching fragments of the left hip and one of the sacrum (z, y, x)."""
    array = np.zeros((14, 16, 30), np.uint8)
    array[2:12, 2:14, 2:12] = 11
    array[2:12, 2:14, 12:20] = 12
    array[3:11, 3:13, 22:28] = 1
    return array


@pytest.fixture
def anatomy(labels):
    """The bones of `labels` in numbers of pengwin2024."""
    return np.select([labels == 1, labels > 10], [1, 2], 0).astype(np.uint8)
