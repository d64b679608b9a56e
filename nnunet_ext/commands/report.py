"""`abbc-report`: the picture and the report of a case, from a case folder of `abbc-segment` or from labels alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.commands._cli import add_batch_options, make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult
    from nnunet_ext.cases import Case
    from nnunet_ext.fragment_names import FragmentName
    from nnunet_ext.volumes import Volume

__all__ = ["main", "make_reports"]

PROG = "abbc-report"
PREVIEW, REPORT = "preview.png", "report.html"


def make_reports(
    labels: str | Path,
    output: str | Path | None = None,
    *,
    ct: str | Path | None = None,
    scheme: str | Path = "pengwin2024",
    surfaces: bool = True,
    workers: int = 1,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Draw picture and report of one or many cases.

    Writes `preview.png` and `report.html` into a folder per case, and the manifest `abbc-report.json` beside these
    folders. A case folder of `abbc-segment` is used as it is: its statistics, scheme, warnings and settings are told,
    and the two files go into it where no output is given.

    Args:
        labels: A case folder of `abbc-segment`, a folder of such; or a label volume, or a folder of label volumes.
        output: Folder to make a folder per case in; needed for label volumes.
        ct: The CT of the case (a volume file, a DICOM folder or a zip of one), or for many cases a folder of volumes
            of the same names. Without it the slices show the fragments alone.
        scheme: Name of a label scheme, or a `.toml` file; case folders know their own.
        surfaces: Make smooth surfaces as `abbc-mesh` does; otherwise plain ones, which is quicker.
        workers: Cases drawn at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        overwrite: Redo finished cases instead of skipping them.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case; the details are the number of fragments and the size of the report.

    Raises:
        UsageError: An input holds nothing usable, the output is missing or inside the input.
        SchemeError: There is no such scheme, or it is wrong.
        VolumeFileError: An input folder cannot be read, or the manifest cannot be written.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import SEGMENTATION, check_output, find_case_folders, find_cases
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.schemes import load_scheme

    load_scheme(scheme)
    folders = find_case_folders(labels)
    cases = folders or find_cases(labels)
    if not folders and output is None:
        raise UsageError(
            f"no output is given for '{labels}', which is no case folder of abbc-segment; give a folder (-o)"
        )
    if output is not None:
        check_output(output, labels, ct)
    images, notes = _images(labels, ct, cases, bool(folders))
    tasks = []
    for case in cases:
        target = case.path if output is None else Path(output) / case.name
        problem = ""
        if ct is not None and case.name not in images:
            problem = f"there is no CT of this name in '{Path(ct).name}'; add it, or leave --ct out"
        arguments = {
            "labels": case.path / SEGMENTATION if folders else case.path,
            "ct": images.get(case.name),
            "output": target,
            "name": case.name,
            "scheme": scheme,
            "surfaces": surfaces,
            "of_case_folder": bool(folders),
        }
        tasks.append(Task(case.name, (target / PREVIEW, target / REPORT), arguments, problem))
    settings = {"scheme": Path(scheme).name, "ct": ct is not None, "surfaces": surfaces}
    manifest = Manifest(tasks[0].outputs[0].parents[1] / f"{PROG}.json", PROG, settings)
    return run_batch(
        _report_case,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=manifest,
        on_result=on_result,
        progress=progress,
        notes=notes,
    )


def _images(
    labels: str | Path, ct: str | Path | None, cases: Sequence[Case], are_folders: bool
) -> tuple[dict[str, Path], list[str]]:
    """Return the CT of each case by name, and what the user ought to know."""
    from nnunet_ext.cases import SEGMENTATION, find_cases, pair_cases

    if ct is None:
        return {}, ["without a CT (--ct) the slices show the fragments alone"]
    is_single = (Path(labels) / SEGMENTATION).is_file() if are_folders else not Path(labels).is_dir()
    if is_single:
        return {cases[0].name: Path(ct)}, []
    pairs = pair_cases(labels, ct, cases, find_cases(ct))
    return {case.name: path for case, path in pairs.pairs}, []


def _report_case(
    labels: Path, ct: Path | None, output: Path, name: str, scheme: str | Path, surfaces: bool, of_case_folder: bool
) -> dict[str, Any]:
    """Draw one case."""
    import numpy as np

    from nnunet_ext.ct import read_ct
    from nnunet_ext.report import write_preview, write_report
    from nnunet_ext.statistics import make_statistics
    from nnunet_ext.volumes import check_same_grid, naming, read_labels

    volume = read_labels(labels)
    statistics = _read(labels.parent / "statistics.json") if of_case_folder else {}
    run = _read(labels.parent / "run.json") if of_case_folder else {}
    numbers = [int(number) for number in np.unique(volume.array) if number]
    with naming(labels):
        names = _names(numbers, statistics, scheme)
    image = None
    warnings = list(run.get("warnings") or ())
    if ct is not None:
        read = read_ct(ct)
        image = read.volume
        warnings += [text for text in read.warnings if text not in warnings]
        check_same_grid(image.grid, volume.grid, str(ct), str(labels))
    if not statistics:
        statistics = make_statistics(volume, names, ct=image)
    if not numbers:
        warnings.append("There is no fragment in this volume.")
    meshes = _surfaces(volume) if surfaces and numbers else ()
    write_preview(output / PREVIEW, image, volume, names, surfaces=meshes, title=name)
    write_report(
        output / REPORT,
        ct=image,
        labels=volume,
        names=names,
        surfaces=meshes,
        statistics=statistics,
        warnings=warnings,
        title=name,
        run=run or {"command": PROG, "versions": _versions()},
        preview=output / PREVIEW,
    )
    return {"fragments": len(names), "bytes": (output / REPORT).stat().st_size}


def _names(numbers: Sequence[int], statistics: Mapping[str, Any], scheme: str | Path) -> dict[int, FragmentName]:
    """Return the names of fragments, with the sides that the statistics of a case folder know."""
    from nnunet_ext.fragment_names import name_fragments
    from nnunet_ext.schemes import list_schemes, load_scheme

    known = statistics.get("scheme")
    loaded = load_scheme(known if known in list_schemes() else scheme)
    bones = {int(entry["label"]): str(entry["bone"]) for entry in statistics.get("fragments", ())}
    return name_fragments(numbers, loaded, bones=bones)


def _surfaces(volume: Volume) -> Sequence[Any]:
    from nnunet_ext.meshes import make_meshes

    return make_meshes(volume)


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON file of a case folder; empty where there is none."""
    import json

    from label_gen.errors import VolumeFileError

    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise VolumeFileError(
            f"cannot read '{path.name}' of the case folder ({type(error).__name__}); run abbc-segment again"
        ) from error


def _versions() -> dict[str, str]:
    from nnunet_ext.manifest import versions

    return versions()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, "Draw fragments: a picture, and a report of one file to turn in a browser, offline.")
    parser.add_argument(
        "-i",
        "--input",
        required=True,
        metavar="LABELS",
        help="case folder of abbc-segment or a folder of these; or fragment labels: a file or a folder",
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="folder for a folder per case (case folders: themselves)")
    parser.add_argument(
        "--ct", metavar="CT", help="the CT: file, DICOM folder or zip; for many cases a folder of files"
    )
    parser.add_argument("--plain", action="store_true", help="plain surfaces, quicker than those of abbc-mesh")
    add_batch_options(parser)
    options = parser.parse_args(argv)

    def work() -> int:
        batch = make_reports(
            options.input,
            options.output,
            ct=options.ct,
            scheme=options.scheme,
            surfaces=not options.plain,
            workers=options.workers,
            overwrite=options.overwrite,
            on_result=lambda result: report_case(PROG, result, options.verbose),
            progress=True,
        )
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
