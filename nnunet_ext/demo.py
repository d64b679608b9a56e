"""The demonstration: a simulated patient, from the CT to fragments, surfaces and a report by the commands of a user."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["OUTPUTS", "DemoResult", "format_fragments", "run_demo"]

SCHEME = "pengwin2026"
"""Label scheme of the demonstration."""

DEFAULT_SEED = 14
"""Seed of the patient shown. Source: chosen here, far from those that the models were trained with."""

OUTPUTS = {
    "report.html": "turn the fragments, pull them apart, look through the slices: one page, in any browser",
    "preview.png": "the same at a glance",
    "assembly.3mf": "all fragments in colour, for a slicer of 3D printers; meshes/ has one STL each",
    "segmentation.seg.nrrd": "named and coloured, in 3D Slicer",
    "statistics.csv": "volume, surface, HU, place and neighbours of every fragment",
}
"""What to open, of all that is written."""

HOW_TO = """
The same with a CT of yours (.nii.gz, .nii, .mha, .nrrd, a DICOM folder or a zip of one):

  abbc-segment -i MY_CT -o OUT --fast

The models that come with the package have seen simulated fractures only. Research use only, not a medical device.
"""


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration made.

    Attributes:
        status: 0, or the exit status of the first command that failed.
        fragments: Scores of each fragment, as in `scores.json`; empty if a command failed.
        case: Folder of the segmented case; None if a command failed.
    """

    status: int
    fragments: tuple[Mapping[str, Any], ...] = ()
    case: Path | None = None


def run_demo(
    output: str | Path,
    *,
    seed: int = DEFAULT_SEED,
    spacing_mm: float = 1.0,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> DemoResult:
    """Simulate a CT of a fractured pelvis, find its fragments, and compare them with the true ones.

    Writes `patient/` (the CT and the truth), `found/` (all that `abbc-segment` makes of the CT), `scores.json` and
    `demo.png`.

    Args:
        output: The folder.
        seed: Seed of the patient.
        spacing_mm: Edge of the CT's voxels.
        overwrite: Do everything anew instead of using what an earlier run with the same settings left.
        say: Called with each line of text to show.

    Returns:
        Status, scores and the folder of the case.

    Raises:
        UsageError: The folder holds another patient, or an option makes no sense.
        VolumeFileError: A file cannot be written.
    """
    from nnunet_ext.commands import evaluate, segment, simulate_fractures
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.segmentation.slices import draw_slices
    from nnunet_ext.volumes import read_labels, read_volume

    folder, case = Path(output), f"phantom_{seed:05d}"
    _check_settings(folder, {"seed": seed, "spacing_mm": spacing_mm, "scheme": SCHEME}, overwrite)
    again = ["--overwrite"] if overwrite else []
    ct, truth = (f"{folder / 'patient' / kind / case}.nii.gz" for kind in ("images", "labels"))
    found = folder / "found" / case
    patient = ["--phantom", "--seed", f"{seed}", "--spacing", f"{spacing_mm:g}", "-o", f"{folder / 'patient'}"]
    compared = ["-p", f"{found / 'segmentation.nii.gz'}", "-r", truth, "-o", f"{folder / 'scores.json'}"]
    steps = (
        (simulate_fractures, [*patient, "--scheme", SCHEME, *again]),
        (segment, ["-i", ct, "-o", f"{folder / 'found'}", "--fast", *again]),
        (evaluate, [*compared, "--scheme", SCHEME]),
    )
    for command, arguments in steps:
        say(f"\n$ {shlex.join([command.PROG, *arguments])}")
        status = command.main(arguments)
        if status:
            say(f"{command.PROG} ended with status {status}; the demonstration stops here")
            return DemoResult(status)
    (scores,) = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["cases"].values()
    fragments = tuple(scores["fragments"])
    say("\nTrue fragments, and how well each was found:\n\n" + format_fragments(fragments))
    work = found / "work"
    draw_slices(
        folder / "demo.png",
        read_volume(work / "ct.nii.gz"),
        read_labels(work / "abbc.nii.gz"),
        read_labels(work / "fragments.nii.gz"),
        scheme=load_scheme(SCHEME),
        title=f"Simulated patient {seed}: from CT to classes to fragments",
    )
    say("\nOpen what was found:\n")
    for name, what in OUTPUTS.items():
        say(f"  {found / name}\n      {what}")
    say(
        f"  {folder / 'demo.png'}\n      slices: the CT, the classes that the network found, the fragments made of them"
    )
    say(HOW_TO)
    return DemoResult(0, fragments, found)


def _check_settings(folder: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Refuse a folder that holds the demonstration with other settings; note the settings in a new one."""
    from label_gen.errors import UsageError
    from nnunet_ext.atomic import write_json
    from nnunet_ext.manifest import NOTE, versions

    note = folder / "demo.json"
    if note.is_file() and not overwrite and json.loads(note.read_text(encoding="utf-8"))["settings"] != settings:
        raise UsageError(
            f"'{folder}' holds the demonstration with other settings; add --overwrite, or choose another folder (-o)"
        )
    write_json(note, {"command": "abbc-demo", "note": NOTE, "versions": versions(), "settings": settings})


def format_fragments(fragments: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of fragments as text.

    Args:
        fragments: Rows of `scores.json`; those without a true fragment are left out.
    """
    from nnunet_ext.schemes import load_scheme

    scheme = load_scheme(SCHEME)
    lines = [f"{'bone':<16}{'fragment':>9}{'volume, mL':>12}{'IoU':>9}"]
    lines.append("-" * len(lines[0]))
    rows = sorted((row for row in fragments if row["reference_id"]), key=lambda row: int(row["reference_id"]))
    volumes = [float(row["reference_mm3"]) / 1000 for row in rows]
    ious = [float(row["iou"] or 0.0) for row in rows]
    for row, volume, iou in zip(rows, volumes, ious, strict=True):
        bone = scheme.bone(row["bone"])
        lines.append(f"{bone.display_name:<16}{row['reference_id']:>9}{volume:>12.1f}{iou:>9.4f}")
    lines.append("-" * len(lines[0]))
    lines.append(f"{'all, mean IoU':<16}{len(rows):>9}{sum(volumes):>12.1f}{sum(ious) / max(len(ious), 1):>9.4f}")
    return "\n".join(lines)
