"""nnU-Net's own commands train the networks and go on from other weights, and predict with what comes of it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from nnunet_ext.environment import trainer_folder
from tests.nnunet_ext.stage1.totalsegmentator_weights import write_weights
from tests.nnunet_ext.training.tiny import DATASET, make_tiny, run_python

SHORT = {"ABBC_EPOCHS": "1", "ABBC_ITERATIONS": "1", "ABBC_VAL_ITERATIONS": "1", "ABBC_AUGMENTATION": "light"}
SHORT |= {"ABBC_FINAL_VALIDATION": "off"}
NETWORK = "nnUNetTrainerUNetPlusPlusDeepLabV3"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    made = make_tiny(folder, cases=2, size=16)
    return {**made, **SHORT, "nnUNet_extTrainer": str(trainer_folder()), "nnUNet_def_n_proc": "1", "nnUNet_n_proc": "1"}


def command(name, *arguments, environment):
    """Run a command of nnU-Net as its script does, with the interpreter of the tests."""
    return run_python([str(Path(sys.executable).parent / name), *map(str, arguments)], environment)


def results(environment, model):
    return Path(environment["nnUNet_results"], DATASET, model)


@pytest.mark.slow
def test_network_is_trained_and_predicts_by_plain_commands(environment, tmp_path):
    settings = {**environment, "ABBC_ENCODER_WEIGHTS": "none"}
    said = command("nnUNetv2_train", "991", "2d", "0", "-tr", NETWORK, "-device", "cpu", environment=settings)
    assert "The encoder resnet34 starts from random weights" in said
    model = results(environment, f"{NETWORK}__nnUNetPlans__2d")
    plans = json.loads((model / "plans.json").read_text())["configurations"]["2d"]
    assert plans["architecture"]["network_class_name"] == "nnunet_ext.networks.backbones.UNetPlusPlusDeepLabV3"
    # No trainer of ours is in sight: what the model folder holds is enough.
    plain = {key: value for key, value in environment.items() if key != "nnUNet_extTrainer"}
    image = Path(environment["nnUNet_raw"], DATASET, "imagesTr", "case_00_0000.nii.gz")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / image.name).symlink_to(image)
    where = ("-i", tmp_path / "in", "-o", tmp_path / "out", "-device", "cpu", "--disable_tta", "-npp", "1", "-nps", "1")
    model_name = ("-d", "991", "-c", "2d", "-f", "0", "-tr", NETWORK)
    command("nnUNetv2_predict", *where, *model_name, environment=plain)
    found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "out" / "case_00.nii.gz")))
    assert found.shape == (16, 16, 16)
    assert set(np.unique(found)) <= {0, 1, 2}


@pytest.mark.slow
def test_training_goes_on_from_totalsegmentators_weights(environment, tmp_path):
    pytest.importorskip("totalsegmentator", reason="the extra 'totalsegmentator' is not installed")
    write_weights(tmp_path, (294,))
    settings = {**environment, "TOTALSEG_WEIGHTS_PATH": str(tmp_path)}
    module = ["-m", "nnunet_ext.commands.plan_finetuning", "-d", "991", "-w", "294", "--no_pbar", "-np", "1"]
    line = run_python(module, settings)
    (train,) = [words.split() for words in line.splitlines() if words.startswith("nnUNetv2_train ")]
    train[train.index("nnUNetTrainerFineTune")] = "nnUNetTrainerFineTuneFrozen"
    command(*train, "-device", "cpu", environment=settings)
    model = results(environment, "nnUNetTrainerFineTuneFrozen__FineTuningPlans__3d_fullres")
    found = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=True)["network_weights"]
    given = torch.load(train[-1], weights_only=True)["network_weights"]
    for key in found:
        if key.startswith("encoder."):
            torch.testing.assert_close(found[key], given[key])
    head = "decoder.seg_layers.0.weight"
    assert len(found[head]) == 3 < len(given[head])
