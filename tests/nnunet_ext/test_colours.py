"""Fragment colours: a hue per bone, steps of lightness, and differences that colour-blind readers see too."""

from itertools import combinations

import numpy as np
import pytest

from label_gen.errors import SchemeError
from nnunet_ext.colours import ABBC_COLOURS, LIGHTNESS_STEPS, _from_oklab, _to_oklab, fragment_colour, fragment_colours
from nnunet_ext.schemes import load_scheme

# Machado, Oliveira, Fernandes 2009: how people without one kind of cone see, in linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def seen(colour, sight):
    value = np.array(colour) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(SIGHT[sight] @ linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def difference(a, b, sight="usual"):
    return float(np.linalg.norm(_to_oklab(seen(a, sight)) - _to_oklab(seen(b, sight))))


@pytest.fixture(params=["pengwin2024", "pengwin2026", "free"])
def scheme(request):
    return load_scheme(request.param)


def test_first_fragment_has_the_colour_of_its_bone(scheme):
    for bone in scheme.bones:
        assert fragment_colour(scheme, bone.first_id) == bone.colour


def test_fragments_of_a_bone_differ(scheme):
    for bone in scheme.bones:
        colours = [fragment_colour(scheme, bone.first_id + k) for k in range(len(LIGHTNESS_STEPS))]
        assert min(difference(a, b) for a, b in combinations(colours, 2)) > 0.02
        for sight in SIGHT:
            assert min(difference(a, b, sight) for a, b in combinations(colours[:3], 2)) > 0.1


@pytest.mark.parametrize("sight", SIGHT)
def test_bones_differ_for_colour_blind_readers(sight):
    colours = [bone.colour for bone in load_scheme("pengwin2026").bones]
    # 0.02 is about the smallest difference that people see
    assert min(difference(a, b, sight) for a, b in combinations(colours, 2)) > 0.06


@pytest.mark.parametrize("sight", SIGHT)
def test_classes_differ_for_colour_blind_readers(sight):
    assert min(difference(a, b, sight) for a, b in combinations(ABBC_COLOURS, 2)) > 0.1


def test_every_number_of_a_band_has_a_colour():
    scheme = load_scheme("pengwin2026")
    for colour in fragment_colours(scheme, range(1, 201)).values():
        assert all(isinstance(value, int) and 0 <= value <= 255 for value in colour)


def test_number_outside_the_bands():
    with pytest.raises(SchemeError, match="label 31 is in no band"):
        fragment_colour(load_scheme("pengwin2024"), 31)


def test_oklab_there_and_back():
    for colour in ((0, 0, 0), (255, 255, 255), (12, 200, 99)):
        assert 255 * _from_oklab(_to_oklab(colour)) == pytest.approx(colour, abs=0.01)
    assert _to_oklab((255, 255, 255)) == pytest.approx([1, 0, 0], abs=1e-6)
