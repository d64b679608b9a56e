"""Left and right: which labels are twins, and mirroring that swaps them."""

import pytest
import torch

from nnunet_ext.training.sides import MirrorSides, find_twins


@pytest.mark.parametrize(
    ("labels", "twins"),
    [
        ({"background": 0, "boundary": 1, "core": 2, "border": 3}, ()),
        ({"background": 0, "sacrum": 1, "left_hip": 2, "right_hip": 3}, ((2, 3),)),
        ({"hip_right": 1, "hip_left": 2, "Femur Left": 5, "femur right": 4}, ((1, 2), (4, 5))),
        ({"left_hip": 1, "right_femur": 2}, ()),
        ({"bright": 1, "cleft": 2}, ()),
        ({"left_hip": [1, 2], "right_hip": [3]}, ()),
    ],
)
def test_twins(labels, twins):
    assert find_twins(labels) == twins


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirror_swaps_twins_and_nothing_else(axis):
    labels = torch.randint(-1, 5, (1, 3, 4, 5), dtype=torch.int16)
    image = torch.rand(2, 3, 4, 5)
    mirror = MirrorSides(axis=axis, twins=[(2, 3)], probability=1.0)
    found = mirror(image=image, segmentation=labels)
    assert torch.equal(found["image"], image.flip(axis + 1))
    swap = torch.tensor([0, 1, 3, 2, 4, -1], dtype=torch.int16)  # -1 is the last
    assert torch.equal(found["segmentation"], swap[labels.long()].flip(axis + 1))
    again = mirror(**found)
    assert torch.equal(again["segmentation"], labels)


def test_never_and_half_of_the_time():
    labels = torch.arange(3).view(1, 1, 1, 3)
    never = MirrorSides(axis=2, twins=[], probability=0.0)
    assert torch.equal(never(image=labels, segmentation=labels)["segmentation"], labels)
    torch.manual_seed(0)
    half = MirrorSides(axis=2, twins=[])
    count = sum(bool(half(segmentation=labels)["segmentation"][0, 0, 0, 0]) for _ in range(400))
    assert 160 < count < 240
