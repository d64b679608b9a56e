"""Whole bones by an nnU-Net model: the one that comes with the package, or any folder whose classes are the bones."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError
from nnunet_ext.devices import choose_device
from nnunet_ext.models import hash_of
from nnunet_ext.stage1.bones import BONES, TWINS, Bones, bone_called
from nnunet_ext.stage1.cleaning import clean_bones, follow
from nnunet_ext.stage1.frame import labels_on, patient_grid, resampled_ct
from nnunet_ext.volumes import Volume

__all__ = ["ModelBones"]

STEP_SIZE = 0.5
"""Distance of windows in parts of their size. Source: nnU-Net's own."""

FAST_STEP_SIZE = 0.8
"""With `fast`. Source: what TotalSegmentator 2.18 predicts with, for which it states a Dice loss of 0.001."""


class ModelBones:
    """A model of whole bones, loaded once and ready for many CTs.

    The CT is resampled onto the patient's own axes (left, posterior, superior) at the model's spacing, whatever its own
    axes are, so an oblique or flipped CT gives the same bones; the probabilities are interpolated back onto its grid.

    Args:
        folder: Model folder of nnU-Net, whose `dataset.json` names the bones (`left_hip`, `hip_left`, ...). Other
            classes count as background.
        source: What `Bones.source` says.
        device: As `choose_device` takes it.
        fast: Fewer windows.
        folds: Folds to average; None for all that there are.
        checkpoint: File name of the checkpoint.

    Raises:
        UsageError: There is no such model, fold or device.
        VolumeFileError: A file of it is damaged.
        DataError: Its parts do not belong together, or it does not find bones in a CT.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        source: str = "model",
        device: str = "auto",
        fast: bool = False,
        folds: tuple[int | str, ...] | None = None,
        checkpoint: str = "checkpoint_final.pth",
    ) -> None:
        import torch

        from nnunet_ext.triplanar.predictor import TriPlanarPredictor, available_folds

        chosen = choose_device(device)
        self.source = source
        self._folder = Path(folder)
        self._torch = torch
        with redirect_stdout(StringIO()):  # nnU-Net prints what it does without a graphics card
            self._predictor: Any = TriPlanarPredictor(
                tile_step_size=FAST_STEP_SIZE if fast else STEP_SIZE,
                use_mirroring=False,
                perform_everything_on_device=chosen.type == "cuda",
                device=chosen,
                allow_tqdm=False,
            )
        if folds is None:
            there = available_folds(self._folder, checkpoint)
            folds = ("all",) if there == ["all"] else None
        self._predictor.initialize_from_trained_model_folder(self._folder, folds, checkpoint)
        self._numbers = self._bone_numbers()
        self.details = {
            "model_sha256": hash_of([self._folder / "plans.json", *sorted(self._folder.glob(f"fold_*/{checkpoint}"))]),
            "spacing_mm": list(self.spacing_mm),
            "device": str(chosen),
            "fast": fast,
        }

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The model's spacing in mm, in array order (z, y, x)."""
        plans = self._predictor.plans_manager
        spacing = [float(value) for value in self._predictor.configuration_manager.spacing]
        if len(spacing) == 2:
            spacing = [float(plans.plans["original_median_spacing_after_transp"][0]), *spacing]
        z, y, x = (spacing[axis] for axis in plans.transpose_backward)
        return z, y, x

    def __call__(self, ct: Volume) -> Bones:
        """Find the bones of a CT.

        Args:
            ct: The CT, HU, axes (z, y, x).

        Returns:
            The bones on its grid, not yet checked for plausibility.

        Raises:
            DataError: The network gives numbers that are not finite.
        """
        frame = patient_grid(ct.grid, self.spacing_mm)
        probabilities = self._probabilities(resampled_ct(ct, frame, averaging=True))
        labels = probabilities.argmax(0).astype(np.uint8)
        found = labels.copy()
        changes = clean_bones(labels, frame.spacing_mm)
        certainty = _certainty(probabilities, labels)
        follow(probabilities, found, labels)
        anatomy = ct.like(labels_on(ct.grid, probabilities, frame))
        details = {**self.details, "cleaning": [str(change) for change in changes], "certainty": certainty}
        return Bones(anatomy, self.source, (), details, certainty)

    def _probabilities(self, ct: Volume) -> NDArray[np.float32]:
        """Return the probabilities of background and `BONES` (6, z, y, x) of a CT at the model's spacing."""
        from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

        predictor, torch = self._predictor, self._torch
        plans, configuration = predictor.plans_manager, predictor.configuration_manager
        flipped = plans.plans.get("image_reader_writer") == "NibabelIOWithReorient"  # its axes are RAS, ours LPS
        array = ct.array[:, ::-1, ::-1] if flipped else ct.array
        properties: dict[str, Any] = {"spacing": list(self.spacing_mm)}
        data, _, properties = configuration.preprocessor_class(verbose=False).run_case_npy(
            np.ascontiguousarray(array[None]), None, properties, plans, configuration, predictor.dataset_json
        )
        logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).float()
        if not torch.isfinite(logits).all():
            raise DataError("the model of the bones gives numbers that are not finite for this CT; check its values")
        _, found = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            plans,
            configuration,
            predictor.label_manager,
            properties,
            return_probabilities=True,
            num_threads_torch=torch.get_num_threads(),
        )
        del logits
        found = found[:, :, ::-1, ::-1] if flipped else found
        result = np.zeros((len(BONES) + 1, *ct.array.shape), np.float32)
        for channel, probability in enumerate(found):
            result[self._numbers.get(channel, 0)] += probability
        return result

    def _bone_numbers(self) -> dict[int, int]:
        """Return for each class of the model the number in `BONES`; classes that are no bone are left out."""
        dataset, name = self._predictor.dataset_json, self._folder.name
        labels = dataset.get("labels", {})
        if self._predictor.label_manager.has_regions or not all(isinstance(n, int) for n in labels.values()):
            raise DataError(f"the model '{name}' predicts regions; give a model whose classes are the bones (--bones)")
        channels = dataset.get("channel_names") or dataset.get("modality") or {}
        if len(channels) != 1:
            raise DataError(f"the model '{name}' takes {len(channels)} channels; give one that takes a CT (--bones)")
        found = {number: BONES[bone] for label, number in labels.items() if (bone := bone_called(str(label)))}
        if not found:
            raise DataError(
                f"the model '{name}' finds {', '.join(map(str, labels))}; give one that finds whole bones, named "
                f"{', '.join(BONES)} (--bones)"
            )
        return found


def _certainty(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> dict[str, float]:
    """Return how sure the model is of each bone; sides are left to other checks, as sagittal slices hide them."""
    found = {}
    for bone, number in BONES.items():
        mask = labels == number
        if mask.any():
            kind = {number, BONES[TWINS.get(bone, bone)]}
            found[bone] = round(float(sum(probabilities[n][mask] for n in kind).mean()), 4)
    return found
