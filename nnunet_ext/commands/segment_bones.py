"""`abbc-segment-bones`: the whole bones of CTs, which is stage 1 of `abbc-segment` alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.commands._cli import make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["main", "segment_bones_to_files"]

PROG = "abbc-segment-bones"

DESCRIPTION = """Find the sacrum, hip bones and femora in CTs of the pelvis, numbered 1 sacrum, 2 left hip, 3 right hip,
4 left femur, 5 right femur, and check that they can be a patient's. CTs are .nii.gz, .nii, .mha or .nrrd files, DICOM
folders, zips of these, or a folder of any of them."""


def segment_bones_to_files(
    ct: str | Path,
    output: str | Path,
    *,
    bones: str | Path = "bundled",
    numbering: str | Path = "auto",
    device: str = "auto",
    fast: bool = False,
    download_weights: bool = False,
    series: str | int | None = None,
    resample_irregular: bool = False,
    num_parts: int = 1,
    part_id: int = 0,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Find the whole bones of one or many CTs, the model being loaded once.

    Writes `CASE.nii.gz` on the grid of the CT, and the manifest `abbc-segment-bones.json` with volumes and findings.

    Args:
        ct: A volume file, a DICOM folder, a zip of one, or a folder of these.
        output: A folder; for a single case also a file name.
        bones: `bundled`, `totalsegmentator`, a model folder, a label volume, a folder of TotalSegmentator's masks, or a
            folder of one of the two per case.
        numbering: How to read the numbers of a label volume: `auto`, `anatomy`, `totalsegmentator`, or a label scheme.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        fast: TotalSegmentator's model at 3 mm; fewer windows of other models.
        download_weights: Let TotalSegmentator fetch its weights.
        series: Which DICOM series: its number in `abbc-segment --list-series`, or its UID.
        resample_irregular: Accept gantry tilt and gaps by resampling.
        num_parts: Number of calls that share the cases.
        part_id: Which of these calls this is, counted from 0.
        overwrite: Redo finished cases.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case; the details hold `source`, `warnings`, `volumes_mm3` and `findings`.

    Raises:
        UsageError: There is nothing usable, or an option makes no sense.
        VolumeFileError: A model or its weights are missing or damaged, or the manifest cannot be written.
        DataError: A model does not find bones.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.atomic import check_writable
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import VOLUME_SUFFIXES, check_output, check_part, split_suffix
    from nnunet_ext.ct import find_ct_cases
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.stage1 import BoneFinder
    from nnunet_ext.stage1.bones import path_of_bones

    check_part(part_id, num_parts)
    output = Path(output)
    check_output(output, ct, path_of_bones(bones))
    cases = find_ct_cases(ct)
    names_file = split_suffix(output.name)[1] in VOLUME_SUFFIXES and not output.is_dir()
    if names_file and len(cases) > 1:
        raise UsageError(f"there are {len(cases)} cases but the output '{output}' names a file; give a folder (-o)")
    tasks = []
    for case in cases[part_id::num_parts]:
        target = output if names_file else output / f"{case.name}.nii.gz"
        tasks.append(Task(case.name, (target,), {"path": case.path, "name": case.name, "target": target}))
    folder = output.parent if names_file else output
    manifest_path = folder / f"{PROG}.json"
    check_writable(manifest_path)
    is_needed = overwrite or any(not task.outputs[0].exists() for task in tasks)
    options: dict[str, Any] = {"device": device, "fast": fast, "numbering": numbering}
    finder = BoneFinder(bones, download_weights=download_weights, **options) if is_needed else None

    def segment_case(path: Path, name: str, target: Path) -> Mapping[str, Any]:
        assert finder is not None
        return _segment_case(finder, path, name, target, series, resample_irregular)

    settings = {"bones": Path(bones).name, **options, "numbering": Path(numbering).name, "series": series}
    settings["resample_irregular"] = resample_irregular
    return run_batch(
        segment_case,
        tasks,
        overwrite=overwrite,
        manifest=Manifest(manifest_path, PROG, settings),
        on_result=on_result,
        progress=progress,
    )


def _segment_case(
    finder: Any, path: Path, name: str, target: Path, series: str | int | None, resample_irregular: bool
) -> dict[str, Any]:
    from nnunet_ext.ct import read_ct
    from nnunet_ext.volumes import naming, write_volume

    ct = read_ct(path, series=series, resample_irregular=resample_irregular)
    with naming(path):
        found = finder(ct.volume, case=name)
    write_volume(found.anatomy, target)
    return {"source": found.source, "warnings": [*ct.warnings, *found.warnings], **found.details}


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
    add("-o", "--output", required=True, metavar="OUT", help="folder, or file for a single case")
    add("--bones", default="bundled", metavar="BONES", help="bundled, totalsegmentator, a model folder, a label "
        "volume, a folder of TotalSegmentator's masks, or a folder of one of the two per case")  # fmt: skip
    add("--numbering", default="auto", metavar="NUMBERING", help="how to read the numbers of a label volume: auto, "
        "anatomy (1 to 5 as above), totalsegmentator, or a label scheme, whose fragments are joined")  # fmt: skip
    add("-device", "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--fast", action="store_true", help="TotalSegmentator's model at 3 mm; fewer windows of other models")
    add("--download-weights", action="store_true", help="let TotalSegmentator fetch its weights; nothing else ever is")
    add("--series", metavar="SERIES", help="DICOM series: its number in abbc-segment --list-series, or its UID")
    add("--resample-irregular", action="store_true", help="accept gantry tilt and gaps in DICOM by resampling")
    add("-num_parts", type=int, default=1, metavar="N", help="number of calls that share the cases")
    add("-part_id", type=int, default=0, metavar="K", help="which of these calls this is, from 0")
    add("--overwrite", action="store_true", help="redo finished cases instead of skipping them")
    options = parser.parse_args(argv)

    def show(result: CaseResult) -> None:
        report_case(PROG, result, options.verbose)
        for warning in result.details.get("warnings", ()):
            print(f"{PROG}: case {result.name}: warning: {warning}", file=sys.stderr)

    def work() -> int:
        values: dict[str, Any] = dict(vars(options), progress=True)
        values.pop("verbose")
        if values["series"] is not None and values["series"].isdecimal():
            values["series"] = int(values["series"])
        return sum_up(PROG, segment_bones_to_files(**values, on_result=show))

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
