"""What a run is going to make: which patient of which source, whether that is possible, and the disk it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from label_gen.errors import UsageError, VolumeFileError
from label_gen.phantom import BONE_NAMES
from label_gen.scheme import LabelScheme
from label_gen.simulation.settings import SimulationSettings
from nnunet_ext.batch import Task
from nnunet_ext.cases import check_part
from nnunet_ext.simulation.case import CaseFiles
from nnunet_ext.simulation.sources import Source
from nnunet_ext.training.folders import free_bytes, say_bytes

__all__ = ["check_room", "check_view", "check_wanted", "parse_fragments", "plan_cases"]

FINEST_MM, COARSEST_MM, THICKEST_MM = 0.3, 3.0, 5.0
"""Smallest and largest distance of voxels, and the largest between slices. Source: chosen here; above 3 mm a closed
fracture is not to be seen."""

CT_BYTES, LABEL_BYTES = 1.6, 0.05
"""Disk that a voxel takes, compressed: the CT, and the three label volumes together. Source: chosen here, above what
was measured (1.3 and 0.02)."""


def parse_fragments(words: Sequence[str]) -> dict[str, int]:
    """Read how many fragments bones are to get, as the command line gives it.

    Args:
        words: `BONE=NUMBER` each.

    Raises:
        UsageError: A word is not of that form, or a bone is given twice.

    Example:
        >>> parse_fragments(["sacrum=3", "left_hip=12"])
        {'sacrum': 3, 'left_hip': 12}
    """
    wanted: dict[str, int] = {}
    for word in words:
        name, _, number = word.partition("=")
        if not (number.isascii() and number.isdigit()):
            raise UsageError(f"'{word}' is no number of fragments; write BONE=NUMBER, sacrum=3 say (--fragments)")
        if name in wanted:
            raise UsageError(f"the fragments of '{name}' are given twice (--fragments)")
        wanted[name] = int(number)
    return wanted


def check_wanted(wanted: Mapping[str, int], scheme: LabelScheme) -> None:
    """Check that a scheme can number the fragments that are wanted.

    Args:
        wanted: Fragments by name of the bone.
        scheme: The scheme. One that knows none of the bones numbers them all as its first.

    Raises:
        UsageError: There is no such bone, it has no band, or its band is too short.
    """
    knows_none = not any(part in BONE_NAMES for bone in scheme.bones for part in bone.parts)
    for name in wanted:
        if name not in BONE_NAMES:
            raise UsageError(f"there is no bone '{name}'; bones are {', '.join(BONE_NAMES)} (--fragments)")
        if not knows_none and not any(name in bone.parts for bone in scheme.bones):
            raise UsageError(
                f"scheme '{scheme.name}' has no fragment numbers for '{name}' ({scheme.describe_bands()}); choose a "
                "scheme that has (--scheme), or leave that bone out (--fragments)"
            )
    for index, bone in enumerate(scheme.bones):
        own = {name: wanted[name] for name in wanted if name in bone.parts or (knows_none and index == 0)}
        if sum(own.values()) > bone.capacity:
            raise UsageError(
                f"{sum(own.values())} fragments are wanted of {' and '.join(own)}; scheme '{scheme.name}' numbers "
                f"{bone.capacity} of '{bone.name}' ({bone.first_id}-{bone.last_id}): ask for fewer (--fragments), or "
                "choose a scheme with a longer band (--scheme)"
            )


def check_view(
    spacing_mm: Sequence[float] | None, field_of_view_mm: Sequence[float] | None
) -> tuple[tuple[float, float, float] | None, tuple[float, float, float] | None]:
    """Check voxel size and field of view.

    Args:
        spacing_mm: One number, or three in the order z, y, x; or None.
        field_of_view_mm: Three numbers in the order z, y, x; or None.

    Returns:
        Both, as three numbers or None.

    Raises:
        UsageError: One makes no sense.
    """
    spacing = view = None
    if spacing_mm is not None:
        values = [float(step) for step in spacing_mm]
        values = values * 3 if len(values) == 1 else values
        limits = (THICKEST_MM if len(spacing_mm) == 3 else COARSEST_MM, COARSEST_MM, COARSEST_MM)
        if len(values) != 3 or not all(FINEST_MM <= step <= limit for step, limit in zip(values, limits, strict=False)):
            raise UsageError(
                f"the spacing is {', '.join(f'{step:g}' for step in spacing_mm)} mm; one number from {FINEST_MM:g} to "
                f"{COARSEST_MM:g} is expected, or three in the order z y x, that between slices (z) up to "
                f"{THICKEST_MM:g} (--spacing)"
            )
        spacing = (values[0], values[1], values[2])
    if field_of_view_mm is not None:
        sizes = [float(size) for size in field_of_view_mm]
        if len(sizes) != 3 or not all(20.0 <= size <= 700.0 for size in sizes):
            raise UsageError(
                f"the field of view is {', '.join(f'{size:g}' for size in sizes)} mm; three numbers from 20 to 700 are "
                "expected, in the order z y x (--field-of-view)"
            )
        view = (sizes[0], sizes[1], sizes[2])
    return spacing, view


def plan_cases(
    sources: Sequence[Source],
    number: int,
    seed: int,
    output: Path,
    *,
    scheme: LabelScheme,
    settings: SimulationSettings,
    spacing_mm: tuple[float, float, float] | None,
    field_of_view_mm: tuple[float, float, float] | None,
    num_parts: int = 1,
    part_id: int = 0,
) -> tuple[Task, ...]:
    """Return the cases of a run: sources in turn, each case with a seed of its own.

    Args:
        sources: The sources.
        number: How many cases, those of all parts together.
        seed: Of the first case; the next have the numbers after it.
        output: The folder.
        scheme: Scheme of the fragment numbers.
        settings: What is simulated.
        spacing_mm: Voxel size in the order z, y, x, or None.
        field_of_view_mm: Size in the order z, y, x, or None.
        num_parts: Number of calls that share the cases.
        part_id: Which of these calls this is, from 0.

    Raises:
        UsageError: A number makes no sense.
    """
    if number < 1:
        raise UsageError(f"the number of cases is {number}; it has to be 1 or more (-n)")
    if seed < 0:
        raise UsageError(f"the seed is {seed}; it has to be 0 or more (--seed)")
    check_part(part_id, num_parts)
    tasks = []
    for index in range(part_id, number, num_parts):
        source = sources[index % len(sources)]
        case = f"{source.name}_{seed + index:05d}"
        files = CaseFiles.of(output, case, with_ct=settings.with_ct)
        arguments = {
            "case": case,
            "seed": seed + index,
            "source": source,
            "files": files,
            "scheme": scheme,
            "settings": settings,
            "spacing_mm": spacing_mm,
            "field_of_view_mm": field_of_view_mm,
        }
        tasks.append(Task(case, files.all, arguments, source.problem))
    return tuple(tasks)


def check_room(tasks: Sequence[Task], output: Path, overwrite: bool) -> None:
    """Check, before any work, that there is enough disk.

    Args:
        tasks: The cases.
        output: The folder.
        overwrite: Finished cases are made again.

    Raises:
        VolumeFileError: There is too little.
    """
    needed, count = 0.0, 0
    for task in tasks:
        if task.problem or (not overwrite and all(path.exists() for path in task.outputs)):
            continue
        source = task.arguments["source"]
        size = task.arguments["field_of_view_mm"] or source.size_mm
        step = task.arguments["spacing_mm"] or (source.spacing_mm if source.ct is not None else None) or (1.0, 1.0, 1.0)
        bytes_per_voxel = LABEL_BYTES + (CT_BYTES if task.arguments["settings"].with_ct else 0.0)
        needed += bytes_per_voxel * prod(size) / prod(step)
        count += 1
    free = free_bytes(output)
    if free < needed:
        raise VolumeFileError(
            f"too little disk for '{output}': the files of {count} cases take about {say_bytes(needed)}, "
            f"{say_bytes(free)} are free; make space, choose another output (-o), fewer cases (-n) or wider voxels "
            "(--spacing), or leave the CT out (--no-ct)"
        )
