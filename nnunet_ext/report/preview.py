"""The picture of a case, `preview.png`: the assembly from four sides beside three slices with contours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nnunet_ext.atomic import replacing
from nnunet_ext.manifest import NOTE
from nnunet_ext.report.excerpt import Excerpt, take_excerpt
from nnunet_ext.report.fractures import most_fractured
from nnunet_ext.report.shading import VIEWS, Solid, draw_solids
from nnunet_ext.report.triangles import coarsen
from nnunet_ext.volumes import Volume

if TYPE_CHECKING:
    from nnunet_ext.fragment_names import FragmentName

__all__ = ["SurfaceLike", "draw_preview", "solids_of", "write_preview"]

PAPER, INK, FAINT = "#0f1217", "#eef1f5", "#98a1ad"
WIDTH_INCH, RESOLUTION_DPI = 16.0, 120

SKIN_VOXELS = 0.55
"""Smoothing of the masks where no surfaces are given. Source: chosen here, the least that hides the steps of voxels."""

PLANES = ((0, "Axial", False, "RLAP"), (1, "Coronal", True, "RLHF"), (2, "Sagittal", True, "APHF"))
"""Axis of a slice, its name, whether rows run upwards, and the letters at left, right, top and bottom."""

SurfaceLike = Any
"""Anything with `label`, and `surface.vertices` and `surface.faces` in LPS mm."""


def write_preview(
    path: str | Path,
    ct: Volume | None,
    labels: Volume,
    names: Mapping[int, FragmentName],
    *,
    surfaces: Sequence[SurfaceLike] = (),
    title: str = "",
) -> None:
    """Write the picture of a case as PNG.

    Args:
        path: The file.
        ct: Hounsfield units, or None.
        labels: Fragment numbers on the same grid.
        names: Name and colour of each fragment.
        surfaces: Surfaces of the fragments in LPS mm; made in a plain way where there are none.
        title: Line at the top.

    Raises:
        GridError: CT and labels lie on different grids.
        VolumeFileError: The file cannot be written.
    """
    excerpt = take_excerpt(labels, ct)
    data = draw_preview(excerpt, names, solids_of(excerpt, names, surfaces), title=title)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(data)


def solids_of(excerpt: Excerpt, names: Mapping[int, FragmentName], surfaces: Sequence[SurfaceLike]) -> list[Solid]:
    """Return the surfaces with their colours, made from the excerpt where none are given."""
    if surfaces or not excerpt.numbers:
        return [Solid(s.surface.vertices, s.surface.faces, names[s.label].colour) for s in surfaces if s.label in names]
    return [_skin(excerpt, index, names[number].colour) for index, number in enumerate(excerpt.numbers, start=1)]


def draw_preview(
    excerpt: Excerpt, names: Mapping[int, FragmentName], solids: Sequence[Solid], *, title: str = ""
) -> bytes:
    """Draw the picture of a case.

    Args:
        excerpt: CT and fragments.
        names: Name and colour of each fragment.
        solids: The fragments' surfaces.
        title: Line at the top.

    Returns:
        A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    meshes = coarsen([(solid.vertices, solid.faces) for solid in solids], 400_000)
    solids = [Solid(*mesh, solid.colour) for mesh, solid in zip(meshes, solids, strict=True)]
    chosen = most_fractured(excerpt, [names[number].bone for number in excerpt.numbers])
    rows = -(-len(excerpt.numbers) // 4)
    top, bottom = (0.75 if title else 0.25), 0.55 + 0.26 * max(rows, 1)
    body = 9.0
    height = top + body + bottom
    figure = Figure(figsize=(WIDTH_INCH, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    if title:
        figure.text(0.3 / WIDTH_INCH, 1 - 0.4 / height, title, color=INK, size=19, weight="bold", va="center")

    def place(left: float, below: float, width: float, tall: float) -> Any:
        return figure.add_axes(
            (left / WIDTH_INCH, (bottom + below) / height, width / WIDTH_INCH, tall / height), facecolor=PAPER
        )

    pictures = {name: draw_solids(solids, view) for name, view in VIEWS.items()}
    largest_mm = [max(p.image.shape[k] * p.pixel_mm for p in pictures.values()) for k in (0, 1)]
    for index, (name, picture) in enumerate(pictures.items()):
        axes = place(0.2 + 5.15 * (index % 2), 4.55 * (1 - index // 2), 5.05, 4.45)
        tall, wide = (picture.image.shape[k] * picture.pixel_mm for k in (0, 1))
        axes.imshow(picture.image, extent=(-wide / 2, wide / 2, -tall / 2, tall / 2), interpolation="antialiased")
        half = max(largest_mm[1] / 2 * 1.02, largest_mm[0] / 2 * 1.02 * 5.05 / 4.45)
        axes.set_xlim(-half, half)
        axes.set_ylim(-half * 4.45 / 5.05, half * 4.45 / 5.05)
        axes.set_axis_off()
        axes.text(0.02, 0.98, name, color=INK, size=13, transform=axes.transAxes, va="top")
        sides = "RL" if name != "Left side" else "AP"
        for x, letter in zip((0.02, 0.98), sides, strict=True):
            axes.text(x, 0.5, letter, color=FAINT, size=11, transform=axes.transAxes, ha="center", va="center")
    _slices(place, excerpt, names, chosen)
    _legend(figure, height, bottom, excerpt, names)
    figure.text(0.3 / WIDTH_INCH, 0.22 / height, NOTE, color=FAINT, size=10, va="center")
    sides_text = (
        "The patient's right (R) is on the left where it is marked so; L left, A front, P back, H head, F feet."
    )
    figure.text(1 - 0.3 / WIDTH_INCH, 0.22 / height, sides_text, color=FAINT, size=10, va="center", ha="right")
    stream = io.BytesIO()
    no_version: dict[str, Any] = {"Software": None}
    figure.savefig(stream, dpi=RESOLUTION_DPI, facecolor=PAPER, format="png", metadata=no_version)
    return stream.getvalue()


def _slices(place: Any, excerpt: Excerpt, names: Mapping[int, FragmentName], chosen: tuple[int, int, int]) -> None:
    """Draw the three slices in a column at the right, all at one scale."""
    size = [n * step for n, step in zip(excerpt.indices.shape, excerpt.spacing_mm, strict=True)]
    tall = [size[1], size[0], size[0]]
    wide = [size[2], size[2], size[1]]
    scale = min(8.8 / sum(tall), 5.2 / max(wide))
    below = (9.0 + scale * sum(tall) + 0.2) / 2
    for (axis, name, is_upward, letters), height, width in zip(PLANES, tall, wide, strict=True):
        below -= height * scale
        axes = place(10.6 + (5.2 - width * scale) / 2, below, width * scale, height * scale)
        below -= 0.1
        index = chosen[axis]
        numbers = np.take(excerpt.indices, index, axis=axis)
        extent = (0.0, width, 0.0, height) if is_upward else (0.0, width, height, 0.0)
        origin = "lower" if is_upward else "upper"
        if excerpt.grey is None:
            grey = np.where(numbers > 0, 70, 0).astype(np.uint8)
        else:
            grey = np.take(excerpt.grey, index, axis=axis)
        axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent, origin=origin, interpolation="bilinear")
        rows, columns = numbers.shape
        x = (np.arange(columns) + 0.5) * width / columns
        y = (np.arange(rows) + 0.5) * height / rows
        for found in np.unique(numbers[numbers > 0]):
            mask = numbers == found
            colour = np.array(names[excerpt.numbers[found - 1]].colour) / 255
            tint = np.zeros((*mask.shape, 4))
            tint[mask] = (*colour, 0.22)
            axes.imshow(tint, extent=extent, origin=origin, interpolation="nearest")
            if min(mask.shape) > 1:
                axes.contour(x, y, gaussian_filter(mask.astype(float), 0.45), [0.5], colors=[colour], linewidths=1.5)
        axes.set_xlim(0, width)
        axes.set_ylim(*((0, height) if is_upward else (height, 0)))
        axes.set_aspect("equal")
        axes.set_axis_off()
        style = {"color": FAINT, "size": 10, "transform": axes.transAxes, "ha": "center", "va": "center"}
        for (u, v), letter in zip(((0.025, 0.5), (0.975, 0.5), (0.5, 0.955), (0.5, 0.045)), letters, strict=True):
            axes.text(u, v, letter, **style)
        axes.text(0.02, 0.97, name, **{**style, "color": INK, "size": 12, "ha": "left", "va": "top"})


def _legend(figure: Any, height: float, bottom: float, excerpt: Excerpt, names: Mapping[int, FragmentName]) -> None:
    """Write the names of the fragments in columns under the pictures, each beside its colour."""
    rows = max(-(-len(excerpt.numbers) // 4), 1)
    for index, number in enumerate(excerpt.numbers):
        x = (0.3 + 3.9 * (index // rows)) / WIDTH_INCH
        y = (bottom - 0.2 - 0.26 * (index % rows)) / height
        colour = np.array(names[number].colour) / 255
        figure.text(x, y, "\N{BLACK SQUARE}", color=colour, size=17, va="center")
        figure.text(x + 0.26 / WIDTH_INCH, y, names[number].display_name, color=INK, size=11.5, va="center")


def _skin(excerpt: Excerpt, index: int, colour: tuple[int, int, int]) -> Solid:
    """Return the surface of one fragment of the excerpt, in LPS mm."""
    from skimage.measure import marching_cubes

    mask = excerpt.indices == index
    here = [np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)]
    low = np.array([h[0] for h in here])
    part = mask[tuple(slice(int(h[0]), int(h[-1]) + 1) for h in here)].astype(np.float32)
    solid = gaussian_filter(np.pad(part, 3), SKIN_VOXELS)
    vertices, faces, _, _ = marching_cubes(
        solid, min(0.5, 0.5 * float(solid.max())), gradient_direction="ascent", method="lorensen"
    )
    xyz = ((vertices - 3 + low) * excerpt.spacing_mm)[:, ::-1]
    points: NDArray[np.float64] = xyz @ np.reshape(excerpt.direction, (3, 3)).T + np.array(excerpt.origin)
    # Reversing the axes mirrors the faces; a mirroring direction mirrors them back.
    flipped = faces[:, ::-1] if np.linalg.det(np.reshape(excerpt.direction, (3, 3))) > 0 else faces
    return Solid(points, np.ascontiguousarray(flipped, np.int32), colour)
