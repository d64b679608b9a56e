"""The demonstration: a virtual patient, the three commands as a user would type them, a table and a picture."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DemoResult", "format_fragments", "run_demo"]

CASE = "phantom"
"""Name of the case."""

SCHEME = "pengwin2024"
"""Label scheme of the demonstration."""

DEFAULT_SEED = 14
"""Seed of the patient shown. Source: chosen here: all three bones broken, closed and open fractures side by side."""

HOW_TO = """
The same with your own labels (a folder of .nii.gz, .nii, .mha or .nrrd volumes, or one file):

  abbc-generate-labels   -i MY_LABELS -o MY_ABBC --audit
  abbc-recover-instances -i MY_ABBC -a MY_ANATOMY -o MY_FRAGMENTS
  abbc-evaluate          -p MY_FRAGMENTS -r MY_LABELS -o scores.json

Labels are numbered as PENGWIN 2024 does: sacrum 1-10, left hip 11-20, right hip 21-30. For other numbers add
--scheme pengwin2026, --scheme free (any positive number), or a scheme file of your own.
"""


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration made.

    Attributes:
        status: 0, or the exit status of the first command that failed.
        fragments: Scores of each fragment, as in `scores.json`; empty if a command failed.
        picture: The picture; None if a command failed.
    """

    status: int
    fragments: tuple[Mapping[str, Any], ...] = ()
    picture: Path | None = None


def run_demo(
    output: str | Path,
    *,
    seed: int = DEFAULT_SEED,
    spacing_mm: float = 1.0,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> DemoResult:
    """Make a fractured pelvis, turn its fragments into ABBC classes and back, score, and draw.

    Writes `ct`, `labels` and `anatomy`, what the commands write, and `demo.png`.

    Args:
        output: The folder.
        seed: Seed of the patient.
        spacing_mm: Edge of the voxels.
        overwrite: Do everything anew instead of using what an earlier run with the same settings left.
        say: Called with each line of text to show.

    Returns:
        Status, scores and picture.

    Raises:
        UsageError: The folder holds another patient, or an option makes no sense.
        VolumeFileError: A file cannot be written.
    """
    from nnunet_ext.commands import evaluate, generate_labels, recover_instances

    folder = Path(output)
    _make_patient(folder, seed, spacing_mm, overwrite, say)
    again = ["--overwrite"] if overwrite else []
    steps = (
        (generate_labels, ["-i", f"{folder / 'labels'}", "-o", f"{folder / 'abbc'}", "--audit", *again]),
        (
            recover_instances,
            ["-i", f"{folder / 'abbc'}", "-a", f"{folder / 'anatomy'}", "-o", f"{folder / 'fragments'}", *again],
        ),
        (
            evaluate,
            ["-p", f"{folder / 'fragments'}", "-r", f"{folder / 'labels'}", "-o", f"{folder / 'scores.json'}"],
        ),
    )
    for command, arguments in steps:
        say(f"\n$ {shlex.join([command.PROG, *arguments])}")
        status = command.main(arguments)
        if status:
            say(f"{command.PROG} ended with status {status}; the demonstration stops here")
            return DemoResult(status)
    fragments = tuple(json.loads((folder / "scores.json").read_text())["cases"][CASE]["fragments"])
    say("\n" + format_fragments(fragments))
    picture = _draw(folder, seed)
    say(f"\nPicture: {picture}")
    say(HOW_TO)
    return DemoResult(0, fragments, picture)


def _make_patient(folder: Path, seed: int, spacing_mm: float, overwrite: bool, say: Callable[[str], None]) -> None:
    """Write the volumes of the virtual patient, unless they are there."""
    from label_gen.errors import UsageError
    from label_gen.phantom import make_phantom
    from nnunet_ext.atomic import write_json
    from nnunet_ext.manifest import NOTE, versions
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.volumes import Volume, write_volume

    note = folder / "patient.json"
    settings = {"seed": seed, "spacing_mm": spacing_mm, "scheme": SCHEME}
    if note.is_file() and not overwrite:
        if json.loads(note.read_text())["settings"] != settings:
            raise UsageError(
                f"'{folder}' holds the demonstration with other settings; add --overwrite, or choose another folder "
                "(-o)"
            )
        say(f"The virtual patient is in '{folder}' already.")
        return
    say(f"Making a virtual patient with a fractured pelvis (seed {seed}) ...")
    phantom = make_phantom(seed, (spacing_mm,) * 3, scheme=load_scheme(SCHEME))
    for name, array in (("ct", phantom.ct), ("labels", phantom.labels), ("anatomy", phantom.anatomy)):
        if array is not None:
            write_volume(Volume(array, phantom.spacing_mm, phantom.origin_mm), folder / name / f"{CASE}.nii.gz")
    write_json(note, {"command": "abbc-demo", "note": NOTE, "versions": versions(), "settings": settings})
    say(f"Its CT, fragment labels and anatomy are in '{folder}'.")


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


def _draw(folder: Path, seed: int) -> Path:
    """Draw the picture of the patient and of what was recovered."""
    from nnunet_ext.picture import draw_picture
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.volumes import read_labels, read_volume

    ct = read_volume(folder / "ct" / f"{CASE}.nii.gz")
    abbc, fragments = (read_labels(folder / name / f"{CASE}.nii.gz").array for name in ("abbc", "fragments"))
    picture = folder / "demo.png"
    draw_picture(
        picture,
        fragments,
        abbc,
        ct.spacing_mm,
        scheme=load_scheme(SCHEME),
        ct=ct.array,
        title=f"Virtual patient {seed}: from CT to classes to fragments",
    )
    return picture
