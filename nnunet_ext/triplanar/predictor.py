"""Prediction of our 2D networks slice by slice, in each orientation once, with probabilities averaged exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.configuration import default_num_processes
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.helpers import empty_cache
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor
from tqdm import tqdm

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.training.checkpoints import root_reason, safe_load_checkpoint
from nnunet_ext.triplanar.networks import (
    TriPlanarResEncUNet,
    TriPlanarUNet,
    logits_of,
    pixels_at_once,
    probabilities_of,
)
from nnunet_ext.triplanar.planes import Plane

__all__ = ["TriPlanarPredictor", "available_folds"]

SLAB_BYTES = 1 << 25
"""Probabilities are summed in slabs of at least so many bytes. Source: glibc gives memory of this size back to the
system as soon as it is freed, so that sums and result are never held both."""

Window = tuple[slice, slice, Tensor]
"""Rows and columns of a window, and the share of each of its pixels in the mean, shape (rows, columns)."""


def available_folds(model_folder: str | Path, checkpoint_name: str) -> list[str]:
    """Return the folds of a trained model that have a checkpoint.

    Args:
        model_folder: Folder of the model, which holds `fold_0` and so on.
        checkpoint_name: File name of the checkpoint.
    """
    found = Path(model_folder).glob(f"fold_*/{checkpoint_name}")
    return sorted(path.parent.name.removeprefix("fold_") for path in found)


class TriPlanarPredictor(nnUNetPredictor):
    """nnU-Net's predictor, with a way of its own for `TriPlanarUNet` and `TriPlanarResEncUNet`.

    nnU-Net's predictor cuts a volume into cubes and gives each to the network, which slices it in every orientation:
    where cubes overlap, slices are computed again, and results of cubes are averaged as logits. This one takes each
    orientation's stack of slices through 2D windows of the same size and averages probabilities: over windows with
    nnU-Net's Gaussian weights, then over flips, orientations and folds evenly. Flips along the slice axis change
    nothing and are left out. Any other network is predicted as nnU-Net does it, unchanged.

    The result is what nnU-Net exports: half-precision logits. The largest of each voxel is 0, so that rounding never
    makes two classes equal; adding a number to all logits of a voxel changes neither classes nor probabilities, and
    neither does it after resampling.

    Beside image, sums (single precision) and result, memory holds what a few slices need, however many there are.
    """

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str | Path,
        use_folds: Sequence[int | str] | str | None,
        checkpoint_name: str = "checkpoint_final.pth",
    ) -> None:
        """Load a trained model; what its files hold is read, never run.

        Args:
            model_training_output_dir: Folder with `plans.json`, `dataset.json` and `fold_0` and so on.
            use_folds: Folds to average; None for all that there are but `all`.
            checkpoint_name: File name of the checkpoint in each fold.

        Raises:
            UsageError: The folder is no trained model, or a fold has no such checkpoint.
            VolumeFileError: A file is damaged.
            DataError: A checkpoint was written by a newer version, or does not belong to the plans.
        """
        folder = Path(model_training_output_dir)
        plans, dataset_json = (_read_json(folder, name) for name in ("plans.json", "dataset.json"))
        folds: Sequence[int | str] = [use_folds] if isinstance(use_folds, str) else use_folds or ()
        if use_folds is None:
            folds = [fold for fold in available_folds(folder, checkpoint_name) if fold != "all"]
        checkpoints = [
            safe_load_checkpoint(path, to_train=False) for path in _checkpoints(folder, folds, checkpoint_name)
        ]
        first, parameters = checkpoints[0], [checkpoint["network_weights"] for checkpoint in checkpoints]
        plans_manager = PlansManager(plans)
        name = first["init_args"]["configuration"]
        if name not in plans_manager.available_configurations:
            raise DataError(
                f"'{folder / 'plans.json'}' has no configuration '{name}', which the checkpoint was trained with; "
                "copy the plans.json of the training back"
            )
        configuration = plans_manager.get_configuration(name)
        network = recursive_find_trainer_class_by_name(first["trainer_name"]).build_network_architecture(
            plans_manager,
            configuration,
            determine_num_input_channels(plans_manager, configuration, dataset_json),
            plans_manager.get_label_manager(dataset_json).num_segmentation_heads,
            enable_deep_supervision=False,
        )
        try:
            network.load_state_dict(parameters[0])
        except RuntimeError as error:
            raise DataError(
                f"the weights in '{folder}' do not fit the network of its plans.json: {str(error).splitlines()[-1]}; "
                "copy the plans.json of the training back"
            ) from error
        mirroring = first.get("inference_allowed_mirroring_axes")
        self.manual_initialization(
            network, plans_manager, configuration, parameters, dataset_json, first["trainer_name"], mirroring
        )

    @property
    def _own_network(self) -> TriPlanarUNet | TriPlanarResEncUNet | None:
        """The network without what wraps it, if it is one of ours."""
        network: Any = self.network
        for wrapper in ("module", "_orig_mod"):
            network = getattr(network, wrapper, network)
        return network if isinstance(network, (TriPlanarUNet, TriPlanarResEncUNet)) else None

    def predict_logits_from_preprocessed_data(self, data: Tensor) -> Tensor:
        """Return the logits of a preprocessed volume, averaged over the folds.

        Args:
            data: Shape (channels, axis 0, axis 1, axis 2).

        Returns:
            Logits, half precision, on the CPU, shape (classes, axis 0, axis 1, axis 2).

        Raises:
            DataError: The network gives numbers that are not finite.
        """
        if self._own_network is None:
            prediction: Tensor = super().predict_logits_from_preprocessed_data(data)
            return prediction
        threads = torch.get_num_threads()
        torch.set_num_threads(min(default_num_processes, threads))
        try:
            return self._mean_logits(data, self.list_of_parameters)
        finally:
            torch.set_num_threads(threads)

    def predict_sliding_window_return_logits(self, input_image: Tensor) -> Tensor:
        """Return the logits of a preprocessed volume by the weights that the network has.

        Args:
            input_image: As for `predict_logits_from_preprocessed_data`.

        Returns:
            As for `predict_logits_from_preprocessed_data`.

        Raises:
            DataError: The network gives numbers that are not finite.
        """
        if self._own_network is None:
            prediction: Tensor = super().predict_sliding_window_return_logits(input_image)
            return prediction
        return self._mean_logits(input_image, None)

    @torch.inference_mode()
    def _mean_logits(self, image: Tensor, folds: Sequence[Mapping[str, Tensor]] | None) -> Tensor:
        """Return the logits averaged over sets of weights; None for the weights that the network has."""
        self.network: Any = self.network.to(self.device)
        self.network.eval()
        network = self._own_network
        assert network is not None
        on_device = self.perform_everything_on_device and self.device.type != "cpu"
        with torch.autocast("cuda") if self.device.type == "cuda" else nullcontext():
            empty_cache(self.device)
            if on_device:
                try:
                    return self._sum_up(image.to(self.device), folds).to_logits(network.regions)
                except RuntimeError as error:
                    print(f"prediction on the device failed ({root_reason(error)}); results go to the CPU now")
                empty_cache(self.device)
            return self._sum_up(image.cpu(), folds).to_logits(network.regions)

    def _sum_up(self, image: Tensor, folds: Sequence[Mapping[str, Tensor]] | None) -> _Mean:
        """Average the probabilities on the device where the image lies."""
        network = self._own_network
        assert network is not None
        stacks = [_Stack(image, plane, self) for plane in network.planes]
        mean = _Mean(self.label_manager.num_segmentation_heads, image.shape[1:], image.device)
        n_folds = 1 if folds is None else len(folds)
        total = n_folds * sum(stack.steps for stack in stacks)
        with tqdm(total=total, disable=None if self.allow_tqdm else True) as bar:
            for fold in range(n_folds):
                if folds is not None:
                    network.load_state_dict(folds[fold])
                for stack in stacks:
                    for start, part in stack.predict(self.network, network.regions, mean.n_classes, bar):
                        mean.add(stack.plane, start, part, share=1 / (n_folds * len(stacks)))
        return mean


class _Stack:
    """The slices of a volume in one orientation."""

    def __init__(self, image: Tensor, plane: Plane, predictor: nnUNetPredictor) -> None:
        self.plane = plane
        self.device = predictor.device
        # (slices, channels, rows, columns)
        self.slices = image.permute(plane.slice_axis + 1, 0, plane.row_axis + 1, plane.column_axis + 1)
        patch = predictor.configuration_manager.patch_size
        self.patch = (patch[plane.row_axis], patch[plane.column_axis])
        self.size = tuple(max(pair) for pair in zip(self.slices.shape[2:], self.patch, strict=True))
        mirrored = (predictor.allowed_mirroring_axes if predictor.use_mirroring else None) or ()
        in_plane = [dim for dim, axis in ((2, plane.row_axis), (3, plane.column_axis)) if axis in mirrored]
        self.flips = [dims for count in range(len(in_plane) + 1) for dims in combinations(in_plane, count)]
        self.windows = _windows(
            self.size, self.patch, predictor.tile_step_size, predictor.use_gaussian, self.device, len(self.flips)
        )
        self.at_once: int = max(1, pixels_at_once(self.device) // math.prod(self.patch))

    @property
    def steps(self) -> int:
        """Number of times that a group of windows goes through the network, flips not counted."""
        return math.ceil(len(self.slices) / self.at_once) * len(self.windows)

    def predict(self, network: Any, regions: bool, n_classes: int, bar: Any) -> Iterator[tuple[int, Tensor]]:
        """Yield the probabilities of groups of slices (slices, classes, rows, columns), each with its first's number.

        They are averaged over windows and flips.
        """
        for start in range(0, len(self.slices), self.at_once):
            chunk = self.slices[start : start + self.at_once].to(self.device)
            padded, cut = pad_nd_image(chunk, self.patch, "constant", {"value": 0}, True, None)
            mean = torch.zeros((len(chunk), n_classes, *self.size), device=self.device)
            for rows, columns, share in self.windows:
                window, target = padded[..., rows, columns], mean[..., rows, columns]
                for dims in self.flips:
                    logits = network(window.flip(dims) if dims else window.contiguous())
                    found = probabilities_of(logits, regions=regions)
                    target.addcmul_(found.flip(dims) if dims else found, share)
                bar.update()
            yield start, mean[(..., *cut[-2:])]


def _windows(
    size: Sequence[int], patch: tuple[int, int], step: float, use_gaussian: bool, device: torch.device, flips: int
) -> list[Window]:
    """Return the windows that cover a slice; the shares of all, times the number of flips, sum to 1 in every pixel."""
    weight = torch.ones(patch, device=device)
    if use_gaussian:
        weight = compute_gaussian(patch, sigma_scale=1 / 8, dtype=torch.float32, device=device)
    first, second = compute_steps_for_sliding_window(tuple(size), patch, step)
    places = [(slice(row, row + patch[0]), slice(column, column + patch[1])) for row in first for column in second]
    total = torch.zeros(tuple(size), device=device)
    for place in places:
        total[place] += weight
    return [(*place, weight / total[place] / flips) for place in places]


class _Mean:
    """Class probabilities of a volume in single precision, in slabs of its first axis that are freed one by one."""

    def __init__(self, n_classes: int, shape: Sequence[int], device: torch.device) -> None:
        self.n_classes = n_classes
        self.shape = tuple(shape)
        thickness = math.ceil(SLAB_BYTES / (4 * n_classes * math.prod(self.shape[1:])))
        self._starts = range(0, self.shape[0], thickness)
        lengths = [min(thickness, self.shape[0] - start) for start in self._starts]
        self._slabs = [torch.zeros((n_classes, length, *self.shape[1:]), device=device) for length in lengths]

    def add(self, plane: Plane, start: int, part: Tensor, share: float) -> None:
        """Add the share of some slices (slices, classes, rows, columns) of an orientation, the first being `start`."""
        where = {plane.slice_axis: 0, plane.row_axis: 2, plane.column_axis: 3}
        part = part.to(self._slabs[0].device).permute(1, *(where[axis] for axis in range(3)))
        for first, slab in zip(self._starts, self._slabs, strict=True):
            if plane.slice_axis:
                target = slab.narrow(plane.slice_axis + 1, start, part.shape[plane.slice_axis + 1])
                target.add_(part.narrow(1, first, slab.shape[1]), alpha=share)
                continue
            low, high = max(first, start), min(first + slab.shape[1], start + part.shape[1])
            if low < high:
                source = part.narrow(1, low - start, high - low)
                slab.narrow(1, low - first, high - low).add_(source, alpha=share)

    def to_logits(self, regions: bool) -> Tensor:
        """Turn the probabilities into logits in half precision on the CPU; the probabilities are gone then."""
        logits = torch.empty((self.n_classes, *self.shape), dtype=torch.half)
        for start in self._starts:
            slab = self._slabs.pop(0)
            if not torch.isfinite(slab).all():
                raise DataError(
                    "the network gives numbers that are not finite for this image; check the image for NaN and "
                    "infinite values, and that the training did not diverge (progress.png)"
                )
            logits[:, start : start + slab.shape[1]] = logits_of(slab[None], regions=regions)[0]
        return logits


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    if not folder.is_dir():
        raise UsageError(f"there is no model folder '{folder}'; check the path, or train the model first")
    try:
        content: dict[str, Any] = load_json(str(folder / name))
    except FileNotFoundError as error:
        raise UsageError(
            f"'{folder}' is no trained model: it has no {name}; give the folder that holds plans.json, dataset.json "
            "and fold_0 and so on (its name is TRAINER__PLANS__CONFIGURATION)"
        ) from error
    except (OSError, ValueError) as error:
        raise VolumeFileError(f"cannot read '{folder / name}': {error}; copy it again") from error
    return content


def _checkpoints(folder: Path, folds: Sequence[int | str], checkpoint_name: str) -> list[Path]:
    """Return the checkpoint of each fold."""
    paths = [folder / f"fold_{fold}" / checkpoint_name for fold in folds]
    missing = [str(fold) for fold, path in zip(folds, paths, strict=True) if not path.is_file()]
    if paths and not missing:
        return paths
    what = f"fold {', '.join(missing)} of" if missing else "any fold of"
    text = f"there is no {checkpoint_name} for {what} '{folder}'"
    if has := available_folds(folder, checkpoint_name):
        raise UsageError(f"{text}; folds that have it: {', '.join(has)} (-f {' '.join(has)})")
    others = sorted({path.name for path in folder.glob("fold_*/checkpoint_*.pth")})
    if others:
        best = "checkpoint_best.pth" if "checkpoint_best.pth" in others else others[0]
        raise UsageError(f"{text}: the training is not finished; finish it, or take what there is by -chk {best}")
    raise UsageError(f"{text}, nor any other checkpoint; train the model first, or check the path")
