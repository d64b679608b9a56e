"""Read and write volumes: arrays in (z, y, x) with their place in the patient, checked so that bad files say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError, FractureError, UsageError, VolumeFileError
from nnunet_ext._simpleitk import reason, silent, sitk, translated
from nnunet_ext.atomic import replacing, write_failure
from nnunet_ext.cases import VOLUME_SUFFIXES, split_suffix
from nnunet_ext.grids import IDENTITY, Grid, check_same_grid
from nnunet_ext.intact import check_intact, holds_finite

__all__ = ["Grid", "Volume", "check_same_grid", "naming", "read_grid", "read_labels", "read_volume", "write_volume"]


@dataclass(frozen=True)
class Volume:
    """A volume and its place in the patient.

    Attributes:
        array: Voxels, axes (z, y, x).
        spacing_mm: Distance of voxel centres in mm, in array order (z, y, x).
        origin: Centre of the first voxel in mm; x, y, z in LPS.
        direction: Cosines as SimpleITK gives them: row-major 3 x 3, columns are the x, y and z axes in LPS.
    """

    array: NDArray[Any]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY

    @property
    def grid(self) -> Grid:
        """The voxel grid."""
        depth, height, width = self.array.shape
        return Grid((depth, height, width), self.spacing_mm, self.origin, self.direction)

    @classmethod
    def on_grid(cls, array: NDArray[Any], grid: Grid) -> Volume:
        """Return voxels on a grid.

        Args:
            array: Voxels, axes (z, y, x), of the shape of the grid.
            grid: The grid.

        Raises:
            DataError: The shapes differ.
        """
        if array.shape != grid.shape:
            raise DataError(f"array of shape {array.shape} on a grid of shape {grid.shape}; they have to be equal")
        return cls(array, grid.spacing_mm, grid.origin, grid.direction)

    @classmethod
    def from_image(cls, image: Any) -> Volume:
        """Return a SimpleITK image of three axes as a volume.

        Args:
            image: The image; its voxels are copied.
        """
        x, y, z = image.GetSpacing()
        return cls(sitk.GetArrayFromImage(image), (z, y, x), image.GetOrigin(), image.GetDirection())

    def to_image(self) -> Any:
        """Return the volume as a SimpleITK image, voxels copied."""
        image: Any = sitk.GetImageFromArray(self.array)
        image.SetSpacing(self.spacing_mm[::-1])
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    def like(self, array: NDArray[Any]) -> Volume:
        """Return other voxels on the same grid.

        Args:
            array: Voxels, axes (z, y, x), of the shape of this volume.

        Raises:
            DataError: The shape differs.
        """
        return Volume.on_grid(array, self.grid)


def read_volume(path: str | Path) -> Volume:
    """Read a volume.

    Args:
        path: A `.nii.gz`, `.nii`, `.mha` or `.nrrd` file of three axes and one number per voxel.

    Returns:
        The volume, voxels in the type of the file, axes (z, y, x).

    Raises:
        VolumeFileError: The file is missing, unreadable, truncated or of another type.
        DataError: The volume has no voxels, not three axes, several numbers per voxel, or no valid geometry.
    """
    path = Path(path)
    reader, grid = _open(path)
    with translated(path):
        image = reader.Execute()
    array = sitk.GetArrayFromImage(image)
    return Volume.on_grid(array, grid)


def read_grid(path: str | Path) -> Grid:
    """Read the grid of a volume without its voxels.

    Args:
        path: As for `read_volume`.

    Returns:
        The grid.

    Raises:
        VolumeFileError: As for `read_volume`.
        DataError: As for `read_volume`.
    """
    return _open(Path(path))[1]


def read_labels(path: str | Path, *, allow_empty: bool = True) -> Volume:
    """Read a label volume.

    Args:
        path: As for `read_volume`. Voxels of a floating-point type are accepted if all are whole numbers.
        allow_empty: Accept a volume without any label above 0.

    Returns:
        The volume, voxels in the smallest unsigned integer type that holds them, axes (z, y, x).

    Raises:
        VolumeFileError: As for `read_volume`.
        DataError: As for `read_volume`; or a voxel is negative, not a whole number, NaN or infinite; or no voxel is
            above 0 and `allow_empty` is false.
    """
    volume = read_volume(path)
    array = volume.array
    smallest, largest = array.min(), array.max()
    if array.dtype.kind == "f":
        if not (np.isfinite(smallest) and np.isfinite(largest) and holds_finite(Path(path))):
            raise DataError(f"'{path}' holds NaN or infinite values; labels are whole numbers from 0 upward")
        for plane in array:
            is_whole = plane == np.rint(plane)
            if not is_whole.all():
                value = float(plane[~is_whole][0])
                raise DataError(
                    f"'{path}' holds values that are not whole numbers ({value:g}, say); labels are whole numbers from "
                    "0 upward: is it an image or a probability map? If it was resampled, use nearest neighbour"
                )
    if smallest < 0:
        raise DataError(
            f"'{path}' holds the negative label {int(smallest)}; labels are whole numbers from 0 upward: is it a CT?"
        )
    if largest == 0 and not allow_empty:
        raise DataError(f"'{path}' holds no fragment: every voxel is 0; pass the volume with the fragment labels")
    return volume.like(array.astype(np.min_scalar_type(int(largest)), copy=False))


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume, compressed, so that it appears complete or not at all.

    Args:
        volume: The volume.
        path: The file, ending in `.nii.gz`, `.nii`, `.mha` or `.nrrd`. Missing folders are made.

    Raises:
        UsageError: The file type is unknown.
        VolumeFileError: The file cannot be written, for lack of space, say.
    """
    path = Path(path)
    if split_suffix(path.name)[1] not in VOLUME_SUFFIXES:
        raise UsageError(f"cannot write '{path}': unknown file type; write one of {', '.join(VOLUME_SUFFIXES)}")
    image = volume.to_image()
    with replacing(path) as temporary:
        try:
            with silent():
                sitk.WriteImage(image, str(temporary), True)
        except RuntimeError as error:
            raise write_failure(path, reason(error)) from error
        try:
            check_intact(temporary)
        except FractureError as error:
            raise write_failure(path, "the file came out incomplete (no space left?)") from error


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the name of a file before what the block says is wrong with its content.

    Args:
        path: The file, as the user gave it.

    Raises:
        DataError: As in the block, of the same class.
    """
    try:
        yield
    except DataError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"'{path}': {error}") from error


def _open(path: Path) -> tuple[Any, Grid]:
    """Check a file and its header; return a reader ready to read the voxels, and the grid."""
    if split_suffix(path.name)[1] not in VOLUME_SUFFIXES:
        raise VolumeFileError(f"'{path}' is of an unknown file type; expected one of {', '.join(VOLUME_SUFFIXES)}")
    try:
        if path.is_dir():
            raise VolumeFileError(f"'{path}' is a folder; a volume file was expected")
        check_intact(path)
    except FractureError:
        raise
    except OSError as error:
        raise VolumeFileError(
            f"cannot read '{path}': {error.strerror or error}; check the path and your permission to read it"
        ) from error
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with translated(path):
        reader.ReadImageInformation()
    size = reader.GetSize()
    if reader.GetDimension() != 3:
        sizes = " x ".join(map(str, size))
        raise DataError(
            f"'{path}' has {reader.GetDimension()} axes ({sizes}); a volume of 3 axes is expected: save one volume"
        )
    if reader.GetNumberOfComponents() != 1:
        raise DataError(
            f"'{path}' has {reader.GetNumberOfComponents()} numbers per voxel (a colour or vector volume); "
            "one is expected: export the labels, not their picture"
        )
    if min(size) < 1:
        raise DataError(f"'{path}' is empty: its size is {' x '.join(map(str, size))} voxels; export it again")
    spacing, origin, direction = reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()
    if not np.isfinite([*spacing, *origin, *direction]).all() or min(spacing) <= 0:
        raise DataError(f"'{path}' has no valid geometry: spacing {spacing}, origin {origin}, direction {direction}")
    x_size, y_size, z_size = (int(n) for n in size)
    x_mm, y_mm, z_mm = spacing
    return reader, Grid((z_size, y_size, x_size), (z_mm, y_mm, x_mm), (origin[0], origin[1], origin[2]), direction)
