"""Correct a finished case: fragments joined, cut, regrown or recovered afresh, and everything that follows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from label_gen.classes import ABBC
from label_gen.errors import UsageError, VolumeFileError
from nnunet_ext.grids import Grid, check_same_grid
from nnunet_ext.schemes import list_schemes, load_scheme
from nnunet_ext.segmentation.case_folder import RUN, write_products, write_run
from nnunet_ext.segmentation.clock import Clock
from nnunet_ext.segmentation.frames import index_map, resampled
from nnunet_ext.segmentation.products import make_products
from nnunet_ext.segmentation.settings import Settings
from nnunet_ext.segmentation.work import read_work, write_fragments
from nnunet_ext.volumes import read_labels
from postproc.corrections import Correction, Split, correct_fragments, regrow

__all__ = ["correct_case", "is_case_folder", "parse_merge", "parse_split"]

STALE = "segmentation.dcm"
"""Cannot be written again without the DICOM files, and would contradict the rest."""


def is_case_folder(path: str | Path) -> bool:
    """Say whether a path is the folder of a case that `abbc-segment` finished.

    Args:
        path: The path.
    """
    return (Path(path) / RUN).is_file() and (Path(path) / "work" / "abbc.npz").is_file()


def parse_merge(text: str) -> tuple[int, ...]:
    """Read which fragments to join.

    Args:
        text: Numbers with commas between: `11,12`.

    Raises:
        UsageError: It is not of that form.

    Example:
        >>> parse_merge("11,12")
        (11, 12)
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) < 2:
        raise UsageError(f"fragments to join are given as 11,12 (--merge). Got: {text}")
    return numbers


def parse_split(text: str) -> tuple[int, tuple[tuple[float, float, float], ...]]:
    """Read which fragment to cut, and between which points.

    Args:
        text: Number, `@`, and points in LPS millimetres with semicolons between: `21@X,Y,Z;X,Y,Z`.

    Returns:
        The number and the points (x, y, z).

    Raises:
        UsageError: It is not of that form.

    Example:
        >>> parse_split("21@10,-4.5,3;12,0,3")
        (21, ((10.0, -4.5, 3.0), (12.0, 0.0, 3.0)))
    """
    label, _, rest = text.partition("@")
    try:
        points = [tuple(float(value) for value in point.split(",")) for point in rest.split(";")]
        if len(points) > 1 and all(len(point) == 3 and np.isfinite(point).all() for point in points):
            return int(label), tuple((point[0], point[1], point[2]) for point in points)
    except ValueError:
        pass
    raise UsageError(f'a fragment to cut is given as "21@X,Y,Z;X,Y,Z", LPS millimetres (--split). Got: {text}')


def correct_case(
    case: str | Path,
    *,
    merge: Sequence[Sequence[int]] = (),
    split: Sequence[tuple[int, Sequence[Sequence[float]]]] = (),
    seeds: str | Path | None = None,
    scheme: str | Path | None = None,
) -> dict[str, Any]:
    """Correct a finished case, and write again all that depends on its fragments.

    Corrections go on from the fragments as they are: first those painted, then joins, then cuts. Without any, the
    fragments are recovered afresh from the probabilities, which takes earlier corrections back.

    Args:
        case: Folder of the case, `OUT/CASE`.
        merge: Groups of fragments to be joined.
        split: Fragments to be cut, each with two or more points in LPS millimetres (x, y, z).
        seeds: Label volume in the CT's voxels, an edited `segmentation.nii.gz`: what it holds is kept as it is, the
            rest of these bones is grown anew.
        scheme: The scheme file, where the case was made by one of one's own; those of the project are known.

    Returns:
        What `run.json` notes of the correction.

    Raises:
        UsageError: It is no such folder, or a correction makes no sense.
        DataError: Files do not belong together.
        VolumeFileError: A file cannot be read or written.
    """
    folder, clock = Path(case), Clock()
    run = _read_run(folder)
    settings = _settings(run)
    is_own = settings.scheme not in list_schemes()
    if is_own and scheme is None:
        raise UsageError(f"the case was made with the scheme file '{settings.scheme}'; give it again (--scheme)")
    bands = load_scheme(scheme if is_own and scheme is not None else settings.scheme)
    with clock.stage("read"):
        work = read_work(folder, bands)
        labels = read_labels(folder / "work" / "fragments.nii.gz")
        check_same_grid(labels.grid, work.bones.grid, "fragments.nii.gz", "bones.nii.gz")
    now = Correction(labels.array.astype(np.uint16), {int(k): str(v) for k, v in run["bones_of_fragments"].items()}, ())
    spacing, made = work.bones.spacing_mm, list[str]()
    is_afresh = seeds is None and not merge and not split
    with clock.stage("correct"):
        classes = work.probabilities.argmax(axis=0).astype(np.uint8)
        if is_afresh:
            recovered = work.recover(bands)
            found = {fragment.fragment_id: fragment.bone for fragment in recovered.fragments}
            now = Correction(recovered.labels, found, recovered.warnings)
            made += now.decisions
        if seeds is not None:
            edited = read_labels(seeds, allow_empty=False)
            check_same_grid(edited.grid, work.ct_grid, Path(seeds).name, "the segmentation of the case")
            painted = resampled(edited.array, edited.grid, work.bones.grid, order=0)
            now = regrow(
                painted,
                now.labels,
                now.bones,
                spacing,
                classes=classes,
                anatomy=work.bones.array,
                scheme=bands,
            )
            made += now.decisions
        cuts = [Split(label, tuple(_index(work.bones.grid, point) for point in points)) for label, points in split]
        if merge or cuts:
            now = correct_fragments(
                now.labels,
                now.bones,
                spacing,
                is_border=classes == ABBC.BORDER,
                scheme=bands,
                merge=merge,
                split=cuts,
            )
            made += now.decisions
    decisions = made if is_afresh else [*map(str, run["decisions"]), *_since_recovery(run), *made]
    products = make_products(
        work,
        now.labels,
        now.bones,
        scheme=bands,
        settings=settings,
        decisions=decisions,
        clock=clock,
    )
    note: dict[str, Any] = {"merge": [list(group) for group in merge], "seeds": seeds is not None}
    note |= {"split": [{"label": label, "points_lps_mm": points} for label, points in split]}
    note |= {"afresh": is_afresh, "decisions": made}
    warnings = [*run["warnings"], *products.warnings]
    if (folder / STALE).exists():
        (folder / STALE).unlink()
        warnings.append(f"{STALE} showed the fragments before the correction and was removed")
    warnings = list(dict.fromkeys(warnings))
    run |= {"bones_of_fragments": dict(now.bones), "warnings": warnings, "corrections": [*run["corrections"], note]}
    with clock.stage("write work"):
        write_fragments(work, now.labels, folder / "work")
    write_products(folder, work, products, settings=settings, instances=(), warnings=warnings, run=run, clock=clock)
    note |= clock.to_dict()
    write_run(folder, run, None)
    return note


def _read_run(folder: Path) -> dict[str, Any]:
    if not is_case_folder(folder):
        raise UsageError(
            f"'{folder.name}' is no finished case of abbc-segment: give OUT/CASE, with its run.json and its folder work"
        )
    try:
        run: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
        _ = run["settings"]["scheme"], run["corrections"], run["bones_of_fragments"], run["warnings"], run["decisions"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VolumeFileError(
            f"'{RUN}' of '{folder.name}' cannot be used ({error}); run abbc-segment again with --overwrite"
        ) from error
    return run


def _since_recovery(run: dict[str, Any]) -> list[str]:
    """Return what earlier corrections decided, from the last fresh recovery on."""
    notes = run["corrections"]
    last = max((index for index, note in enumerate(notes) if note["afresh"]), default=-1)
    return [str(text) for note in notes[last + 1 :] for text in note["decisions"]]


def _settings(run: dict[str, Any]) -> Settings:
    """Return the settings that matter after recovery, as the case was made."""
    known = {field.name for field in fields(Settings)} & {"scheme", "clearance_mm", "meshes", "report"}
    return Settings(**{key: run["settings"][key] for key in sorted(known)})


def _index(grid: Grid, point: Sequence[float]) -> tuple[float, float, float]:
    """Return where a point of the patient lies in a grid, as an index (z, y, x)."""
    x, y, z = (float(value) for value in point)
    place = index_map(grid, Grid((1, 1, 1), (1.0, 1.0, 1.0), (x, y, z))).offset
    return float(place[0]), float(place[1]), float(place[2])
