"""U-Nets in 2D that also take volumes: slices in every orientation, the same weights, probabilities averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor

from label_gen.errors import UsageError
from nnunet_ext.triplanar.mirror_memory import MirrorMemory
from nnunet_ext.triplanar.planes import ORIENTATIONS, Plane

__all__ = ["TriPlanarResEncUNet", "TriPlanarUNet", "logits_of", "pixels_at_once", "probabilities_of"]

SMALLEST = 1e-7
"""Probabilities are raised to this before their logarithm is taken: half precision holds it."""

PIXELS_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 20}
"""Pixels of slices that go through the network together. Source: measured here on a CPU, where 8 slices of 128x128 take
a fifth less time each than one by one, and 16 no less still. For GPUs a guess, not measured: 64 such slices."""


def pixels_at_once(device: torch.device) -> int:
    """Return how many pixels of slices shall go through the network together.

    Args:
        device: Where it runs.
    """
    return PIXELS_AT_ONCE.get(device.type, PIXELS_AT_ONCE["cuda"])


def probabilities_of(logits: Tensor, *, regions: bool) -> Tensor:
    """Return class probabilities in single precision.

    Args:
        logits: Shape (batch, classes, ...).
        regions: Classes overlap (sigmoid) instead of excluding each other (softmax).

    Returns:
        Probabilities, float32, same shape.
    """
    return torch.sigmoid(logits.float()) if regions else torch.softmax(logits.float(), 1)


def logits_of(probabilities: Tensor, *, regions: bool) -> Tensor:
    """Return logits that nnU-Net turns into these probabilities again.

    Args:
        probabilities: Shape (batch, classes, ...), in 0 to 1; is overwritten, unless it needs
            gradients.
        regions: As in `probabilities_of`.

    Returns:
        Logits, float32, same shape. For classes: the logarithm of the ratio to the largest probability of the voxel,
        so that rounding to half precision, finest near 0, keeps the order of classes that are almost equal.
    """
    if regions:
        return torch.logit(probabilities, eps=SMALLEST)
    largest = probabilities.amax(1, keepdim=True)
    if probabilities.requires_grad:
        return (probabilities / largest).clamp(min=SMALLEST).log()
    return probabilities.div_(largest).clamp_(min=SMALLEST).log_()


class _TriPlanar:
    """Adds volumes to a 2D network; the first base of the classes below."""

    decoder: Any
    training: bool

    def _set_up(self, planes: Sequence[Sequence[int]] | None, regions: bool) -> None:
        chosen = tuple(Plane(*plane) for plane in (ORIENTATIONS.values() if planes is None else planes))
        if not chosen or any(sorted(plane) != [0, 1, 2] for plane in chosen):
            raise UsageError(f"each plane must name the axes 0, 1, 2 as slice, row and column; got: {planes}")
        self.planes = chosen
        self.regions = regions
        self._memory = MirrorMemory()

    def forward(self, x: Tensor) -> Any:
        """Return logits of slices, or of a volume.

        Args:
            x: Slices, shape (batch, channels, rows, columns), or volumes, shape (batch, channels, axis 0, axis 1,
                axis 2) with lengths that the strides of the network divide.

        Returns:
            For slices what the 2D network returns (with deep supervision a list). For volumes the logits of the mean
            over all orientations of the probabilities, float32, shape (batch, classes, axis 0, axis 1, axis 2).
        """
        if x.ndim == 4:
            return super().forward(x)  # type: ignore[misc]
        return self._forward_volume(x)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _forward_volume(self, volume: Tensor) -> Tensor:
        remember = not (self.training or torch.is_grad_enabled())
        flipped = self._memory.recognise(volume, self._weights()) if remember else frozenset()
        total: Tensor | None = None
        for plane in self.planes:
            result = self._memory.take(plane.slice_axis, flipped) if remember else None
            if result is None:
                result = self.stack_probabilities(volume, plane)
                if remember:
                    self._memory.keep(plane.slice_axis, flipped, result)
            total = result / len(self.planes) if total is None else total.add_(result, alpha=1 / len(self.planes))
        assert total is not None
        return logits_of(total, regions=self.regions)

    def stack_probabilities(self, volume: Tensor, plane: Plane) -> Tensor:
        """Return the class probabilities of a volume from its slices in one orientation.

        Args:
            volume: Shape (batch, channels, axis 0, axis 1, axis 2).
            plane: The orientation, in the axes 0, 1, 2 of the volume.

        Returns:
            Probabilities, float32, shape (batch, classes, axis 0, axis 1, axis 2).
        """
        slices = volume.permute(0, plane.slice_axis + 2, 1, plane.row_axis + 2, plane.column_axis + 2)
        result: Tensor | None = None
        for case in range(len(slices)):
            for start, chunk in _chunks(slices[case]):
                logits = super().forward(chunk)  # type: ignore[misc]
                logits = logits[0] if isinstance(logits, (list, tuple)) else logits
                found = probabilities_of(logits, regions=self.regions)
                if result is None:
                    result = found.new_empty((len(volume), found.shape[1], *volume.shape[2:]))
                    view = result.permute(0, plane.slice_axis + 2, 1, plane.row_axis + 2, plane.column_axis + 2)
                view[case, start : start + len(found)] = found
        assert result is not None
        return result

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights, and forget results of the old ones."""
        self._memory.clear()
        return super().load_state_dict(*args, **kwargs)  # type: ignore[misc]

    def train(self, mode: bool = True) -> Any:
        """Switch between training and prediction, and forget results: nothing is kept while the network trains."""
        self._memory.clear()
        return super().train(mode)  # type: ignore[misc]

    def _weights(self) -> tuple[object, ...]:
        """Return what changes whenever a weight does.

        Versions count the changes that PyTorch sees; what is written through `.data` is seen in the values only.
        """
        weights: list[Tensor] = [*self.parameters(), *self.buffers()]  # type: ignore[attr-defined]
        versions = tuple((w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights)
        values = torch.stack([_weighted_sum(w) for w in weights]).tolist() if weights else []
        return versions, tuple(values)


def _weighted_sum(tensor: Tensor) -> Tensor:
    """Return a sum that also changes when values swap places."""
    values = tensor.detach().reshape(-1).float()
    return torch.dot(values, torch.linspace(1, 2, len(values), device=values.device))


def _chunks(slices: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield slices (number, channels, rows, columns) in groups, each with the number of its first."""
    step = max(1, pixels_at_once(slices.device) // (slices.shape[-1] * slices.shape[-2]))
    for start in range(0, len(slices), step):
        yield start, slices[start : start + step].contiguous()


class TriPlanarUNet(_TriPlanar, PlainConvUNet):
    """nnU-Net's plain 2D U-Net for slices in several orientations.

    Args:
        planes: For each orientation its slice, row and column axis in the preprocessed array; all three by default.
        regions: Classes overlap (nnU-Net's region-based training).
        **kwargs: Of `PlainConvUNet`.

    Source: Ekman et al. 2025, section "Network architecture".
    """

    def __init__(self, *, planes: Sequence[Sequence[int]] | None = None, regions: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set_up(planes, regions)


class TriPlanarResEncUNet(_TriPlanar, ResidualEncoderUNet):
    """nnU-Net's 2D U-Net with a residual encoder for slices in several orientations.

    Args:
        planes: As in `TriPlanarUNet`.
        regions: As in `TriPlanarUNet`.
        **kwargs: Of `ResidualEncoderUNet`.
    """

    def __init__(self, *, planes: Sequence[Sequence[int]] | None = None, regions: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set_up(planes, regions)
