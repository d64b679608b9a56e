"""`abbc-predict` on a tiny saved model: nnU-Net's flags and files, and errors that say what to do."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK
import torch

from nnunet_ext.commands.predict import main, predict
from nnunet_ext.triplanar.networks import TriPlanarUNet
from nnunet_ext.triplanar.planes import ORIENTATIONS, find_planes
from nnunet_ext.triplanar.predictor import TriPlanarPredictor

PROG = "abbc-predict"
RESAMPLING = "resample_data_or_seg_to_shape"
NETWORK = {
    "n_stages": 2,
    "features_per_stage": [4, 8],
    "kernel_sizes": [[3, 3], [3, 3]],
    "strides": [[1, 1], [2, 2]],
    "n_conv_per_stage": [1, 1],
    "n_conv_per_stage_decoder": [1],
    "conv_bias": True,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin_kwargs": {"inplace": True},
}
TYPES = {"conv_op": torch.nn.Conv2d, "norm_op": torch.nn.InstanceNorm2d, "nonlin": torch.nn.LeakyReLU}
CONFIGURATION = {
    "data_identifier": "TriPlanarPlans_triplanar",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 30,
    "patch_size": [16, 16, 16],
    "median_image_size_in_voxels": [20.0, 20.0, 20.0],
    "spacing": [1.0, 1.0, 1.0],
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [False],
    "resampling_fn_data": RESAMPLING,
    "resampling_fn_seg": RESAMPLING,
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": RESAMPLING,
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    "batch_dice": True,
}


@pytest.fixture
def save_model(tmp_path):
    """Write a model folder as nnU-Net and our trainers leave it."""

    def save(folder="model", orientations=tuple(ORIENTATIONS), folds=(0,), mirroring=(0, 1, 2), **checkpoint):
        folder = tmp_path / folder
        transpose = [1, 0, 2]
        planes = [list(plane) for plane in find_planes(orientations, transpose)]
        architecture = {
            "network_class_name": "nnunet_ext.triplanar.networks.TriPlanarUNet",
            "arch_kwargs": {
                **NETWORK,
                **{name: f"{cls.__module__}.{cls.__name__}" for name, cls in TYPES.items()},
                "planes": planes,
                "regions": False,
            },
            "_kw_requires_import": list(TYPES),
        }
        plans = {
            "dataset_name": "Dataset007_Toy",
            "plans_name": "TriPlanarPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": transpose,
            "transpose_backward": transpose,
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": {"mean": 0.0, "std": 1.0}},
            "configurations": {
                "triplanar": {
                    **CONFIGURATION,
                    "architecture": architecture,
                    "triplanar": {"orientations": list(orientations), "mirroring": bool(mirroring)},
                }
            },
        }
        dataset = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "boundary": 1, "core": 2},
            "numTraining": 5,
            "file_ending": ".nii.gz",
        }
        for fold in folds:
            torch.manual_seed(3 + int(str(fold).replace("all", "9")))
            network = TriPlanarUNet(input_channels=1, num_classes=3, planes=planes, **NETWORK, **TYPES)
            (folder / f"fold_{fold}").mkdir(parents=True)
            weights = {n: w + 0.2 * torch.randn_like(w) for n, w in network.state_dict().items()}
            weights |= {n: torch.randn_like(w) * n.endswith("weight") for n, w in weights.items() if "seg_layers" in n}
            content = {
                "network_weights": weights,
                "trainer_name": "nnUNetTrainer",
                "inference_allowed_mirroring_axes": mirroring,
                "init_args": {"configuration": "triplanar", "fold": fold, "plans": plans, "dataset_json": dataset},
                "optimizer_state": {},
                "grad_scaler_state": None,
                "logging": {},
                "current_epoch": 0,
                "abbc": {"trainer": "nnUNetTrainerTriPlanar", "checkpoint_version": 1, "package_version": "0"},
                **checkpoint,
            }
            torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        return folder

    return save


@pytest.fixture
def images(tmp_path, save):
    """Two images, obliquely placed, not of the model's spacing."""
    random = np.random.default_rng(0)
    for name, shape in (("a", (14, 18, 22)), ("b", (10, 24, 17))):
        array = random.normal(0, 0.1, size=shape).astype(np.float32)
        array[3:8, 5:13, 4:12] += 4
        save(array, tmp_path / "images" / f"{name}_0000.nii.gz", spacing=(0.9, 0.9, 1.25))
    return tmp_path / "images"


@pytest.fixture
def call(capfd):
    """Run the command in this process without workers; return its exit status, stdout and stderr."""

    def run(*arguments, workers=False):
        if not workers:
            arguments = (*arguments, "-npp", "0", "-nps", "0")
        try:
            status = main(["-device", "cpu", *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err or workers
        return status, out, err

    return run


def read(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def test_predicts_a_folder(call, save_model, images, tmp_path):
    status, _, err = call("-i", images, "-o", tmp_path / "out", "-m", save_model(), "-f", 0, "--save_probabilities")
    assert (status, err.splitlines()[-1]) == (0, f"{PROG}: 2 done")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *(f"{case}{suffix}" for case in "ab" for suffix in (".nii.gz", ".npz", ".pkl")),
        *("plans.json", "dataset.json", "predict_from_raw_data_args.json", "abbc-predict.json"),
    }
    for case in "ab":
        segmentation = SimpleITK.ReadImage(str(tmp_path / "out" / f"{case}.nii.gz"))
        image = SimpleITK.ReadImage(str(images / f"{case}_0000.nii.gz"))
        for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(segmentation, part)() == pytest.approx(getattr(image, part)(), rel=1e-5, abs=1e-6)
        found = np.load(tmp_path / "out" / f"{case}.npz")["probabilities"]
        assert np.allclose(found.sum(0), 1, atol=1e-5)
        assert (found.argmax(0) == read(tmp_path / "out" / f"{case}.nii.gz")).all()
        assert len(np.unique(found.argmax(0))) > 1
    manifest = json.loads((tmp_path / "out" / "abbc-predict.json").read_text())
    assert manifest["settings"] == {
        "model": "model",
        "folds": ["0"],
        "checkpoint": "checkpoint_final.pth",
        "step_size": 0.5,
        "mirroring": True,
        "device": "cpu",
    }
    assert str(tmp_path) not in json.dumps(manifest)


def test_options_reach_the_predictor(call, save_model, images, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        TriPlanarPredictor,
        "predict_logits_from_preprocessed_data",
        lambda self, data: (seen.append(self), torch.zeros(3, *data.shape[1:]))[1],
    )
    model = save_model(folds=(0, 2, "all"))
    options = ("-f", 2, "all", "-step_size", 0.7, "--disable_tta", "-num_parts", 2, "-part_id", 1)
    assert call("-i", images, "-o", tmp_path / "out", "-m", model, *options)[0] == 0
    (predictor,) = seen
    assert (predictor.tile_step_size, predictor.use_mirroring) == (0.7, False)
    assert len(predictor.list_of_parameters) == 2
    assert [path.name for path in (tmp_path / "out").glob("*.nii.gz")] == ["b.nii.gz"]


@pytest.mark.parametrize(("folds", "count"), [(None, 2), ("all", 1), ((2, "all"), 2)])
def test_folds_as_nnunet_takes_them(save_model, folds, count):
    predictor = TriPlanarPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(save_model(folds=(0, 2, "all")), folds)
    assert len(predictor.list_of_parameters) == count
    assert (predictor.trainer_name, predictor.allowed_mirroring_axes) == ("nnUNetTrainer", (0, 1, 2))


def test_model_by_dataset_plans_trainer_and_configuration(call, save_model, images, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    save_model("results/Dataset007_Toy/nnUNetTrainerTriPlanar__TriPlanarPlans__triplanar")
    where = ("-i", images, "-o", tmp_path / "out", "-c", "triplanar", "-f", 0)
    flags = ("-tr", "nnUNetTrainerTriPlanar", "-p", "TriPlanarPlans")
    assert call(*where, "-d", 7, *flags)[0] == 0
    assert call(*where, "-d", "Dataset007_Toy", *flags, "--continue_prediction")[2].endswith("2 skipped\n")
    status, _, err = call(*where, "-d", 7)
    assert status == 2
    assert "-tr nnUNetTrainerTriPlanar -p TriPlanarPlans -c triplanar" in err


def test_finished_cases_are_skipped_and_broken_ones_redone(call, save_model, images, tmp_path):
    arguments = ("-i", images, "-o", tmp_path / "out", "-m", save_model(), "-f", 0)
    assert call(*arguments)[0] == 0
    result = tmp_path / "out" / "a.nii.gz"
    whole = result.read_bytes()
    result.write_bytes(whole[: len(whole) // 2])
    status, _, err = call(*arguments, "--c")
    assert (status, err.splitlines()[-1]) == (0, f"{PROG}: 1 done, 1 skipped")
    assert (read(result) >= 0).all()
    assert call(*arguments, "--c", "--save_probabilities")[2].endswith("2 done\n")
    assert call(*arguments)[2].endswith("2 done\n")


def test_a_bad_case_does_not_stop_the_others(call, save_model, images, tmp_path):
    path = images / "a_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    (images / "c_0001.nii.gz").write_bytes(b"")
    (images / "notes.nii.gz").write_bytes(b"")
    status, _, err = call("-i", images, "-o", tmp_path / "out", "-m", save_model(), "-f", 0)
    assert status == 1
    assert "case a: " in err
    assert "is truncated or damaged" in err
    assert "case c: the model takes 1 channel(s); missing is c_0000.nii.gz" in err
    assert "not predicted, the name does not end in _0000.nii.gz: notes.nii.gz" in err
    assert err.endswith("1 done, 2 failed\n")


def test_a_case_that_fails_on_the_way_does_not_stop_the_others(call, save_model, images, tmp_path, save):
    save(np.full((6, 7, 8), 3e38, np.float32), images / "bad_0000.nii.gz")
    with np.errstate(all="ignore"):
        status, _, err = call("-i", images, "-o", tmp_path / "out", "-m", save_model(), "-f", 0)
    assert (status, err.splitlines()[-1]) == (1, f"{PROG}: 2 done, 1 failed")
    assert "case bad: " in err


TURNED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def test_some_orientations_need_axial_stacks(call, save_model, images, tmp_path, save):
    save(np.ones((6, 7, 8), np.float32), images / "turned_0000.nii.gz", direction=TURNED)
    part = save_model("part", orientations=("sagittal", "coronal"), mirroring=None)
    status, _, err = call("-i", images, "-o", tmp_path / "out", "-m", part, "-f", 0)
    assert (status, err.splitlines()[-1]) == (1, f"{PROG}: 2 done, 1 failed")
    assert "case turned: " in err
    assert "is no axial stack: its array axes are not z, y, x, so that its sagittal and coronal slices" in err
    assert call("-i", images, "-o", tmp_path / "all", "-m", save_model(), "-f", 0)[2].endswith("3 done\n")


def test_wrong_usage(call, save_model, images, tmp_path, monkeypatch):
    model = save_model(folds=(0, 1))
    (tmp_path / "empty").mkdir()

    def message(*arguments, status=2, source=images):
        got, _, err = call("-i", source, "-o", tmp_path / "out", *arguments)
        assert got == status
        return err

    monkeypatch.delenv("nnUNet_results", raising=False)
    assert "the environment variable nnUNet_results is not set" in message("-d", 7, "-c", "triplanar")
    assert "-m MODEL_FOLDER, or -d DATASET and -c CONFIGURATION" in message()
    assert "there is no model folder" in message("-m", tmp_path / "none")
    assert "it has no plans.json; give the folder that holds" in message("-m", tmp_path / "empty")
    text = message("-m", model)
    assert "there is no checkpoint_final.pth for fold 2, 3, 4 of" in text
    assert "folds that have it: 0, 1 (-f 0 1)" in text
    text = message("-m", model, "-f", 0, source=tmp_path / "empty")
    assert "the model expects files named CASE_0000.nii.gz; there are none at all" in text
    (tmp_path / "empty" / "a_0000.mha").touch()
    assert "there are a_0000.mha" in message("-m", model, "-f", 0, source=tmp_path / "empty")
    assert "there is no folder" in message("-m", model, "-f", 0, source=tmp_path / "none")
    assert "step size must be above 0 and at most 1; got: 1.5" in message("-m", model, "-step_size", 1.5)
    assert "one of 0 to 0; got: 1" in message("-m", model, "-part_id", 1)
    if not torch.cuda.is_available():
        assert "by -device cpu" in message("-m", model, "-device", "cuda")
    status, _, err = call("-i", images, "-o", images / "out", "-m", model, "-f", 0)
    assert (status, "is inside the input" in err) == (2, True)
    for fold in (0, 1):
        final = model / f"fold_{fold}" / "checkpoint_final.pth"
        final.rename(final.with_name("checkpoint_best.pth"))
    assert "finish it, or take what there is by -chk checkpoint_best.pth" in message("-m", model)
    assert call("-i", images, "-o", tmp_path / "out", "-m", model, "-f", 0, "-chk", "checkpoint_best.pth")[0] == 0
    for fold in (0, 1):
        (model / f"fold_{fold}" / "checkpoint_best.pth").write_bytes(b"nothing")
    assert "is damaged" in message("-m", model, "-f", 0, "-chk", "checkpoint_best.pth", status=1)
    assert not list(tmp_path.glob("none*"))


def test_models_that_do_not_belong_together(call, save_model, images, tmp_path):
    newer = save_model("newer", abbc={"checkpoint_version": 99, "package_version": "9"})
    status, _, err = call("-i", images, "-o", tmp_path / "out", "-m", newer, "-f", 0)
    assert (status, "update it" in err) == (1, True)
    other = save_model("other", init_args={"configuration": "3d_fullres"})
    status, _, err = call("-i", images, "-o", tmp_path / "out", "-m", other, "-f", 0)
    assert (status, "has no configuration '3d_fullres'" in err) == (1, True)
    weights = save_model("weights", network_weights={})
    status, _, err = call("-i", images, "-o", tmp_path / "out", "-m", weights, "-f", 0)
    assert (status, "do not fit the network" in err) == (1, True)


@pytest.mark.slow
def test_with_workers_and_by_stock_nnunet(call, save_model, images, tmp_path, environment):
    model = save_model()
    arguments = ["-i", str(images), "-m", str(model), "-f", "0", "--save_probabilities", "-npp", "1", "-nps", "1"]
    status, _, err = call(*arguments, "-o", tmp_path / "ours", workers=True)
    assert (status, err.splitlines()[-1]) == (0, f"{PROG}: 2 done")
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer"):
        environment.pop(name, None)
    code = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as run; run()"
    command = [sys.executable, "-c", code, *arguments, "-o", str(tmp_path / "stock"), "-device", "cpu"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**environment, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    for case in "ab":
        ours, stock = (np.load(tmp_path / side / f"{case}.npz")["probabilities"] for side in ("ours", "stock"))
        assert np.abs(ours - stock).mean() < 0.02  # weights at random: windows disagree, and are averaged otherwise


@pytest.mark.slow
def test_a_bad_case_among_workers(call, save_model, images, tmp_path, save):
    save(np.full((6, 7, 8), 3e38, np.float32), images / "bad_0000.nii.gz")
    model = save_model()
    status, _, err = call(
        "-i", images, "-o", tmp_path / "out", "-m", model, "-f", 0, "-npp", 1, "-nps", 1, workers=True
    )
    assert (status, err.splitlines()[-1]) == (1, f"{PROG}: 2 done, 1 failed")
    assert "worker processes failed" in err


def test_help_is_quick_and_light(environment):
    code = "import sys, nnunet_ext.commands.predict; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not set(done.stdout.split()) & {"numpy", "SimpleITK", "torch", "nnunetv2", "label_gen", "tqdm"}
    command = [sys.executable, "-m", "nnunet_ext.commands.predict", "--help"]
    seconds = []
    for _ in range(3):
        started = time.process_time(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        seconds.append(os.times().children_user - started[1].children_user)
    assert min(seconds) < 0.5
    for flag in (
        "-i",
        "-o",
        "-d",
        "-p",
        "-tr",
        "-c",
        "-f",
        "-m",
        "-step_size",
        "--disable_tta",
        "--save_probabilities",
    ):
        assert f"{flag} " in done.stdout
    assert "None" not in done.stdout


def test_every_option_is_a_keyword():
    import inspect

    parameters = inspect.signature(predict).parameters
    assert [name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY] == ["images", "output"]
    for name in parameters:
        assert f"{name}: " in predict.__doc__
