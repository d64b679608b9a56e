"""An ABBC model: loaded once, asked for the class probabilities of a CT on its own grid."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from label_gen.classes import ABBC
from label_gen.errors import DataError, UsageError
from label_gen.grid import grow_box
from nnunet_ext.devices import choose_device
from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.frames import box_in, crop, index_map, resampled
from nnunet_ext.segmentation.settings import Settings
from nnunet_ext.volumes import Volume

if TYPE_CHECKING:
    from torch import Tensor

    from nnunet_ext.triplanar.predictor import TriPlanarPredictor

__all__ = ["AbbcModel", "load_model"]

SPLINE_REACH = 12
"""Voxels round a box that its cubic spline is made from. Source: the weight of a voxel falls by 0.27 per voxel."""

SLAB_VOXELS = 1 << 22
"""Voxels that are turned into probabilities at a time. Source: chosen here; 64 MB in single precision."""


WINDOW_LAYERS = 10
"""Copies of the first stage's features that a window in the network takes. Source: chosen here; skips, convolutions and
normalisation of both halves hold some five at a time, and memory is not given back at once."""


@dataclass(frozen=True)
class AbbcModel:
    """A trained model of ABBC classes.

    Attributes:
        name: Name of its folder.
        predictor: nnU-Net's predictor, or ours for tri-planar networks.
        order: Number that each class of `label_gen.ABBC` has in the model.
        sha256: Hash over its files: plans, dataset description and the checkpoints in use.
        folds: Folds in use.
        working_bytes: Memory of the weights of all folds and of one window in the network.
    """

    name: str
    predictor: TriPlanarPredictor
    order: tuple[int, ...]
    sha256: str
    folds: tuple[str, ...]
    working_bytes: int

    def spacing_mm(self, ct: Grid) -> tuple[float, float, float]:
        """Return the spacing that the model wants, in the order z, y, x of the patient.

        Args:
            ct: Grid of the CT; a 2D model keeps the CT's distance of slices.
        """
        plan = [float(s) for s in self.predictor.configuration_manager.spacing]
        forward = self.predictor.plans_manager.transpose_forward
        if len(plan) == 2:
            to_ct = index_map(ct, Grid(ct.shape, (1.0, 1.0, 1.0)))
            axis = int(np.abs(to_ct.matrix[:, forward[0]] * np.asarray(ct.spacing_mm)).argmax())
            plan = [ct.spacing_mm[axis], *plan]
        wanted = [0.0, 0.0, 0.0]
        for place, axis in enumerate(forward):
            wanted[axis] = plan[place]
        return wanted[0], wanted[1], wanted[2]

    def predict(self, ct: Volume, grid: Grid) -> NDArray[np.float16]:
        """Return the class probabilities of a CT on a grid.

        The CT is cut to the grid, normalised by the plans and resampled by a cubic spline, as nnU-Net does it; where
        nnU-Net takes the nearest of thick slices, the spline goes through them.

        Args:
            ct: The CT, HU.
            grid: The grid, of the model's spacing, along the patient's axes.

        Returns:
            Shape (4, z, y, x) in the order of `label_gen.ABBC`, on the grid.

        Raises:
            DataError: The network gives numbers that are not finite.
        """
        import torch

        image = self._image(ct, grid)
        forward = list(self.predictor.plans_manager.transpose_forward)
        data = torch.from_numpy(np.ascontiguousarray(image.transpose(forward))[None])
        del image
        logits = self.predictor.predict_logits_from_preprocessed_data(data)
        del data
        found = _softmax(logits)
        back = [axis + 1 for axis in self.predictor.plans_manager.transpose_backward]
        turned = found.transpose([0, *back])
        return turned if self.order == tuple(ABBC) else turned[list(self.order)]

    def _image(self, ct: Volume, grid: Grid) -> NDArray[np.float32]:
        """Return the CT on the model's grid, normalised."""
        box = grow_box(box_in(ct.grid, grid), SPLINE_REACH, ct.array.shape)
        part = crop(ct, box)
        normalised = self._normalised(part.array.astype(np.float32))
        air = float(self._normalised(np.full((1, 1, 1), -1024, np.float32)).min())
        return resampled(normalised, part.grid, grid, order=3, outside=air, dtype=np.float32)

    def _normalised(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return HU normalised by the plans; the array is changed."""
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

        plans, configuration = self.predictor.plans_manager, self.predictor.configuration_manager
        properties = plans.foreground_intensity_properties_per_channel
        seg = np.broadcast_to(np.int8(0), (1, *array.shape))  # all is inside
        normalised: NDArray[np.float32] = DefaultPreprocessor(verbose=False)._normalize(
            array[None], seg, configuration, properties
        )[0]
        return normalised


def _softmax(logits: Tensor) -> NDArray[np.float16]:
    """Turn logits into probabilities, in place."""
    import torch

    step = max(1, SLAB_VOXELS // max(1, int(np.prod(logits.shape[2:]))))
    with torch.inference_mode():
        logits = logits.half()
        for start in range(0, logits.shape[1], step):
            part = logits[:, start : start + step].float()
            if not bool(torch.isfinite(part).all()):
                raise DataError(
                    "the ABBC network gives numbers that are not finite for this CT; check the CT for NaN and infinite "
                    "values, or take another model (--model)"
                )
            logits[:, start : start + step] = torch.softmax(part, 0).half()
        found: NDArray[np.float16] = logits.numpy()
    return found


def load_model(settings: Settings, scheme_name: str | None = None) -> AbbcModel:
    """Load the model of stage 2; the last one loaded stays in memory for the next case.

    Args:
        settings: Names model, folds, checkpoint, device, and how windows overlap.
        scheme_name: Scheme whose names of the classes the model uses; that of the settings if None.

    Returns:
        The model.

    Raises:
        UsageError: There is no such model, fold, checkpoint or device; or it is no model that predicts one CT alone.
        SchemeError: It does not predict the ABBC classes.
        VolumeFileError: A file of it is damaged.
        DataError: Its parts do not belong together.
    """
    folds = settings.folds if settings.folds is None or not settings.fast else settings.folds[:1]
    return _load(
        str(settings.model),
        folds,
        settings.checkpoint,
        str(choose_device(settings.device)),
        settings.step,
        settings.uses_mirroring,
        settings.fast,
        str(scheme_name or settings.scheme),
    )


@lru_cache(maxsize=1)
def _load(
    model: str,
    folds: Sequence[int | str] | None,
    checkpoint: str,
    device: str,
    step: float,
    mirroring: bool,
    fast: bool,
    scheme: str,
) -> AbbcModel:
    import torch

    from nnunet_ext.models import find_model, hash_of
    from nnunet_ext.probabilities import class_order
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.triplanar.predictor import TriPlanarPredictor, available_folds

    folder = find_model(model)
    order = class_order(folder / "plans.json", load_scheme(scheme))
    if folds is None:
        there = [fold for fold in available_folds(folder, checkpoint) if fold != "all"]
        folds = there[:1] if fast and there else None
    with redirect_stdout(StringIO()):  # it says on every processor that there is no CUDA
        predictor = TriPlanarPredictor(
            tile_step_size=step,
            use_mirroring=mirroring,
            perform_everything_on_device=device.startswith("cuda"),
            device=torch.device(device),
            allow_tqdm=sys.stderr.isatty(),
        )
    predictor.initialize_from_trained_model_folder(folder, folds, checkpoint)
    if predictor.configuration_manager.previous_stage_name is not None:
        raise UsageError(
            f"the model '{folder.name}' continues the predictions of another; give one that stands alone (--model)"
        )
    channels = len(predictor.dataset_json["channel_names"])
    if channels != 1:
        raise UsageError(f"the model '{folder.name}' wants {channels} images; give one that wants a CT alone (--model)")
    used = tuple(folds) if folds is not None else tuple(f for f in available_folds(folder, checkpoint) if f != "all")
    files = [folder / "plans.json", folder / "dataset.json", *(folder / f"fold_{f}" / checkpoint for f in used)]
    return AbbcModel(
        folder.name, predictor, order, hash_of(files), tuple(str(f) for f in used), _working_bytes(predictor)
    )


def _working_bytes(predictor: TriPlanarPredictor) -> int:
    """Return the memory of weights and of a window on its way through the network."""
    weights = sum(w.numel() * w.element_size() for fold in predictor.list_of_parameters for w in fold.values())
    configuration = predictor.configuration_manager
    features = configuration.network_arch_init_kwargs.get("features_per_stage", [32])[0]
    return int(weights + WINDOW_LAYERS * 4 * features * np.prod(configuration.patch_size))
