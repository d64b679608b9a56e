"""Bones by a model: the same whatever the axes of the CT, on its grid; and errors of models of something else."""

import json

import numpy as np
import pytest
import torch

from label_gen.errors import DataError, UsageError
from nnunet_ext import models
from nnunet_ext.models import INDEX, sums_of
from nnunet_ext.preparation.orientation import turned
from nnunet_ext.stage1 import BONES, BoneFinder, segment_bones
from nnunet_ext.stage1.bundled import ModelBones
from nnunet_ext.volumes import Volume
from tests.nnunet_ext.stage1.networks import HU, NUMBERS, pelvis, save_model

TURN = np.array([[0.9, -0.42, 0.1], [0.43, 0.89, -0.15], [-0.03, 0.18, 0.98]])


def shares(found, true):
    """Return for each bone how much of it was found, the network leaving out edges; nothing else may be."""
    assert (true[found > 0] == found[found > 0]).mean() > 0.995
    return [float((found[true == number] == number).mean()) for number in range(1, 6)]


def test_the_bones_of_a_ct_whatever_its_axes(bones_model):
    ct, labels = pelvis()
    find = ModelBones(bones_model, device="cpu")
    found = find(ct)
    assert found.anatomy.grid == ct.grid
    assert found.anatomy.array.dtype == np.uint8
    assert min(shares(found.anatomy.array, labels)) > 0.5
    assert found.details["spacing_mm"] == [2.0, 2.0, 2.0]
    assert len(found.details["model_sha256"]) == 64
    other = find(turned(ct, "IRA"))
    assert (turned(other.anatomy, "LPS").array == found.anatomy.array).mean() > 0.9999
    assert other.anatomy.grid == turned(ct, "IRA").grid


def test_an_oblique_ct(tmp_path):
    labels = {"background": 0, **NUMBERS}
    model = save_model(tmp_path / "m", labels, HU, dims=2, spacing=3, trainer="nnUNetTrainer", patch=56)
    u, _, v = np.linalg.svd(TURN)
    ct, labels = pelvis(shape=(60, 60, 96))
    index = np.indices((70, 74, 110)).reshape(3, -1)[::-1] - np.array([[55], [37], [35]])
    middle = np.array([48, 24, 30.0])
    place = np.rint((u @ v) @ index + middle[:, None]).astype(int)
    inside = ((place >= 0) & (place < np.array([[96], [60], [60]]))).all(0)
    x, y, z = np.where(inside, place, 0)
    array = np.where(inside, ct.array[z, y, x], -1000).reshape(70, 74, 110).astype(np.int16)
    true = np.where(inside, labels[z, y, x], 0).reshape(70, 74, 110)
    origin = tuple(np.array(ct.origin) + 1.5 * (middle + (u @ v) @ np.array([-55, -37, -35.0])))
    turned_ct = Volume(array, ct.spacing_mm, origin, tuple((u @ v).ravel()))
    found = ModelBones(model, device="cpu")(turned_ct)
    assert min(shares(found.anatomy.array, true)) > 0.2
    assert found.anatomy.grid == turned_ct.grid


def test_the_bundled_model_is_found_loaded_once_and_checked(bones_model, tmp_path, monkeypatch):
    place = tmp_path / "pretrained"
    bones_model.rename((place / "bones") if place.mkdir() is None else None)
    (place / INDEX).write_text(json.dumps({"models": {"bones": {"files": sums_of(place / "bones")}}}))
    monkeypatch.setattr(models, "PRETRAINED", place)
    ct, _ = pelvis()
    found = segment_bones(ct, "bundled", device="cpu", fast=True)
    assert found.source == "bundled"
    assert found.details["fast"] is True
    assert found.details["certainty"] == found.certainty
    assert set(found.certainty) == set(BONES)
    assert min(found.certainty.values()) > 0.85
    assert any(text.startswith("the left hip bone has") for text in found.warnings)
    assert {entry["kind"] for entry in found.details["findings"]} == {"volume"}
    loaded = BoneFinder("bundled", device="cpu", fast=True)._find
    (tmp_path / "bundled").mkdir()  # results of that name, say
    monkeypatch.chdir(tmp_path)
    assert not BoneFinder("bundled", device="cpu", fast=True).is_given
    assert BoneFinder("./bundled", device="cpu", fast=True).is_given
    assert loaded is BoneFinder(device="cpu", fast=True)._find
    assert loaded is not BoneFinder("bundled", device="cpu")._find
    nothing = Volume(np.full((30, 30, 30), 40, np.int16), (2.0, 2.0, 2.0))
    with pytest.raises(DataError, match=r"show the pelvis\? If the bones are there, let .*give them \(--bones FILE\)$"):
        segment_bones(nothing, "bundled", device="cpu", fast=True)


def test_a_model_that_doubts_its_bones(tmp_path):
    labels = {"background": 0, **NUMBERS}
    model = save_model(tmp_path / "m", labels, HU, dims=2, spacing=2, trainer="nnUNetTrainer", patch=80)
    file = model / "fold_0" / "checkpoint_final.pth"
    content = torch.load(file, weights_only=False)
    content["network_weights"]["decoder.seg_layers.0.bias"][0] = -0.4  # background is nearly as likely as bone
    torch.save(content, file)
    with pytest.raises(DataError, match=r"the model doubts the bones .*probability 0\.6.*--bones totalsegmentator"):
        segment_bones(pelvis()[0], model, device="cpu")


def test_other_classes_are_background_and_some_bones_do(tmp_path):
    labels = {"background": 0, "liver": 1, "hip_right": 2, "Left hip bone": 3}
    hu = {"liver": 1400, "hip_right": HU["right_hip"], "Left hip bone": HU["left_hip"]}
    model = save_model(tmp_path / "m", labels, hu, dims=2, spacing=2, trainer="nnUNetTrainer", patch=80, fold="all")
    ct, _ = pelvis()
    found = segment_bones(ct, model, device="cpu")
    assert np.unique(found.anatomy.array).tolist() == [0, 2, 3]
    assert found.source == "model"
    assert "the sacrum is missing: it was not found" in found.warnings


def test_axes_and_spacing_as_the_plans_have_them(tmp_path):
    labels = {"background": 0, **NUMBERS}
    plans = {"image_reader_writer": "NibabelIOWithReorient", "transpose_forward": [2, 0, 1]}
    plans["transpose_backward"] = [1, 2, 0]
    model = save_model(tmp_path / "m", labels, HU, dims=2, spacing=3, trainer="nnUNetTrainer", patch=48, **plans)
    ct, true = pelvis()
    find = ModelBones(model, device="cpu")
    assert find.spacing_mm == (3.0, 3.0, 3.0)
    assert min(shares(find(ct).anatomy.array, true)) > 0.3


def test_models_of_something_else(tmp_path):
    labels = {"background": 0, "boundary": 1, "core": 2}
    model = save_model(tmp_path / "m", labels, {"core": 500}, dims=2, spacing=2, trainer="nnUNetTrainer")
    with pytest.raises(DataError, match="the model 'm' finds background, boundary, core; give one that finds whole"):
        segment_bones(pelvis()[0], model, device="cpu")
    content = json.loads((model / "dataset.json").read_text())
    (model / "dataset.json").write_text(json.dumps({**content, "channel_names": {"0": "CT", "1": "PET"}}))
    with pytest.raises((DataError, UsageError)):
        ModelBones(model, device="cpu")
    with pytest.raises(UsageError, match="there is no file or folder"):
        BoneFinder(tmp_path / "none")
    with pytest.raises(UsageError, match="--download-weights is for --bones totalsegmentator"):
        BoneFinder(model, download_weights=True)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "one of auto, cpu, cuda"),
        ("cuda:9", "no CUDA device|there is no device cuda:9"),
        ("cpu:1", "one of auto"),
    ],
)
def test_devices_that_are_not_there(bones_model, device, message):
    with pytest.raises(UsageError, match=message):
        ModelBones(bones_model, device=device)
