"""Plans of another model as those of a dataset, its weights beside them, and the trainers that go on from these."""

import json

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from label_gen.errors import DataError, UsageError
from nnunet_ext.commands import plan_finetuning as command
from nnunet_ext.ext_trainers import abbc_trainers
from nnunet_ext.models import model_folder
from nnunet_ext.planning.finetuning import find_model, flip_weights, plan_finetuning, plans_for_weights
from nnunet_ext.training.initial_weights import load_initial_weights
from tests.nnunet_ext.stage1.totalsegmentator_weights import write_weights
from tests.nnunet_ext.training.tiny import DATASET, LABELS, need_no_data, triplanar_plans, write_tiny_raw

OLD = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 4,
    "n_conv_per_stage_encoder": [1, 1],
    "n_conv_per_stage_decoder": [1],
    "num_pool_per_axis": [1, 1, 1],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]],
    "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3]],
    "unet_max_num_features": 8,
    "patch_size": [32, 32, 32],
}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Make a tiny dataset, and weights in TotalSegmentator's layout where it looks for them."""
    pytest.importorskip("totalsegmentator", reason="the extra 'totalsegmentator' is not installed")
    for room in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{room}", str(tmp_path / f"nnUNet_{room}"))
    monkeypatch.setenv("nnUNet_compile", "0")
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "weights"))
    write_tiny_raw(tmp_path, cases=2, size=20)
    write_weights(tmp_path / "weights", (294,))
    folder = tmp_path / "nnUNet_preprocessed" / DATASET
    folder.mkdir(parents=True)
    (folder / "dataset_fingerprint.json").write_text("{}")  # it is there, so nothing is extracted
    return tmp_path


def test_model_becomes_plans_and_weights_of_the_dataset(places, capsys):
    assert command.main(["-d", "991", "-w", "294", "--no_pp", "--no_pbar", "-np", "1"]) == 0
    out, told = capsys.readouterr()
    folder = places / "nnUNet_preprocessed" / DATASET
    plans = json.loads((folder / "FineTuningPlans.json").read_text())
    assert (plans["dataset_name"], plans["plans_name"]) == (DATASET, "FineTuningPlans")
    (model,) = (places / "weights").glob("Dataset294_*/*")
    source = json.loads((model / "plans.json").read_text())
    expected = source["configurations"]["3d_fullres"] | {"data_identifier": "FineTuningPlans_3d_fullres"}
    assert plans["configurations"] == {"3d_fullres": expected}
    key = "foreground_intensity_properties_per_channel"
    assert plans[key] == source[key]
    for name in ("dataset.json", "splits_final.json"):
        assert (folder / name).read_text() == (places / "nnUNet_raw" / DATASET / name).read_text()
    file = folder / "FineTuningPlans.pth"
    line = out.strip().splitlines()[-1]
    assert line == (
        f"nnUNetv2_train {DATASET} 3d_fullres 0 -p FineTuningPlans -tr nnUNetTrainerFineTune -pretrained_weights {file}"
    )
    # TotalSegmentator's arrays run to R and A, those of this dataset to L and P.
    assert "other way along axis 1, 2; its kernels were flipped" in told
    given = torch.load(next(model.glob("fold_0/*.pth")), weights_only=False)["network_weights"]
    taken = torch.load(file, weights_only=True)["network_weights"]
    assert taken.keys() == given.keys()
    kernel = "encoder.stages.0.0.convs.0.conv.weight"
    torch.testing.assert_close(taken[kernel], given[kernel].flip(3, 4))
    assert not torch.equal(taken[kernel], given[kernel])


def test_a_network_of_such_plans_takes_all_weights_of_a_model_that_ships(places):
    made = plan_finetuning(991, "abbc", preprocess=False, progress=False)
    plans = json.loads(made.weights.with_suffix(".json").read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    network = get_network_from_plans(
        architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"], 1, 4
    )
    assert load_initial_weights(network, "abbc") == "The training begins with all weights of 'abbc'."
    head = "decoder.seg_layers.0.weight"
    shipped = torch.load(model_folder("abbc") / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert torch.equal(network.state_dict()[head], shipped["network_weights"][head].float())


def test_weights_that_do_not_fit_are_refused(places, monkeypatch):
    (model,) = (places / "weights").glob("Dataset294_*/*")
    file = next(model.glob("fold_0/*.pth"))
    content = torch.load(file, weights_only=False)
    kernel = content["network_weights"].pop("encoder.stages.1.0.convs.0.conv.weight")
    torch.save(content, file)
    with pytest.raises(
        DataError, match=r"does not fit its own plans: it has no encoder.stages.1.0.convs.0.conv.weight"
    ):
        plan_finetuning(991, model, preprocess=False, progress=False)
    content["network_weights"] = {
        f"module._orig_mod.{key}": value
        for key, value in {
            **content["network_weights"],
            "encoder.stages.1.0.convs.0.conv.weight": kernel,
        }.items()
    }
    torch.save(content, file)
    made = plan_finetuning(991, str(model), axes="lps", preprocess=False, progress=False, plans_name="Other")
    assert (made.name, made.flipped_axes, made.weights.name) == ("Other", (), "Other.pth")
    for axes, said in (("SPL", "run to LPS .* the model knows SPL; turn them"), ("RRS", "no three directions")):
        with pytest.raises(UsageError, match=said):
            plan_finetuning(991, model, axes=axes, preprocess=False, progress=False)
    with pytest.raises(UsageError, match="no configuration '2d'; they have 3d_fullres"):
        plan_finetuning(991, model, configuration="2d", preprocess=False, progress=False)


def test_models_are_found_or_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"there is no model 294 in .*totalseg_download_weights"):
        find_model(294, "3d_fullres")
    model = tmp_path / "Dataset294_x" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    model.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"with plans.json and fold_N in it; found: none"):
        find_model(294, "3d_fullres")
    (model / "plans.json").write_text("{}")
    assert find_model("abbc", "3d_fullres") == model_folder("abbc")
    assert find_model("294", "3d_fullres") == find_model(model.parent, "3d_fullres") == find_model(model, "x") == model


def test_plans_of_an_old_nnunet_are_brought_up_to_date():
    source = {"dataset_name": "a", "plans_name": "b", "configurations": {"3d_fullres": OLD}, "other": 1}
    plans = plans_for_weights(source, "3d_fullres", dataset="Dataset001_X", name="P")
    found = plans["configurations"]["3d_fullres"]
    assert found["architecture"]["network_class_name"].endswith("PlainConvUNet")
    assert found["architecture"]["arch_kwargs"]["features_per_stage"] == [4, 8]
    assert "UNet_class_name" not in found
    assert (plans["dataset_name"], plans["plans_name"], plans["other"]) == ("Dataset001_X", "P", 1)
    json.dumps(plans)
    assert "UNet_class_name" in OLD


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2), ()])
def test_flipped_kernels_give_the_flipped_result(axes):
    torch.manual_seed(2)
    net = torch.nn.Sequential(
        torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.InstanceNorm3d(3, affine=True), torch.nn.Conv3d(3, 2, (1, 3, 3))
    )
    x = torch.randn(1, 1, 6, 7, 8)
    dims = [2 + axis for axis in axes]
    with torch.no_grad():
        expected = net(x.flip(dims)).flip(dims)
        net.load_state_dict(flip_weights(net.state_dict(), axes))
        torch.testing.assert_close(net(x), expected)


def make(trainer, tmp_path, monkeypatch):
    need_no_data(monkeypatch, tmp_path)
    monkeypatch.setenv("nnUNet_compile", "0")
    description = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 2, "file_ending": ".mha"}
    return trainer(triplanar_plans(), "3d_fullres", 0, description, torch.device("cpu"))


@pytest.mark.parametrize(("name", "encoder_learns"), [("FineTune", True), ("FineTuneFrozen", False)])
def test_trainers_learn_slowly_what_they_shall(tmp_path, monkeypatch, name, encoder_learns):
    trainer = make(getattr(abbc_trainers, f"nnUNetTrainer{name}_3epochs"), tmp_path, monkeypatch)
    assert (trainer.num_epochs, trainer.initial_lr) == (3, 3e-4)
    with pytest.raises(UsageError, match=f"nnUNetTrainer{name}.* goes on from the weights of another model"):
        trainer.on_train_start()
    trainer.initialize()
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    before = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    trainer.on_train_epoch_start()
    size = (2, 1, 16, 16, 16)
    scales = trainer._get_deep_supervision_scales()
    targets = [torch.randint(0, 3, (2, 1, *(int(16 * s) for s in scale))) for scale in scales]
    trainer.train_step({"data": torch.randn(size), "target": targets})
    after = trainer.network.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert any(key.startswith("decoder.seg_layers") for key in changed)
    assert any(key.startswith("decoder.transpconvs") for key in changed)
    assert any(key.startswith("encoder.") for key in changed) == encoder_learns
