"""Scores of models: on what a stub predicts, so that the right answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from label_gen import ABBC, generate_abbc
from label_gen.errors import DataError, UsageError
from nnunet_ext.modelling import bone_scoring, scoring
from nnunet_ext.modelling.bone_scoring import score_bones, score_bones_model
from nnunet_ext.modelling.measuring import Cost
from nnunet_ext.modelling.prediction import Prediction, link_image
from nnunet_ext.modelling.scoring import VARIANTS, score_abbc_model
from nnunet_ext.modelling.trial_cases import SOFT_TISSUE_HU, find_trial_cases, prepare_fracsegnet
from nnunet_ext.segmentation.api import segment
from nnunet_ext.segmentation.work import Work
from nnunet_ext.volumes import read_labels, read_volume, write_volume
from postproc.thresholds import DEFAULT_THRESHOLDS
from tests.nnunet_ext.segmentation.phantom import draw_ct, save_model

SPACING = (0.9, 0.8, 1.5)
"""Of what the fixture `save` writes, x, y, z."""


@pytest.fixture
def block():
    """Two touching fragments of the left hip and the sacrum, large enough for every threshold."""
    array = np.zeros((24, 40, 60), np.uint8)
    array[2:22, 4:36, 4:24] = 11
    array[2:22, 4:36, 24:40] = 12
    array[2:22, 4:36, 44:56] = 1
    return array


@pytest.fixture
def cases(save, block, tmp_path):
    """A folder of two cases."""
    bones = np.select([block == 1, block > 10], [1, 2], 0).astype(np.uint8)
    direction = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    for name in "ab":
        for kind, array in (("images", block.astype(np.int16) * 30), ("labels", block), ("anatomy", bones)):
            save(array, tmp_path / "cases" / kind / f"{name}.nii.gz", direction=direction)
    return tmp_path / "cases"


@pytest.fixture
def predicted(monkeypatch):
    """Predict the true classes in place of a model; case b without border between the two fragments."""
    asked = []

    def predict(model, case, scheme, prediction):
        asked.append(case.name)
        true, bones, ct = read_labels(case.labels), read_labels(case.anatomy), read_volume(case.image)
        classes = generate_abbc(true.array, true.spacing_mm).abbc
        if case.name == "b":
            classes[classes == ABBC.BORDER] = ABBC.CORE
        likely = np.stack([np.where(classes == member, 0.97, 0.01) for member in ABBC]).astype(np.float16)
        return Work(likely, bones, ct, ct.grid).within(bones)

    monkeypatch.setattr(scoring, "_predict", predict)
    return asked


def test_scores_of_all_ways_from_one_prediction(cases, predicted, tmp_path):
    content = score_abbc_model("model", cases, tmp_path / "out")
    assert predicted == ["a", "b"]
    assert set(content["variants"]) == set(VARIANTS)
    for name, found in content["variants"].items():
        assert found["cases"]["a"]["fragment_iou"] > 0.99
        # Case b: one core for two fragments. Healing joins it all, without it the parts that cores left stay apart.
        summary, heals = found["summary"], VARIANTS[name].healing
        assert (summary["merge_errors"], summary["split_errors"]) == ((1, 0) if heals else (0, 1))
        assert found["summary"]["cases"] == 2
        assert found["summary"]["fragment_iou"]["min"] == found["cases"]["b"]["fragment_iou"] < 0.95
    wall = content["costs"]["summary"]["wall_s"]
    assert 0 < wall["mean"] <= wall["max"] == max(cost["wall_s"] for cost in content["costs"]["cases"].values())
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["settings"]["cases"] == ["a", "b"]
    again = score_abbc_model("model", cases, tmp_path / "out")
    assert predicted == ["a", "b"]
    assert again == content


def test_the_ways_are_what_they_say(cases, predicted, tmp_path, monkeypatch):
    asked = []

    def recover(abbc, spacing_mm, *, anatomy, scheme, thresholds):
        asked.append((abbc.ndim, thresholds is DEFAULT_THRESHOLDS))
        raise DataError("enough")

    monkeypatch.setattr("postproc.recover.recover_fragments", recover)
    for name, way in VARIANTS.items():
        with pytest.raises(DataError, match="enough"):
            score_abbc_model("model", cases, tmp_path / "out", variants={name: way})
    assert asked == [(4, True), (3, True), (4, False), (4, True)]


@pytest.mark.slow
def test_a_model_is_asked_as_a_segmentation_asks_it(tmp_path, save):
    ct, bones = draw_ct()
    for kind, volume in (("images", ct), ("labels", bones), ("anatomy", bones)):
        write_volume(volume, tmp_path / "cases" / kind / "a.nii.gz")
    model = save_model(tmp_path / "model")
    content = score_abbc_model(
        model, tmp_path / "cases", tmp_path / "out", scheme="pengwin2026", prediction=Prediction(step_size=1.0)
    )
    found = segment(
        ct, bones=bones, model=model, scheme="pengwin2026", device="cpu", step_size=1.0, report=False, exact_bones=True
    )
    mine = read_labels(tmp_path / "out" / "fragments" / "default" / "a.nii.gz")
    assert (mine.array == found.labels.array).all()
    assert mine.array.any()
    assert content["costs"]["cases"]["a"]["peak_mb"] > 100


def test_bones_and_sides():
    true = np.zeros((4, 4, 8), np.uint8)
    true[:, :, :2], true[:, :, 2:4], true[:, :, 6:] = 2, 1, 3
    found = true.copy()
    found[true == 2] = 5
    found[:2][true[:2] == 3] = 4  # the numbers of the model: left 4, right 5
    found[2:][true[2:] == 3] = 5
    numbers = {"sacrum": (1, 1), "left_hip": (4, 2), "right_hip": (5, 3)}
    score = score_bones(found, true, numbers, [("left_hip", "right_hip")])
    assert score["dice"] == pytest.approx({"sacrum": 1.0, "left_hip": 0.0, "right_hip": 0.4})
    assert score["as_twin"] == {"left_hip": 1.0, "right_hip": 0.5}
    assert score["swapped"] == ["left_hip"]
    assert score["surplus"] == []
    without = score_bones(found, np.where(true == 1, 0, true), numbers, [("left_hip", "right_hip")])
    assert (set(without["dice"]), without["surplus"]) == ({"left_hip", "right_hip"}, ["sacrum"])


def test_bones_of_cases(cases, tmp_path, monkeypatch, save):
    def find(model, case, output, prediction):
        if case.name == refused:
            raise DataError("no pelvis in '/tmp/b.nii.gz'")
        true = read_labels(case.anatomy).array
        save(np.where(true == 2, 3, true), output / f"{case.name}.nii.gz", direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))
        return Cost(1.0, 1.0, 100.0)

    refused = ""
    monkeypatch.setattr(bone_scoring, "find_bones_measured", find)
    monkeypatch.setattr(bone_scoring, "predict_measured", lambda *a, **k: find(*a))
    model = tmp_path / "model"
    model.mkdir()
    labels = {"background": 0, "sacrum": 1, "left_hip": 2, "right_hip": 3}
    (model / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    summary = score_bones_model(model, cases, tmp_path / "out")["summary"]
    assert summary["dice"]["sacrum"] == {"mean": 1.0, "min": 1.0, "cases": 2}
    assert (summary["swapped"], summary["largest_share_found_as_twin"], summary["refused"]) == (2, 1.0, {})
    assert summary["surplus"] == {"right_hip": 2}
    assert score_bones_model(model, cases, tmp_path / "alone", network_alone=True)["summary"] == summary
    refused = "b"
    summary = score_bones_model(model, cases, tmp_path / "refused")["summary"]
    assert summary["dice"]["sacrum"] == {"mean": 0.5, "min": 0.0, "cases": 2}
    assert list(summary["refused"]) == ["b"]
    assert "/tmp" not in summary["refused"]["b"]


def test_folders_that_are_no_cases(cases, tmp_path):
    with pytest.raises(UsageError, match="has no folder 'images'; give a folder that abbc-simulate-fractures made"):
        find_trial_cases(tmp_path)
    (cases / "anatomy" / "b.nii.gz").unlink()
    with pytest.raises(UsageError, match=r"case 'b' in .* has no volume in anatomy"):
        find_trial_cases(cases)


def test_images_get_the_name_that_the_model_wants(cases, tmp_path):
    (tmp_path / "dataset.json").write_text('{"file_ending": ".nii.gz"}')
    image = cases / "images" / "a.nii.gz"
    assert link_image(image, tmp_path, "a", tmp_path).is_symlink()
    (tmp_path / "dataset.json").write_text('{"file_ending": ".mha"}')
    converted = link_image(image, tmp_path, "a", tmp_path)
    assert converted.name == "a_0000.mha"
    assert (read_volume(converted).array == read_volume(image).array).all()
    assert Prediction().mirroring is False


def test_real_cases_are_filled_with_soft_tissue(save, block, tmp_path):
    direction = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    ct = np.where(block > 0, 300, 0).astype(np.int16)
    ct[5, 6, 7] = 0  # a voxel of marrow
    save(ct, tmp_path / "source" / "x_bone_ct.nii.gz", direction=direction)
    save(block, tmp_path / "source" / "x_labels.nii.gz", direction=direction)
    (case,) = prepare_fracsegnet(tmp_path / "source", tmp_path / "real")
    image = read_volume(case.image).array
    assert (image[block == 0] == SOFT_TISSUE_HU).all()
    assert (image[block > 0] == ct[block > 0]).all()
    assert (read_labels(case.anatomy).array == np.select([block == 1, block > 10], [1, 2], 0)).all()
    save(ct + 10, tmp_path / "source" / "x_bone_ct.nii.gz", direction=direction)
    with pytest.raises(DataError, match="shows more than the labelled bones"):
        prepare_fracsegnet(tmp_path / "source", tmp_path / "real")
    with pytest.raises(UsageError, match=r"no NAME_bone_ct.nii.gz in"):
        prepare_fracsegnet(tmp_path, tmp_path / "real")


SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "fracsegnet"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real fractured pelves of ../shared are not here")
def test_the_real_pelves(tmp_path):
    cases = prepare_fracsegnet(SHARED, tmp_path / "real")
    assert len(cases) == 3
    for case in cases:
        assert set(np.unique(read_labels(case.anatomy).array)) == {0, 1, 2, 3}
