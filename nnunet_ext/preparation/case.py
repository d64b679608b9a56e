"""One case of a source: check it, turn it, make its labels, put its files into the datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from label_gen import GenerationSettings, generate_abbc
from label_gen.errors import DataError, SchemeError
from label_gen.scheme import LabelScheme
from nnunet_ext.grids import check_same_grid
from nnunet_ext.preparation.orientation import LPS, orientation_of, turned_to_lps
from nnunet_ext.preparation.targets import Target
from nnunet_ext.preparation.transfer import is_usable_as_is, transfer
from nnunet_ext.volumes import Volume, naming, read_labels, read_volume, write_volume

__all__ = ["Making", "prepare_case"]


@dataclass(frozen=True)
class Making:
    """How all cases of a run are made.

    Attributes:
        targets: The datasets.
        scheme: Label scheme of fragments; None for `semantic`.
        classes: For `semantic`, the numbers in the label files by class name.
        transfer: How images get there, see `nnunet_ext.preparation.transfer`.
        orientation: `reorient` volumes whose axes are not LPS, or `refuse` them.
        overwrite: Make finished files again.
        mode: Mode of the ABBC classes, see `label_gen.generate_abbc`.
        border_mm: Width of their border on each side of a contact; None for the default.
    """

    targets: tuple[Target, ...]
    scheme: LabelScheme | None
    classes: Mapping[str, tuple[int, ...]]
    transfer: str
    orientation: str
    overwrite: bool
    mode: Literal["default", "literal"] = "default"
    border_mm: float | None = None


def prepare_case(
    *, case: str, part: str, image: Path, labels: Path, making: Making, anatomy: Path | None = None
) -> dict[str, Any]:
    """Make the files of one case in all datasets.

    The image is written last, so that a case that goes wrong half-way takes part in nothing.

    Args:
        case: Its name.
        part: `Tr` for training, `Ts` for testing.
        image: The image file.
        labels: The label file.
        making: How.
        anatomy: A volume of whole bones, which the anatomy task takes instead of what the labels tell.

    Returns:
        What was found and done: `bones` with their numbers of fragments (or `classes`), `whole_bones` where a volume of
        them was taken, `image`, `orientation` if it was turned, `left_out` with the datasets that the case has no
        labels for, `abbc` as `generate_abbc` reports.

    Raises:
        VolumeFileError: A file cannot be read or written.
        DataError: The volumes have no usable content, different grids, or axes that are refused.
        SchemeError: A label does not belong to the scheme or the classes.
    """
    targets = [target for target in making.targets if making.overwrite or not target.is_complete(case, part)]
    for target in targets:
        target.image(case, part).unlink(missing_ok=True)
    label_volume = read_labels(labels, allow_empty=making.scheme is None)
    picture = _read_image(image)
    check_same_grid(picture.grid, label_volume.grid, str(image), str(labels))
    label_volume = picture.like(label_volume.array)
    bone_volume = _read_bones(anatomy, picture, image, targets, making.scheme)
    details: dict[str, Any] = {}
    turned = False
    if (found := orientation_of(picture.grid)) != LPS:
        if making.orientation == "refuse":
            raise DataError(
                f"'{image}' runs along {found} (x, y, z), {LPS} is expected, as training mirrors left and right by "
                "array axis; let it be turned (--orientation reorient)"
            )
        picture, label_volume, turned = turned_to_lps(picture), turned_to_lps(label_volume), True
        bone_volume = bone_volume and turned_to_lps(bone_volume)
        details["orientation"] = found
    with naming(labels):
        details |= _describe(label_volume.array, making)
        volumes = {target.folder: _volumes_of(label_volume, bone_volume, target, making, details) for target in targets}
    details["image"] = "left out"
    left_out = []
    for target in targets:
        made = volumes[target.folder]
        if made is None:
            left_out.append(target.folder.name)
            continue
        for kind, volume in made.items():
            write_volume(volume, target.volume(kind, case, part))
        goal = target.image(case, part)
        if turned or not is_usable_as_is(image, target.ending):
            write_volume(picture, goal)
            details["image"] = "reoriented" if turned else "converted"
        else:
            details["image"] = transfer(image, goal, making.transfer)
    if left_out:
        details["left_out"] = left_out
    return details


def _read_bones(
    path: Path | None, picture: Volume, image: Path, targets: Sequence[Target], scheme: LabelScheme | None
) -> Volume | None:
    """Read the volume of whole bones of a case, if there is one and a task takes it."""
    if path is None or scheme is None or all(target.task != "anatomy" for target in targets):
        return None
    volume = read_labels(path)
    check_same_grid(picture.grid, volume.grid, str(image), str(path))
    with naming(path):
        _name_bones(volume.array, scheme)
    return picture.like(volume.array)


def _read_image(path: Path) -> Volume:
    volume = read_volume(path)
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        raise DataError(f"'{path}' holds NaN or infinite values; replace them, with -1024 outside of the body, say")
    return volume


def _describe(labels: NDArray[Any], making: Making) -> dict[str, Any]:
    """Return which bones or classes a case has; complain about numbers that belong to none."""
    numbers = np.unique(labels[labels != 0])
    if making.scheme is not None:
        making.scheme.check_ids(numbers)
        counts = {
            bone.name: int(((numbers >= bone.first_id) & (numbers <= bone.last_id)).sum())
            for bone in making.scheme.bones
        }
        return {"bones": {name: count for name, count in counts.items() if count}}
    name_of = {number: name for name, values in making.classes.items() for number in values}
    if strange := [int(number) for number in numbers if int(number) not in name_of]:
        known = ", ".join(f"{name} {'/'.join(map(str, values))}" for name, values in making.classes.items())
        raise SchemeError(
            f"labels {', '.join(map(str, strange[:10]))} are in no class ({known}); give names and numbers with "
            "--classes, or mend the recipe"
        )
    return {"classes": sorted({name_of[int(number)] for number in numbers})}


def _volumes_of(
    labels: Volume, bone_volume: Volume | None, target: Target, making: Making, details: dict[str, Any]
) -> dict[str, Volume] | None:
    """Return the label volumes of a case for a dataset, by kind; None if it has no labels for it."""
    if making.scheme is None:
        numbers = {value: place for place, values in enumerate(making.classes.values(), 1) for value in values}
        return {"labels": labels.like(_renumber(labels.array, numbers))}
    if bone_volume is not None and target.task == "anatomy":
        details["whole_bones"] = _name_bones(bone_volume.array, making.scheme)
        numbers = {making.scheme.anatomy[name]: target.labels[name] for name in target.bones}
        is_left_out = not set(details["whole_bones"]) & set(target.bones)
        return None if is_left_out else {"labels": labels.like(_renumber(bone_volume.array, numbers))}
    bones = [bone for bone in making.scheme.bones if bone.name in target.bones]
    if not details["bones"].keys() & set(target.bones):
        return None
    if target.task == "anatomy":
        numbers = {i: target.labels[bone.name] for bone in bones for i in bone.band}
        return {"labels": labels.like(_renumber(labels.array, numbers))}
    fragments = _renumber(labels.array, {i: i for bone in bones for i in bone.band})
    settings = GenerationSettings.for_mode(making.mode, making.border_mm)
    generated = generate_abbc(fragments, labels.spacing_mm, scheme=making.scheme, mode=making.mode, settings=settings)
    details["abbc"] = generated.to_dict()
    # A band of both sides does not tell the side: the number of its first part stands for the bone.
    anatomy = {i: making.scheme.anatomy[bone.parts[0]] for bone in bones for i in bone.band}
    return {
        "labels": labels.like(generated.abbc),
        "fragments": labels.like(fragments),
        "anatomy": labels.like(_renumber(labels.array, anatomy)),
    }


def _name_bones(anatomy: NDArray[Any], scheme: LabelScheme) -> list[str]:
    """Return the names of the bones in a volume of whole bones; complain about numbers that are no bone's."""
    name_of = {number: name for name, number in scheme.anatomy.items()}
    numbers = [int(number) for number in np.unique(anatomy) if number]
    if strange := [number for number in numbers if number not in name_of]:
        known = ", ".join(f"{name} {number}" for name, number in scheme.anatomy.items())
        raise SchemeError(
            f"the volume of whole bones holds the numbers {', '.join(map(str, strange[:10]))}; scheme '{scheme.name}' "
            f"numbers bones {known}: choose the scheme that fits (--scheme), or renumber the volume"
        )
    return [name_of[number] for number in numbers]


def _renumber(labels: NDArray[Any], numbers: Mapping[int, int]) -> NDArray[Any]:
    """Return labels with other numbers, 0 where none is given, in the smallest type that holds those in use."""
    largest = int(labels.max())
    used: Sequence[tuple[int, int]] = [(old, new) for old, new in numbers.items() if old <= largest]
    table = np.zeros(largest + 1, np.min_scalar_type(max((new for _, new in used), default=0)))
    for old, new in used:
        table[old] = new
    renumbered: NDArray[Any] = table[labels]
    return renumbered
