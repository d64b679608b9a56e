"""`report.html`: one file with everything inside, that opens without network and lets no script but its own run."""

from __future__ import annotations

import html
import io
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_ext.atomic import replacing
from nnunet_ext.manifest import NOTE, without_paths
from nnunet_ext.report.excerpt import MAX_VOXELS, Excerpt, take_excerpt
from nnunet_ext.report.fractures import find_places, most_fractured
from nnunet_ext.report.images import as_text, encode_picture, encode_slices
from nnunet_ext.report.preview import SurfaceLike, draw_preview, solids_of
from nnunet_ext.report.tables import (
    DOUBTFUL_BELOW,
    facts,
    fracture_rows,
    fragment_rows,
    listed,
    measurement_rows,
    rated_interfaces,
    shown,
)
from nnunet_ext.report.triangles import pack_meshes
from nnunet_ext.sealed_page import as_data, fill_page
from nnunet_ext.volumes import Volume

if TYPE_CHECKING:
    from nnunet_ext.fragment_names import FragmentName

__all__ = ["write_report"]

SLICE_BYTES = 3_300_000
"""Size of all CT slices. Source: chosen here; with meshes and pictures the page then stays below 8 MB."""

SCRIPTS = ("core.js", "solid.js", "viewer.js", "contours.js", "slices.js", "tables.js")
"""The page's scripts, in the order in which they need each other."""


def write_report(
    path: str | Path,
    *,
    ct: Volume | None,
    labels: Volume,
    names: Mapping[int, FragmentName],
    surfaces: Sequence[SurfaceLike] = (),
    statistics: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    title: str = "",
    run: Mapping[str, Any] | None = None,
    preview: str | Path | None = None,
    max_voxels: int = MAX_VOXELS,
) -> None:
    """Write the report of a case as one HTML file.

    Args:
        path: The file.
        ct: Hounsfield units, or None: the slices then show the fragments alone.
        labels: Fragment numbers on the same grid.
        names: Name and colour of each fragment.
        surfaces: Surfaces of the fragments in LPS mm; made in a plain way where there are none.
        statistics: As `statistics.json` has them.
        warnings: What the reader has to know first.
        title: Name of the case.
        run: As `run.json` has it.
        preview: The picture of the case where it is there already; drawn if None.
        max_voxels: Voxels of the slices, see `take_excerpt`.

    Raises:
        GridError: CT and labels lie on different grids.
        VolumeFileError: The file cannot be written.
    """
    excerpt = take_excerpt(labels, ct, max_voxels=max_voxels)
    names = {number: names[number] for number in excerpt.numbers}
    surfaces = sorted((s for s in surfaces if s.label in names), key=lambda surface: int(surface.label))
    solids = solids_of(excerpt, names, surfaces)
    numbers = sorted(int(s.label) for s in surfaces) if surfaces else list(excerpt.numbers)
    picture: Any = preview or io.BytesIO(draw_preview(excerpt, names, solids, title=title))
    known = statistics or {}
    interfaces = rated_interfaces(known, names)
    packed = pack_meshes([(solid.vertices, solid.faces) for solid in solids])
    content = {
        "fragments": [
            {
                "number": number,
                "name": name.display_name,
                "bone": name.bone,
                "colour": list(name.colour),
                "mesh": numbers.index(number) if number in numbers else None,
            }
            for number, name in names.items()
        ],
        "fractures": [
            {"pair": [int(entry["first"]), int(entry["second"])], "place": place}
            for entry, place in zip(
                interfaces, find_places(excerpt, [(int(e["first"]), int(e["second"])) for e in interfaces]), strict=True
            )
        ],
        "meshes": {"counts": packed.counts, "low": packed.low_mm, "step": packed.step_mm, "data": as_text(packed.data)},
        "volume": _describe_volume(excerpt, most_fractured(excerpt, [name.bone for name in names.values()])),
    }
    page = _fill(content, known, names, warnings, title, run or {}, encode_picture(picture))
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _describe_volume(excerpt: Excerpt, chosen: tuple[int, int, int]) -> dict[str, Any]:
    """Return the excerpt as the page's script reads it."""
    bits = 8 * excerpt.indices.dtype.itemsize
    data = excerpt.indices.astype(f"<u{bits // 8}").tobytes()
    return {
        "shape": excerpt.indices.shape,
        "spacing": excerpt.spacing_mm,
        "origin": excerpt.origin,
        "direction": excerpt.direction,
        "start": chosen,
        "bits": bits,
        "labels": as_text(zlib.compress(data, 9)),
        "slices": None if excerpt.grey is None else encode_slices(excerpt.grey, SLICE_BYTES),
    }


def _fill(
    content: Mapping[str, Any],
    statistics: Mapping[str, Any],
    names: Mapping[int, FragmentName],
    warnings: Sequence[str],
    title: str,
    run: Mapping[str, Any],
    picture: str,
) -> str:
    """Return the page."""
    shape, spacing = content["volume"]["shape"], content["volume"]["spacing"]
    z, y, x = (n * step for n, step in zip(shape, spacing, strict=True))
    colours = "".join(f".f{number}{{--own:{_hex(name.colour)}}}" for number, name in names.items())
    shapes = "".join(
        f".{plane}{{--wide:{wide:.1f};--tall:{tall:.1f}}}"
        for plane, wide, tall in (("axial", x, y), ("coronal", x, z), ("sagittal", y, z))
    )
    style = _asset("report.css") + colours + shapes
    script = "\n".join(_asset(name) for name in SCRIPTS)
    name = without_paths(title) or "Case"
    parts = {
        "title": html.escape(name),
        "summary": html.escape(_summary(statistics, names)),
        "note": html.escape(NOTE),
        "warnings": listed(warnings),
        "picture": picture,
        "fragments": fragment_rows(statistics, names),
        "fractures": fracture_rows(statistics, names),
        "measurements": measurement_rows(statistics, names),
        "decisions": listed(statistics.get("decisions", ())),
        "facts": facts(run),
        "data": as_data(_plain(content)),
    }
    is_rated = any(entry.get("confidence") is not None for entry in rated_interfaces(statistics, names))
    parts["no_rated"] = "" if is_rated else "hidden"
    parts["has_ct"] = "" if content["volume"]["slices"] else "hidden"
    parts |= {f"no_{key}": "" if parts[key] else "hidden" for key in ("warnings", "fractures", "decisions", "facts")}
    return fill_page(_asset("report.html"), style, script, parts)


def _summary(statistics: Mapping[str, Any], names: Mapping[int, FragmentName]) -> str:
    """Return one line about the case."""
    bones = len({name.bone for name in names.values()})
    interfaces = rated_interfaces(statistics, names)
    doubtful = sum(e.get("confidence") is not None and e["confidence"] < DOUBTFUL_BELOW for e in interfaces)
    volume = sum(float(e.get("volume_mm3") or 0) for e in statistics.get("fragments", ())) / 1000
    parts = [_counted(len(names), "fragment") + " of " + _counted(bones, "bone")]
    if "interfaces" in statistics:
        parts.append(_counted(len(interfaces), "fracture interface") + (f", {doubtful} doubtful" if doubtful else ""))
    if volume:
        parts.append(f"{shown(volume)} cm³ of bone")
    return " · ".join(parts)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _hex(colour: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _asset(name: str) -> str:
    return files("nnunet_ext.report").joinpath("assets", name).read_text(encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return content in the types of JSON, numbers rounded to what matters."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6)
    return int(value) if isinstance(value, np.integer) else value
