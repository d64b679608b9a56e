"""U-Net and U-Net++ with a ResNet or DeepLabV3 encoder, for slices and, slice by slice, for volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from label_gen.errors import UsageError
from nnunet_ext.networks.library import import_library
from nnunet_ext.triplanar.networks import _TriPlanar

__all__ = [
    "AtrousEncoder",
    "BackboneNetwork",
    "UNetDeepLabV3",
    "UNetPlusPlusDeepLabV3",
    "UNetPlusPlusResNet34",
    "UNetPlusPlusResNet50",
    "UNetResNet34",
    "UNetResNet50",
]

CHANNELS = (256, 128, 64, 32, 16)
"""Feature maps of the decoder's stages, the deepest first. Source: defaults of segmentation_models_pytorch 0.6, with
which Pivi and Fusconi worked."""

RATES, PYRAMID_CHANNELS = (6, 12, 18), 256
"""Atrous rates and feature maps of the pyramid for features of stride 16. Source: Chen et al., Rethinking atrous
convolution for semantic image segmentation, 2017, section 3.3."""


class AtrousEncoder(torch.nn.Module):
    """The encoder of DeepLabV3: a ResNet-34 whose last stage is dilated, not strided, and an atrous pyramid on it.

    It is the library's DeepLabV3 without its head. The features of strides 1, 2, 4 and 8 are those of the ResNet; the
    deepest, of stride 16, come from the pyramid.

    Args:
        input_channels: Image channels.

    Source: Pivi and Fusconi name a DeepLabV3 encoder of U-Net and U-Net++ and no details; ResNet-34 is the library's
    default, and the shortest training times of their table 1 suggest a small one.
    """

    def __init__(self, input_channels: int) -> None:
        super().__init__()
        model = import_library().DeepLabV3(
            encoder_name="resnet34",
            encoder_weights=None,
            encoder_output_stride=16,
            decoder_channels=PYRAMID_CHANNELS,
            decoder_atrous_rates=RATES,
            in_channels=input_channels,
            classes=1,
        )
        self.backbone = model.encoder
        self.pyramid = model.decoder

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return features of strides 1, 2, 4, 8 and 16.

        Args:
            x: Slices, shape (batch, channels, rows, columns).
        """
        features = self.backbone(x)
        return [*features[:4], self.pyramid(features)]


class _SliceNetwork(torch.nn.Module):
    """Encoder, decoder and heads, under the names that nnU-Net gives them.

    `decoder.seg_layers` holds a head for each stage of the decoder, that of full resolution last, and
    `decoder.deep_supervision` says whether all are used. nnU-Net's `-pretrained_weights` then leaves the heads out.
    """

    decoder_kind: ClassVar[Literal["unet", "unetplusplus"]]
    encoder_kind: ClassVar[Literal["resnet34", "resnet50", "deeplabv3"]]

    def __init__(self, input_channels: int, num_classes: int, deep_supervision: bool) -> None:
        super().__init__()
        library = import_library()
        build = library.Unet if self.decoder_kind == "unet" else library.UnetPlusPlus
        is_atrous = self.encoder_kind == "deeplabv3"
        channels = CHANNELS[: self.depth()]
        model = build(
            # Four stages of a ResNet-34 have as many feature maps as the atrous encoder, the deepest 256.
            encoder_name="resnet34" if is_atrous else self.encoder_kind,
            encoder_depth=self.depth(),
            encoder_weights=None,
            decoder_channels=channels,
            in_channels=input_channels,
            classes=num_classes,
        )
        self.encoder = AtrousEncoder(input_channels) if is_atrous else model.encoder
        self.decoder = model.decoder
        heads = [torch.nn.Conv2d(width, num_classes, 1) for width in channels[:-1]]
        self.decoder.seg_layers = torch.nn.ModuleList([*heads, model.segmentation_head])
        self.decoder.deep_supervision = deep_supervision
        self._between: list[Tensor] = []
        for stage in range(len(heads)):
            block = self.decoder.blocks[stage if self.decoder_kind == "unet" else f"x_0_{stage}"]
            block.register_forward_hook(self._keep)

    @classmethod
    def depth(cls) -> int:
        """Return how often the encoder halves the resolution."""
        return 4 if cls.encoder_kind == "deeplabv3" else 5

    @property
    def resnet(self) -> Any:
        """The part of the encoder that ImageNet weights fit."""
        return self.encoder.backbone if self.encoder_kind == "deeplabv3" else self.encoder

    def _keep(self, block: torch.nn.Module, arguments: Any, features: Tensor) -> None:
        if self.decoder.deep_supervision:
            self._between.append(features)

    def forward(self, x: Tensor) -> Any:
        """Return logits of slices; with deep supervision a list, the full resolution first, then half of it, ...

        Args:
            x: Slices, shape (batch, channels, rows, columns).

        Raises:
            UsageError: The encoder cannot take slices of that size.
        """
        divisor = 2 ** self.depth()
        if x.shape[-1] % divisor or x.shape[-2] % divisor:
            raise UsageError(
                f"{type(self).__name__} takes slices whose edges are multiples of {divisor}; got {x.shape[-2]} x "
                f"{x.shape[-1]}: set such a patch_size in the plans"
            )
        self._between = []
        last = self.decoder(self.encoder(x))
        *heads, head = self.decoder.seg_layers
        logits = head(last)
        if not self.decoder.deep_supervision:
            return logits
        between, self._between = self._between, []
        return [logits, *(other(kept) for other, kept in zip(heads[::-1], between[::-1], strict=True))]


class BackboneNetwork(_TriPlanar, _SliceNetwork):
    """What the networks below share; built from nnU-Net's plans by dotted path.

    Args:
        input_channels: Image channels.
        num_classes: Outputs.
        strides: nnU-Net reads them in the plans for deep supervision; they have to be those of `plan_strides`.
        deep_supervision: Whether stages of lower resolution have outputs too.
        planes: As in `nnunet_ext.triplanar.networks.TriPlanarUNet`.
        regions: As there.

    Raises:
        UsageError: The library of the encoders is not installed, or the strides are not the encoder's.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        strides: Sequence[Sequence[int]] | None = None,
        deep_supervision: bool = False,
        planes: Sequence[Sequence[int]] | None = None,
        regions: bool = False,
    ) -> None:
        if strides is not None and [list(stride) for stride in strides] != self.plan_strides():
            raise UsageError(
                f"{type(self).__name__} has the strides {self.plan_strides()}; the plans say {strides}: mend them, or "
                "train the plans of nnU-Net with the trainer of this network's name"
            )
        super().__init__(input_channels, num_classes, deep_supervision)
        self._set_up(planes, regions)

    @classmethod
    def plan_strides(cls) -> list[list[int]]:
        """Return the strides as nnU-Net's plans have them, a stage of full resolution first."""
        return [[1, 1], *([2, 2] for _ in range(cls.depth()))]


class UNetResNet34(BackboneNetwork):
    """U-Net with a ResNet-34 encoder."""

    decoder_kind = "unet"
    encoder_kind = "resnet34"


class UNetResNet50(BackboneNetwork):
    """U-Net with a ResNet-50 encoder."""

    decoder_kind = "unet"
    encoder_kind = "resnet50"


class UNetDeepLabV3(BackboneNetwork):
    """U-Net with the encoder of DeepLabV3."""

    decoder_kind = "unet"
    encoder_kind = "deeplabv3"


class UNetPlusPlusResNet34(BackboneNetwork):
    """U-Net++ with a ResNet-34 encoder."""

    decoder_kind = "unetplusplus"
    encoder_kind = "resnet34"


class UNetPlusPlusResNet50(BackboneNetwork):
    """U-Net++ with a ResNet-50 encoder."""

    decoder_kind = "unetplusplus"
    encoder_kind = "resnet50"


class UNetPlusPlusDeepLabV3(BackboneNetwork):
    """U-Net++ with the encoder of DeepLabV3."""

    decoder_kind = "unetplusplus"
    encoder_kind = "deeplabv3"
