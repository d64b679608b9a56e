"""Shaded pictures: in the right place, the right colour, the nearest in front, lit from above left."""

import numpy as np
import pytest

from nnunet_ext.report.shading import VIEWS, Solid, draw_solids

CUBE = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
FACES = np.array(
    [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
     [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]],
    np.int32,
)  # fmt: skip
RED, BLUE = (220, 30, 30), (30, 60, 220)


def box(low, size, colour):
    return Solid(CUBE * size + np.array(low, float), FACES, colour)


def is_red(image):
    return (image[..., 3] > 0.9) & (image[..., 0] > image[..., 2])


def is_blue(image):
    return (image[..., 3] > 0.9) & (image[..., 2] > image[..., 0])


def middle(mask):
    return np.argwhere(mask).mean(axis=0)


def test_size_and_sides_in_a_view_from_the_front():
    picture = draw_solids([box((0, 0, 0), (20, 5, 10), RED), box((30, 0, 20), (10, 5, 10), BLUE)], VIEWS["Front"], 0.5)
    image = picture.image
    assert np.count_nonzero(is_red(image)) * 0.25 == pytest.approx(200, rel=0.12)
    assert np.count_nonzero(is_blue(image)) * 0.25 == pytest.approx(100, rel=0.15)
    red, blue = middle(is_red(image)), middle(is_blue(image))
    assert blue[1] > red[1]  # the patient's left is on the right
    assert blue[0] < red[0]  # what is above is above
    assert image[..., 3].min() == 0
    assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.parametrize(
    ("view", "front"), [("Front", "red"), ("Left side", "blue"), ("Inlet", "red"), ("Outlet", "red")]
)
def test_the_nearest_is_in_front(view, front):
    # Blue lies behind, to the left and above; seen from there it hides red.
    red, blue = box((0, 0, 0), (20, 20, 20), RED), box((14, 14, 14), (20, 20, 20), BLUE)
    both, alone = (
        draw_solids(solids, VIEWS[view], 0.5).image for solids in ([red, blue], [blue if front == "blue" else red])
    )
    mask = {"red": is_red, "blue": is_blue}[front]
    assert np.count_nonzero(mask(both)) == pytest.approx(np.count_nonzero(mask(alone)), rel=0.05)


def test_no_holes_whatever_the_size_of_triangles():
    for size in (0.4, 3.0, 70.0):
        image = draw_solids([box((0, 0, 0), (size, size, size), RED)], (20.0, 30.0), 0.35).image
        rows = image[..., 3] > 0.5
        for row in rows:
            inside = np.flatnonzero(row)
            assert len(inside) == 0 or len(inside) == inside[-1] - inside[0] + 1


def test_nothing_to_draw():
    assert draw_solids([], (0.0, 0.0)).image.max() == 0
