"""`abbc-generate-labels`: fragment labels to ABBC classes."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnunet_ext.commands._cli import add_batch_options, make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from label_gen.scheme import LabelScheme
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["describe_fallbacks", "generate_labels", "main"]

PROG = "abbc-generate-labels"
MODES = ("default", "literal")


def generate_labels(
    labels: str | Path,
    output: str | Path,
    *,
    scheme: str | Path = "pengwin2024",
    mode: Literal["default", "literal"] = "default",
    border: float | None = None,
    workers: int = 1,
    audit: bool = False,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Turn fragment labels of one or many cases into ABBC classes.

    Writes `CASE.nii.gz` and the manifest `abbc-generate-labels.json`; with `audit` also `audit/CASE.json` and
    `audit.csv` with one row per piece of a fragment.

    Args:
        labels: A label volume, or a folder of them.
        output: A folder; for a single volume also a file name.
        scheme: Name of a label scheme, or a `.toml` file.
        mode: `default`, or `literal` for the published recipe to the letter.
        border: Width of the border in mm on each side of a contact, in the default mode.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        audit: Recover the fragments again and note what was lost.
        overwrite: Redo finished cases instead of skipping them.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case; the details are the report of `label_gen.generate_abbc`.

    Raises:
        UsageError: The input holds nothing usable, the output is inside it, or an option makes no sense.
        SchemeError: There is no such scheme, or it is wrong.
        VolumeFileError: The input folder cannot be read, or manifest or audit cannot be written.
    """
    from label_gen.errors import UsageError
    from label_gen.settings import GenerationSettings
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import check_output, find_cases, output_path
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.schemes import load_scheme

    if mode not in MODES:
        raise UsageError(f"unknown mode '{mode}'; choose one of {', '.join(MODES)} (--mode)")
    GenerationSettings.for_mode(mode, border)
    loaded = load_scheme(scheme)
    cases = find_cases(labels)
    check_output(output, labels)
    tasks = []
    for case in cases:
        target = output_path(case, labels, output)
        check_output(target, case.path)
        report = target.parent / "audit" / f"{case.name}.json" if audit else None
        arguments = {
            "labels": case.path,
            "output": target,
            "report": report,
            "scheme": loaded,
            "mode": mode,
            "border": border,
        }
        tasks.append(Task(case.name, (target,) if report is None else (target, report), arguments))
    folder = tasks[0].outputs[0].parent
    manifest = Manifest(folder / f"{PROG}.json", PROG, {"scheme": loaded.name, "mode": mode, "border_mm": border})
    batch = run_batch(
        _label_case,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=manifest,
        on_result=on_result,
        progress=progress,
    )
    if audit and (counts := _write_audit_table(folder)):
        found = ", ".join(f"{count} {status}" for status, count in counts.items())
        batch = replace(
            batch, notes=(*batch.notes, f"pieces recovered from the classes, all cases: {found} (audit.csv)")
        )
    return batch


def _label_case(
    labels: Path,
    output: Path,
    report: Path | None,
    scheme: LabelScheme,
    mode: Literal["default", "literal"],
    border: float | None,
) -> dict[str, Any]:
    from label_gen import GenerationSettings, generate_abbc
    from nnunet_ext.atomic import write_json
    from nnunet_ext.volumes import naming, read_labels, write_volume

    volume = read_labels(labels, allow_empty=False)
    with naming(labels):
        settings = GenerationSettings.for_mode(mode, border)
        generated = generate_abbc(volume.array, volume.spacing_mm, scheme=scheme, mode=mode, settings=settings)
        if report is not None:
            from postproc import audit_round_trip

            audit = audit_round_trip(volume.array, volume.spacing_mm, scheme=scheme, mode=mode, generated=generated)
            write_json(report, {"case": report.stem, **audit.to_dict(), "pieces": audit.rows()})
    write_volume(volume.like(generated.abbc), output)
    return generated.to_dict()


def _write_audit_table(folder: Path) -> Counter[str]:
    """Write `audit.csv` from the audits of all cases, those of earlier runs included; count pieces by status."""
    from label_gen.errors import VolumeFileError
    from nnunet_ext.atomic import write_csv

    rows: list[dict[str, Any]] = []
    for file in sorted((folder / "audit").glob("[!.]*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            rows += [{"case": file.stem, **row} for row in content["pieces"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VolumeFileError(f"'{file}' is no readable audit ({error!r}); remove it and run again") from error
    if rows:
        write_csv(folder / "audit.csv", rows)
    return Counter(str(row["status"]) for row in rows)


def describe_fallbacks(details: Any) -> str:
    """Return which fragments needed which fallback, as one line; empty if none did.

    Args:
        details: The report of `label_gen.generate_abbc`.
    """
    used: dict[str, list[int]] = {}
    for piece in details.get("pieces", ()):
        if piece["fallback"] != "none":
            used.setdefault(piece["fallback"], []).append(piece["fragment_id"])
    return "; ".join(f"{kind}: fragments {', '.join(map(str, sorted(set(ids))))}" for kind, ids in sorted(used.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, "Turn volumes of bone fragments into the ABBC classes that a network learns.")
    parser.add_argument("-i", "--input", required=True, metavar="LABELS", help="fragment labels: a volume or a folder")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder, or file for a single volume")
    parser.add_argument("--mode", choices=MODES, default="default", help="literal: the published recipe to the letter")
    parser.add_argument("--border", type=float, metavar="MM", help="width on each side of a contact (0.7)")
    parser.add_argument("--audit", action="store_true", help="recover the fragments again and note what was lost")
    add_batch_options(parser)
    options = parser.parse_args(argv)

    def show(result: CaseResult) -> None:
        report_case(PROG, result, options.verbose)
        if fallbacks := describe_fallbacks(result.details):
            print(f"{PROG}: case {result.name}: fallbacks used ({fallbacks})", file=sys.stderr)

    def work() -> int:
        batch = generate_labels(
            options.input,
            options.output,
            scheme=options.scheme,
            mode=options.mode,
            border=options.border,
            workers=options.workers,
            audit=options.audit,
            overwrite=options.overwrite,
            on_result=show,
            progress=True,
        )
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
