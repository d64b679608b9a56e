"""Whole bones that the user has already: a label volume, TotalSegmentator's folder of masks, or a folder of cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cc3d
import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError, GridError, UsageError
from nnunet_ext.cases import VOLUME_SUFFIXES, split_suffix
from nnunet_ext.grids import Grid, check_same_grid
from nnunet_ext.preparation.orientation import orientation_of, turned
from nnunet_ext.stage1.bones import BONES, Bones, bone_called
from nnunet_ext.stage1.numbering import bones_of_numbers, names_in
from nnunet_ext.volumes import Volume, naming, read_labels

__all__ = ["GivenBones", "is_mask_folder"]


class GivenBones:
    """Bones out of files.

    Args:
        source: A label volume; a folder of masks as TotalSegmentator writes it (`hip_left.nii.gz`, ...); or a folder
            with one of either per case, of the case's name.
        numbering: As `bones_of_numbers` takes it.

    Raises:
        UsageError: There is no such file or folder.
    """

    source = "file"

    def __init__(self, source: str | Path, *, numbering: str | Path = "auto") -> None:
        self._path = Path(source)
        self._numbering = numbering
        if not self._path.exists():
            raise UsageError(
                f"there is no file or folder '{source}'; the bones are 'bundled', 'totalsegmentator', a label volume, "
                "a folder of them, or a model folder (--bones)"
            )
        self.details: Mapping[str, object] = {"numbering": Path(numbering).name}

    def __call__(self, ct: Volume, case: str = "") -> Bones:
        """Read the bones of a CT.

        Args:
            ct: The CT, whose grid they have to have; the order and sense of the axes may differ.
            case: Name of the case, to be looked up where the source is a folder of cases.

        Returns:
            The bones on the grid of the CT, not yet checked for plausibility.

        Raises:
            UsageError: The folder has nothing for this case.
            VolumeFileError: A file cannot be read.
            DataError: The numbers of a file are not those of bones.
            GridError: The grid is not that of the CT.
        """
        path = self._file_of(case)
        volume = _masks(path) if path.is_dir() else self._labels(path)
        with naming(path):
            return Bones(_on_grid_of(ct.grid, volume, path.name), self.source, (), dict(self.details))

    def _file_of(self, case: str) -> Path:
        if not self._path.is_dir() or is_mask_folder(self._path):
            return self._path
        candidates = [self._path / f"{case}{suffix}" for suffix in VOLUME_SUFFIXES] if case else []
        if case and is_mask_folder(self._path / case):
            candidates.append(self._path / case)
        found = [path for path in candidates if path.exists()]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise UsageError(f"'{self._path}' holds several files of bones for case '{case}' ({names}); keep one")
        raise UsageError(
            f"'{self._path}' holds no bones for case '{case}'; name them '{case}.nii.gz', or put TotalSegmentator's "
            f"masks into a folder '{case}' in it. A model folder has a plans.json"
        )

    def _labels(self, path: Path) -> Volume:
        volume = read_labels(path, allow_empty=False)
        numbers = [int(number) for number in np.unique(volume.array) if number]
        names = names_in(path) if str(self._numbering) == "auto" else {}
        bones = bones_of_numbers(numbers, numbering=self._numbering, names=names, file=path.name)
        table = np.zeros(max(numbers) + 1, np.uint8)
        for number, candidates in bones.items():
            table[number] = BONES[candidates[0]]
        array = table[volume.array]
        undecided = [number for number, candidates in bones.items() if len(candidates) > 1]
        if undecided:
            _find_sides(
                volume.like(array), np.isin(volume.array, undecided), [BONES[name] for name in bones[undecided[0]]]
            )
        return volume.like(array)


def is_mask_folder(folder: Path) -> bool:
    """Tell whether a folder holds masks of single bones, as TotalSegmentator writes them.

    Args:
        folder: The folder.
    """
    return bool(_mask_files(folder))


def _mask_files(folder: Path) -> dict[Path, str]:
    """Return the masks of bones in a folder, by the bones that their names stand for."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        stem, suffix = split_suffix(path.name)
        if suffix in VOLUME_SUFFIXES and (bone := bone_called(stem)):
            found[path] = bone
    return found


def _masks(folder: Path) -> Volume:
    result: Volume | None = None
    for path, bone in _mask_files(folder).items():
        mask = read_labels(path)
        if int(mask.array.max()) > 1:
            raise DataError(f"'{path}' holds the number {int(mask.array.max())}; a mask holds 0 and 1 only")
        if result is None:
            result = mask.like(np.zeros(mask.array.shape, np.uint8))
        check_same_grid(result.grid, mask.grid, folder.name, path.name)
        result.array[mask.array > 0] = BONES[bone]
    if result is None or not result.array.any():
        raise DataError(f"the masks of bones in '{folder}' are all empty; give bones that were found (--bones)")
    return result


def _on_grid_of(grid: Grid, volume: Volume, name: str) -> Volume:
    """Return bones in the axis order of a CT, if they have its voxels; moves voxels, interpolates nothing."""
    if orientation_of(volume.grid) != orientation_of(grid):
        moved = turned(volume, orientation_of(grid))
        try:
            check_same_grid(grid, moved.grid, "the CT", name)
        except GridError:
            pass
        else:
            return Volume.on_grid(moved.array, grid)
    check_same_grid(grid, volume.grid, "the CT", name)
    return Volume.on_grid(volume.array, grid)


def _find_sides(bones: Volume, is_undecided: NDArray[np.bool_], pair: list[int]) -> None:
    """Give each connected piece of undecided femur to the side whose hip bone is nearer; changes the array in place.

    Without hip bones, the middle of the undecided pieces parts left from right.
    """
    direction, spacing = np.reshape(bones.direction, (3, 3)), np.array(bones.spacing_mm[::-1])

    def x_of(mask: NDArray[np.bool_]) -> float:
        index = np.array([float(axis.mean()) for axis in np.nonzero(mask)])[::-1]
        return float((np.array(bones.origin) + direction @ (index * spacing))[0])

    left, right = pair
    hips = [bones.array == BONES[name] for name in ("left_hip", "right_hip")]
    places = [x_of(mask) for mask in (hips if all(mask.any() for mask in hips) else [is_undecided])]
    middle = sum(places) / len(places)
    pieces, count = cc3d.connected_components(is_undecided, connectivity=26, return_N=True)
    for piece in range(1, count + 1):
        mask = pieces == piece
        bones.array[mask] = left if x_of(mask) > middle else right
