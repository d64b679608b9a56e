"""Slices as text: they come back nearly the same, and smaller where there is less room."""

import base64
import io

import numpy as np
from PIL import Image

from nnunet_ext.report.images import encode_picture, encode_slices


def decoded(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_slices_come_back():
    grey = np.add.outer(np.add.outer(np.zeros(5), np.linspace(0, 200, 40)), np.linspace(0, 50, 60)).astype(np.uint8)
    slices = encode_slices(grey, 10**6)
    assert len(slices) == 5
    for text, plane in zip(slices, grey, strict=True):
        assert np.abs(decoded(text)[..., 0].astype(int) - plane).max() < 16
        assert np.ptp(decoded(text).astype(int), axis=-1).max() <= 2


def test_quality_gives_way_to_size():
    grey = np.random.default_rng(1).integers(0, 255, (6, 64, 64)).astype(np.uint8)
    large, small = (sum(map(len, encode_slices(grey, limit))) for limit in (10**6, 9_000))
    assert small < 0.6 * large


def test_picture(tmp_path):
    Image.new("RGBA", (30, 20), (200, 10, 10, 255)).save(tmp_path / "a.png")
    assert decoded(encode_picture(tmp_path / "a.png")).shape == (20, 30, 3)
