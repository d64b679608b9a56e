"""The picture of a case: views and slices with every fragment in its colour, with and without CT and surfaces."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from label_gen.errors import GridError
from nnunet_ext.report import write_preview
from nnunet_ext.report.excerpt import take_excerpt
from nnunet_ext.report.preview import draw_preview, solids_of
from nnunet_ext.volumes import Volume


def near(image, colour):
    return np.all(np.abs(image[..., :3] - np.array(colour) / 255) < 0.04, axis=-1)


def volume_of(solid):
    a, b, c = (solid.vertices[solid.faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


@pytest.fixture(scope="module")
def picture(preview):
    return imread(preview)


def test_picture_shows_every_fragment(picture, case):
    assert picture.shape[1] == 1920
    for name in case[2].values():
        assert near(picture, name.colour).sum() > 100  # the square of the legend at least


def test_slices_are_beside_the_views(picture):
    left, right = picture[100:1100, :1240, :3], picture[100:1100, 1290:, :3]
    assert np.ptp(left, axis=-1).max() > 0.4  # colours
    greys = right[(np.ptp(right, axis=-1) < 0.01) & (right.mean(axis=-1) > 0.1)]
    assert len(greys) > 30_000  # the CT


def test_surfaces_in_the_world(case, oblique):
    _, labels, names = case
    for direction in (labels.direction, oblique, (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)):
        turned = Volume(labels.array, labels.spacing_mm, labels.origin, direction)
        excerpt = take_excerpt(turned)
        for number, solid in zip(excerpt.numbers, solids_of(excerpt, names, ()), strict=True):
            voxels = np.argwhere(labels.array == number)
            assert volume_of(solid) == pytest.approx(len(voxels) * 27.0, rel=0.15)  # outward, and as large
            middle = np.array(labels.origin) + np.reshape(direction, (3, 3)) @ (voxels.mean(axis=0) * 3.0)[::-1]
            assert solid.vertices.mean(axis=0) == pytest.approx(middle, abs=12)


def test_same_bytes_without_ct(case):
    _, labels, names = case
    excerpt = take_excerpt(labels, max_voxels=60_000)
    solids = solids_of(excerpt, names, ())[1:2]
    one, other = (draw_preview(excerpt, names, solids) for _ in range(2))
    assert one == other
    assert near(imread(io.BytesIO(one)), names[51].colour).any()


def test_no_fragment(tmp_path):
    empty = Volume(np.zeros((8, 9, 10), np.uint8), (1.0, 1.0, 1.0))
    write_preview(tmp_path / "empty.png", None, empty, {})
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_ct_on_another_grid(case, tmp_path):
    ct, labels, names = case
    with pytest.raises(GridError):
        write_preview(tmp_path / "x.png", Volume(ct.array[1:], ct.spacing_mm), labels, names)
    assert not list(tmp_path.iterdir())
