"""Global 3D rotation before slicing: a cube becomes one slice of the rotated cube, and no more is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from label_gen.errors import UsageError
from nnunet_ext.augmentation.ranges import Range, check_range, draw
from nnunet_ext.triplanar.planes import Plane

__all__ = ["OUTSIDE", "ObliqueSlab", "rotation_matrix"]

OUTSIDE = -1
"""nnU-Net's label of what lies outside of a case."""


def rotation_matrix(angles_deg: Sequence[float]) -> NDArray[np.float64]:
    """Return a rotation about the three axes of an array.

    Args:
        angles_deg: Angles about axis 0, 1 and 2, degrees. A positive angle about an axis turns the next axis (in the
            cycle 0, 1, 2) towards the one after it.

    Returns:
        Matrix, shape (3, 3), float64; the rotation about axis 2 comes first, that about axis 0 last.

    Example:
        >>> rotation_matrix([90, 0, 0]).round() @ [0, 1, 0]
        array([0., 0., 1.])
    """
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(np.asarray(angles_deg, np.float64))):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


class ObliqueSlab(BasicTransform):
    """Turn a volume about each axis by a random angle and keep its central slice in a random orientation.

    A volume (channels, axis 0, axis 1, axis 2) becomes a slab of the same lengths but thickness 1 along the slice axis
    of the plane drawn; what is a slab already passes unchanged. Of a volume that is no cube, the slice lies across its
    shortest axis. The slice turns about its own middle. The image is interpolated trilinearly and fades to 0 outside of
    the volume (nnU-Net's padding); the segmentation takes the nearest voxel and is `OUTSIDE` there. How often a volume
    comes instead of a slab is the loader's choice.

    Args:
        planes: Orientations to draw from.
        angle_deg: Range of the angle about each axis, degrees.

    Raises:
        UsageError: No plane, or a range that makes no sense; on use, no three axes, or no plane that fits.

    Source: Ekman et al. 2025, Table 1, "3D Rotation": U(-20, 20) degrees, applied to the initial volume.
    """

    def __init__(self, *, planes: Sequence[Plane], angle_deg: Range = (-20.0, 20.0)) -> None:
        super().__init__()
        if not planes:
            raise UsageError("planes must name at least one orientation; got none")
        self.planes = tuple(planes)
        self.angle_deg = check_range("angle_deg", angle_deg, low=-180, high=180)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw a plane and angles, and return the points of the slice in voxels; none for a slab."""
        shape = tuple((data_dict["image"] if "image" in data_dict else data_dict["segmentation"]).shape[1:])
        if len(shape) != 3:
            raise UsageError(f"expected a volume or slab (channels, axis 0, axis 1, axis 2); got {len(shape)} axes")
        if 1 in shape:
            return {"points": None}
        thinnest = [plane for plane in self.planes if shape[plane.slice_axis] == min(shape)]
        if not thinnest:
            raise UsageError(f"no plane of {self.planes} slices a volume {shape} along its shortest axis")
        plane = thinnest[np.random.randint(len(thinnest))]
        matrix = rotation_matrix([draw(self.angle_deg) for _ in range(3)])
        return {"points": _slice_points(shape, plane, matrix)}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        points = params["points"]
        if points is None:
            return img
        unit = [c * (2 / (length - 1)) - 1 for c, length in zip(points, img.shape[1:], strict=True)]
        grid = torch.stack(unit[::-1], -1)  # grid_sample wants the last axis first, and -1 to 1
        return grid_sample(img[None].float(), grid[None], "bilinear", "zeros", align_corners=True)[0].to(img.dtype)

    def _apply_to_regr_target(self, regression_target: Tensor, **params: Any) -> Tensor:
        return self._apply_to_image(regression_target, **params)

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        points = params["points"]
        if points is None:
            return segmentation
        index = torch.zeros((), dtype=torch.long)
        inside = torch.ones((), dtype=torch.bool)
        for coordinate, length in zip(points, segmentation.shape[1:], strict=True):
            nearest = torch.floor(coordinate + 0.5).long()
            inside = inside & (nearest >= 0) & (nearest < length)
            index = index * length + nearest.clamp_(0, length - 1)
        labels = torch.stack([channel.take(index) for channel in segmentation])
        return labels.masked_fill_(~inside, OUTSIDE)


def _slice_points(shape: tuple[int, ...], plane: Plane, matrix: NDArray[np.float64]) -> list[Tensor]:
    """Return where the points of a slab lie along each axis of the volume, voxels, float32, the shape of the slab."""
    centre = [(length - 1) / 2 for length in shape]
    centre[plane.slice_axis] = shape[plane.slice_axis] // 2
    lengths = [1 if axis == plane.slice_axis else length for axis, length in enumerate(shape)]
    points = []
    for axis in range(3):
        coordinate = torch.full((1, 1, 1), centre[axis])
        for other in (plane.row_axis, plane.column_axis):
            offsets = (torch.arange(lengths[other]) - centre[other]) * float(matrix[axis, other])
            coordinate = coordinate + offsets.view([-1 if along == other else 1 for along in range(3)])
        points.append(coordinate)
    return points
