"""A tiny dataset, planned and preprocessed by nnU-Net's own functions in a few seconds, for tests of training."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK

import nnunet_ext

DATASET = "Dataset991_Tiny"
LABELS = {"background": 0, "boundary": 1, "core": 2}


def need_no_data(monkeypatch, folder):
    """Let trainers be made of plans alone: nnU-Net's folders in an empty one, data neither checked nor looked at."""
    for room in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{room}", str(folder / room))
    monkeypatch.setattr("nnunet_ext.trainers.base.check_training", lambda *args, **kwargs: None)
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda folder: None)


PLAN = """
import json, sys
if __name__ == "__main__":
    from pathlib import Path
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunet_ext.planning.run import plan_and_preprocess
    from tests.nnunet_ext.training.tiny import shrink
    plan_and_preprocess([991], fingerprint_processes=1, fingerprint_voxels=100_000, preprocess=False)
    path = Path(nnUNet_preprocessed, "Dataset991_Tiny", "nnUNetPlans.json")
    path.write_text(json.dumps(shrink(json.loads(path.read_text()))))
    preprocess_dataset(991, configurations=sys.argv[1:], num_processes=[1] * len(sys.argv[1:]))
"""


def shrink(plans, *, patch=16, batch=2, features=(4, 8, 8)):
    """Make the plain U-Nets of nnU-Net's plans small: three stages, one convolution each."""
    stages = len(features)
    for configuration in plans["configurations"].values():
        if "architecture" not in configuration:
            continue
        arguments = configuration["architecture"]["arch_kwargs"]
        for key in ("kernel_sizes", "strides"):
            arguments[key] = arguments[key][:stages]
        arguments |= {"n_stages": stages, "features_per_stage": list(features)}
        arguments |= {"n_conv_per_stage": [1] * stages, "n_conv_per_stage_decoder": [1] * (stages - 1)}
        configuration |= {"patch_size": [patch] * len(configuration["patch_size"]), "batch_size": batch}
    return plans


def tiny_plans():
    """Return plans as `make_tiny` makes them, for tests that read no data; the configuration is `2d`."""
    resampling = {}
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        resampling[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        kwargs = {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}
        resampling[f"resampling_fn_{what}_kwargs"] = kwargs
    arguments = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3]] * 3,
        "strides": [[1, 1], [2, 2], [2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 16],
        "median_image_size_in_voxels": [32.0, 32.0],
        "spacing": [1.0, 1.0],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **resampling,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": arguments,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    intensities = {"max": 956.0, "mean": 474.0, "median": 411.0, "min": 239.0, "std": 160.0}
    intensities |= {"percentile_00_5": 297.0, "percentile_99_5": 874.0}
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [32, 32, 32],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
        "configurations": {"2d": configuration},
    }


def triplanar_plans(*, mirroring=True):
    """Return `tiny_plans` with the configurations `triplanar` and `3d_fullres` beside `2d`, as a trainer gets them."""
    plans = {**tiny_plans(), "plans_name": "TriPlanarPlans", "continue_training": False}
    cubic = {"patch_size": [16] * 3, "spacing": [1.0] * 3, "median_image_size_in_voxels": [32.0] * 3}
    triplanar, solid = (copy.deepcopy(plans["configurations"]["2d"]) | cubic for _ in range(2))
    triplanar["triplanar"] = {"orientations": ["axial", "coronal", "sagittal"], "mirroring": mirroring}
    triplanar["architecture"]["network_class_name"] = "nnunet_ext.triplanar.networks.TriPlanarUNet"
    triplanar["architecture"]["arch_kwargs"] |= {"planes": [[0, 1, 2], [1, 2, 0], [2, 0, 1]], "regions": False}
    triplanar["data_identifier"] = "TriPlanarPlans_triplanar"
    arguments = solid["architecture"]["arch_kwargs"]
    arguments |= {"conv_op": "torch.nn.modules.conv.Conv3d", "kernel_sizes": [[3] * 3] * 3}
    arguments |= {"strides": [[1] * 3, [2] * 3, [2] * 3], "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d"}
    plans["configurations"] |= {"triplanar": triplanar, "3d_fullres": solid}
    return plans


def tiny_description(cases=4):
    """Return the dataset.json of the tiny dataset."""
    return {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": cases, "file_ending": ".nii.gz"}


def environment_of(folder):
    """Return the environment variables of nnU-Net for a folder; the project can be imported in it."""
    rooms = {name: str(Path(folder) / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    root = str(Path(nnunet_ext.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    threads = {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "0", "nnUNet_compile": "0"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ABBC_")}
    return {**kept, **rooms, **threads, "PYTHONPATH": path}


def write_tiny_raw(folder, *, cases=4, size=32, seed=0):
    """Write nnUNet_raw/Dataset991_Tiny: balls of a core in a shell of boundary, in noise.

    Returns:
        Names of the cases.
    """
    rng = np.random.default_rng(seed)
    raw = Path(folder) / "nnUNet_raw" / DATASET
    names = [f"case_{number:02d}" for number in range(cases)]
    grid = np.indices((size, size, size))
    for name in names:
        centre = rng.uniform(0.4, 0.6, 3) * size
        radius = np.sqrt(((grid - centre[:, None, None, None]) ** 2).sum(0))
        labels = np.select([radius < size * 0.2, radius < size * 0.35], [2, 1], 0).astype(np.uint8)
        image = (labels * 400.0 + rng.normal(0, 40, labels.shape)).astype(np.float32)
        for array, place in ((image, f"imagesTr/{name}_0000.nii.gz"), (labels, f"labelsTr/{name}.nii.gz")):
            (raw / place).parent.mkdir(parents=True, exist_ok=True)
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(raw / place))
    (raw / "dataset.json").write_text(json.dumps(tiny_description(cases)))
    splits = [{"train": names[1:], "val": names[:1]}, {"train": names[:-1], "val": names[-1:]}]
    (raw / "splits_final.json").write_text(json.dumps(splits))
    return names


def make_tiny(folder, *, configurations=("2d",), cases=4, size=32):
    """Make the tiny dataset in a folder, plan it for patches of 16 and a network of 3 stages, and preprocess it.

    Args:
        folder: Where nnUNet_raw, nnUNet_preprocessed and nnUNet_results are made.
        configurations: What to preprocess: `2d`, `3d_fullres`. The plans are `nnUNetPlans`.
        cases: Number of cases. Fold 0 validates on the first, fold 1 on the last.
        size: Voxels along each axis.

    Returns:
        The environment variables to train with.
    """
    write_tiny_raw(folder, cases=cases, size=size)
    environment = environment_of(folder)
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        Path(environment[name]).mkdir(exist_ok=True)
    script = Path(folder) / "plan.py"
    script.write_text(PLAN)
    run_python(
        [str(script), *configurations], {**environment, "nnUNet_n_proc_DA": "1"}
    )  # the planner wants more than 0
    splits = (Path(environment["nnUNet_raw"]) / DATASET / "splits_final.json").read_text()
    (Path(environment["nnUNet_preprocessed"]) / DATASET / "splits_final.json").write_text(splits)
    return environment


def run_python(arguments, environment):
    """Run Python in another process; show what it said if it fails. Returns what it said on stdout and stderr."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr
