"""Find the cases of a command: files of a folder, their names, their outputs and their partners."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from label_gen.errors import UsageError, VolumeFileError

__all__ = ["PROBABILITIES_SUFFIX", "SEGMENTATION", "VOLUME_SUFFIXES", "Case", "Pairs", "check_output", "check_part"]
__all__ += ["find_case_folders", "find_cases", "output_path", "pair_cases", "split_suffix"]

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
"""File types of volumes, longest first."""

PROBABILITIES_SUFFIX = ".npz"
"""File type of the class probabilities that nnU-Net writes with `--save_probabilities`."""

SEGMENTATION = "segmentation.nii.gz"
"""The fragments in a case folder of `abbc-segment`."""

_SAFE_NAME = re.compile("[A-Za-z0-9._-]+")
_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Case:
    """One case: a name that is safe as a file name, and its file.

    Attributes:
        name: The file name without its type and without nnU-Net's `_0000`.
        path: The file, as the user gave it.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Pairs:
    """Cases with their partners from a second input.

    Attributes:
        pairs: Each case that has a partner, with the partner's file.
        surplus: Cases of the second input that belong to no case of the first.
    """

    pairs: tuple[tuple[Case, Path], ...]
    surplus: tuple[Case, ...]


def split_suffix(file_name: str) -> tuple[str, str]:
    """Split a file name before its type.

    Args:
        file_name: A file name without folder.

    Returns:
        The name, and the type in lower case (one of `VOLUME_SUFFIXES`, `.npz`, or empty if it is none of them).
    """
    for suffix in (*VOLUME_SUFFIXES, PROBABILITIES_SUFFIX):
        if file_name.lower().endswith(suffix) and len(file_name) > len(suffix):
            return file_name[: -len(suffix)], suffix
    return file_name, ""


def check_part(part_id: int, num_parts: int) -> None:
    """Check which share of the cases this call takes, where several share them.

    Args:
        part_id: Which of the calls this is, from 0.
        num_parts: Number of the calls.

    Raises:
        UsageError: There is no such call.
    """
    if not 0 <= part_id < num_parts:
        raise UsageError(f"the part must be one of 0 to {num_parts - 1}; got: {part_id} (-part_id, -num_parts)")


def find_cases(source: str | Path, *, prefers_probabilities: bool = False) -> tuple[Case, ...]:
    """Find the cases in a file or folder.

    Hidden files, other file types and subfolders are ignored. nnU-Net's `CASE_0000` gives `CASE`, unless files
    `CASE_0001` and so on lie beside it: then the numbers are part of the names. In case folders of `abbc-segment` the
    case is the segmentation; they are not looked for where probabilities are preferred, as fragments are no classes.

    Args:
        source: A file, a folder of files, a case folder, or a folder that holds case folders and no volumes.
        prefers_probabilities: Accept `.npz` too; where `CASE.npz` and a volume `CASE` lie side by side, as nnU-Net
            writes them, the `.npz` is the case.

    Returns:
        The cases, sorted by name.

    Raises:
        UsageError: There is no such file, no usable file, a name is not safe, or two files have the same case name.
        VolumeFileError: The folder cannot be read.
    """
    source = Path(source)
    suffixes = (*VOLUME_SUFFIXES, PROBABILITIES_SUFFIX) if prefers_probabilities else VOLUME_SUFFIXES
    try:
        is_folder = source.is_dir()
        if not is_folder and not source.exists():
            raise UsageError(f"there is no file or folder '{source}'; check the path")
        files = [Path(entry.path) for entry in os.scandir(source) if not entry.is_dir()] if is_folder else [source]
    except OSError as error:
        raise VolumeFileError(
            f"cannot read '{source}': {error.strerror or error}; check your permission to read it"
        ) from error
    usable = [file for file in files if split_suffix(file.name)[1] in suffixes and not file.name.startswith(".")]
    may_be_cases = is_folder and not prefers_probabilities and (not usable or _is_case_folder(source))
    if folders := find_case_folders(source) if may_be_cases else ():
        return tuple(Case(folder.name, folder.path / SEGMENTATION) for folder in folders)
    if not usable:
        what = "the folder holds no such file" if is_folder else "the file is of an unknown file type"
        raise UsageError(f"nothing usable in '{source}': {what}; accepted are {', '.join(suffixes)}")
    return _name_cases(usable)


def find_case_folders(source: str | Path) -> tuple[Case, ...]:
    """Find the case folders of `abbc-segment`.

    Args:
        source: A case folder, or a folder that holds case folders.

    Returns:
        The case folders, sorted by name; none if the source is something else.
    """
    source = Path(source)
    if _is_case_folder(source):
        return (Case(source.resolve().name, source),)
    if not source.is_dir():
        return ()
    found = sorted(path.parent for path in source.glob(f"*/{SEGMENTATION}") if not path.parent.name.startswith("."))
    return tuple(Case(folder.name, folder) for folder in found)


def _is_case_folder(folder: Path) -> bool:
    return (folder / SEGMENTATION).is_file() and (folder / "statistics.json").is_file()


def _name_cases(files: Sequence[Path]) -> tuple[Case, ...]:
    stems = {split_suffix(file.name)[0] for file in files}
    numbered = {match[1] for stem in stems if (match := _CHANNEL.fullmatch(stem)) and match[2] != "0000"}
    volumes: dict[str, Path] = {}
    probabilities: dict[str, Path] = {}
    for file in sorted(files):
        stem, suffix = split_suffix(file.name)
        match = _CHANNEL.fullmatch(stem)
        name = match[1] if match and match[2] == "0000" and match[1] not in numbered else stem
        if not _SAFE_NAME.fullmatch(name) or name.startswith("."):
            raise UsageError(
                f"the name of '{file}' cannot become a case name; rename it with letters A-Z a-z, digits, '.', '_' and "
                "'-' only, and without patient data"
            )
        named = probabilities if suffix == PROBABILITIES_SUFFIX else volumes
        if name in named:
            raise UsageError(
                f"'{named[name].name}' and '{file.name}' in '{file.parent}' both give the case name '{name}'; rename "
                "or move one of them"
            )
        named[name] = file
    found = volumes | probabilities
    return tuple(Case(name, found[name]) for name in sorted(found))


def output_path(case: Case, source: str | Path, output: str | Path) -> Path:
    """Return the file that the result of a case goes to.

    Args:
        case: The case.
        source: The input it was found in.
        output: A folder; or where the input is a single file, also a file name ending in a volume type.

    Returns:
        The output itself if it names a file, else `CASE.nii.gz` in the folder.

    Raises:
        UsageError: The input is a folder and the output names a file.
    """
    output = Path(output)
    names_file = split_suffix(output.name)[1] in VOLUME_SUFFIXES and not output.is_dir()
    if names_file and Path(source).is_dir():
        raise UsageError(f"the input '{source}' is a folder but the output '{output}' names a file; give a folder (-o)")
    return output if names_file else output / f"{case.name}.nii.gz"


def check_output(output: str | Path, *sources: str | Path | None) -> None:
    """Check that a command does not write into its own input.

    Args:
        output: The output file or folder.
        *sources: Input files or folders; None is passed over.

    Raises:
        UsageError: The output is an input file, or an input folder or inside one.
    """
    target = Path(output).resolve()
    for source in sources:
        if source is None:
            continue
        resolved = Path(source).resolve()
        if target == resolved or (resolved.is_dir() and resolved in target.parents):
            raise UsageError(
                f"the output '{output}' is inside the input '{source}', or is the same; choose another output (-o)"
            )


def pair_cases(first: str | Path, second: str | Path, cases: Sequence[Case], partners: Sequence[Case]) -> Pairs:
    """Pair the cases of two inputs by name; two single files belong together whatever their names.

    Args:
        first: The first input, a file or folder.
        second: The second input.
        cases: Cases of the first.
        partners: Cases of the second.

    Returns:
        The pairs, and what is left over of the second.

    Raises:
        UsageError: The first is a folder and the second a single file, or no case has a partner.
    """
    if not Path(second).is_dir():
        if Path(first).is_dir():
            raise UsageError(f"'{first}' is a folder but '{second}' is a single file; give two folders or two files")
        return Pairs(((cases[0], partners[0].path),), ())
    by_name: Mapping[str, Path] = {partner.name: partner.path for partner in partners}
    names = {case.name for case in cases}
    pairs = tuple((case, by_name[case.name]) for case in cases if case.name in by_name)
    if not pairs:
        raise UsageError(
            f"no case of '{first}' ({_few(cases)}) has a partner of the same name in '{second}' ({_few(partners)}); "
            "name the files that belong together alike"
        )
    surplus = tuple(p for p in partners if p.name not in names) if Path(first).is_dir() else ()
    return Pairs(pairs, surplus)


def _few(cases: Sequence[Case]) -> str:
    return ", ".join(case.name for case in cases[:5]) + (", ..." if len(cases) > 5 else "")
