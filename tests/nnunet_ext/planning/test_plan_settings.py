"""What may be set about a plan, and what is refused."""

import pytest

from label_gen.errors import UsageError
from nnunet_ext.planning.settings import PlanSettings
from nnunet_ext.planning.triplanar import isotropic_spacing


def test_defaults():
    settings = PlanSettings()
    assert settings.patch_edge == 128
    assert settings.patch_3d is None
    assert settings.orientations == ("axial", "coronal", "sagittal")


def test_patch_of_one_number_is_a_cube():
    assert PlanSettings(patch_size=(32,)).patch_3d == (32, 32, 32)
    assert PlanSettings(patch_size=(32, 32, 32)).patch_edge == 32


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"patch_size": (32, 32)}, "one or three positive"),
        ({"patch_size": (0,)}, "one or three positive"),
        ({"batch_size": 0}, "batch_size is a positive"),
        ({"base_features": -1}, "base_features is a positive"),
        ({"most_blocks": 0}, "most_blocks is a positive"),
        ({"network": "transformer"}, "plain or resenc; got: transformer"),
        ({"spacing": "mean"}, "median, finest or a length in mm; got: mean"),
        ({"spacing": 0.0}, "positive length in mm"),
        ({"spacing": float("nan")}, "positive length in mm"),
        ({"orientations": ()}, "one or more of axial, coronal, sagittal.*got: none"),
        ({"orientations": ("axial", "axial")}, "each once"),
        ({"orientations": ("oblique",)}, "got: oblique"),
    ],
)
def test_nonsense_is_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        PlanSettings(**wrong)


def test_patch_of_slices_is_a_square():
    with pytest.raises(UsageError, match="squares"):
        _ = PlanSettings(patch_size=(32, 32, 64)).patch_edge


@pytest.mark.parametrize(("rule", "expected"), [("median", 0.8), ("finest", 0.5), (1.25, 1.25)])
def test_isotropic_spacing(rule, expected):
    assert isotropic_spacing([[3.0, 0.8, 0.8], [0.5, 0.7, 0.7], [1.0, 1.0, 2.0]], rule) == expected
