"""STL: one surface in a binary file, in mm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnunet_ext.atomic import replacing
from nnunet_ext.manifest import NOTE
from postproc.surfaces import Surface
from postproc.surfaces.surface import face_normals

__all__ = ["write_stl"]

HEADER = f"LPS, mm. {NOTE}".encode("ascii")
"""First bytes of the file, 80 at most. They must not begin with "solid", by which text files are known."""

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(path: Path, surface: Surface) -> None:
    """Write a surface as binary STL.

    Args:
        path: The file.
        surface: Vertices in mm.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    normals = face_normals(surface.vertices, surface.faces)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(surface.faces), _RECORD)
    records["normal"] = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    records["corners"] = surface.vertices[surface.faces]
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(HEADER.ljust(80))
        stream.write(np.uint32(len(records)).astype("<u4").tobytes())
        stream.write(records.tobytes())
