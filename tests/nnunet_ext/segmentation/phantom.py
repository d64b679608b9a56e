"""A pelvis of blocks whose HU say the ABBC class, and a real nnU-Net model folder whose weights, set by hand, read it.

Class and HU rise together from background over border and boundary to core, so that wherever a voxel averages two
classes it shows one that lies between them, as at the surfaces of real bone.
"""

import json

import numpy as np
import SimpleITK
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from scipy import ndimage

from label_gen import ABBC, generate_abbc
from nnunet_ext.grids import Grid
from nnunet_ext.schemes import load_scheme
from nnunet_ext.segmentation.frames import resampled
from nnunet_ext.training.checkpoint_saving import save_checkpoint_file
from nnunet_ext.volumes import Volume

HU = {ABBC.BACKGROUND: 0, ABBC.BORDER: 520, ABBC.BOUNDARY: 800, ABBC.CORE: 1200}
"""HU of each class."""

AIR = -1000

BONES = {"left_hip": ((51, 52), 2), "right_hip": ((101, 102), 3), "sacrum": ((1,), 1)}
"""Fragments and anatomy number of each bone of the phantom."""

MODEL_MM = 2.0

FINE = Grid((72, 78, 152), (1.5, 1.5, 1.5), (-113.25, -57.75, -53.25))
"""The grid that the phantom is drawn on: LPS, its centre in the middle of the world."""


def draw_labels():
    """Return fragment labels (pengwin2026) on `FINE`: tilted blocks, so that no face lies along planes of voxels."""
    z, y, x = (np.indices(FINE.shape) - np.reshape([35.5, 38.5, 75.5], (3, 1, 1, 1))).astype(float)
    x, y = x - 0.13 * y + 0.07 * z, y + 0.13 * x - 0.11 * z
    z = z - 0.07 * x + 0.11 * y
    labels = np.zeros(FINE.shape, np.uint8)

    def block(x0, x1, number):
        labels[(x >= x0) & (x < x1) & (np.abs(y) < 22) & (np.abs(z) < 22)] = number

    block(-60, -21, 101)
    block(-14, 14, 1)
    block(21, 60, 51)
    labels[(labels == 101) & (y + 0.5 * z > 2)] = 102
    labels[(labels == 51) & (z > 1)] = 52
    return labels


def draw_ct(labels=None):
    """Return the CT of the phantom on `FINE` (float32, smooth), and its bones."""
    labels = draw_labels() if labels is None else labels
    classes = generate_abbc(labels, FINE.spacing_mm, scheme=load_scheme("pengwin2026")).abbc
    table = np.array([HU[c] for c in sorted(ABBC)], np.float32)
    ct = table[classes]
    ct[:, :5], ct[:, -5:] = AIR, AIR
    ct = ndimage.gaussian_filter(ct, 1.0)  # voxels, 1.5 mm: detail that all versions can show
    anatomy = np.zeros(labels.shape, np.uint8)
    for numbers, bone in BONES.values():
        anatomy[np.isin(labels, numbers)] = bone
    return Volume.on_grid(ct, FINE), Volume.on_grid(anatomy, FINE)


def acquired(volume, grid, *, order=3):
    """Return a volume as a scanner with that grid would see it; HU become whole numbers."""
    wide = resampled(volume.array, volume.grid, grid, order=order, outside=AIR if order else 0)
    whole = np.rint(wide).astype(np.int16) if order else wide
    return Volume.on_grid(np.ascontiguousarray(whole), grid)


def image_of(volume):
    """Return a volume as a SimpleITK image."""
    image = SimpleITK.GetImageFromArray(volume.array)
    image.SetSpacing([float(s) for s in volume.spacing_mm[::-1]])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction)
    return image


def save_model(folder, *, spacing=(MODEL_MM,) * 3, folds=(0,), transpose=(0, 1, 2), names=None):
    """Write a model folder of nnU-Net: a U-Net of two stages whose weights turn HU into ABBC classes.

    Args:
        folder: Where to.
        spacing: Of the model.
        folds: Folds to write, all the same.
        transpose: Order of the axes.
        names: Names of the classes in the order of the model's numbers.
    """
    names = names or [c.name.lower() for c in sorted(ABBC)]
    kernel = [1, 1, 1]
    architecture = {
        "n_stages": 2,
        "features_per_stage": [4, 4],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [kernel, kernel],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": None,
        "norm_op_kwargs": None,
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.ReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    resampling = {}
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        resampling[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        kwargs = {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}
        resampling[f"resampling_fn_{what}_kwargs"] = kwargs
    configuration = {
        "data_identifier": "Plans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [48, 48, 48],
        "median_image_size_in_voxels": [35.0, 38.0, 75.0],
        "spacing": [spacing[axis] for axis in transpose],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **resampling,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": architecture,
            "_kw_requires_import": ["conv_op", "nonlin"],
        },
        "batch_dice": True,
    }
    intensities = {"mean": 600.0, "std": 400.0, "percentile_00_5": -400.0, "percentile_99_5": 1400.0}
    plans = {
        "dataset_name": "Dataset990_Phantom",
        "plans_name": "Plans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": [list(transpose).index(axis) for axis in range(3)],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities | {"min": -400.0, "max": 1400.0}},
        "configurations": {"3d_fullres": configuration},
    }
    labels = {name: number for number, name in enumerate(names)}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    network = PlainConvUNet(
        1,
        num_classes=4,
        **(architecture | {"conv_op": torch.nn.Conv3d, "nonlin": torch.nn.ReLU}),
    )
    set_weights(network, intensities, names)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    checkpoint = {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": "3d_fullres", "fold": 0},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    for fold in folds:
        save_checkpoint_file(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def set_weights(network, intensities, names):
    """Let the first convolution pass on the HU above three thresholds, and the last one weigh them.

    The logit of class k in the order of HU is k times the HU less the thresholds below it, so that the largest logit
    changes exactly at the thresholds.
    """
    thresholds = [400.0, 660.0, 1000.0]  # the first halves the way from background to boundary, the outer surface
    gain = 0.006  # per HU: certain within some hundred HU
    mean, std = intensities["mean"], intensities["std"]
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
        first = network.encoder.stages[0][0].convs[0].conv
        first.weight[0, 0, 0, 0, 0] = std * gain
        first.bias[0] = (mean + 400) * gain  # HU + 400, never negative within the window of the plans
        stage = network.decoder.stages[0].convs[0].conv
        stage.weight[0, 4, 0, 0, 0] = 1.0  # channels 4 to 7 are those of the skip
        last = network.decoder.seg_layers[0]
        ranks = [ABBC.BACKGROUND, ABBC.BORDER, ABBC.BOUNDARY, ABBC.CORE]
        for rank, number in enumerate(ranks):
            if number.name.lower() not in names:
                continue
            index = names.index(number.name.lower())
            last.weight[index, 0] = float(rank)
            last.bias[index] = -gain * sum(threshold + 400 for threshold in thresholds[:rank])
