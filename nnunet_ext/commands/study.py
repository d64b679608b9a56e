"""`abbc-study`: a study as a whole: cases, plans, trainings, predictions, scores, tables and plots."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.commands._cli import DONE, make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["main", "study", "study_commands"]

PROG = "abbc-study"
DEVICES = ("cuda", "cpu", "mps")
STAGES = ("prepare", "cells", "tables")

DESCRIPTION = """Run a study: a file names data, a grid of trainings, a test set and metrics; each cell of the grid is
trained, predicts the test set and is scored by nnU-Net's and this package's own commands. Finished cells are not
repeated, interrupted ones go on: run the same command again. Studies that come with the package: femur_2d_backbones,
femur_nnunet_search, triplanar_data_efficiency."""


def study(
    file: str | Path,
    output: str | Path,
    *,
    smoke: bool = False,
    dataset: int | str | None = None,
    anatomies: str | Path | None = None,
    weights: str | int | Path | None = None,
    cells: Sequence[str] = (),
    redo: Sequence[str] = (),
    stages: Sequence[str] = STAGES,
    device: str | None = None,
    gpus: Sequence[int] = (),
    workers: int = 1,
    dask: str | None = None,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
    say: Callable[[str], None] = print,
) -> BatchResult:
    """Run a study, or what is left of it.

    Writes into the output `table.csv`, `table.md`, `plots/`, and for each cell `cells/CELL/record.json` (settings, wall
    and processor time, peak memory of GPU and machine, inference time per volume) and `cells/CELL/scores.json`.

    Args:
        file: Name of a study that comes with the package, or a `.toml` file.
        output: The folder.
        smoke: Reduce it: coarse simulated cases, tiny networks, few steps, on the processor.
        dataset: Number or name of a dataset in nnUNet_raw to run it on instead of the file's.
        anatomies: Bone labels that simulated cases begin from, a volume or a folder.
        weights: Model that cells are fine-tuned from, its folder or its number among TotalSegmentator's; without it
            those cells are left out.
        cells: Only these.
        redo: Cells to be done anew.
        stages: Of `prepare` (cases and plans), `cells` and `tables`.
        device: `cuda`, `cpu` or `mps`; `cuda`, for a reduced study `cpu`, if None.
        gpus: GPUs of this machine, one cell at a time on each.
        workers: Cells at the same time where no GPUs are named; and processes that prepare.
        dask: Address of a Dask scheduler whose workers run the cells; they need the same folders.
        on_result: Called with the result of each cell.
        progress: Show a bar on stderr if that is a terminal.
        say: Called with a line about each step.

    Returns:
        What came of each cell.

    Raises:
        UsageError: The study file is wrong (the message names the line), or an option makes no sense.
        FractureError: The cases cannot be made, found or planned.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.studies.reading import read_study
    from nnunet_ext.studies.run import Machines, run_study
    from nnunet_ext.studies.smoke import reduce_study

    for stage in stages:
        if stage not in STAGES:
            raise UsageError(f"there is no stage '{stage}'; there are {', '.join(STAGES)} (--stage)")
    read = read_study(file, dataset=dataset)
    machines = Machines(
        device=device or ("cpu" if smoke else "cuda"), gpus=tuple(gpus), workers=workers, dask=dask or ""
    )
    return run_study(
        reduce_study(read) if smoke else read,
        output,
        smoke=smoke,
        machines=machines,
        anatomies=anatomies,
        weights=weights,
        cells=cells,
        redo=redo,
        stages=stages,
        on_result=on_result,
        progress=progress,
        say=say,
    )


def study_commands(
    file: str | Path,
    output: str | Path,
    *,
    smoke: bool = False,
    dataset: int | str | None = None,
    cells: Sequence[str] = (),
    device: str | None = None,
    options: Sequence[str] = (),
) -> list[str]:
    """Return the lines to be run by any scheduler: one to prepare, one per cell, one for the tables.

    Args:
        file: Name of a study that comes with the package, or a `.toml` file.
        output: The folder.
        smoke: Of the reduced study.
        dataset: Number or name of a dataset in nnUNet_raw to run it on instead of the file's.
        cells: Only these.
        device: `cuda`, `cpu` or `mps`.
        options: Further options of each line.

    Returns:
        The lines; those of cells, which may run in any order and at the same time, follow as comments the ordinary
        commands that they run.

    Raises:
        UsageError: The study file is wrong, or there is no such cell.
    """
    import shlex

    from label_gen.errors import UsageError
    from nnunet_ext.studies.cell_run import cell_commands
    from nnunet_ext.studies.folder import StudyFolder
    from nnunet_ext.studies.reading import read_study
    from nnunet_ext.studies.run import Machines, works_of
    from nnunet_ext.studies.smoke import reduce_study

    read = read_study(file, dataset=dataset)
    whole = reduce_study(read) if smoke else read
    known = {cell.name: cell for cell in whole.cells}
    if strange := [name for name in cells if name not in known]:
        raise UsageError(f"there is no cell '{strange[0]}'; there are {', '.join(known)} (--cells)")
    machines = Machines(device=device or ("cpu" if smoke else "cuda"))
    folder = StudyFolder(Path(output).absolute(), machines.device)
    wanted = [cell for name, cell in known.items() if not cells or name in cells]
    line = [PROG, str(file), "-o", str(output), *(["--smoke"] if smoke else [])]
    line += [] if dataset is None else ["-d", str(dataset)]
    line += [] if device is None else ["-device", device]
    line += options
    lines = ["# 1. cases and plans, once", shlex.join([*line, "--stage", "prepare"])]
    lines.append("# 2. the cells, in any order and at the same time; each runs the commands above it in its folder")
    for name, work in works_of(whole, folder, wanted, None, machines).items():
        lines += [f"#    {command}" for command in cell_commands(work)]
        lines.append(shlex.join([*line, "--stage", "cells", "--cells", name]))
    return [*lines, "# 3. tables and plots", shlex.join([*line, "--stage", "tables"])]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, DESCRIPTION)
    add = parser.add_argument
    add("study", metavar="STUDY", help="name of a study that comes with the package, or a TOML file")
    add("-o", "--output", metavar="OUT", help="folder for everything")
    add("--smoke", action="store_true", help="reduced: coarse simulated cases, tiny networks, few steps, on the "
        "processor")  # fmt: skip
    add("-d", dest="dataset", metavar="DATASET", help="number or name of a dataset in nnUNet_raw to run it on, instead "
        "of the file's; its imagesTs and labelsTs are the test set")  # fmt: skip
    add("--anatomies", metavar="LABELS", help="bone labels that simulated cases begin from, a volume or a folder")
    add("--weights", metavar="MODEL", help="model that cells are fine-tuned from: its folder, or its number among "
        "TotalSegmentator's (294: hips and femora); without it those cells are left out")  # fmt: skip
    add("--cells", nargs="+", default=[], metavar="CELL", help="only these cells")
    add("--redo", nargs="+", default=[], metavar="CELL", help="do these cells anew")
    add("--stage", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE", help="only these: prepare, cells, "
        "tables")  # fmt: skip
    add("--list", action="store_true", help="print the cells, run nothing")
    add(
        "--print-commands",
        action="store_true",
        help="print a line for each cell to be run by any scheduler, run nothing",
    )
    add("-device", choices=DEVICES, help="cuda unless --smoke is given")
    add("--gpus", type=int, nargs="+", default=[], metavar="N", help="GPUs of this machine, one cell at a time on each")
    add("--workers", type=int, default=1, metavar="N", help="cells at the same time where no GPUs are named")
    add("--dask", metavar="ADDRESS", help="run the cells on the Dask cluster with this scheduler (extra dask)")
    options = parser.parse_args(argv)
    if options.output is None and not options.list:
        parser.error("the following arguments are required: -o/--output")

    def work() -> int:
        if options.list:
            from nnunet_ext.studies.reading import read_study

            for cell in read_study(options.study, dataset=options.dataset).cells:
                words = " ".join(str(fold) for fold in cell.folds)
                print(f"{cell.name}\t{cell.configuration_name}\t{cell.trainer_name}\t{cell.plans}\tfolds {words}")
            return DONE
        if options.print_commands:
            more = [
                word
                for key in ("anatomies", "weights")
                if (value := getattr(options, key))
                for word in (f"--{key}", value)
            ]
            lines = study_commands(
                options.study,
                options.output,
                smoke=options.smoke,
                dataset=options.dataset,
                cells=options.cells,
                device=options.device,
                options=more,
            )
            print("\n".join(lines))
            return DONE
        batch = study(
            options.study,
            options.output,
            smoke=options.smoke,
            dataset=options.dataset,
            anatomies=options.anatomies,
            weights=options.weights,
            cells=options.cells,
            redo=options.redo,
            stages=options.stage,
            device=options.device,
            gpus=options.gpus,
            workers=options.workers,
            dask=options.dask,
            on_result=lambda result: report_case(PROG, result, options.verbose),
            progress=True,
            say=lambda text: print(f"{PROG}: {text}", file=sys.stderr, flush=True),
        )
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
