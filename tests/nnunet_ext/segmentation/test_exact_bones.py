"""Bones that are exact: fragments stay within them and fill them."""

import json

import numpy as np
import pytest

import nnunet_ext
from label_gen.errors import UsageError
from nnunet_ext.segmentation.correcting import correct_case
from nnunet_ext.segmentation.exact_bones import fill
from nnunet_ext.volumes import read_labels
from tests.nnunet_ext.segmentation.phantom import FINE, acquired


def test_fragments_fill_the_bones_that_they_lie_in():
    labels = np.array([[[0, 7, 0, 0, 0, 9, 9, 0, 0, 0]]], np.uint8)
    is_bone = np.array([[[1, 1, 1, 1, 1, 1, 0, 0, 1, 1]]], bool)
    fill(labels, is_bone)
    assert labels.tolist() == [[[7, 7, 7, 7, 9, 9, 0, 0, 0, 0]]]  # the last bone has no fragment
    corner = np.zeros((2, 2, 2), np.uint8)
    corner[0, 0, 0] = 3
    fill(corner, np.ones((2, 2, 2), bool))
    assert (corner == 3).all()
    edge = np.array([[[5, 0], [0, 0]], [[0, 0], [0, 0]]], np.uint8)
    fill(edge, np.array([[[1, 0], [0, 1]], [[0, 0], [0, 0]]], bool))  # rows are no neighbours by their ends
    assert edge.ravel().tolist() == [5, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.slow
def test_fragments_fill_exact_bones_and_do_so_after_corrections(drawn, model, tmp_path):
    ct, bones = acquired(drawn[0], FINE), drawn[1]
    outline = bones.array > 0
    outline[:, :37] = False  # the given bones end in the middle of what the network takes for bone
    given = bones.like(np.where(outline, bones.array, 0))
    options = {"bones": given, "model": model, "device": "cpu", "meshes": False, "report": False}
    loose = nnunet_ext.segment(ct, **options).labels.array > 0
    assert (loose & ~outline).sum() > 0.01 * outline.sum()
    found = nnunet_ext.segment(ct, **options, exact_bones=True, output=tmp_path / "case")
    exact = found.labels.array > 0
    assert not (exact & ~outline).any()
    assert (exact == outline).all()
    assert json.loads((tmp_path / "case" / "run.json").read_text())["settings"]["exact_bones"] is True
    correct_case(tmp_path / "case", merge=[(51, 52)])
    again = read_labels(tmp_path / "case" / "segmentation.nii.gz").array
    assert ((again > 0) == exact).all()


def test_bones_that_a_model_finds_are_not_exact(drawn):
    with pytest.raises(UsageError, match=r"bones that a model finds are not exact; give a volume .*--exact-bones"):
        nnunet_ext.segment(drawn[0], device="cpu", exact_bones=True)
