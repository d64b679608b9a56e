"""A trained model without what only training needs: small enough to ship, and readable without running any code."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.atomic import write_json
from nnunet_ext.models import INDEX, MODELS, sums_of
from nnunet_ext.training.checkpoint_saving import save_checkpoint_file
from nnunet_ext.training.checkpoints import FINAL, safe_load_checkpoint
from nnunet_ext.training.folders import read_json

__all__ = ["count_weights", "pack_model", "ship_model"]

DATASET_KEYS = ("channel_names", "labels", "file_ending", "overwrite_image_reader_writer", "regions_class_order")
"""What prediction reads of `dataset.json`."""

DATASET_ABBC_KEYS = ("task", "scheme", "bones")
"""What our commands read of its entry `abbc`."""

PLANS_KEYS = (
    "dataset_name",
    "plans_name",
    "original_median_spacing_after_transp",
    "original_median_shape_after_transp",
    "image_reader_writer",
    "transpose_forward",
    "transpose_backward",
    "experiment_planner_used",
    "label_manager",
    "foreground_intensity_properties_per_channel",
)
"""What prediction reads of `plans.json`, beside the configuration that was trained."""


def pack_model(
    trained: str | Path, output: str | Path, *, checkpoint: str = FINAL, half: bool = True, overwrite: bool = False
) -> dict[str, str]:
    """Pack the first fold of a trained model into an ordinary nnU-Net model folder.

    Weights, configuration, name of the trainer, mirroring and our own mark are kept; optimiser, log, fingerprint, other
    configurations and all that names the machine are not. `nnUNetv2_predict_from_modelfolder`, `abbc-predict` and
    `nnUNetv2_train -pretrained_weights` take the result.

    Args:
        trained: nnU-Net's folder of the training, `TRAINER__PLANS__CONFIGURATION`.
        output: The folder to make.
        checkpoint: File name of the checkpoint in `fold_0` (or `fold_all`).
        half: Store weights in half precision; when they are loaded they are single precision again.
        overwrite: Replace what is there.

    Returns:
        The SHA-256 of each file.

    Raises:
        UsageError: The output is there already, or the folder holds no trained model.
        VolumeFileError: A file is damaged or cannot be written.
        DataError: The weights cannot be stored in half precision.

    Source: half precision halves the file; what it changes about predictions is measured in the model card.
    """
    trained, output = Path(trained), Path(output)
    folds = [fold for fold in ("fold_0", "fold_all") if (trained / fold / checkpoint).is_file()]
    if not folds:
        raise UsageError(f"there is no '{checkpoint}' in fold 0 of '{trained}'; train first, or name the file")
    if output.exists():
        if not overwrite:
            raise UsageError(f"'{output}' is there already; choose another folder, or overwrite it")
        shutil.rmtree(output)
    cure = "it belongs to the training; train again"
    plans, dataset = (read_json(trained / name, cure) for name in ("plans.json", "dataset.json"))
    loaded = safe_load_checkpoint(trained / folds[0] / checkpoint, to_train=False)
    configuration = loaded["init_args"]["configuration"]
    packed = {
        "network_weights": _packed_weights(loaded["network_weights"], half),
        "init_args": {"configuration": configuration, "fold": 0},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": loaded.get("inference_allowed_mirroring_axes"),
        "current_epoch": loaded.get("current_epoch"),
    }
    if "abbc" in loaded:
        packed["abbc"] = loaded["abbc"]
    write_json(output / "plans.json", _packed_plans(plans, configuration))
    write_json(output / "dataset.json", _packed_dataset(dataset))
    save_checkpoint_file(packed, output / "fold_0" / FINAL)
    return sums_of(output)


def count_weights(checkpoint: str | Path) -> int:
    """Return the number of weights in a checkpoint, those with several names once.

    Args:
        checkpoint: The file.

    Raises:
        VolumeFileError: It cannot be read.
    """
    weights = safe_load_checkpoint(checkpoint, to_train=False)["network_weights"].values()
    return sum({(w.untyped_storage().data_ptr(), w.storage_offset()): w.numel() for w in weights}.values())


def ship_model(packed: str | Path, name: str, place: str | Path) -> Path:
    """Put a packed model where the package looks for it, and list its checksums.

    Args:
        packed: What `pack_model` made.
        name: One of `nnunet_ext.models.MODELS`.
        place: Folder of the models: `nnunet_ext/pretrained` of the checkout.

    Returns:
        Its folder.

    Raises:
        UsageError: There is no such name.
        VolumeFileError: It cannot be written.
    """
    place = Path(place)
    if name not in MODELS:
        raise UsageError(f"a model that ships is called {' or '.join(MODELS)}; got: '{name}'")
    folder = place / name
    try:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(packed, folder)
    except OSError as error:
        raise VolumeFileError(f"cannot copy the model to '{folder}': {error.strerror or error}") from error
    index = place / INDEX
    models = dict(read_json(index, "remove it")["models"]) if index.is_file() else {}
    models[name] = {"bytes": sum(path.stat().st_size for path in folder.rglob("*")), "files": sums_of(folder)}
    write_json(index, {"models": {key: models[key] for key in sorted(models)}})
    return folder


def _packed_weights(weights: Mapping[str, Any], half: bool) -> dict[str, Any]:
    """Return weights without the wrappers' prefixes, contiguous, and in half precision if wanted.

    nnU-Net's networks know each weight by several names; it is stored once, as it was.
    """
    packed = {}
    once: dict[tuple[Any, ...], Any] = {}
    for name, value in weights.items():
        key = (value.untyped_storage().data_ptr(), value.storage_offset(), tuple(value.shape), value.stride())
        if key not in once:
            once[key] = value.detach().half() if half and value.is_floating_point() else value.detach()
            once[key] = once[key].contiguous()
            if not bool(once[key].isfinite().all()):
                raise DataError(f"weights '{name}' are not finite or too large for half precision; pack without it")
        packed[name.removeprefix("module.").removeprefix("_orig_mod.")] = once[key]
    return packed


def _packed_plans(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """Return the plans with the one configuration that is used, and those it inherits from."""
    used: dict[str, Any] = {}
    name: str | None = configuration
    while name is not None and name not in used:
        used[name] = plans["configurations"][name]
        name = used[name].get("inherits_from")
    return {key: plans[key] for key in PLANS_KEYS if key in plans} | {"configurations": used}


def _packed_dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: dataset[key] for key in DATASET_KEYS if key in dataset}
    ours = dataset.get("abbc", {})
    return kept | ({"abbc": {key: ours[key] for key in DATASET_ABBC_KEYS if key in ours}} if ours else {})
