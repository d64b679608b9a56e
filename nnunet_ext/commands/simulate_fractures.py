"""`abbc-simulate-fractures`: bone labels, CTs or parametric pelves to CTs with labelled fractures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.commands._cli import add_batch_options, make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult
    from nnunet_ext.simulation.reports import Report

__all__ = ["SimulatedSet", "fragment_statistics", "main", "simulate_fractures_to_files"]

PROG = "abbc-simulate-fractures"
KERNELS = ("soft", "bone", "random")

DESCRIPTION = """Simulate fractured pelves: CT, fragment labels, bones before and after, and the motion of every
fragment. Bones come from label volumes (-i), with their CT (--ct) or with a CT made up for them, or from parametric
pelves (--phantom). Same seed, same files."""


@dataclass(frozen=True)
class SimulatedSet:
    """What came of a run.

    Attributes:
        batch: What came of each case.
        report: Statistics of all finished cases in the folder, those of earlier runs included; None if there are none.
    """

    batch: BatchResult
    report: Report | None


def simulate_fractures_to_files(
    output: str | Path,
    number: int = 1,
    *,
    anatomy: str | Path | None = None,
    ct: str | Path | None = None,
    phantom: bool = False,
    seed: int = 1,
    spacing_mm: Sequence[float] | None = None,
    field_of_view_mm: Sequence[float] | None = None,
    scheme: str | Path = "pengwin2024",
    fragments: Mapping[str, int] | Sequence[str] = (),
    closed: float = 0.62,
    opened: float = 0.22,
    displaced: float = 0.07,
    impacted: float = 0.09,
    cracks: float = 0.4,
    label_cracks: bool = False,
    chips: float = 0.05,
    min_fragment_mm3: float = 300.0,
    femora: bool = True,
    variation: bool = True,
    with_ct: bool = True,
    slice_thickness_mm: float | None = None,
    noise_hu: float | None = None,
    kernel: str = "random",
    gallery: bool = False,
    workers: int = 1,
    dask: str | None = None,
    num_parts: int = 1,
    part_id: int = 0,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> SimulatedSet:
    """Simulate patients with fractures.

    Writes into the output `images/`, `labels/` (fragments), `anatomy/` (bones of the broken patient) and `intact/`
    (bones before), each with `CASE.nii.gz`, `motions/CASE.json` (4 x 4 matrix of each fragment from where it was to
    where it is found in mm LPS, fractures, seed, settings), the manifest `abbc-simulate-fractures.json`, and
    `statistics.json`, `.csv` and `.png`. `abbc-prepare-dataset simulated OUTPUT -d ID` makes nnU-Net datasets of them.

    Args:
        output: The folder.
        number: How many cases in all. Sources are used in turn, each case with a seed of its own; a case is called
            `SOURCE_SEED`.
        anatomy: Bone labels, numbered by the scheme's anatomy table: a volume or a folder of them.
        ct: The CT of these bones, on the same grid: a volume, or a folder with the same names.
        phantom: Use parametric pelves, alone or in turn with the label volumes.
        seed: Seed of the first case, from 0; the next have the numbers after it.
        spacing_mm: One number, or three in the order z, y, x; that of the CT or 1 mm if None.
        field_of_view_mm: Three numbers in the order z, y, x, around the middle of the bones; that of the CT, or what
            the bones need, if None.
        scheme: Label scheme, by name or file.
        fragments: Fragments of named bones, by name or as texts like `sacrum=3`; others are drawn.
        closed: Weight of fractures whose fragments touch.
        opened: Weight of fractures that gape.
        displaced: Weight of fractures whose fragments went far.
        impacted: Weight of fractures whose fragments were pushed into each other.
        cracks: Mean number of incomplete cracks in a broken bone.
        label_cracks: Let them part fragments in the labels.
        chips: Mean number of small chips in a broken bone.
        min_fragment_mm3: Smallest fragment.
        femora: Let femora break too, where the scheme numbers them.
        variation: Change given bones at random; a real CT is left as it is anyway.
        with_ct: Make a CT.
        slice_thickness_mm: Width of the slice profile; the distance of the slices if None.
        noise_hu: Standard deviation of the noise in muscle; drawn if None.
        kernel: `soft`, `bone` or `random`.
        gallery: Write a page of pictures too.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        dask: Address of a Dask scheduler whose workers run the cases instead; they need the same folders.
        num_parts: Number of calls that share the cases.
        part_id: Which of these calls this is, counted from 0.
        overwrite: Redo finished cases instead of skipping them.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case, and the statistics.

    Raises:
        UsageError: An option makes no sense, there is nothing to break, or no Dask scheduler answers.
        SchemeError: There is no such scheme, or it is wrong.
        VolumeFileError: An input folder cannot be read, the output cannot be written, or there is too little disk.
    """
    from label_gen.errors import UsageError
    from label_gen.simulation.settings import FractureKinds, SimulationSettings
    from nnunet_ext.atomic import check_writable
    from nnunet_ext.batch import run_batch
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.simulation.case import simulate_case
    from nnunet_ext.simulation.cluster import run_on_dask
    from nnunet_ext.simulation.plan import (
        check_room,
        check_view,
        check_wanted,
        parse_fragments,
        plan_cases,
    )
    from nnunet_ext.simulation.reports import describe_shortfall, read_report, write_report
    from nnunet_ext.simulation.sources import find_sources

    output = Path(output)
    loaded = load_scheme(scheme)
    wanted = dict(fragments) if isinstance(fragments, Mapping) else parse_fragments(fragments)
    settings = SimulationSettings(
        fragments=wanted,
        kinds=FractureKinds(closed=closed, opened=opened, displaced=displaced, impacted=impacted),
        crack_rate=cracks,
        label_cracks=label_cracks,
        chip_rate=chips,
        min_fragment_mm3=min_fragment_mm3,
        femora=femora,
        vary_anatomy=variation,
        slice_thickness_mm=slice_thickness_mm,
        noise_hu=noise_hu,
        kernel=kernel,
        with_ct=with_ct,
    )
    check_wanted(wanted, loaded)
    spacing, view = check_view(spacing_mm, field_of_view_mm)
    if dask is not None:
        if workers > 1:
            raise UsageError("cases run either in processes here or on a Dask cluster: leave out --workers or --dask")
        output = output.absolute()
        anatomy, ct = (None if path is None else Path(path).absolute() for path in (anatomy, ct))
    sources, found = find_sources(anatomy, ct, phantom, output)
    tasks = plan_cases(
        sources,
        number,
        seed,
        output,
        scheme=loaded,
        settings=settings,
        spacing_mm=spacing,
        field_of_view_mm=view,
        num_parts=num_parts,
        part_id=part_id,
    )
    check_room(tasks, output, overwrite)
    manifest_path = output / f"{PROG}.json"
    check_writable(manifest_path)
    about = {"scheme": loaded.name, "spacing_zyx_mm": list(spacing or ()), "field_of_view_zyx_mm": list(view or ())}
    batch = run_batch(
        simulate_case,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=Manifest(manifest_path, PROG, about | asdict(settings), seed),
        on_result=on_result,
        progress=progress,
        notes=found,
        runner=None if dask is None else run_on_dask(dask),
    )
    notes = (*batch.notes, *describe_shortfall(batch.results))
    report = read_report(output)
    if report is not None:
        write_report(report, output)
        if gallery:
            from nnunet_ext.simulation.gallery import write_gallery

            write_gallery(output, scheme=scheme)
    return SimulatedSet(replace(batch, notes=notes), report)


def fragment_statistics(
    labels: str | Path,
    output: str | Path | None = None,
    *,
    scheme: str | Path = "pengwin2024",
    workers: int = 1,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> SimulatedSet:
    """Tell counts, sizes and contacts of the fragments in label volumes, simulated or real.

    Args:
        labels: A volume of fragments, a folder of them, or a folder that this command made (`labels/` in it).
        output: Folder for `statistics.json`, `.csv` and `.png`; None to write nothing.
        scheme: Label scheme, by name or file.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case, and the statistics of those that could be read.

    Raises:
        UsageError: There is nothing usable.
        SchemeError: There is no such scheme, or it is wrong.
        VolumeFileError: The folder cannot be read, or the output cannot be written.
    """
    from label_gen.simulation.statistics import FragmentFigures
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import find_cases
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.simulation.reports import measure_labels, read_record, report_of, write_report

    loaded = load_scheme(scheme)
    folder = Path(labels)
    place = folder / "labels" if (folder / "labels").is_dir() else folder
    tasks = []
    for case in find_cases(place):
        whole = place.parent / "anatomy" / case.path.name if place != folder else None
        tasks.append(Task(case.name, (), {"labels": case.path, "scheme": loaded, "anatomy": whole}))
    batch = run_batch(measure_labels, tasks, workers=workers, on_result=on_result, progress=progress)
    done = {case.name: case.details["fragments"] for case in batch.results if case.status == "done"}
    records = {name: read_record(folder / "motions" / f"{name}.json") for name in done}
    report = report_of(
        {name: tuple(FragmentFigures(**figures) for figures in found) for name, found in done.items()},
        {name: record[1] for name, record in records.items() if record is not None},
    )
    if not done:
        return SimulatedSet(batch, None)
    if output is not None:
        write_report(report, Path(output))
    return SimulatedSet(batch, report)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, DESCRIPTION)
    add = parser.add_argument
    add("-i", "--input", dest="anatomy", metavar="ANATOMY", help="bones numbered 1 sacrum, 2 left hip, 3 right hip, "
        "4 left femur, 5 right femur: a volume or a folder, used in turn")  # fmt: skip
    add("--ct", metavar="CT", help="their CT on the same grid: a volume, or a folder with the same names")
    add("--phantom", action="store_true", help="use parametric pelves, alone or in turn with ANATOMY")
    add("-o", "--output", metavar="OUT", help="folder for images, labels, anatomy, intact, motions and statistics")
    add("-n", "--number", type=int, default=1, metavar="N", help="cases in all")
    add("--seed", type=int, default=1, metavar="N", help="of the first case; the next have the numbers after it")
    add("--spacing", dest="spacing_mm", type=float, nargs="+", metavar="MM", help="one number, or three in the order "
        "z y x; that of the CT or 1 mm if not given")  # fmt: skip
    add("--field-of-view", dest="field_of_view_mm", type=float, nargs=3, metavar="MM", help="size in the order z y x "
        "around the bones; that of the CT, or what the bones need, if not given")  # fmt: skip
    add("--fragments", nargs="+", metavar="BONE=N", help="fragments of single bones, as sacrum=3 left_hip=12; others "
        "are drawn")  # fmt: skip
    add("--closed", type=float, default=0.62, metavar="W", help="weight of fractures whose fragments touch")
    add("--opened", type=float, default=0.22, metavar="W", help="weight of those that gape by millimetres")
    add("--displaced", type=float, default=0.07, metavar="W", help="weight of those whose fragments went far")
    add("--impacted", type=float, default=0.09, metavar="W", help="weight of those pushed into each other")
    add("--cracks", type=float, default=0.4, metavar="N", help="mean number of incomplete cracks in a broken bone")
    add("--label-cracks", action="store_true", help="let cracks part fragments in the labels")
    add("--chips", type=float, default=0.05, metavar="N", help="mean number of small chips in a broken bone")
    add("--min-fragment", dest="min_fragment_mm3", type=float, default=300.0, metavar="MM3", help="smallest fragment, "
        "cubic millimetres")  # fmt: skip
    add("--no-femora", action="store_true", help="leave femora whole")
    add("--no-variation", action="store_true", help="use the bones as they are, without changing sizes and shapes")
    add("--no-ct", action="store_true", help="make labels only, much faster")
    add("--slice-thickness", dest="slice_thickness_mm", type=float, metavar="MM", help="width of the slice profile; "
        "the distance of the slices if not given")  # fmt: skip
    add("--noise", dest="noise_hu", type=float, metavar="HU", help="standard deviation of the noise in muscle; drawn "
        "if not given")  # fmt: skip
    add("--kernel", choices=KERNELS, default="random", help="reconstruction kernel")
    add("--gallery", action="store_true", help="write a page of pictures of the cases too")
    add("--statistics", metavar="FOLDER", help="only tell the statistics of the fragment labels in a folder, real ones "
        "too; -o writes them")  # fmt: skip
    add("--dask", metavar="ADDRESS", help="run the cases on the Dask cluster with this scheduler (extra dask)")
    add("-num_parts", type=int, default=1, metavar="N", help="number of calls that share the cases")
    add("-part_id", type=int, default=0, metavar="K", help="which of these calls this is, from 0")
    add_batch_options(parser)
    options = parser.parse_args(argv)
    if options.statistics is None and options.output is None:
        parser.error("the following arguments are required: -o/--output")
    if options.statistics is not None and (options.anatomy or options.ct or options.phantom):
        parser.error("--statistics tells of labels that are there; leave out -i, --ct and --phantom")

    def work() -> int:
        from nnunet_ext.simulation.reports import format_statistics

        values: dict[str, Any] = dict(vars(options), progress=True)
        verbose, folder = values.pop("verbose"), values.pop("statistics")
        values["on_result"] = lambda found: report_case(PROG, found, verbose)
        if folder is not None:
            shared = ("output", "scheme", "workers", "on_result", "progress")
            made = fragment_statistics(folder, **{key: values[key] for key in shared})
        else:
            values["fragments"] = values["fragments"] or ()
            values |= {key: not values.pop(f"no_{key}") for key in ("femora", "variation")}
            values["with_ct"] = not values.pop("no_ct")
            made = simulate_fractures_to_files(**values)
        if made.report is not None:
            print(format_statistics(made.report.statistics))
        return sum_up(PROG, made.batch)

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
