"""Plans for a dataset that fit the weights of another model, TotalSegmentator's say, to fine-tune them."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from label_gen.errors import DataError, UsageError
from nnunet_ext.atomic import replacing, write_json
from nnunet_ext.doctor.totalsegmentator import weights_folder
from nnunet_ext.models import model_folder, ships
from nnunet_ext.preparation.orientation import orientation_of
from nnunet_ext.training.checkpoints import safe_load_checkpoint
from nnunet_ext.training.folders import nnunet_folder, read_json
from nnunet_ext.training.preflight import check_planning, resolve_configuration
from nnunet_ext.training.raw import list_raw_cases
from nnunet_ext.volumes import read_grid

__all__ = ["FineTuningPlans", "find_model", "flip_weights", "plan_finetuning", "plans_for_weights"]

PLANS_NAME = "FineTuningPlans"
"""Name of the plans where none is given."""

CHECKPOINT = "checkpoint_final.pth"

TOTALSEGMENTATOR_AXES = "RAS"
"""Directions in which the arrays run that TotalSegmentator's networks see. Source: TotalSegmentator 2.18 turns every CT
to nibabel's closest canonical orientation."""

HEADS = ".seg_layers."
"""Weights of heads have this in their name. Source: nnU-Net 2.8, which leaves them out as `-pretrained_weights`."""

WAYS = {"R": "L", "A": "P", "I": "S"}
"""Directions by those against them."""

WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class FineTuningPlans:
    """What a fine-tuning starts from.

    Attributes:
        dataset: Name of the dataset.
        name: Name of the plans (`nnUNetv2_train -p`).
        configuration: The configuration.
        weights: The file for `nnUNetv2_train -pretrained_weights`.
        flipped_axes: Axes of the preprocessed arrays along which the kernels were flipped.
    """

    dataset: str
    name: str
    configuration: str
    weights: Path
    flipped_axes: tuple[int, ...]

    def command(self, fold: int | str = 0, trainer: str = "nnUNetTrainerFineTune") -> tuple[str, ...]:
        """Return the command that trains.

        Args:
            fold: The fold.
            trainer: Name of the trainer.
        """
        head = ("nnUNetv2_train", self.dataset, self.configuration, str(fold), "-p", self.name, "-tr", trainer)
        return (*head, "-pretrained_weights", str(self.weights))


def plan_finetuning(
    dataset_id: int,
    weights: str | Path | int,
    *,
    configuration: str = "3d_fullres",
    plans_name: str = PLANS_NAME,
    axes: str | None = None,
    processes: int = 4,
    preprocess: bool = True,
    verbose: bool = False,
    progress: bool = True,
) -> FineTuningPlans:
    """Plan and preprocess a dataset as a trained model was, and lay its weights beside the plans.

    What nnU-Net's `nnUNetv2_move_plans_between_datasets` does, for a model of which there is no preprocessed dataset:
    architecture, spacing, patch, batch and normalisation are the model's. Into the dataset's folder in
    nnUNet_preprocessed come `PLANS.json` and `PLANS.pth`, the weights alone, on the CPU and readable without running
    code. Where the model's arrays run the other way along an axis than those of the dataset, the kernels are flipped.

    Args:
        dataset_id: The dataset, in nnUNet_raw.
        weights: Folder of the model (with plans.json and fold_N), or the folder above it, or a model that ships
            (`bones`, `abbc`), or the number of one of TotalSegmentator's models (294: hip bones and femora), which are
            looked for where it keeps its weights.
        configuration: Of the model.
        plans_name: Name of the new plans.
        axes: Directions in which the arrays x, y, z run that the model was trained on, as three letters; None takes
            TotalSegmentator's for its models, and those of the dataset for others.
        processes: For fingerprint and preprocessing.
        preprocess: Preprocess after planning.
        verbose: nnU-Net's own talk.
        progress: Show bars.

    Returns:
        Where all is, and the command that trains.

    Raises:
        UsageError: A folder or configuration is not there, or the images run along other axes.
        DataError: The weights do not fit their own plans, or the dataset has another number of channels.
        VolumeFileError: A file cannot be read or written.
    """
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    raw = check_planning(dataset_id)
    model = find_model(weights, configuration)
    dataset_json = read_json(raw / "dataset.json", "make the dataset with abbc-prepare-dataset")
    source = read_json(model / "plans.json", "copy the model again")
    plans = plans_for_weights(source, configuration, dataset=raw.name, name=plans_name)
    channels, planned = len(dataset_json["channel_names"]), len(_settings(plans)["normalization_schemes"])
    if channels != planned:
        raise DataError(f"'{model.name}' takes {planned} image channels, {raw.name} has {channels}; take another model")
    checkpoint = _checkpoint(model)
    state = _bare(safe_load_checkpoint(checkpoint, to_train=False)["network_weights"])
    _check_fit(plans, configuration, channels, state, checkpoint)
    known = axes or (TOTALSEGMENTATOR_AXES if "TotalSegmentator" in model.parent.name else None)
    image = next(iter(list_raw_cases(raw, dataset_json).values())).images[0]
    flipped = _flipped_axes(known, image, plans["transpose_forward"], raw.name)
    api.extract_fingerprints(
        [dataset_id], num_processes=processes, check_dataset_integrity=False, clean=False, verbose=verbose,
        show_progress_bar=progress,
    )  # fmt: skip
    folder = nnunet_folder("nnUNet_preprocessed") / raw.name
    plans["image_reader_writer"] = _reader(dataset_json, image)
    write_json(folder / f"{plans_name}.json", plans)
    shutil.copy2(raw / "dataset.json", folder / "dataset.json")
    splits = raw / "splits_final.json"
    if splits.is_file() and not (folder / splits.name).exists():
        shutil.copy2(splits, folder / splits.name)
    file = folder / f"{plans_name}.pth"
    with replacing(file) as temporary:
        torch.save({"network_weights": flip_weights(state, flipped)}, temporary)
    if preprocess:
        api.preprocess([dataset_id], plans_name, (configuration,), (processes,), verbose, show_progress_bar=progress)
    return FineTuningPlans(raw.name, plans_name, configuration, file, flipped)


def find_model(weights: str | Path | int, configuration: str) -> Path:
    """Return the folder of a trained model.

    Args:
        weights: As for `plan_finetuning`.
        configuration: Its configuration.

    Raises:
        UsageError: It is not there, or there are several.
    """
    place = Path(str(weights))
    if str(weights).isdigit():
        folders = sorted(weights_folder().glob(f"Dataset{int(str(weights)):03d}_*"))
        if not folders:
            raise UsageError(
                f"there is no model {weights} in '{weights_folder()}'; put TotalSegmentator's weights there "
                "(totalseg_download_weights -t total), export TOTALSEG_WEIGHTS_PATH=FOLDER, or name the model's folder"
            )
        place = folders[0]
    elif ships(place):
        place = model_folder(str(weights))
    found = [place] if (place / "plans.json").is_file() else sorted(place.glob(f"*__*__{configuration}"))
    models = [folder for folder in found if (folder / "plans.json").is_file()]
    if len(models) != 1:
        told = ", ".join(folder.name for folder in models) or "none"
        raise UsageError(
            f"'{place}' must be the folder of one model of configuration '{configuration}', with plans.json and fold_N "
            f"in it; found: {told}"
        )
    return models[0]


def plans_for_weights(source: Mapping[str, Any], configuration: str, *, dataset: str, name: str) -> dict[str, Any]:
    """Return the plans of a model as those of another dataset, with that configuration only.

    Args:
        source: Plans of the model, of this nnU-Net or an older one.
        configuration: The configuration.
        dataset: Name of the dataset.
        name: Name of the new plans.

    Raises:
        UsageError: The model has no such configuration.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

    if configuration not in source["configurations"]:
        there = ", ".join(source["configurations"])
        raise UsageError(f"the model's plans have no configuration '{configuration}'; they have {there} (-c)")
    settings = deepcopy(resolve_configuration(source, configuration))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # plans of an old nnU-Net: this brings them up to date
        settings = dict(ConfigurationManager(settings).configuration)
    for key in ("inherits_from", "previous_stage", "next_stage"):
        settings.pop(key, None)
    settings["data_identifier"] = f"{name}_{configuration}"
    plans = deepcopy({key: value for key, value in source.items() if key != "configurations"})
    return {**plans, "dataset_name": dataset, "plans_name": name, "configurations": {configuration: settings}}


def flip_weights(state: Mapping[str, torch.Tensor], axes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Return weights for arrays that run the other way along some axes: kernels flipped there.

    Convolutions without stride then give exactly the flipped result, strided ones that of a place a voxel further.

    Args:
        state: Weights by name.
        axes: Axes of the arrays; none leaves the weights as they are.
    """

    def flip(value: torch.Tensor) -> torch.Tensor:
        dims = [2 + axis for axis in axes if 2 + axis < value.ndim] if value.ndim > 2 else []
        return value.flip(dims) if dims else value

    return {key: flip(value).contiguous() for key, value in state.items()}


def _settings(plans: Mapping[str, Any]) -> dict[str, Any]:
    (settings,) = plans["configurations"].values()
    return dict(settings)


def _checkpoint(model: Path) -> Path:
    found = sorted(model.glob(f"fold_*/{CHECKPOINT}"))
    if not found:
        raise UsageError(f"'{model}' has no fold_N/{CHECKPOINT}; copy the model again, whole")
    return found[0]


def _bare(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return weights without the prefixes of DDP and torch.compile."""
    bare = {}
    for key, value in state.items():
        for prefix in WRAPPERS:
            key = key.removeprefix(prefix)
        bare[key] = value
    return bare


def _check_fit(
    plans: Mapping[str, Any], configuration: str, channels: int, state: Mapping[str, Any], checkpoint: Path
) -> None:
    """Check that nnU-Net will take the weights for the network of the plans."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = plans["configurations"][configuration]["architecture"]
    with torch.device("meta"):
        network = get_network_from_plans(
            architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"],
            channels, 2, allow_init=False, deep_supervision=True,
        )  # fmt: skip
    for key, value in network.state_dict().items():
        if HEADS in key or (key in state and state[key].shape == value.shape):
            continue
        got = f"{key} of shape {tuple(state[key].shape)}" if key in state else f"no {key}"
        raise DataError(
            f"'{checkpoint.name}' of '{checkpoint.parents[1].name}' does not fit its own plans: it has {got}, they ask "
            f"for shape {tuple(value.shape)}; copy the model again, whole"
        )


def _flipped_axes(model: str | None, image: Path, transpose_forward: list[int], name: str) -> tuple[int, ...]:
    """Return the axes of preprocessed arrays along which the images of a dataset run against what the model knows."""
    if model is None:
        return ()
    dataset = orientation_of(read_grid(image))
    model = model.upper()
    known, own = (["LPS".find(WAYS.get(letter, letter)) for letter in word] for word in (model, dataset))
    if sorted(known) != [0, 1, 2]:
        raise UsageError(f"'{model}' is no three directions like RAS or LPS (--axes)")
    if known != own:
        raise UsageError(
            f"the images of {name} run to {dataset} (x, y, z), the model knows {model}; turn them, for instance by "
            "abbc-prepare-dataset, to LPS"
        )
    against = {2 - place for place in range(3) if model[place] != dataset[place]}  # letters are x, y, z; arrays z, y, x
    return tuple(axis for axis, original in enumerate(transpose_forward) if original in against)


def _reader(dataset_json: Mapping[str, Any], image: Path) -> str:
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    found = determine_reader_writer_from_dataset_json(dataset_json, str(image), verbose=False)
    return str(found.__name__)
