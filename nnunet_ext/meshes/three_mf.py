"""All fragments in one 3MF file for printers: each an object with name and colour, together one assembly in mm."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from nnunet_ext.atomic import replacing
from nnunet_ext.fragment_names import FragmentName
from nnunet_ext.manifest import NOTE
from postproc.surfaces import Surface

__all__ = ["write_3mf"]

# Source of the layout: 3MF Core Specification 1.3, chapters 2 (package), 3 (model), 4 (objects) and 5 (base materials).
_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">\
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>\
<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>
"""
_RELATIONS = """<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">\
<Relationship Target="/3D/3dmodel.model" Id="rel0" \
Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>
"""
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<model unit="millimeter" xml:lang="en-US" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">
"""
_DATE = (1980, 1, 1, 0, 0, 0)
"""Date of the files in the archive, so that equal surfaces give equal bytes. Source: the earliest that ZIP can hold."""


def write_3mf(path: Path, parts: Sequence[tuple[FragmentName, Surface]]) -> None:
    """Write surfaces as one coloured 3MF.

    Coordinates are those of the patient (LPS); one build item holds all objects, so that programs that put items on the
    printing bed keep the fragments where they are to each other.

    Args:
        path: The file.
        parts: Name and surface of each fragment, vertices in mm.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    files = {"[Content_Types].xml": _TYPES, "_rels/.rels": _RELATIONS, "3D/3dmodel.model": _model(parts)}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, text)


def _model(parts: Sequence[tuple[FragmentName, Surface]]) -> str:
    """Return the model: materials, an object per fragment, the assembly of them, and what to build."""
    materials, whole = 1, len(parts) + 2
    lines = [_HEAD, f' <metadata name="Description">Coordinates: LPS, mm. {escape(NOTE)}</metadata>\n <resources>\n']
    lines.append(f'  <basematerials id="{materials}">\n')
    lines += [
        f'   <base name={quoteattr(name.display_name)} displaycolor="{name.hex_colour.upper()}FF"/>\n'
        for name, _ in parts
    ]
    lines.append("  </basematerials>\n")
    for index, (name, surface) in enumerate(parts):
        head = (
            f'id="{index + 2}" type="model" name={quoteattr(name.display_name)} partnumber={quoteattr(name.segment_id)}'
        )
        lines.append(f'  <object {head} pid="{materials}" pindex="{index}"><mesh>\n   <vertices>\n')
        lines += [f'<vertex x="{x:.9g}" y="{y:.9g}" z="{z:.9g}"/>\n' for x, y, z in surface.vertices.tolist()]
        lines.append("   </vertices>\n   <triangles>\n")
        lines += [f'<triangle v1="{a}" v2="{b}" v3="{c}"/>\n' for a, b, c in surface.faces.tolist()]
        lines.append("   </triangles>\n  </mesh></object>\n")
    lines.append(f'  <object id="{whole}" type="model" name="All fragments"><components>\n')
    lines += [f'   <component objectid="{index + 2}"/>\n' for index in range(len(parts))]
    lines.append(f'  </components></object>\n </resources>\n <build><item objectid="{whole}"/></build>\n</model>\n')
    return "".join(lines)
