"""What a user may set about a plan beside nnU-Net's own options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from label_gen.errors import UsageError
from nnunet_ext.triplanar.planes import ORIENTATIONS, find_planes

__all__ = ["PlanSettings"]

TRIPLANAR_PATCH = 128
"""Edge of the patches of the tri-planar mode, pixels. Source: Ekman et al. 2025, Table 2."""


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """Settings of our planners.

    Attributes:
        patch_size: Edge lengths of the patch in voxels, in the axes of the preprocessed arrays: three numbers for
            `3d_fullres`, one for `triplanar` (of three all must be equal). None leaves `3d_fullres` to nnU-Net and
            gives `triplanar` 128.
        batch_size: Patches per batch. None leaves it to nnU-Net's rule; `triplanar` is kept within 30 to 100.
        base_features: Feature maps of the first stage. None is nnU-Net's 32.
        most_blocks: Upper limit of the blocks per stage of the encoder. None keeps nnU-Net's, 1 to 6 for ResEnc.
        network: `plain` U-Net or `resenc` (residual encoder) for `triplanar`.
        orientations: Slice orientations of `triplanar`.
        mirroring: `triplanar` may mirror and transpose, in training and prediction.
        spacing: Edge of the isotropic voxels of `triplanar`: of each case the finest of its spacings, of these the
            `median` or the `finest` over the dataset; or a length in mm.
    """

    patch_size: tuple[int, ...] | None = None
    batch_size: int | None = None
    base_features: int | None = None
    most_blocks: int | None = None
    network: Literal["plain", "resenc"] = "plain"
    orientations: tuple[str, ...] = tuple(ORIENTATIONS)
    mirroring: bool = True
    spacing: Literal["median", "finest"] | float = "median"

    def __post_init__(self) -> None:
        if self.patch_size is not None and (len(self.patch_size) not in (1, 3) or min(self.patch_size) < 1):
            raise UsageError(f"the patch size is one or three positive whole numbers; got: {self.patch_size}")
        for name in ("batch_size", "base_features", "most_blocks"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is a positive whole number; got: {value}")
        if self.network not in ("plain", "resenc"):
            raise UsageError(f"the network is plain or resenc; got: {self.network}")
        if isinstance(self.spacing, str) and self.spacing not in ("median", "finest"):
            raise UsageError(f"the spacing is median, finest or a length in mm; got: {self.spacing}")
        if not isinstance(self.spacing, str) and not self.spacing > 0:
            raise UsageError(f"the spacing must be a positive length in mm; got: {self.spacing}")
        find_planes(self.orientations, (0, 1, 2))

    @property
    def patch_edge(self) -> int:
        """Edge of the patch of `triplanar`, pixels.

        Raises:
            UsageError: The patch is no square.
        """
        if self.patch_size is None:
            return TRIPLANAR_PATCH
        if len(set(self.patch_size)) > 1:
            raise UsageError(f"the patches of triplanar are squares: give one edge length; got: {self.patch_size}")
        return self.patch_size[0]

    @property
    def patch_3d(self) -> tuple[int, ...] | None:
        """Edge lengths of the patch of `3d_fullres`, voxels; None if nnU-Net shall choose."""
        if self.patch_size is None or len(self.patch_size) == 3:
            return self.patch_size
        return self.patch_size * 3
