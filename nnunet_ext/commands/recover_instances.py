"""`abbc-recover-instances`: ABBC classes to fragments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnunet_ext.commands._cli import add_batch_options, make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from label_gen.scheme import LabelScheme
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["correct_case", "describe_remarks", "main", "recover_instances"]

PROG = "abbc-recover-instances"
DESCRIPTION = """Recover the single bone fragments from ABBC classes or their probabilities; or correct the fragments of
a case of abbc-segment and write its surfaces, tables and report again (with no correction: as they were recovered)."""
ENGINES = ("fmm", "watershed")

LEFT_OUT = ("outside dropped", "bone dropped", "beyond band")
"""Kinds of `postproc.Event` that tell of bone without a fragment; these are always shown."""


def recover_instances(
    abbc: str | Path,
    output: str | Path,
    *,
    anatomy: str | Path | None = None,
    scheme: str | Path = "pengwin2024",
    engine: Literal["fmm", "watershed"] = "fmm",
    healing: bool = True,
    workers: int = 1,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Recover the fragments of one or many cases from ABBC classes or their probabilities.

    Writes `CASE.nii.gz` and the manifest `abbc-recover-instances.json`, which holds the report of each case.

    Args:
        abbc: A label volume of ABBC classes, nnU-Net's `.npz` of probabilities, or a folder of them.
        output: A folder; for a single case also a file name.
        anatomy: The bones, numbered by the scheme: a volume, or a folder with a volume of the same name per case.
            Without it all bone is one region.
        scheme: Name of a label scheme, or a `.toml` file.
        engine: `fmm` (fast marching, the reference) or `watershed`.
        healing: Cut fragments along border inside them, and join fragments that no border parts.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        overwrite: Redo finished cases instead of skipping them.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case; the details are the report of `postproc.recover_fragments`.

    Raises:
        UsageError: An input holds nothing usable, the output is inside one, or an option makes no sense.
        SchemeError: There is no such scheme, or it is wrong.
        VolumeFileError: An input folder cannot be read, or the manifest cannot be written.
    """
    from label_gen import FREE_SCHEME, UsageError
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import check_output, find_cases, output_path, pair_cases
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.schemes import load_scheme

    if engine not in ENGINES:
        raise UsageError(f"unknown engine '{engine}'; choose one of {', '.join(ENGINES)} (--engine)")
    loaded = load_scheme(scheme)
    cases = find_cases(abbc, prefers_probabilities=True)
    check_output(output, abbc, anatomy)
    partners: dict[str, Path] = {}
    notes = []
    if anatomy is None and loaded.name != FREE_SCHEME.name:
        notes.append(f"without anatomy (-a) fragments are numbered by size, not in the bands of scheme '{loaded.name}'")
    if anatomy is not None:
        pairs = pair_cases(abbc, anatomy, cases, find_cases(anatomy))
        partners = {case.name: partner for case, partner in pairs.pairs}
        if pairs.surplus:
            notes.append(f"anatomy without ABBC classes: {', '.join(case.name for case in pairs.surplus)}")
    tasks = []
    for case in cases:
        target = output_path(case, abbc, output)
        partner = partners.get(case.name)
        check_output(target, case.path, partner)
        problem = ""
        if anatomy is not None and partner is None:
            problem = f"there is no anatomy of this name in '{Path(anatomy).name}'; add '{case.name}.nii.gz' to it"
        arguments = {
            "abbc": case.path,
            "anatomy": partner,
            "output": target,
            "scheme": loaded,
            "engine": engine,
            "healing": healing,
        }
        tasks.append(Task(case.name, (target,), arguments, problem))
    settings = {"scheme": loaded.name, "engine": engine, "anatomy": anatomy is not None}
    settings |= {} if healing else {"healing": False}
    return run_batch(
        _recover_case,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=Manifest(tasks[0].outputs[0].parent / f"{PROG}.json", PROG, settings),
        on_result=on_result,
        progress=progress,
        notes=notes,
    )


def correct_case(
    case: str | Path,
    *,
    merge: Sequence[str | Sequence[int]] = (),
    split: Sequence[str | tuple[int, Sequence[Sequence[float]]]] = (),
    seeds: str | Path | None = None,
    scheme: str | Path | None = None,
) -> dict[str, Any]:
    """Correct a finished case of `abbc-segment` in place; see `nnunet_ext.segmentation.correcting.correct_case`.

    Args:
        case: Folder of the case, `OUT/CASE`.
        merge: Groups of fragments to be joined, as numbers or as `11,12`.
        split: Fragments to be cut, as number and points in LPS millimetres, or as `21@X,Y,Z;X,Y,Z`.
        seeds: An edited `segmentation.nii.gz`.
        scheme: The scheme file, where the case was made by one of one's own.

    Returns:
        What `run.json` notes of the correction: `decisions`, `stages`, `seconds` and so on.

    Raises:
        UsageError: It is no such folder, or a correction makes no sense.
        DataError: Files do not belong together.
        VolumeFileError: A file cannot be read or written.
    """
    from nnunet_ext.segmentation import correcting

    return correcting.correct_case(
        case,
        merge=[correcting.parse_merge(group) if isinstance(group, str) else group for group in merge],
        split=[correcting.parse_split(cut) if isinstance(cut, str) else cut for cut in split],
        seeds=seeds,
        scheme=scheme,
    )


def _is_case(path: str) -> bool:
    """Say whether a path is the folder of a case, without importing anything heavy."""
    return (Path(path) / "run.json").is_file() and (Path(path) / "work").is_dir()


def _recover_case(
    abbc: Path,
    anatomy: Path | None,
    output: Path,
    scheme: LabelScheme,
    engine: Literal["fmm", "watershed"],
    healing: bool,
) -> dict[str, Any]:
    from nnunet_ext.probabilities import read_abbc
    from nnunet_ext.volumes import Volume, check_same_grid, naming, read_labels, write_volume
    from postproc import recover_fragments
    from postproc.thresholds import DEFAULT_THRESHOLDS, WITHOUT_HEALING

    bones = None if anatomy is None else read_labels(anatomy)
    classes = read_abbc(abbc, scheme, anatomy=None if bones is None else bones.grid)
    if bones is not None:
        check_same_grid(classes.grid, bones.grid, str(abbc), str(anatomy))
    with naming(abbc if anatomy is None else f"{abbc} with anatomy {anatomy}"):
        recovered = recover_fragments(
            classes.array,
            classes.grid.spacing_mm,
            anatomy=None if bones is None else bones.array,
            scheme=scheme,
            engine=engine,
            thresholds=DEFAULT_THRESHOLDS if healing else WITHOUT_HEALING,
        )
    write_volume(Volume.on_grid(recovered.labels, classes.grid), output)
    return recovered.to_dict()


def describe_remarks(details: Mapping[str, Any], verbose: bool) -> str:
    """Return what the recovery did beside the ordinary, as one line; empty if nothing.

    Args:
        details: The report of `postproc.recover_fragments`.
        verbose: Tell all, not only which bone was left out.
    """
    pairs = list(zip(details.get("events", ()), details.get("warnings", ()), strict=True))
    told = [warning for event, warning in pairs if verbose or event["kind"] in LEFT_OUT]
    if len(told) < len(pairs):
        more = " more" if told else ""
        told.append(f"{len(pairs) - len(told)}{more} remark(s), see {PROG}.json")
    return "; ".join(told)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, DESCRIPTION)
    parser.add_argument(
        "-i", "--input", required=True, metavar="ABBC", help="ABBC classes or nnU-Net's .npz: a file or a folder; or "
        "the folder of a case of abbc-segment, to be corrected in place",
    )  # fmt: skip
    parser.add_argument(
        "-a",
        "--anatomy",
        metavar="ANATOMY",
        help="bones by the scheme's numbers: a volume or a folder (else one region)",
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="folder, or file for a single case")
    parser.add_argument("--engine", choices=ENGINES, default="fmm", help="fmm is the reference")
    parser.add_argument("--no-healing", action="store_true", help="neither cut nor join fragments by their border")
    case = parser.add_argument_group("correct a case of abbc-segment")
    case.add_argument("--merge", action="append", metavar="11,12", help="join fragments; may be repeated")
    case.add_argument("--split", action="append", metavar='"21@X,Y,Z;X,Y,Z"', help="cut a fragment between "
        "points, LPS millimetres; may be repeated")  # fmt: skip
    case.add_argument("--seeds", metavar="EDITED", help="an edited segmentation.nii.gz: what it holds is kept, the "
        "rest of these bones is grown anew")  # fmt: skip
    add_batch_options(parser)
    options = parser.parse_args(argv)
    corrections = bool(options.merge or options.split or options.seeds)
    if not corrections and options.output is None and not _is_case(options.input):
        parser.error("the following arguments are required: -o/--output")
    if corrections and (options.output or options.anatomy):
        parser.error("--merge, --split and --seeds correct a case of abbc-segment in place; leave out -o and -a")

    def show(result: CaseResult) -> None:
        report_case(PROG, result, options.verbose)
        if remarks := describe_remarks(result.details, options.verbose):
            print(f"{PROG}: case {result.name}: {remarks}", file=sys.stderr)

    def work() -> int:
        if options.output is None:
            note = correct_case(
                options.input,
                merge=options.merge or (),
                split=options.split or (),
                seeds=options.seeds,
                scheme=options.scheme if options.scheme.endswith(".toml") else None,
            )
            for decision in note["decisions"]:
                print(f"{PROG}: {decision}", file=sys.stderr)
            print(f"{PROG}: done in {note['seconds']:.0f} s", file=sys.stderr)
            return 0
        batch = recover_instances(
            options.input,
            options.output,
            anatomy=options.anatomy,
            scheme=options.scheme,
            engine=options.engine,
            healing=not options.no_healing,
            workers=options.workers,
            overwrite=options.overwrite,
            on_result=show,
            progress=True,
        )
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
