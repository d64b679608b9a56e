"""Does a volume hold Hounsfield units? Judged by what every CT of a body has: air or fat, and much soft tissue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError

__all__ = ["OFFSET", "check_hounsfield"]

OFFSET = 1024
"""What many programs add to HU so that stored values are not negative; the usual RescaleIntercept is its opposite."""

_SAMPLE = 1_000_000
"""Voxels that are looked at, on a regular grid. Chosen here: shares are then right to 0.1 %."""

_FAT_OR_AIR_HU = (-1500, -50)
_FAT_OR_AIR_SHARE = 0.005
"""Least share of voxels within `_FAT_OR_AIR_HU`; below is padding. Chosen here: cropped CTs of thighs and hips have
50 % and more, CTs outside of whose bones all was set to 0 have under 0.1 %."""

_AIR_TWICE_HU = (-2500, -1600)
_SOFT_HU = (-200, 300)
_WATER_HU = (0, 100)
_LUNG_HU = (300 - 1024, -200)
_OFFSET_SHARES = (0.7, 0.2, 0.15)
"""To take values for HU with an offset: least share of soft tissue, least share of 0 to 100 HU (muscle, organs), and
largest share of what lies between fat and air, all among voxels above air. Chosen here: ten CTs of hips, trunks and a
head have 0.75 to 0.95, 0.28 to 0.61 and 0.01 to 0.10; values spread evenly over 300..1500, as in MR, have 0.42, 0.08
and 0.43."""

_LEAST_SOFT_SHARE = 0.2
"""Least share of soft tissue among voxels above air in any CT. Chosen here: a plastic phantom has 0.37."""

_LEAST_WATER_SHARE = 0.005
"""Least share of 0 to 100 HU in any CT. Chosen here: a plastic phantom in a wide field of view has 0.018."""

_LEAST_BODY_SHARE = 0.005
"""Least share of voxels above air. Chosen here: a body in a wide field of view has 0.15 and more."""

_LOWEST_BODY = 300 - OFFSET
"""Above this is body, below air. Chosen here: midway between air and lung."""

_BONE_HU = 300
"""A CT without any voxel above has no cortical bone, or was cut to a soft tissue window. Source: the simulated_hu
benchmark, where the second millimetre of pelvic bones has medians of 420 to 730 HU."""

_CLIPPED_SHARE = 0.02


def check_hounsfield(array: NDArray[Any], *, is_stated: bool = False) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Check that voxels are HU; undo an offset of 1024.

    1024 is subtracted, with a warning, where no voxel has the HU of air or fat, but voxels have those of a body after
    that (see `_OFFSET_SHARES`); and added where it was subtracted once too often. Anything else that cannot be HU is
    refused: MR, pictures of 0..255, normalised values, volumes whose background was set to 0.

    Args:
        array: Voxels (z, y, x), of an integer or floating-point type.
        is_stated: The file itself says that it is CT (DICOM): doubts become warnings.

    Returns:
        The voxels, int16 where all are whole numbers, else float32; and warnings.

    Raises:
        DataError: The voxels are NaN or infinite, or cannot be HU.
    """
    lowest, highest = _check_finite(array)
    if lowest == highest:
        raise DataError(f"every voxel is {lowest:g}: this is an empty volume, not a CT; export it again")
    doubt = ""
    warnings: list[str] = []
    offset = 0
    sample = _sample(array)
    body = sample[sample > _LOWEST_BODY]
    if lowest >= 0 and highest <= 255:
        doubt = f"values run from {lowest:g} to {highest:g}, as in an 8-bit picture"
    elif highest - lowest < 255:
        doubt = f"values run from {lowest:.4g} to {highest:.4g}, as after normalisation or in a map"
    elif _share(sample, _FAT_OR_AIR_HU) < _FAT_OR_AIR_SHARE:
        if _is_shifted(sample, OFFSET):
            offset = OFFSET
            warnings.append(f"no voxel has the HU of air or fat, all look like HU + {OFFSET}: {OFFSET} was subtracted")
        else:
            doubt = "no voxel has the HU of air or fat, as in MR or where the background was set to 0"
    elif _is_shifted_down(sample):
        offset = -OFFSET
        warnings.append(f"no voxel has the HU of muscle, all look like HU - {OFFSET}: {OFFSET} was added")
    elif body.size < _LEAST_BODY_SHARE * sample.size:
        doubt = "nearly every voxel has the HU of air"
    elif _share(body, _SOFT_HU) < _LEAST_SOFT_SHARE:
        doubt = "hardly a voxel has the HU of soft tissue"
    if doubt and not is_stated:
        raise DataError(
            f"this does not look like a CT in Hounsfield units: {doubt}; give the CT as it came from the scanner, "
            "without windowing, masking or normalisation"
        )
    if doubt:
        warnings.append(f"the file says CT but {doubt}: results will hardly be right")
    if highest - offset < _BONE_HU:
        warnings.append(
            f"no voxel is above {_BONE_HU} HU: there is no bone, or values were cut to a soft tissue window"
        )
    elif not doubt and lowest - offset > -900 and float((sample == lowest).mean()) > _CLIPPED_SHARE:
        warnings.append(f"values were cut off at {lowest - offset:g} HU; give the CT without windowing")
    return _to_int16(array, offset, lowest, highest, warnings), tuple(warnings)


def _share(values: NDArray[Any], limits: tuple[float, float]) -> float:
    """Return the share of values within limits."""
    return float(((values >= limits[0]) & (values <= limits[1])).mean()) if values.size else 0.0


def _is_shifted(sample: NDArray[Any], offset: int) -> bool:
    """Tell whether values would be those of a body in CT if an offset were taken away."""
    body = sample[sample > _LOWEST_BODY + offset] - offset
    soft, water, lung = _OFFSET_SHARES
    return _share(body, _SOFT_HU) >= soft and _share(body, _WATER_HU) >= water and _share(body, _LUNG_HU) <= lung


def _is_shifted_down(sample: NDArray[Any]) -> bool:
    """Tell whether the offset was subtracted once too often: air near -2000, no muscle."""
    has_air = _share(sample, _AIR_TWICE_HU) >= _FAT_OR_AIR_SHARE
    return has_air and _share(sample, _WATER_HU) < _LEAST_WATER_SHARE and _is_shifted(sample, -OFFSET)


def _check_finite(array: NDArray[Any]) -> tuple[float, float]:
    """Return the least and the largest value."""
    if array.dtype.kind not in "iuf":
        raise DataError(f"voxels are of type {array.dtype}; whole or floating-point numbers were expected")
    if array.dtype.kind == "f":
        for index, plane in enumerate(array):
            wrong = int(plane.size - np.isfinite(plane).sum())
            if wrong:
                raise DataError(
                    f"{wrong} voxels of slice {index + 1} are NaN or infinite; replace them, with -1024 outside of the "
                    "field of view, say"
                )
    return float(array.min()), float(array.max())


def _sample(array: NDArray[Any]) -> NDArray[np.float32]:
    step = max(1, round((array.size / _SAMPLE) ** (1 / 3)))
    return array[step // 2 :: step, step // 2 :: step, step // 2 :: step].astype(np.float32)


def _to_int16(array: NDArray[Any], offset: int, lowest: float, highest: float, warnings: list[str]) -> NDArray[Any]:
    """Return whole numbers as int16, others as float32, slice by slice."""
    is_whole = array.dtype.kind in "iu" or all((plane == np.rint(plane)).all() for plane in array)
    if not is_whole:
        result = array.astype(np.float32, copy=False)
        return result - np.float32(offset) if offset else result
    limits = np.iinfo(np.int16)
    if array.dtype == np.int16 and not offset:
        return array
    if lowest - offset < limits.min or highest - offset > limits.max:
        warnings.append(f"values beyond {limits.min}..{limits.max} HU were set to these limits")
    result = np.empty(array.shape, np.int16)
    for source, target in zip(array, result, strict=True):
        target[:] = np.clip(source.astype(np.float64) - offset, limits.min, limits.max)
    return result
