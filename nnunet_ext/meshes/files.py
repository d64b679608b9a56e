"""Write the surfaces of a case: an STL per fragment, the whole as 3MF and GLB, and the table of what was proved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nnunet_ext.atomic import write_csv, write_json
from nnunet_ext.fragment_names import FragmentName
from nnunet_ext.manifest import NOTE
from nnunet_ext.meshes.glb import write_glb
from nnunet_ext.meshes.stl import write_stl
from nnunet_ext.meshes.three_mf import write_3mf
from postproc.surfaces import FragmentSurface

__all__ = ["FOLDER", "GLB", "TABLE", "THREE_MF", "doubts_of", "mesh_table", "write_meshes"]

FOLDER, TABLE, THREE_MF, GLB = "meshes", "meshes.json", "assembly.3mf", "assembly.glb"
"""Where things lie in the folder of a case: STL files and the table in `meshes`, the whole beside it."""

TELLING_PERCENT = 1.0
"""Error of the volume from which on a surface is doubted. Source: chosen here: far above what real ones have (0.01)."""

TELLING_MM3 = 0.01
"""Overlap from which on a surface is doubted. Source: chosen here: a cube of 0.2 mm, the finest that printers do."""


def write_meshes(
    folder: str | Path, surfaces: Sequence[FragmentSurface], names: Mapping[int, FragmentName]
) -> dict[str, Any]:
    """Write the surfaces of a case.

    Args:
        folder: Folder of the case. Gets `meshes/SEGMENT_ID.stl`, `meshes/meshes.json` and `meshes/meshes.csv`,
            `assembly.3mf` and `assembly.glb`; STL files that an earlier table names and this one does not are removed.
        surfaces: Surfaces as `make_meshes` gives them, vertices in LPS and mm.
        names: Name of each fragment by label.

    Returns:
        What the table holds.

    Raises:
        VolumeFileError: A file cannot be written.
    """
    folder = Path(folder)
    table = mesh_table(surfaces, names)
    current = {row["file"] for row in table["fragments"]}
    for name in _earlier_files(folder / FOLDER / TABLE) - current:
        with suppress(OSError):
            (folder / FOLDER / name).unlink(missing_ok=True)
    for fragment in surfaces:
        write_stl(folder / FOLDER / f"{names[fragment.label].segment_id}.stl", fragment.surface)
    parts = [(names[fragment.label], fragment.surface) for fragment in surfaces]
    write_3mf(folder / THREE_MF, parts)
    write_glb(folder / GLB, parts)
    write_csv(folder / FOLDER / "meshes.csv", table["fragments"])
    write_json(folder / FOLDER / TABLE, table)
    return table


def mesh_table(surfaces: Sequence[FragmentSurface], names: Mapping[int, FragmentName]) -> dict[str, Any]:
    """Return the table of surfaces: what was proved and measured of each.

    Args:
        surfaces: The surfaces.
        names: Name of each fragment by label.
    """
    rows = [
        {
            "label": fragment.label,
            "segment_id": names[fragment.label].segment_id,
            "name": names[fragment.label].display_name,
            "file": f"{names[fragment.label].segment_id}.stl",
            "triangles": len(fragment.surface.faces),
            "watertight": fragment.is_watertight,
            "manifold": fragment.is_manifold,
            "outward": fragment.is_outward,
            "parts": fragment.parts,
            "voxel_volume_mm3": round(fragment.voxel_volume_mm3, 3),
            "volume_mm3": round(fragment.volume_mm3, 3),
            "volume_error_percent": round(100 * fragment.volume_error, 4),
            "largest_deviation_mm": round(fragment.largest_deviation_mm, 3),
            "mean_deviation_mm": round(fragment.mean_deviation_mm, 3),
            "overlap_mm3": round(fragment.overlap_mm3, 6),
            "clearance_mm": None if fragment.clearance_mm is None else round(fragment.clearance_mm, 4),
        }
        for fragment in surfaces
    ]
    return {
        "note": NOTE,
        "frame": "STL and 3MF: LPS, mm. GLB: metres, +Y up, the patient facing +Z",
        "proof": "watertight: every edge has two faces; manifold: manifold3d takes it for a solid; outward: faces look "
        "outward. Deviations are those of vertices and middles of faces from the outer faces of the voxels; overlap is "
        "the volume in common with other fragments, clearance the smallest distance to one, both by manifold3d",
        "fragments": rows,
    }


def doubts_of(table: Mapping[str, Any], clearance_mm: float = 0.0) -> list[str]:
    """Return a line for each surface that is not as it should be.

    Args:
        table: What `write_meshes` returned.
        clearance_mm: The gap that was asked for.
    """
    found = []
    for row in table["fragments"]:
        wrong = [f"not {word}" for word in ("watertight", "manifold", "outward") if not row[word]]
        if row["overlap_mm3"] > TELLING_MM3:
            wrong.append(f"overlaps others by {row['overlap_mm3']:.3f} mm3")
        if not clearance_mm and abs(row["volume_error_percent"]) > TELLING_PERCENT:
            wrong.append(f"its volume is off by {row['volume_error_percent']:+.1f} %")
        if row["clearance_mm"] is not None and row["clearance_mm"] < clearance_mm:
            wrong.append(f"only {row['clearance_mm']:.3f} mm from another fragment")
        if wrong:
            found.append(f"{row['segment_id']}: {', '.join(wrong)}")
    return found


def _earlier_files(table: Path) -> set[str]:
    """Return the STL files that an earlier table names."""
    try:
        rows = json.loads(table.read_text(encoding="utf-8"))["fragments"]
        return {name for row in rows if (name := str(row["file"])) == Path(name).name and name.endswith(".stl")}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
