"""Slices for training: the loader reads slabs one voxel thick in a random orientation, a transform squeezes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor

from nnunet_ext.training.loaders import ClassAwareLoader
from nnunet_ext.triplanar.planes import Plane

__all__ = ["SlabLoader", "TakeSlice"]


class SlabLoader(ClassAwareLoader):
    """Data loader of the tri-planar mode.

    Each patch is a square slab, one voxel thick along the slice axis of an orientation drawn at random, or thicker.
    The preprocessed data are stored in cubic blocks, so that all orientations are read equally fast.

    Args:
        data: The cases.
        batch_size: Patches per batch.
        edge: Edge of what is read, voxels.
        final_edge: Edge of what the network will see; smaller than `edge` where the augmentation needs a margin.
        label_manager: nnU-Net's.
        planes: The orientations.
        thick_share: Share of patches that are read thicker than a slice, 0 to 1, so that they can be turned in 3D.
        thickness: Voxels along the slice axis of these.
        **kwargs: As in `ClassAwareLoader`.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        edge: int,
        final_edge: int,
        label_manager: Any,
        *,
        planes: Sequence[Plane],
        thick_share: float = 0.0,
        thickness: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(data, batch_size, (edge,) * 3, (final_edge,) * 3, label_manager, **kwargs)
        self.slice_axes = tuple(plane.slice_axis for plane in planes)
        self.thick_share, self.thickness = thick_share, thickness
        self._edge, self._margin = edge, edge - final_edge

    def get_bbox(
        self,
        data_shape: Sequence[int],
        force_fg: bool,
        class_locations: Mapping[Any, Any] | None,
        overwrite_class: Any = None,
        verbose: bool = False,
    ) -> tuple[list[int], list[int]]:
        """Return the box of a slab, lower and upper bounds per axis (voxels, may lie outside the case)."""
        size, margin = np.full(3, self._edge), np.full(3, self._margin)
        axis = self.slice_axes[np.random.randint(len(self.slice_axes))]
        size[axis], margin[axis] = self.thickness if np.random.uniform() < self.thick_share else 1, 0
        self.patch_size, self.need_to_pad = tuple(int(length) for length in size), margin
        return super().get_bbox(data_shape, force_fg, class_locations, overwrite_class, verbose)


class TakeSlice(BasicTransform):
    """Turn a slab into a slice, with the rows and columns of its orientation.

    Args:
        planes: The orientations; a slab is recognised by the axis along which it is one voxel thick.
    """

    def __init__(self, planes: Sequence[Plane]) -> None:
        super().__init__()
        self.order = {plane.slice_axis: plane for plane in planes}

    def _take(self, slab: Tensor) -> Tensor:
        plane = self.order[slab.shape[1:].index(1)]
        return slab.permute(0, plane.slice_axis + 1, plane.row_axis + 1, plane.column_axis + 1)[:, 0].contiguous()

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        return self._take(img)

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        return self._take(segmentation)

    def _apply_to_regr_target(self, regression_target: Tensor, **params: Any) -> Tensor:
        return self._take(regression_target)
