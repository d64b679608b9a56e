"""Tables of names and colours for label volumes: 3D Slicer's colour table and ITK-SNAP's label file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nnunet_ext.atomic import replacing
from nnunet_ext.fragment_names import FragmentName
from nnunet_ext.manifest import NOTE

__all__ = ["write_itksnap_labels", "write_slicer_colours"]


def write_slicer_colours(path: str | Path, names: Mapping[int, FragmentName]) -> None:
    """Write a colour table for 3D Slicer: a line of number, name, red, green, blue, opacity per fragment.

    Names have underscores for spaces, since blanks part the columns. Slicer reads numbers up to 32768.

    Args:
        path: The file, ending in `.ctbl`.
        names: Names by number.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    lines = [f"# Color table of bone fragments. {NOTE}", "0 Background 0 0 0 0"]
    for number, name in sorted(names.items()):
        red, green, blue = name.colour
        title = re.sub(r"[\s,'\"]+", "_", name.display_name)
        lines.append(f"{number} {title} {red} {green} {blue} 255")
    _write(Path(path), lines)


def write_itksnap_labels(path: str | Path, names: Mapping[int, FragmentName]) -> None:
    """Write a label description file for ITK-SNAP: number, colour, opacity, shown, shown in 3D, name per fragment.

    Args:
        path: The file, ending in `.txt`.
        names: Names by number.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    lines = [
        "################################################",
        "# ITK-SnAP Label Description File",
        f"# {NOTE}",
        "# File format:",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        "################################################",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for number, name in sorted(names.items()):
        red, green, blue = name.colour
        title = re.sub(r"[\"\r\n]", " ", name.display_name)
        lines.append(f'{number:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{title}"')
    _write(Path(path), lines)


def _write(path: Path, lines: list[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
