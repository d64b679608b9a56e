"""Run a study: make or link its cases, plan, run the cells here, on several GPUs or a cluster, and write the tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.atomic import check_writable, write_json
from nnunet_ext.batch import BatchResult, CaseResult, Task, run_batch
from nnunet_ext.manifest import Manifest
from nnunet_ext.modelling.stages import Stages
from nnunet_ext.studies.cell_run import CellWork, run_cell
from nnunet_ext.studies.data import (
    Source,
    TrainingSet,
    dataset_names,
    find_source,
    training_sets,
    user_folder,
    write_set,
    write_test,
)
from nnunet_ext.studies.folder import MADE_CASES, StudyFolder
from nnunet_ext.studies.launching import run_entry_measured
from nnunet_ext.studies.locks import hold
from nnunet_ext.studies.pictures import draw_study
from nnunet_ext.studies.plans import plan_set
from nnunet_ext.studies.simulating import NAMES
from nnunet_ext.studies.study import Cell, Study
from nnunet_ext.studies.tables import write_tables
from nnunet_ext.training.folders import read_json

__all__ = ["Machines", "prepare_study", "run_study", "works_of"]

PROG = "abbc-study"


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Where cells run.

    Attributes:
        device: `cuda`, `cpu` or `mps`.
        gpus: GPUs of this machine, one cell at a time on each; empty for one cell at a time on what torch takes.
        workers: Cells at the same time where no GPUs are named.
        dask: Address of a Dask scheduler whose workers run the cells instead; empty for this machine.
    """

    device: str = "cuda"
    gpus: tuple[int, ...] = ()
    workers: int = 1
    dask: str = ""

    def __post_init__(self) -> None:
        if self.gpus and (self.device != "cuda" or self.dask):
            raise UsageError(
                "GPUs are shared out on this machine and with -device cuda only; leave out --gpus, or --dask and the "
                "other device. A Dask worker takes the GPU that its CUDA_VISIBLE_DEVICES names"
            )
        if len(set(self.gpus)) < len(self.gpus) or min(self.gpus, default=0) < 0 or self.workers < 1:
            raise UsageError("--gpus takes different numbers from 0, --workers a number from 1")


def run_study(
    study: Study,
    output: str | Path,
    *,
    smoke: bool = False,
    machines: Machines | None = None,
    anatomies: str | Path | None = None,
    weights: str | int | Path | None = None,
    cells: Sequence[str] = (),
    redo: Sequence[str] = (),
    stages: Sequence[str] = ("prepare", "cells", "tables"),
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
    say: Callable[[str], None] = print,
) -> BatchResult:
    """Run a study, or what is left of it.

    Writes into the output `nnunet/` (raw and preprocessed training sets), `test/`, for each cell `cells/CELL/` with its
    results, predictions, `scores.json` and `record.json`, and `table.csv`, `table.md`, `plots/` and the manifest
    `abbc-study.json`. A finished cell is not repeated; one that was interrupted goes on.

    Args:
        study: The study; as it runs, so reduced already where it is to be reduced.
        output: The folder.
        smoke: It is a reduced study; its commands are forked from a process that has the libraries loaded.
        machines: Where cells run; one after the other on CUDA if None.
        anatomies: Bone labels that simulated cases begin from, a volume or a folder.
        weights: Model that cells are fine-tuned from, its folder or its number among TotalSegmentator's; without it
            those cells are left out.
        cells: Only these.
        redo: Cells to be done anew.
        stages: Of `prepare`, `cells` and `tables`.
        on_result: Called with the result of each cell.
        progress: Show a bar on stderr if that is a terminal.
        say: Called with a line about each step.

    Returns:
        What came of each cell.

    Raises:
        UsageError: There is no such cell, the folder is that of another study, or something was made otherwise.
        FractureError: The cases cannot be made, found or planned.
    """
    machines = machines or Machines()
    folder = StudyFolder(Path(output).absolute(), machines.device, reduced=smoke)
    wanted = _wanted(study, cells, redo, weights)
    notes = [f"left out, as --weights is not given: {cell.name}" for cell in study.cells if _lacks(cell, weights)]
    if study.data.dataset is not None:  # what is wrong with it is told before anything is made
        training_sets(study, find_source(user_folder(study.data.dataset), study.data))
    if study.data.simulate == "pelves" and study.data.test_donors and anatomies is not None:
        raise UsageError(
            "pelves made from label volumes would have the same shapes in training and test; leave --anatomies out, or "
            "make them by abbc-simulate-fractures and abbc-prepare-dataset --test, and name that dataset (-d)"
        )
    _claim(study, folder, anatomies, smoke=smoke)
    for name in redo:
        shutil.rmtree(folder.cell(name), ignore_errors=True)
    _check_made_alike(wanted, folder)
    if "prepare" in stages or "cells" in stages:
        sets = prepare_study(
            study, folder, wanted, anatomies=anatomies, weights=weights, workers=machines.workers, say=say
        )
    results: tuple[CaseResult, ...] = ()
    if "cells" in stages:
        works = works_of(study, folder, wanted, sets, machines)
        done = _run_cells(study, works, machines, on_result, progress)
        results, notes = done.results, [*notes, *done.notes]
    if "tables" in stages:
        found = write_tables(study, folder)
        drawn = draw_study(study, folder, found)
        say(f"{len(found)} of {len(study.cells)} cells are in table.md and table.csv; {len(drawn)} plots")
    return BatchResult(results, tuple(notes))


def _lacks(cell: Cell, weights: str | int | Path | None) -> bool:
    return cell.needs_weights and weights is None


def _wanted(
    study: Study, cells: Sequence[str], redo: Sequence[str], weights: str | int | Path | None
) -> tuple[Cell, ...]:
    known = {cell.name: cell for cell in study.cells}
    for name in (*cells, *redo):
        if name not in known:
            raise UsageError(f"there is no cell '{name}'; there are {', '.join(known)} (--cells, --redo)")
        if name in cells and _lacks(known[name], weights):
            raise UsageError(
                f"cell '{name}' goes on from the weights of another model; give its folder, or its number among "
                "TotalSegmentator's (--weights)"
            )
    if weights is not None and not str(weights).isdigit() and not Path(str(weights)).is_dir():
        raise UsageError(f"there is no folder '{weights}'; give that of a trained model (--weights)")
    names = [name for name in known if name in cells] if cells else list(known)
    return tuple(known[name] for name in names if not _lacks(known[name], weights))


def _claim(study: Study, folder: StudyFolder, anatomies: str | Path | None, *, smoke: bool) -> None:
    """Take the folder for this study, unless it is another's."""
    file = folder.path / "study.json"
    check_writable(file)
    about = {"study": study.name, "smoke": smoke, "data": asdict(study.data)}
    about |= {"anatomies": None if anatomies is None else Path(anatomies).name}
    about = json.loads(json.dumps(about))
    if file.is_file():
        before = read_json(file, "move it away, or choose another folder (-o)")
        if differing := [key for key in about if before.get(key) != about[key]]:
            raise UsageError(
                f"'{folder.path.name}' is the folder of another study, or of one on other cases ({differing[0]}: "
                f"{before.get(differing[0])} before, {about[differing[0]]} now); choose another folder (-o)"
            )
    else:
        write_json(file, about)


def _check_made_alike(cells: Sequence[Cell], folder: StudyFolder) -> None:
    for cell in cells:
        file = folder.cell(cell.name) / "settings.json"
        before = read_json(file, f"do the cell anew (--redo {cell.name})") if file.is_file() else {}
        now = json.loads(json.dumps(cell.settings()))
        if differing := [key for key in now if before and before.get(key) != now[key]]:
            key = differing[0]
            raise UsageError(
                f"cell '{cell.name}' was made with other settings ({key}: {before.get(key)} before, {now[key]} now); "
                f"do it anew (--redo {cell.name}), or choose another folder (-o)"
            )


def prepare_study(
    study: Study,
    folder: StudyFolder,
    cells: Sequence[Cell],
    *,
    anatomies: str | Path | None = None,
    weights: str | int | Path | None = None,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> dict[int | None, TrainingSet]:
    """Make or link the cases, and plan and preprocess the training sets of the cells, where that is not done yet.

    Args:
        study: The study.
        folder: Its folder.
        cells: Those that will run.
        anatomies: Bone labels that simulated cases begin from.
        weights: Model that cells are fine-tuned from.
        workers: Processes.
        say: Called with a line about each step.

    Returns:
        The training sets by number of cases.

    Raises:
        UsageError: The dataset is not there, or lacks what the study names.
        FractureError: A command failed, or a file cannot be read or written.
    """
    data = study.data
    model = str(weights) if weights is None or str(weights).isdigit() else str(Path(str(weights)).absolute())
    log = folder.path / "prepare.log"

    def run(command: str, arguments: Sequence[str]) -> None:
        run_entry_measured(
            command, arguments, environment=folder.environment(), log=log, seed=data.seed, warm=folder.reduced
        )

    with hold(folder.path / "locks" / "prepare"):
        stages = Stages(folder.path, say=say)
        if data.simulate:
            words = [data.simulate, "-d", str(MADE_CASES), "--donors", str(data.donors)]
            words += ["--test-donors", str(data.test_donors), "--seed", str(data.seed)]
            words += ["--spacing", str(data.spacing_mm), "--workers", str(workers)]
            words += [] if anatomies is None else ["--anatomies", str(Path(anatomies).absolute())]

            def simulate(anew: bool) -> Mapping[str, Any]:
                run("abbc-study-cases", words)
                return {}

            stages.run("cases", asdict(data), simulate)
            place = folder.raw(f"Dataset{MADE_CASES:03d}_{NAMES[data.simulate]}")
        else:
            place = user_folder(data.dataset if data.dataset is not None else "")
        source = find_source(place, data)
        sets = training_sets(study, source)
        chosen = {cell.cases: sets[cell.cases] for cell in cells}
        _link_cases(stages, folder, source, chosen.values())
        for cases, one in chosen.items():
            own = [cell for cell in study.cells if cell.cases == cases and not _lacks(cell, weights)]
            settings = {"cells": sorted({f"{cell.plans}: {cell.configuration_name}" for cell in own})}

            def plan(anew: bool, one: TrainingSet = one, own: Sequence[Cell] = own) -> Mapping[str, Any]:
                return plan_set(folder, one, own, run, workers, model)

            stages.run(f"plan-{one.number}", settings, plan, after=[f"set-{one.number}"], is_cheap=True)
    return sets


def _link_cases(stages: Stages, folder: StudyFolder, source: Source, sets: Iterable[TrainingSet]) -> None:
    """Make the training sets and the test set, unless they are there."""
    wanted: dict[str, tuple[dict[str, Any], Callable[[], None]]] = {
        f"set-{one.number}": (
            {"cases": list(one.cases), "folds": list(one.folds)},
            lambda one=one: write_set(folder, source, one),  # type: ignore[misc]
        )
        for one in sets
    }
    wanted["test"] = {"cases": list(source.test)}, lambda: write_test(folder, source)
    for name, (about, link) in wanted.items():
        before = stages.record(name)
        if before is not None and before["settings"] != json.loads(json.dumps(about)):
            raise UsageError(
                f"the cases of the dataset changed since '{folder.path.name}' was begun (stage '{name}'); choose "
                "another folder (-o)"
            )

        def work(anew: bool, link: Callable[[], None] = link) -> Mapping[str, Any]:
            link()
            return {}

        stages.run(name, about, work)


def works_of(
    study: Study,
    folder: StudyFolder,
    cells: Sequence[Cell],
    sets: Mapping[int | None, TrainingSet] | None,
    machines: Machines,
) -> dict[str, CellWork]:
    """Return what each cell needs to run.

    Args:
        study: The study.
        folder: Its folder.
        cells: The cells.
        sets: Their training sets; without cases, as they are called before they are made, if None.
        machines: Where cells run.
    """
    names = dataset_names(study)
    chosen = sets or {cases: TrainingSet(number, name, (), ()) for cases, (number, name) in names.items()}
    return {
        cell.name: CellWork(cell, folder, chosen[cell.cases], study.metrics, study.data.seed, machines.gpus)
        for cell in cells
    }


def _run_cells(
    study: Study,
    works: Mapping[str, CellWork],
    machines: Machines,
    on_result: Callable[[CaseResult], None] | None,
    progress: bool,
) -> BatchResult:
    if not works:
        return BatchResult(())
    folder = next(iter(works.values())).folder
    if machines.device == "cuda" and not machines.dask:
        from nnunet_ext.devices import choose_device

        choose_device("cuda")
    runner = None
    if machines.dask:
        from nnunet_ext.simulation.cluster import run_on_dask

        runner = run_on_dask(machines.dask)
    tasks = [Task(name, (folder.record(name),), {"work": work}) for name, work in works.items()]
    settings = {"study": study.name, "device": machines.device, "cells": len(study.cells)}
    return run_batch(
        run_cell,
        tasks,
        workers=len(machines.gpus) or machines.workers,
        manifest=Manifest(folder.path / f"{PROG}.json", PROG, settings, study.data.seed),
        on_result=on_result,
        progress=progress,
        runner=runner,
    )
