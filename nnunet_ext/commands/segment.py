"""`abbc-segment`: from a CT to named fragments, surfaces, tables and a report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.commands._cli import make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["main", "segment_to_files"]

PROG = "abbc-segment"

DESCRIPTION = """Find the bone fragments in CTs of the pelvis: label volumes, surfaces for printing, a table, a report.
CTs are .nii.gz, .nii, .mha or .nrrd files, DICOM folders, zips of these, or a folder of any of them."""


def segment_to_files(
    ct: str | Path,
    output: str | Path,
    *,
    bones: str | Path = "bundled",
    exact_bones: bool = False,
    model: str | Path = "abbc",
    scheme: str | Path = "pengwin2026",
    device: str = "auto",
    fast: bool = False,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    step_size: float = 0.5,
    mirroring: bool = False,
    margin_mm: float = 10.0,
    series: str | int | None = None,
    resample_irregular: bool = False,
    download_weights: bool = False,
    clearance_mm: float = 0.0,
    dicom_seg: bool = False,
    deidentify: bool = False,
    meshes: bool = True,
    report: bool = True,
    workers: int = 1,
    num_parts: int = 1,
    part_id: int = 0,
    dask: str | None = None,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Find the fragments of one or many CTs and write a folder for each.

    Writes `OUT/CASE/` and the manifest `OUT/abbc-segment.json`. A case is finished when its `run.json` is there.

    Args:
        ct: A volume file, a DICOM folder, a zip of one, or a folder of these.
        output: The folder to write to.
        bones: Stage 1: `bundled`, `totalsegmentator`, a model folder, a volume file, or a folder of one per case.
        exact_bones: The bones given are exact: fragments stay within them and fill them.
        model: Stage 2: `abbc`, or the folder of an ABBC model.
        scheme: Label scheme, by name or file.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        fast: Windows overlap by a quarter instead of a half, one fold, no mirroring, the fast way of stage 1.
        folds: Folds of stage 2 to average; None for all that there are.
        checkpoint: File name of the checkpoint of stage 2.
        step_size: Distance of windows in parts of their size.
        mirroring: Average over mirror images.
        margin_mm: How far beyond the bones the model looks.
        series: Which DICOM series: its number in `--list-series`, or its UID.
        resample_irregular: Accept gantry tilt and gaps by resampling.
        download_weights: Let TotalSegmentator fetch its weights.
        clearance_mm: Gap between touching fragments in the surfaces.
        dicom_seg: Write a DICOM SEG too.
        deidentify: Leave the patient out of the DICOM SEG.
        meshes: Make surfaces.
        report: Write `report.html` and `preview.png`.
        workers: Cases at the same time, in processes of their own, each with its own models; 0 or 1 for this one.
        num_parts: Number of calls that share the cases.
        part_id: Which of these calls this is, counted from 0.
        dask: Address of the scheduler of a Dask cluster to run the cases on.
        overwrite: Redo finished cases.
        on_result: Called with the result of each case as it comes.
        progress: Tell stages on stderr, and show a bar if that is a terminal.

    Returns:
        What came of each case.

    Raises:
        UsageError: There is nothing usable, or an option makes no sense.
        SchemeError: There is no such scheme, or the model does not predict ABBC classes.
        VolumeFileError: An input cannot be read, or the manifest cannot be written.
        DataError: A model is damaged.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.atomic import check_writable
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import check_output, check_part
    from nnunet_ext.ct import find_ct_cases
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.segmentation.case_folder import RUN
    from nnunet_ext.segmentation.cases import segment_case
    from nnunet_ext.segmentation.settings import Settings
    from nnunet_ext.stage1.bones import path_of_bones

    check_part(part_id, num_parts)
    if dask is not None and workers > 1:
        raise UsageError("cases run either in processes here or on a Dask cluster: leave out --workers or --dask")
    if dask is not None:  # workers may start in other folders
        model, scheme = (Path(p).absolute() if Path(p).exists() else p for p in (model, scheme))
        bones = path.absolute() if (path := path_of_bones(bones)) else bones
    settings = Settings(
        bones=bones,
        exact_bones=exact_bones,
        model=model,
        scheme=scheme,
        device=device,
        fast=fast,
        folds=None if folds is None else tuple(folds),
        checkpoint=checkpoint,
        step_size=step_size,
        mirroring=mirroring,
        margin_mm=margin_mm,
        series=series,
        resample_irregular=resample_irregular,
        download_weights=download_weights,
        clearance_mm=clearance_mm,
        dicom_seg=dicom_seg,
        deidentify=deidentify,
        meshes=meshes,
        report=report,
    )
    load_scheme(scheme)
    check_output(output, ct)
    folder = Path(output) if dask is None else Path(output).absolute()
    tasks = []
    for case in find_ct_cases(ct)[part_id::num_parts]:
        target = folder / case.name
        path = case.path if dask is None else case.path.absolute()
        arguments: dict[str, Any] = {"ct": path, "name": case.name, "output": target, "settings": settings}
        tasks.append(Task(case.name, (target / RUN,), arguments | {"tell": progress and dask is None and workers < 2}))
    runner = None
    if dask is not None:
        from nnunet_ext.simulation.cluster import run_on_dask

        runner = run_on_dask(dask)
    elif workers < 2 and any(overwrite or not task.outputs[0].exists() for task in tasks):
        from nnunet_ext.segmentation.pipeline import load_models

        load_models(settings)  # what is missing is said once, before any case
    manifest_path = folder / f"{PROG}.json"
    check_writable(manifest_path)
    return run_batch(
        segment_case,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=Manifest(manifest_path, PROG, settings.to_dict()),
        on_result=on_result,
        progress=progress,
        runner=runner,
    )


def _list_series(path: str) -> int:
    """Print the series of an input."""
    from nnunet_ext.ct import list_series

    for series in list_series(path):
        print(series)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, DESCRIPTION)
    add = parser.add_argument
    add("-i", "--input", dest="ct", required=True, metavar="CT", help="a file, DICOM folder, zip, or folder of these")
    add("-o", "--output", metavar="OUT", help="folder; each case gets a folder in it")
    add("--bones", default="bundled", metavar="BONES", help="stage 1: bundled, totalsegmentator, a model folder, a "
        "volume of the bones, or a folder of one per case")  # fmt: skip
    add("--exact-bones", action="store_true", help="the volume of --bones is exact: fragments stay within it and fill "
        "it, instead of having the outlines that the network draws")  # fmt: skip
    add("-m", "--model", default="abbc", metavar="MODEL", help="stage 2: abbc, which comes with the package, or a "
        "folder of any ABBC model")  # fmt: skip
    add("--scheme", default="pengwin2026", help="label scheme: pengwin2024, pengwin2026 or a file")
    add("-device", "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--fast", action="store_true", help="windows overlap by a quarter instead of a half (three tenths of them), "
        "one fold, no mirroring, the fast way of stage 1")  # fmt: skip
    add("-f", "--folds", nargs="+", metavar="FOLD", help="folds of stage 2 to average; all that there are if not given")
    add("-chk", dest="checkpoint", default="checkpoint_final.pth", metavar="FILE", help="checkpoint of stage 2")
    add("-step_size", type=float, default=0.5, metavar="STEP", help="distance of windows in parts of their size")
    add("--mirroring", action="store_true", help="average over mirror images as nnU-Net does, up to 8 times the work")
    add("--margin", dest="margin_mm", type=float, default=10.0, metavar="MM", help="how far beyond the bones to look")
    add("--series", metavar="SERIES", help="DICOM series: its number in --list-series, or its UID")
    add("--list-series", action="store_true", help="only list the DICOM series of CT")
    add("--resample-irregular", action="store_true", help="accept gantry tilt and gaps in DICOM by resampling")
    add("--download-weights", action="store_true", help="let TotalSegmentator fetch its weights; nothing else ever is")
    add("--clearance", dest="clearance_mm", type=float, default=0.0, metavar="MM", help="gap between touching "
        "fragments in the surfaces, for printing")  # fmt: skip
    add("--dicom-seg", action="store_true", help="write a DICOM SEG too (extra dicom)")
    add("--deidentify", action="store_true", help="leave the patient out of the DICOM SEG")
    add("--no-meshes", action="store_true", help="no surfaces")
    add("--no-report", action="store_true", help="no report.html and preview.png")
    add("--workers", type=int, default=1, metavar="N", help="cases at the same time; each needs its own memory")
    add("-num_parts", type=int, default=1, metavar="N", help="number of calls that share the cases")
    add("-part_id", type=int, default=0, metavar="K", help="which of these calls this is, from 0")
    add("--dask", metavar="ADDRESS", help="run the cases on the Dask cluster with this scheduler (extra dask)")
    add("--overwrite", action="store_true", help="redo finished cases instead of skipping them")
    options = parser.parse_args(argv)
    if options.output is None and not options.list_series:
        parser.error("the following arguments are required: -o/--output")

    def work() -> int:
        values: dict[str, Any] = dict(vars(options), progress=True)
        verbose, only_list = values.pop("verbose"), values.pop("list_series")
        if only_list:
            return _list_series(options.ct)
        values |= {key: not values.pop(f"no_{key}") for key in ("meshes", "report")}
        if values["series"] is not None and values["series"].isdecimal():
            values["series"] = int(values["series"])
        batch = segment_to_files(**values, on_result=lambda found: _show(found, verbose))
        for result in batch.results:
            if result.status == "done":
                print(f"{Path(options.output) / result.name}: open report.html, or segmentation.seg.nrrd in 3D Slicer")
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


def _show(result: CaseResult, verbose: bool) -> None:
    """Print what came of a case."""
    report_case(PROG, result, verbose)
    for warning in result.details.get("warnings", ()):
        print(f"{PROG}: case {result.name}: warning: {warning}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
