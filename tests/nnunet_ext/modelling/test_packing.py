"""Packed models: small, without traces of the training, and accepted by nnU-Net's own command."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import SimpleITK
import torch

from label_gen.errors import DataError, UsageError
from nnunet_ext.commands.predict import predict
from nnunet_ext.modelling.packing import count_weights, pack_model, ship_model
from nnunet_ext.models import model_folder, sums_of
from nnunet_ext.training.checkpoints import safe_load_checkpoint

FILES = ["dataset.json", "fold_0/checkpoint_final.pth", "plans.json"]


@pytest.fixture
def images(tmp_path):
    """A folder with one image of 20 x 24 x 18 voxels."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    array = (rng.normal(100, 60, (20, 24, 18)) + 400 * (np.indices((20, 24, 18))[0] > 9)).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(folder / "a_0000.nii.gz"))
    return folder


@pytest.mark.parametrize("model", ["abbc", "bones"])
def test_what_is_kept(trained, tmp_path, model):
    source = trained(model)
    sums = pack_model(source, tmp_path / "packed")
    assert list(sums) == FILES
    assert sums == sums_of(tmp_path / "packed")
    before = source / "fold_0" / "checkpoint_final.pth"
    weights = tmp_path / "packed" / "fold_0" / "checkpoint_final.pth"
    assert weights.stat().st_size < 0.5 * before.stat().st_size
    packed = torch.load(weights, weights_only=True)
    assert packed["trainer_name"] == "nnUNetTrainer"
    assert packed["init_args"] == {"configuration": "3d_fullres" if model == "abbc" else "triplanar", "fold": 0}
    assert packed["inference_allowed_mirroring_axes"] == ((0, 1, 2) if model == "abbc" else None)
    assert packed["abbc"]["trainer"].startswith("nnUNetTrainer")
    assert not {"optimizer_state", "logging", "grad_scaler_state", "_best_ema"} & set(packed)
    assert all(value.dtype == torch.half for value in packed["network_weights"].values())
    original = safe_load_checkpoint(before)["network_weights"]
    assert set(original) == set(packed["network_weights"])
    for name, value in original.items():
        torch.testing.assert_close(packed["network_weights"][name].float(), value, rtol=1e-3, atol=1e-4)
    assert count_weights(weights) == count_weights(before) < 20_000
    plans = json.loads((tmp_path / "packed" / "plans.json").read_text())
    assert list(plans["configurations"]) == [packed["init_args"]["configuration"]]
    dataset = json.loads((tmp_path / "packed" / "dataset.json").read_text())
    assert dataset["abbc"] == {"task": "abbc", "scheme": "pengwin2024"}
    assert not {"numTraining", "name", "description"} & set(dataset)


def test_nothing_tells_where_it_was_made(trained, tmp_path):
    pack_model(trained(), tmp_path / "packed")
    with zipfile.ZipFile(tmp_path / "packed" / "fold_0" / "checkpoint_final.pth") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for name in ("plans.json", "dataset.json"):
        content += (tmp_path / "packed" / name).read_bytes()
    for trace in (str(tmp_path), "secret", os.environ["nnUNet_results"], "fingerprint"):  # noqa: SIM112, nnU-Net's name
        assert trace.encode() not in content


def test_same_bytes_again(trained, tmp_path):
    source = trained()
    assert pack_model(source, tmp_path / "one") == pack_model(source, tmp_path / "two")


def test_single_precision(trained, tmp_path):
    pack_model(trained(), tmp_path / "packed", half=False)
    packed = torch.load(tmp_path / "packed" / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert all(value.dtype == torch.float for value in packed["network_weights"].values())


@pytest.mark.parametrize("model", ["abbc", "bones"])
def test_prediction_hardly_changes(trained, tmp_path, images, model):
    source = trained(model)
    pack_model(source, tmp_path / "packed")
    for name, folder in (("before", source), ("after", tmp_path / "packed")):
        batch = predict(
            images, tmp_path / name, model=folder, folds=(0,), device="cpu", save_probabilities=True,
            preprocessing_processes=0, export_processes=0, mirroring=False,
        )  # fmt: skip
        assert not batch.failed, batch.failed[0].error
    before, after = (np.load(tmp_path / name / "a.npz")["probabilities"] for name in ("before", "after"))
    assert np.abs(before.astype(np.float32) - after).max() < 0.05


def test_what_cannot_be_packed(trained, tmp_path):
    with pytest.raises(UsageError, match=r"no 'checkpoint_final.pth' in fold 0 of .*; train first"):
        pack_model(tmp_path / "nothing", tmp_path / "packed")
    source = trained()
    pack_model(source, tmp_path / "packed")
    with pytest.raises(UsageError, match="is there already; choose another folder"):
        pack_model(source, tmp_path / "packed")
    pack_model(source, tmp_path / "packed", overwrite=True)
    file = source / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(file, weights_only=False)
    next(iter(checkpoint["network_weights"].values()))[0] = 1e6
    torch.save(checkpoint, file)
    with pytest.raises(DataError, match="too large for half precision; pack without it"):
        pack_model(source, tmp_path / "packed", overwrite=True)


def test_shipping(trained, tmp_path):
    pack_model(trained(), tmp_path / "packed")
    place = tmp_path / "pretrained"
    assert ship_model(tmp_path / "packed", "abbc", place) == place / "abbc"
    assert model_folder("abbc", place=place) == place / "abbc"
    ship_model(tmp_path / "packed", "bones", place)
    ship_model(tmp_path / "packed", "abbc", place)
    assert sorted(json.loads((place / "index.json").read_text())["models"]) == ["abbc", "bones"]
    with pytest.raises(UsageError, match="a model that ships is called bones or abbc; got: 'x'"):
        ship_model(tmp_path / "packed", "x", place)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["abbc", "bones"])
def test_nnunets_own_command_takes_it_without_variables(trained, tmp_path, images, environment, model):
    pack_model(trained(model), tmp_path / "packed")
    kept = {name: value for name, value in environment.items() if not name.startswith("nnUNet")}
    command = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as go; go()"
    arguments = ["-m", "packed", "-i", "images", "-o", "out", "-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1"]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        cwd=tmp_path, env={**kept, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert SimpleITK.ReadImage(str(tmp_path / "out" / "a.nii.gz")).GetSize() == (18, 24, 20)
