"""Predicted structures against true ones, as volumes, slices and regions: files in, scores out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.evaluation.results import Evaluation, check_outputs, find_pairs, scores_content, scores_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nnunet_ext.batch import CaseResult
    from nnunet_ext.evaluation.structure_choice import StructureChoice
    from postproc.slice_scores import SliceScores
    from postproc.structure_scores import StructurePair

__all__ = ["evaluate_structures"]


def evaluate_structures(
    prediction: str | Path,
    reference: str | Path,
    output: str | Path,
    *,
    structures: str | Path | Mapping[str, int | Sequence[int]] = "all",
    regions: Mapping[str, str | Path] | None = None,
    end_slices: int | None = None,
    slice_axis: int = 0,
    csv: str | Path | None = None,
    workers: int = 1,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Compare predicted structures with true ones, case by case, and sum up.

    A figure without a basis is null in the file, and so is an infinite one; `infinite` of a structure lists those.
    Figures of slices are means of the finite values over the slices that either volume has the structure in; `n` is
    how many those are, `n_one_sided` in how many only one volume has it, so that no distance counts. `pooled_slices` of
    the summary is over all slices of all cases together, as seed 002 reports 2D scores.

    Args:
        prediction: A label volume, or a folder of them; or the output of `abbc-segment`.
        reference: The true labels: a volume, or a folder with volumes of the same names. A case without prediction has
            failed; a prediction without reference is noted.
        output: The file for the scores, ending in `.json`, or a folder for `scores.json`.
        structures: `all` labels that a case has, each by its number; or label numbers by name, as words or table; or a
            `dataset.json`. See `choose_structures`.
        regions: Masks in which the figures are given too, by name: a folder with a mask per case, or one mask for all.
        end_slices: Give the figures also of so many slices at either end of the structure in the reference: `first_end`
            (lowest indices), `last_end`, `ends` (both) and `between` (the slices between them).
        slice_axis: Axis that slices follow each other along, in array order (z, y, x).
        csv: A file ending in `.csv` for a row per case, structure and region; one per slice goes beside it as
            `NAME_slices.csv`.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        The scores.

    Raises:
        UsageError: An input holds nothing usable, an output would replace one, or an option makes no sense.
        DataError: The dataset.json has no usable labels.
        VolumeFileError: An input folder cannot be read, or an output cannot be written.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.atomic import write_json
    from nnunet_ext.batch import run_batch
    from nnunet_ext.evaluation.structure_choice import choose_structures, find_regions

    if slice_axis not in (0, 1, 2):
        raise UsageError(f"the slice axis is {slice_axis}; give 0, 1 or 2 for z, y or x (--slice-axis)")
    if end_slices is not None and end_slices < 1:
        raise UsageError(f"the number of end slices is {end_slices}; give 1 or more (--end-slices)")
    choice = choose_structures(structures)
    target = scores_file(output, csv)
    settings = {"choice": choice, "end_slices": end_slices, "slice_axis": slice_axis}
    tasks, surplus, notes = find_pairs(prediction, reference, settings)
    masks = find_regions(regions or {}, [task.name for task in tasks])
    for number, task in enumerate(tasks):
        missing = [name for name in regions or {} if name not in masks[task.name]]
        problem = f"no mask of this name for region {missing[0]}; add it, or leave the region out" if missing else ""
        arguments = {**task.arguments, "regions": masks[task.name]}
        tasks[number] = dataclasses.replace(task, arguments=arguments, problem=task.problem or problem)
    check_outputs(target, csv)
    batch = run_batch(_score_case, tasks, workers=workers, on_result=on_result, progress=progress, notes=notes)
    done = {result.name: result.details["structures"] for result in batch.results if result.status == "done"}
    notes = [*batch.notes, *_absent(choice, done)]
    content = scores_content(
        tasks,
        batch,
        {
            "structures": "all" if choice.labels is None else {n: list(ids) for n, ids in choice.labels.items()},
            "ignore_label": choice.ignore,
            "regions": list(regions or {}),
            "end_slices": end_slices,
            "slice_axis": slice_axis,
        },
        surplus,
        _summary(done),
        {name: {"structures": {key: _plain(own) for key, own in case.items()}} for name, case in done.items()},
        kind="structures",
    )
    write_json(target, content)
    if csv is not None:
        _write_tables(Path(csv), done)
    return Evaluation(dataclasses.replace(batch, notes=tuple(notes)), content)


def _score_case(
    reference: Path,
    prediction: Path,
    choice: StructureChoice,
    regions: Mapping[str, Path],
    end_slices: int | None,
    slice_axis: int,
) -> dict[str, Any]:
    """Return the parts of every structure: name of the part, figures of the volume, scores of the slices."""
    import numpy as np

    from label_gen.grid import enclose
    from nnunet_ext.volumes import check_same_grid, naming, read_labels
    from postproc.overlap import label_overlap
    from postproc.structure_scores import StructurePair

    true, found = read_labels(reference), read_labels(prediction)
    check_same_grid(found.grid, true.grid, str(prediction), str(reference))
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, path in regions.items():
        mask = read_labels(path)
        check_same_grid(mask.grid, true.grid, str(path), str(reference))
        masks[name] = mask.array > 0
    counts = None if choice.ignore is None else true.array != choice.ignore
    with naming(f"{prediction} against {reference}"):
        overlap = label_overlap(found.array, true.array)
        wanted = choice.labels
        if wanted is None:
            wanted = {str(label): (label,) for label in sorted({*overlap.reference, *overlap.prediction})}
        scores = {}
        for name, labels in wanted.items():
            places = [
                places[i].box for places in (overlap.reference, overlap.prediction) for i in labels if i in places
            ]
            box = enclose(places) if places else (slice(0, 1), slice(0, 1), slice(0, 1))
            first, second = (
                array[box] == labels[0] if len(labels) == 1 else np.isin(array[box], labels)
                for array in (found.array, true.array)
            )
            pair = StructurePair(first, second, true.spacing_mm, place=(box, true.array.shape))
            scores[name] = _score_parts(pair, masks, counts, end_slices, slice_axis)
    return {"structures": scores}


def _score_parts(
    pair: StructurePair,
    regions: Mapping[str, NDArray[np.bool_]],
    counts: NDArray[np.bool_] | None,
    end_slices: int | None,
    axis: int,
) -> dict[str, tuple[dict[str, float], SliceScores]]:
    """Return figures of the volume and scores of the slices, of the whole under the name "" and of every region."""
    from postproc.slice_scores import slices_of

    parts: dict[str, NDArray[np.bool_] | None] = {"": None, **regions}
    if end_slices is not None:
        ends = pair.end_slices(end_slices, axis, "both")
        parts["first_end"] = pair.end_slices(end_slices, axis, "first")
        parts["last_end"] = pair.end_slices(end_slices, axis, "last")
        parts["ends"], parts["between"] = ends, pair.end_slices(pair.shape[axis], axis, "both") & ~ends
    scores = {}
    for name, region in parts.items():
        own = region if counts is None else counts if region is None else counts & region
        scores[name] = (dataclasses.asdict(pair.score(own)), slices_of(pair, axis=axis, region=own))
    return scores


def _absent(choice: StructureChoice, done: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Yield a note for every structure that no volume has."""
    for name, labels in (choice.labels or {}).items():
        volumes = (case[name][""][0] for case in done.values())
        if done and all(own["reference_mm3"] == 0 and own["prediction_mm3"] == 0 for own in volumes):
            numbers = ", ".join(map(str, labels))
            yield f"structure {name} (label {numbers}) is in no volume; check its number"


def _slice_figures(slices: SliceScores) -> dict[str, float]:
    import numpy as np

    one_sided = int(np.isinf(slices.figures["asd_mm"]).sum())
    return {**slices.means(), "n": len(slices.index), "n_one_sided": one_sided}


def _plain(parts: Mapping[str, tuple[dict[str, float], SliceScores]]) -> dict[str, Any]:
    """Return the scores of a structure as the file has them."""
    entry: dict[str, Any] = {}
    infinite = []
    for name, (volume, slices) in parts.items():
        figures = {"volume": _finite(volume), "slices": _finite(_slice_figures(slices))}
        if name:
            entry.setdefault("regions", {})[name] = figures
        else:
            entry |= figures
        where = f"regions.{name}.volume" if name else "volume"
        infinite += [f"{where}.{key}" for key, value in volume.items() if math.isinf(value)]
    return {**entry, "infinite": infinite}


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _summary(done: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statistics of every structure over the cases, of the whole and of each region."""
    from postproc.scores import describe

    summary: dict[str, Any] = {}
    for structure in dict.fromkeys(name for case in done.values() for name in case):
        own = [case[structure] for case in done.values() if structure in case]
        for part in dict.fromkeys(name for parts in own for name in parts):
            scores = [parts[part] for parts in own if part in parts]
            pooled = [
                dict(zip(slices.figures, values, strict=True))
                for _, slices in scores
                for values in zip(*(column.tolist() for column in slices.figures.values()), strict=True)
            ]
            figures = {
                "volume": describe([volume for volume, _ in scores]),
                "slices": describe([_slice_figures(slices) for _, slices in scores]),
                "pooled_slices": describe(pooled),
            }
            entry = summary.setdefault(structure, {"cases": len(own)})
            if part:
                entry.setdefault("regions", {})[part] = figures
            else:
                entry |= figures
    return summary


def _write_tables(file: Path, done: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a row per case, structure and region to the file, and one per slice beside it."""
    from nnunet_ext.atomic import write_csv

    rows, lines = [], []
    for case, structures in done.items():
        for structure, parts in structures.items():
            for part, (volume, slices) in parts.items():
                head = {"case": case, "structure": structure, "region": part}
                means = {f"slices_{name}": value for name, value in _slice_figures(slices).items()}
                rows.append({**head, **_cells({**volume, **means})})
                columns = {name: values.tolist() for name, values in slices.figures.items()}
                for number, place in enumerate(slices.index.tolist()):
                    figures = {name: values[number] for name, values in columns.items()}
                    lines.append({**head, "slice": place, **_cells(figures)})
    write_csv(file, rows)
    write_csv(file.with_name(f"{file.stem}_slices.csv"), lines)


def _cells(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}
