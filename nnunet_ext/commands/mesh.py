"""`abbc-mesh`: label volumes to closed surfaces of their fragments."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.commands._cli import add_batch_options, make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from label_gen.scheme import LabelScheme
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["format_meshes", "main", "mesh"]

PROG = "abbc-mesh"


def mesh(
    labels: str | Path,
    output: str | Path,
    *,
    scheme: str | Path = "pengwin2024",
    clearance_mm: float = 0.0,
    smoothing: int = 20,
    tolerance_mm: float = 0.1,
    max_faces: int | None = None,
    workers: int = 1,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Make the surfaces of the fragments of one or many label volumes.

    Writes for each case `CASE/meshes/SEGMENT_ID.stl` (LPS, mm), `CASE/meshes/meshes.json` and `.csv` (what was proved
    and measured), `CASE/assembly.3mf` and `CASE/assembly.glb` (all, coloured), and the manifest `abbc-mesh.json`.

    Args:
        labels: A label volume, or a folder of them; or the output of `abbc-segment`.
        output: A folder.
        scheme: Name of a label scheme, or a `.toml` file.
        clearance_mm: Gap to leave between fragments, for printing; 0 lets them touch.
        smoothing: Rounds of smoothing; 0 gives the faces of the voxels.
        tolerance_mm: How far simplification may move a surface; 0 for none.
        max_faces: Most triangles of a surface, for display; such surfaces may overlap and lose volume.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        overwrite: Redo finished cases instead of skipping them.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case; the details are the table of surfaces, and in `doubts` those that are not as they should
        be.

    Raises:
        UsageError: The input holds nothing usable, the output is inside it or a file, or an option makes no sense.
        SchemeError: There is no such scheme, or it is wrong.
        VolumeFileError: The input folder cannot be read, or the manifest cannot be written.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.cases import VOLUME_SUFFIXES, check_output, find_cases
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.meshes.files import FOLDER, GLB, TABLE, THREE_MF
    from nnunet_ext.schemes import load_scheme

    for option, value in (("--clearance", clearance_mm), ("--smoothing", smoothing), ("--tolerance", tolerance_mm)):
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{option} is {value}; give a number from 0 upward")
    if max_faces is not None and max_faces < 4:
        raise UsageError(f"--max_faces is {max_faces}; a closed surface has 4 or more")
    loaded = load_scheme(scheme)
    cases = find_cases(labels)
    check_output(output, labels)
    folder = Path(output)
    if folder.name.lower().endswith((*VOLUME_SUFFIXES, ".stl", ".3mf", ".glb")) and not folder.is_dir():
        raise UsageError(f"the output '{folder}' names a file; give a folder, each case gets one of its own in it (-o)")
    options = {"clearance_mm": clearance_mm, "smoothing": smoothing, "tolerance_mm": tolerance_mm}
    options |= {} if max_faces is None else {"max_faces": max_faces}
    tasks = []
    for case in cases:
        place = folder / case.name
        outputs = (place / FOLDER / TABLE, place / THREE_MF, place / GLB)
        arguments = {"labels": case.path, "output": place, "scheme": loaded, "options": options}
        tasks.append(Task(case.name, outputs, arguments))
    return run_batch(
        _mesh_case,
        tasks,
        workers=workers,
        overwrite=overwrite,
        manifest=Manifest(folder / f"{PROG}.json", PROG, {"scheme": loaded.name, **options}),
        on_result=on_result,
        progress=progress,
    )


def _mesh_case(labels: Path, output: Path, scheme: LabelScheme, options: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np

    from nnunet_ext.fragment_names import name_fragments
    from nnunet_ext.meshes import make_meshes, write_meshes
    from nnunet_ext.meshes.files import doubts_of
    from nnunet_ext.volumes import naming, read_labels

    volume = read_labels(labels, allow_empty=False)
    with naming(labels):
        names = name_fragments(np.unique(volume.array).tolist(), scheme)
    table = write_meshes(output, make_meshes(volume, **options), names)
    return {"fragments": table["fragments"], "doubts": doubts_of(table, options["clearance_mm"])}


def format_meshes(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of surfaces of a case as text.

    Args:
        rows: `fragments` of the table.
    """
    lines = [["surface", "triangles", "volume error %", "largest deviation mm", "overlap mm3", "clearance mm", "sound"]]
    for row in rows:
        is_sound = row["watertight"] and row["manifold"] and row["outward"]
        clearance = "-" if row["clearance_mm"] is None else f"{row['clearance_mm']:.3f}"
        figures = [str(row["triangles"]), f"{row['volume_error_percent']:+.3f}", f"{row['largest_deviation_mm']:.2f}"]
        lines.append([row["segment_id"], *figures, f"{row['overlap_mm3']:.3f}", clearance, "yes" if is_sound else "NO"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, "Make closed surfaces of bone fragments: an STL each, and the whole as 3MF and GLB.")
    parser.add_argument("-i", "--input", required=True, metavar="LABELS", help="fragment labels: a volume or a folder")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder; each case gets one in it")
    parser.add_argument(
        "--clearance", type=_number, default=0.0, metavar="MM", help="gap to leave between fragments, for printing"
    )
    parser.add_argument("--smoothing", type=_count, default=20, metavar="N", help="rounds of smoothing; 0 for none")
    parser.add_argument(
        "--tolerance", type=_number, default=0.1, metavar="MM", help="how far simplification may move a surface"
    )
    parser.add_argument(
        "--max_faces", type=_count, metavar="N", help="most triangles of a surface, for display; may overlap others"
    )
    add_batch_options(parser)
    options = parser.parse_args(argv)

    def show(result: CaseResult) -> None:
        report_case(PROG, result, options.verbose)
        if result.status == "done":
            print(f"{result.name}\n{format_meshes(result.details['fragments'])}")
            for doubt in result.details["doubts"]:
                print(f"{PROG}: warning: case {result.name}: {doubt}", file=sys.stderr)

    def work() -> int:
        batch = mesh(
            options.input,
            options.output,
            scheme=options.scheme,
            clearance_mm=options.clearance,
            smoothing=options.smoothing,
            tolerance_mm=options.tolerance,
            max_faces=options.max_faces,
            workers=options.workers,
            overwrite=options.overwrite,
            on_result=show,
            progress=True,
        )
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 upward")
    return number


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0 upward")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
