"""The picture of a case: the right slices, true proportions, with and without CT."""

import numpy as np
import pytest
from matplotlib.image import imread

from label_gen.classes import ABBC
from label_gen.errors import GridError, SchemeError
from nnunet_ext.picture import choose_slices, draw_picture
from nnunet_ext.schemes import load_scheme

SCHEME = load_scheme("pengwin2024")


@pytest.fixture
def case():
    """Two fragments of the left hip that meet at y = 12, and a sacrum."""
    labels = np.zeros((20, 24, 30), np.uint8)
    labels[4:16, 4:12, 15:27] = 11
    labels[4:16, 12:20, 15:27] = 12
    labels[6:14, 6:18, 2:10] = 1
    abbc = np.where(labels > 0, ABBC.BOUNDARY, ABBC.BACKGROUND).astype(np.uint8)
    abbc[6:14, 7:10, 17:25] = ABBC.CORE
    abbc[9:15, 11:13, 15:27] = ABBC.BORDER
    ct = np.where(labels > 0, 700, 40).astype(np.int16)
    return labels, abbc, ct


def close_to(image, colour):
    return np.all(np.abs(image[..., :3] - np.array(colour) / 255) < 0.03, axis=-1)


def test_slices_run_through_the_border(case):
    labels, abbc, _ = case
    z, y, x = choose_slices(labels, abbc)
    assert 9 <= z < 15
    assert y in (11, 12)
    assert 15 <= x < 27


def test_slices_without_border_run_through_bone(case):
    labels, _, _ = case
    abbc = (labels > 0).astype(np.uint8)
    z, y, x = choose_slices(labels, abbc)
    assert labels[z].any()
    assert labels[:, y].any()
    assert labels[:, :, x].any()


def test_picture_shows_the_colours_of_fragments(case, tmp_path):
    labels, abbc, _ = case
    draw_picture(tmp_path / "case.png", labels, abbc, (2.0, 2.0, 2.0), scheme=SCHEME)
    image = imread(tmp_path / "case.png")
    for bone in SCHEME.bones[:2]:
        assert np.count_nonzero(close_to(image, bone.colour)) > 1000
    assert not list(tmp_path.glob(".*"))


def test_picture_with_ct_has_a_third_column(case, tmp_path):
    labels, abbc, ct = case
    draw_picture(tmp_path / "case.png", labels, abbc, (2.0, 2.0, 2.0), scheme=SCHEME, ct=ct, title="A case")
    image = imread(tmp_path / "case.png")[..., :3]
    left = image[:, : image.shape[1] // 3]
    assert left.std() > 0.05
    # grey values only, but for the bluish paper
    assert np.ptp(left, axis=-1).max() < 0.15
    assert np.ptp(image, axis=-1).max() > 0.5


def test_same_input_same_bytes(case, tmp_path):
    labels, abbc, ct = case
    for name in "ab":
        draw_picture(tmp_path / f"{name}.png", labels, abbc, (2.0, 1.0, 1.0), scheme=SCHEME, ct=ct)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_proportions_follow_the_spacing(case, tmp_path):
    labels, abbc, _ = case
    heights = []
    for slice_mm in (2.0, 6.0):
        draw_picture(tmp_path / "case.png", labels, abbc, (slice_mm, 2.0, 2.0), scheme=SCHEME)
        sacrum = close_to(imread(tmp_path / "case.png"), SCHEME.bones[0].colour)
        rows = np.flatnonzero(sacrum.sum(axis=1) > 60)
        widths = np.flatnonzero(sacrum.sum(axis=0) > 30)
        heights.append(np.count_nonzero(np.diff(rows) < 2) / np.ptp(widths))
    assert heights[1] > 1.4 * heights[0]


def test_volume_without_fragments(tmp_path):
    empty = np.zeros((8, 9, 10), np.uint8)
    draw_picture(tmp_path / "empty.png", empty, empty, (1.0, 1.0, 1.0), scheme=SCHEME)
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_shapes_have_to_be_equal(case, tmp_path):
    labels, abbc, ct = case
    with pytest.raises(GridError, match="the CT volume has shape"):
        draw_picture(tmp_path / "x.png", labels, abbc, (1, 1, 1), scheme=SCHEME, ct=ct[1:])
    with pytest.raises(GridError, match="the ABBC volume has shape"):
        draw_picture(tmp_path / "x.png", labels, abbc[1:], (1, 1, 1), scheme=SCHEME)
    assert not (tmp_path / "x.png").exists()


def test_label_outside_the_scheme(case, tmp_path):
    labels, abbc, _ = case
    with pytest.raises(SchemeError, match="label 111 is in no band"):
        draw_picture(tmp_path / "x.png", labels + 100 * (labels == 11), abbc, (1, 1, 1), scheme=SCHEME)
