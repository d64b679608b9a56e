"""Find the images of a source and their labels by patterns, in whichever of several layouts it has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from label_gen.errors import UsageError, VolumeFileError
from nnunet_ext.cases import VOLUME_SUFFIXES, split_suffix
from nnunet_ext.recipes import Layout
from nnunet_ext.training.splits import few

__all__ = ["FoundCases", "SourceCase", "find_source_cases", "layouts_of_options"]

_SAFE_NAME = re.compile("[A-Za-z0-9_-][A-Za-z0-9._-]*")
_TOKEN = re.compile(r"\*\*/|\*|\{case\}")


@dataclass(frozen=True)
class SourceCase:
    """One case of a source.

    Attributes:
        name: Its name.
        image: The image file.
        labels: The label file, or None if there is none.
        problem: Why it cannot be used; empty if it can.
        anatomy: The volume of whole bones, where the layout has such.
    """

    name: str
    image: Path
    labels: Path | None
    problem: str = ""
    anatomy: Path | None = None


@dataclass(frozen=True)
class FoundCases:
    """What was found in a source.

    Attributes:
        cases: The cases with an image, sorted by name.
        layout: The layout that fits best.
        notes: What the user ought to know.
    """

    cases: tuple[SourceCase, ...]
    layout: Layout
    notes: tuple[str, ...]


def layouts_of_options(images: str, labels: str) -> tuple[Layout, ...]:
    """Return the layouts that two folders or patterns stand for.

    Args:
        images: Folder or pattern of the images, relative to the source or absolute.
        labels: The same of the labels.

    Returns:
        One layout, or for folders also that with nnU-Net's `CASE_0000`.
    """

    def complete(text: str, tail: str) -> str:
        return text if "{case}" in text else f"{text.rstrip('/')}/{{case}}{tail}"

    first = Layout(complete(images, ""), complete(labels, ""))
    second = Layout(complete(images, "_0000"), first.labels)
    return (first,) if first == second else (first, second)


def find_source_cases(source: str | Path, layouts: Sequence[Layout], *, without: Path | None = None) -> FoundCases:
    """Find the cases of a source.

    Upper and lower case of folder and file names count as the same in the fixed parts of the patterns.

    Args:
        source: The folder of the source.
        layouts: Ways in which its files may lie; the one with the most pairs of image and labels is taken.
        without: A folder to be passed over (nnUNet_raw, if it lies inside the source).

    Returns:
        The cases of the best layout. A case without labels or found twice has a `problem`.

    Raises:
        UsageError: The source is no folder, or no layout gives a pair, or a name is not safe.
        VolumeFileError: A folder cannot be read.
    """
    source = Path(source)
    if not source.is_dir():
        what = "is a file; unpack it and give the folder" if source.exists() else "does not exist; check the path"
        raise UsageError(f"the source '{source}' {what}")
    listings: dict[Path, list[tuple[str, Path]]] = {}
    best: tuple[int, Layout, dict[str, list[Path]], dict[str, list[Path]]] | None = None
    for layout in layouts:
        images, labels = (_match(source, pattern, listings, without) for pattern in (layout.images, layout.labels))
        pairs = len(images.keys() & labels.keys())
        if pairs and (best is None or pairs > best[0]):
            best = (pairs, layout, images, labels)
    if best is None:
        raise _nothing(source, layouts, listings)
    _, layout, images, labels = best
    bones = _match(source, layout.anatomy, listings, without) if layout.anatomy else {}
    cases = tuple(
        _case(name, images[name], labels.get(name, []), bones.get(name, []), layout) for name in sorted(images)
    )
    surplus = sorted(labels.keys() - images.keys())
    notes = (f"labels without an image are left out: {few(surplus)}",) if surplus else ()
    return FoundCases(cases, layout, notes)


def _case(name: str, images: list[Path], labels: list[Path], bones: list[Path], layout: Layout) -> SourceCase:
    if not _SAFE_NAME.fullmatch(name):
        raise UsageError(
            f"the name of '{images[0]}' cannot become a case name ('{name}'); rename it with letters A-Z a-z, digits, "
            "'.', '_' and '-' only, and without patient data"
        )
    problem = ""
    for files in (images, labels, bones):
        if len(files) > 1:
            problem = f"it is there twice: {', '.join(str(file) for file in sorted(files))}; keep one of them"
    if not labels:
        problem = f"'{images[0]}' has no labels ({layout.labels}); add them, or take the image away"
    elif layout.anatomy and not bones:
        problem = f"'{images[0]}' has no volume of whole bones ({layout.anatomy}); add it, or take the image away"
    return SourceCase(name, images[0], labels[0] if labels else None, problem, bones[0] if bones else None)


def _match(
    source: Path, pattern: str, listings: dict[Path, list[tuple[str, Path]]], without: Path | None
) -> dict[str, list[Path]]:
    """Return the files that fit a pattern, by case."""
    base = source
    if Path(pattern).is_absolute() or pattern.startswith(".."):
        parts = pattern.split("/")
        fixed = next(i for i, part in enumerate(parts) if _TOKEN.search(part + "/"))
        base, pattern = source / "/".join(parts[:fixed] or ["/"]), "/".join(parts[fixed:])
    if base not in listings:
        listings[base] = [
            (path.relative_to(base).with_name(split_suffix(path.name)[0]).as_posix(), path)
            for path in _volumes(base, without)
        ]
    expression = _compile(pattern.removeprefix("./"))
    found: dict[str, list[Path]] = {}
    for relative, path in listings[base]:
        if match := expression.fullmatch(relative):
            found.setdefault(match["case"], []).append(path)
    return found


def _compile(pattern: str) -> re.Pattern[str]:
    text, end, named = "", 0, False
    for token in _TOKEN.finditer(pattern):
        text += re.escape(pattern[end : token.start()])
        if token[0] == "{case}":
            text += "(?P=case)" if named else "(?P<case>[^/]+?)"
            named = True
        else:
            text += "(?:[^/]+/)*" if token[0] == "**/" else "[^/]*"
        end = token.end()
    return re.compile(text + re.escape(pattern[end:]), re.IGNORECASE)


def _volumes(base: Path, without: Path | None) -> Iterator[Path]:
    """Yield the volume files below a folder in order; follow links to folders, each folder once."""

    def fail(error: OSError) -> None:
        raise VolumeFileError(
            f"cannot read '{error.filename}': {error.strerror or error}; check your permission to read it"
        ) from error

    if not base.is_dir():
        return
    seen = {os.path.realpath(without)} if without is not None else set()
    for folder, folders, files in os.walk(base, followlinks=True, onerror=fail):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if split_suffix(name)[1] in VOLUME_SUFFIXES and not name.startswith("."):
                yield Path(folder) / name


def _nothing(source: Path, layouts: Sequence[Layout], listings: dict[Path, list[tuple[str, Path]]]) -> UsageError:
    looked = "; ".join(f"{layout.images} with {layout.labels}" for layout in layouts)
    seen = sorted({path.name for listing in listings.values() for _, path in listing})
    zips = sorted(path.name for path in source.glob("*.zip"))
    hint = f"unpack {few(zips, 3)} first" if zips else "give the places with --images and --labels, or another source"
    return UsageError(
        f"no pair of image and labels in '{source}': looked for {looked} (types {', '.join(VOLUME_SUFFIXES)}); "
        f"volumes seen there: {few(seen, 3) or 'none'}; {hint}"
    )
