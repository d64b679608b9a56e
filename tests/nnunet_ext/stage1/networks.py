"""Tiny networks whose answer is known: each bone is what has its own HU and lies in no edge; and a CT of such bones."""

import json

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from nnunet_ext.triplanar.networks import TriPlanarUNet
from nnunet_ext.volumes import Volume

HU = {"sacrum": 400, "left_hip": 650, "right_hip": 900, "left_femur": 1150, "right_femur": 1400}
"""What the networks know the bones by."""

NUMBERS = {name: number for number, name in enumerate(HU, 1)}
RESAMPLING = "resample_data_or_seg_to_shape"
TOLERANCE = 0.1  # of 1000 HU
SHARPNESS = 100.0


def pelvis(shape=(60, 44, 96), spacing=1.5):
    """Return a CT (soft tissue in air) of five boxes, z upward, x to the left, and their labels."""
    labels = np.zeros(shape, np.uint8)
    labels[34:56, 20:40, 38:58] = 1
    labels[24:54, 12:36, 62:86] = 2
    labels[24:54, 12:36, 10:34] = 3
    labels[4:20, 12:30, 66:82] = 4
    labels[4:20, 12:30, 14:30] = 5
    hu = np.array([40, *HU.values()], np.int16)[labels]
    hu[:, :4] = hu[:, -2:] = -1000
    return Volume(hu, (spacing,) * 3, (-70.0, -35.0, 600.0)), labels


def weights(network, dims, centres, n_classes, edges=SHARPNESS):
    """Return weights: class 0 is background, `centres` gives the HU of other classes by number."""
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    middle = (1,) * dims
    first = "encoder.stages.0.0.convs.0.conv"
    kernel, bias, terms = state[f"{first}.weight"], state[f"{first}.bias"], {}
    feature = 0
    for number, centre in centres.items():
        for sign in (1, -1):
            kernel[(feature, 0, *middle)], bias[feature] = sign, -sign * centre / 1000
            terms.setdefault(number, []).append(feature)
            feature += 1
    first_edge = feature
    for axis in range(dims):
        for step in (0, 2):
            for sign in (1, -1):
                place = tuple(step if other == axis else 1 for other in range(dims))
                kernel[(feature, 0, *middle)], kernel[(feature, 0, *place)] = sign, -sign
                feature += 1
    features = kernel.shape[0]
    assert feature <= features
    through = state["decoder.stages.0.convs.0.conv.weight"]
    for index in range(feature):
        through[(index, features + index, *middle)] = 1  # the first half comes from below, the second over the bridge
    head, constant = state["decoder.seg_layers.0.weight"], state["decoder.seg_layers.0.bias"]
    constant[:] = -1000
    constant[0] = -SHARPNESS * TOLERANCE
    for number, pair in terms.items():
        constant[number] = 0
        for index in pair:
            head[(number, index, *(0,) * dims)] = -SHARPNESS
        for index in range(first_edge, feature):
            head[(number, index, *(0,) * dims)] = -edges
    for name in [name for name in state if ".all_modules." in name or name.startswith("decoder.encoder.")]:
        source = name.replace("decoder.encoder.", "encoder.").replace("all_modules.0", "conv")
        state[name] = state[source]
    network.load_state_dict(state)
    assert n_classes == len(constant)
    return network.state_dict()


def save_model(folder, labels, hu, *, dims, spacing, trainer, patch=32, edges=SHARPNESS, fold=0, **plan_entries):
    """Write a model folder as nnU-Net leaves it.

    Args:
        folder: The folder.
        labels: Numbers of the classes by name, background included.
        hu: HU of the classes that are found, by name.
        dims: 3 for a 3D U-Net, 2 for a tri-planar one.
        spacing: In mm, of all axes.
        trainer: Class name.
        patch: Size of the patch.
        edges: How strongly classes keep away from edges.
        fold: Its name.
        plan_entries: More entries of the plans.
    """
    features = 2 * len(hu) + 4 * dims
    conv = "Conv2d" if dims == 2 else "Conv3d"
    arguments = {
        "n_stages": 2,
        "features_per_stage": [features, 2],
        "conv_op": f"torch.nn.modules.conv.{conv}",
        "kernel_sizes": [[3] * dims] * 2,
        "strides": [[1] * dims, [2] * dims],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": None,
        "norm_op_kwargs": None,
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.modules.activation.ReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    own = {"conv_op": getattr(torch.nn, conv), "nonlin": torch.nn.ReLU}
    if dims == 2:
        arguments |= {"planes": [[0, 1, 2], [1, 2, 0], [2, 0, 1]], "regions": False}
        network = TriPlanarUNet(input_channels=1, num_classes=len(labels), **{**arguments, **own})
        name = "nnunet_ext.triplanar.networks.TriPlanarUNet"
    else:
        network = PlainConvUNet(
            input_channels=1, num_classes=len(labels), deep_supervision=False, **{**arguments, **own}
        )
        name = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    centres = {labels[key]: value for key, value in hu.items()}
    kwargs = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "x",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [patch] * 3,
        "median_image_size_in_voxels": [64.0] * 3,
        "spacing": [float(spacing)] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": RESAMPLING,
        "resampling_fn_data_kwargs": kwargs,
        "resampling_fn_seg": RESAMPLING,
        "resampling_fn_seg_kwargs": {**kwargs, "is_seg": True},
        "resampling_fn_probabilities": RESAMPLING,
        "resampling_fn_probabilities_kwargs": kwargs,
        "batch_dice": True,
        "architecture": {
            "network_class_name": name,
            "arch_kwargs": arguments,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    which = "triplanar" if dims == 2 else "3d_fullres"
    if dims == 2:
        configuration["triplanar"] = {"orientations": ["axial", "coronal", "sagittal"], "mirroring": False}
    hu_properties = {"max": 3000.0, "mean": 0.0, "median": 0.0, "min": -1024.0, "std": 1000.0}
    hu_properties |= {"percentile_00_5": -1024.0, "percentile_99_5": 3000.0}
    plans = {
        "dataset_name": folder.parent.name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [float(spacing)] * 3,
        "original_median_shape_after_transp": [64] * 3,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": hu_properties},
        "configurations": {which: configuration},
    }
    plans |= plan_entries
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / f"fold_{fold}").mkdir(parents=True)
    content = {
        "network_weights": weights(network, dims, centres, len(labels), edges),
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": None,
        "init_args": {"configuration": which, "fold": fold, "plans": plans, "dataset_json": dataset},
        "optimizer_state": {},
        "grad_scaler_state": None,
        "logging": {},
        "current_epoch": 0,
    }
    torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder
