"""The box that a report shows: cropped, turned to the patient, coarsened, and in its place in the world."""

import numpy as np
import pytest
import SimpleITK

from label_gen.errors import GridError
from nnunet_ext.report.excerpt import MARGIN_MM, take_excerpt
from nnunet_ext.volumes import Volume


def world_of(excerpt, index):
    """Return the world coordinates of the middle of a fragment."""
    place = np.argwhere(excerpt.indices == index).mean(axis=0) * excerpt.spacing_mm
    return np.array(excerpt.origin) + np.reshape(excerpt.direction, (3, 3)) @ place[::-1]


@pytest.fixture
def volume():
    array = np.zeros((40, 60, 80), np.uint16)
    array[18:22, 20:30, 40:44] = 7
    array[18:22, 30:36, 40:44] = 300
    return Volume(array, (2.0, 1.0, 1.5), (10.0, -20.0, 30.0))


def test_small_volume_is_cropped_only(volume):
    excerpt = take_excerpt(volume)
    assert excerpt.numbers == (7, 300)
    assert excerpt.indices.dtype == np.uint8
    assert excerpt.grey is None
    assert excerpt.spacing_mm == pytest.approx(volume.spacing_mm)
    margin = [int(np.ceil(MARGIN_MM / step)) for step in volume.spacing_mm]
    assert excerpt.indices.shape == tuple(n + 2 * m for n, m in zip((4, 16, 4), margin, strict=True))
    assert np.count_nonzero(excerpt.indices == 1) == 4 * 10 * 4
    assert np.count_nonzero(excerpt.indices == 2) == 4 * 6 * 4
    assert world_of(excerpt, 1) == pytest.approx([10 + 41.5 * 1.5, -20 + 24.5, 30 + 19.5 * 2])


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PSR", "SAL"])
def test_axes_run_along_the_patient(volume, orientation):
    image = SimpleITK.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin)
    turned = SimpleITK.DICOMOrient(image, orientation)
    x, y, z = turned.GetSpacing()
    moved = Volume(SimpleITK.GetArrayFromImage(turned), (z, y, x), turned.GetOrigin(), turned.GetDirection())
    one, other = take_excerpt(volume), take_excerpt(moved)
    assert (one.indices == other.indices).all()
    assert other.spacing_mm == pytest.approx(one.spacing_mm)
    assert other.origin == pytest.approx(one.origin)


def test_coarsened_to_the_wanted_number_and_in_place(volume, oblique):
    fine = Volume(volume.array.repeat(2, 0).repeat(2, 1).repeat(2, 2), (1.0, 0.5, 0.75), (1.0, 2.0, 3.0), oblique)
    one, other = take_excerpt(fine), take_excerpt(fine, max_voxels=15_000)
    assert other.indices.size <= 15_000 < one.indices.size
    assert np.ptp(other.spacing_mm) < 0.3 * max(other.spacing_mm)  # the finest axes give most
    for index in (1, 2):
        assert world_of(other, index) == pytest.approx(world_of(one, index), abs=max(other.spacing_mm) / 2)


def test_grey_is_the_mean_in_the_window(volume):
    ct = volume.like(np.where(volume.array > 0, 3000, -1000).astype(np.int16))
    fine = take_excerpt(volume, ct)
    assert set(np.unique(fine.grey)) == {0, 255}
    assert ((fine.grey == 255) == (fine.indices > 0)).all()
    coarse = take_excerpt(volume, ct, max_voxels=5_000)
    assert coarse.grey.mean() == pytest.approx(fine.grey.mean(), abs=0.5)


def test_many_fragments_need_two_bytes():
    array = np.arange(1, 301, dtype=np.uint16).reshape(3, 10, 10)
    excerpt = take_excerpt(Volume(array, (1.0, 1.0, 1.0)))
    assert excerpt.indices.dtype == np.uint16
    assert (excerpt.indices == array).all()


def test_no_fragment_shows_all():
    empty = Volume(np.zeros((5, 6, 7), np.uint8), (1.0, 1.0, 1.0))
    excerpt = take_excerpt(empty, empty.like(empty.array.astype(np.int16)))
    assert (excerpt.numbers, excerpt.indices.shape, excerpt.grey.shape) == ((), (5, 6, 7), (5, 6, 7))


def test_ct_on_another_grid(volume):
    with pytest.raises(GridError, match="the CT' and 'the labels' are on different grids"):
        take_excerpt(volume, Volume(volume.array, (1.0, 1.0, 1.0)))
