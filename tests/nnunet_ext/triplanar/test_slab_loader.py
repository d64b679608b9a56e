"""Slabs: their shape, their share, what they are centred on, and the slices that are taken of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from nnunet_ext.training.loaders import ClassAwareLoader
from nnunet_ext.triplanar.loader import SlabLoader, TakeSlice
from nnunet_ext.triplanar.planes import ORIENTATIONS

PLANES = tuple(ORIENTATIONS.values())
LABELS = SimpleNamespace(all_labels=[0, 1, 2, 3], has_ignore_label=False)
VOXEL = (20, 4, 11)
"""The only voxel of class 3."""


class Cases:
    """One case: the image holds each voxel's number, the segmentation is class 3 in one voxel."""

    identifiers = ("case",)

    def __init__(self, shape=(24, 20, 28)):
        self.image = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
        self.labels = np.zeros((1, *shape), np.int16)
        self.labels[0, 3:21, 3:17, 3:25] = 1
        self.labels[(0, *VOXEL)] = 3
        places = {number: np.argwhere(self.labels == number) for number in (1, 2, 3)}
        self.properties = {"class_locations": places}

    def load_case(self, name):
        return self.image, self.labels, None, self.properties


def loader(**options):
    options = {"oversample_foreground_percent": 1.0, **options}
    return SlabLoader(Cases(), 1, 12, 8, LABELS, planes=options.pop("planes", PLANES), **options)


def boxes(loader, count=600, force_fg=True):
    np.random.seed(0)
    case = Cases()
    places = case.properties["class_locations"]
    return [loader.get_bbox(case.image.shape[1:], force_fg, places) for _ in range(count)]


def test_slabs_are_thin_along_each_axis_equally_often():
    sizes = [tuple(np.subtract(upper, lower)) for lower, upper in boxes(loader())]
    counts = [sizes.count(size) for size in ((1, 12, 12), (12, 1, 12), (12, 12, 1))]
    assert sum(counts) == len(sizes)
    assert min(counts) > 150


def test_subset_of_orientations():
    sizes = {tuple(np.subtract(upper, lower)) for lower, upper in boxes(loader(planes=PLANES[1:]))}
    assert sizes == {(12, 1, 12), (12, 12, 1)}


def test_thick_slabs():
    sizes = [tuple(np.subtract(upper, lower)) for lower, upper in boxes(loader(thick_share=0.25, thickness=9))]
    thick = [size for size in sizes if min(size) == 9]
    assert all(sorted(size) in ([1, 12, 12], [9, 12, 12]) for size in sizes)
    assert 100 < len(thick) < 200


def test_slices_reach_all_of_the_case_and_not_beyond_along_their_axis():
    lower = np.array([low for low, _ in boxes(loader(planes=PLANES[:1]), 2000, force_fg=False)])
    assert (lower[:, 0].min(), lower[:, 0].max()) == (0, 23)
    assert lower[:, 1].min() == -2
    assert lower[:, 1].max() == 20 + 2 - 12


def test_focus_class_is_in_the_slice():
    for low, high in boxes(loader(focus_class=3, focus_share=1.0), 100):
        assert all(lower <= voxel < upper for lower, voxel, upper in zip(low, VOXEL, high, strict=True))


def test_focus_share():
    def hits(share):
        loader = ClassAwareLoader(Cases(), 1, (4,) * 3, (4,) * 3, LABELS, focus_class=3, focus_share=share)
        middle = [np.add(low, 2) for low, _ in boxes(loader, 400)]
        return sum(tuple(voxel) == VOXEL for voxel in middle) / 400

    assert hits(1.0) == 1.0
    assert 0.44 < hits(0.0) < 0.56  # nnU-Net draws the two classes of the case with the same chance
    assert 0.68 < hits(0.5) < 0.82


def test_focus_class_that_a_case_lacks():
    lacking = ClassAwareLoader(Cases(), 1, (4,) * 3, (4,) * 3, LABELS, focus_class=2, focus_share=1.0)
    assert len(boxes(lacking, 20)) == 20
    assert len(boxes(lacking, 20, force_fg=False)) == 20


def test_batch_of_slices():
    transforms = ComposeTransforms([TakeSlice(PLANES)])
    slab = SlabLoader(Cases(), 4, 8, 8, LABELS, planes=PLANES, oversample_foreground_percent=1.0, transforms=transforms)
    np.random.seed(1)
    batch = next(SingleThreadedAugmenter(slab, None))
    assert batch["data"].shape == batch["target"].shape == (4, 1, 8, 8)


@pytest.mark.parametrize("plane", PLANES)
def test_slice_has_the_rows_and_columns_of_its_orientation(plane):
    volume = torch.arange(2 * 5 * 5 * 5).view(2, 5, 5, 5)
    slab = volume.narrow(plane.slice_axis + 1, 2, 1)
    found = TakeSlice(PLANES)(image=slab, segmentation=slab[:1])
    expected = volume.permute(0, *(axis + 1 for axis in plane))[:, 2]
    assert torch.equal(found["image"], expected)
    assert torch.equal(found["segmentation"], expected[:1])
