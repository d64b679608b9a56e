"""One picture of a case: CT, ABBC classes and fragments side by side on three slices through the fractures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.classes import ABBC
from label_gen.errors import GridError
from label_gen.scheme import LabelScheme
from nnunet_ext.colours import ABBC_COLOURS, fragment_colours

__all__ = ["choose_slices", "draw_picture"]

WINDOW_HU = (-250.0, 1000.0)
"""Hounsfield units shown black and white. Source: chosen here, a usual bone window."""

MARGIN_MM = 12.0
"""Room around the bones. Source: chosen here."""

OPACITY = 0.82
"""Opacity of colours over the CT. Source: chosen here, so that the CT's bone edges still show."""

PAPER, INK, FAINT = "#101318", "#e8eaed", "#8b929c"
WIDTH_INCH, RESOLUTION_DPI = 14.0, 130

# Axis of the slice, name, whether rows run upwards, letters at left, right, top and bottom of the picture.
PLANES = (
    (0, "Axial", False, "RLAP"),
    (1, "Coronal", True, "RLHF"),
    (2, "Sagittal", True, "APHF"),
)


def choose_slices(labels: NDArray[Any], abbc: NDArray[Any]) -> tuple[int, int, int]:
    """Choose a slice of each axis through the most fractured region.

    Args:
        labels: Fragment numbers (z, y, x).
        abbc: ABBC classes (z, y, x).

    Returns:
        Index along z, y and x: the slice with much border and many fragments, or, where there is no border, much bone.
    """
    chosen = []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        border = np.count_nonzero(abbc == ABBC.BORDER, axis=others).astype(float)
        bone = np.count_nonzero(labels, axis=others).astype(float)
        if not border.any():
            chosen.append(int(bone.argmax()))
            continue
        kinds = np.zeros(labels.shape[axis])
        for index in np.flatnonzero(border):
            kinds[index] = len(np.unique(np.take(labels, index, axis=axis)))
        score = np.convolve(np.sqrt(border) * kinds, np.ones(5), mode="same") * (border > 0)
        chosen.append(int(score.argmax()))
    return chosen[0], chosen[1], chosen[2]


def draw_picture(
    path: str | Path,
    labels: NDArray[Any],
    abbc: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    scheme: LabelScheme,
    ct: NDArray[Any] | None = None,
    title: str = "",
) -> None:
    """Draw a case into a PNG file, as radiologists look at it: the patient's right on the left of the picture.

    Args:
        path: The file.
        labels: Fragment numbers (z, y, x), axes along foot to head, front to back and right to left (LPS).
        abbc: ABBC classes, same shape.
        spacing_mm: Voxel size in array order.
        scheme: Scheme of the numbers; gives names and colours.
        ct: Hounsfield units, same shape; without it the column is left out.
        title: Line at the top.

    Raises:
        GridError: The arrays differ in shape.
        SchemeError: A label is in no band.
        VolumeFileError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from nnunet_ext.atomic import replacing

    for name, array in (("ABBC", abbc), ("CT", ct)):
        if array is not None and array.shape != labels.shape:
            raise GridError(
                f"the {name} volume has shape {array.shape} and the labels {labels.shape}; they have to be equal"
            )
    ids = [int(i) for i in np.unique(labels) if i]
    colours = fragment_colours(scheme, ids)
    slices = choose_slices(labels, abbc)
    box = _bone_box(labels, spacing_mm)
    columns = ["CT", "ABBC classes", "Fragments"] if ct is not None else ["ABBC classes", "Fragments"]
    extents = [(box[k].stop - box[k].start) * float(spacing_mm[k]) for k in range(3)]
    heights = [extents[1], extents[0], extents[0]]

    scale = (WIDTH_INCH - 0.5) / len(columns) / max(extents[2], extents[1])
    top, bottom, gap = 0.95, 0.45 + 0.26 * max(4, len(_bones(scheme, ids))), 0.10
    height_inch = top + bottom + sum(heights) * scale + 2 * gap
    figure = Figure(figsize=(WIDTH_INCH, height_inch), facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.text(0.02, 1 - 0.36 / height_inch, title, color=INK, size=17, weight="bold", va="center")
    y = height_inch - top
    for row, (plane, height) in enumerate(zip(PLANES, heights, strict=True)):
        y -= height * scale
        for column, content in enumerate(columns):
            x = 0.25 + column * (WIDTH_INCH - 0.5) / len(columns)
            cell = ((WIDTH_INCH - 0.5) / len(columns) - 0.08, height * scale)
            axes = figure.add_axes((x / WIDTH_INCH, y / height_inch, cell[0] / WIDTH_INCH, cell[1] / height_inch))
            image = _panel(content, plane[0], slices[plane[0]], box, labels, abbc, ct, colours)
            _show(axes, image, plane, spacing_mm, first=column == 0)
            if row == 0:
                axes.set_title(content, color=INK, size=13, pad=8)
        y -= gap
    for column, content in enumerate(columns):
        x = 0.30 + column * (WIDTH_INCH - 0.5) / len(columns)
        line = (x / WIDTH_INCH, (bottom - 0.35) / height_inch, 0.26 / height_inch)
        if content == "ABBC classes":
            _class_legend(figure, line)
        elif content == "Fragments":
            _fragment_legend(figure, line, scheme, colours)
    note = (
        "Seen from the feet and from the front: patient's right on the left. Research use only, not a medical device."
    )
    figure.text(0.02, 0.12 / height_inch, note, color=FAINT, size=9, va="center")
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, dpi=RESOLUTION_DPI, facecolor=PAPER, format="png", metadata={"Software": None})


def _bone_box(labels: NDArray[Any], spacing_mm: Sequence[float]) -> tuple[slice, slice, slice]:
    """Return the part of the volume that holds the fragments, and a margin; all of it where there are none."""
    box = []
    for axis in range(3):
        index = np.flatnonzero(labels.any(axis=tuple(k for k in range(3) if k != axis)))
        first, last = (index[0], index[-1]) if len(index) else (0, labels.shape[axis] - 1)
        margin = round(MARGIN_MM / float(spacing_mm[axis]))
        box.append(slice(max(int(first) - margin, 0), min(int(last) + margin + 1, labels.shape[axis])))
    return box[0], box[1], box[2]


def _bones(scheme: LabelScheme, ids: Sequence[int]) -> dict[str, list[int]]:
    """Return the fragment numbers present, by the bone's name for people."""
    bones: dict[str, list[int]] = {}
    for number in ids:
        bone = scheme.bone_of(number)
        bones.setdefault(bone.display_name or bone.name, []).append(number)
    return bones


def _panel(
    content: str,
    axis: int,
    index: int,
    box: tuple[slice, slice, slice],
    labels: NDArray[Any],
    abbc: NDArray[Any],
    ct: NDArray[Any] | None,
    colours: dict[int, tuple[int, int, int]],
) -> NDArray[np.float64]:
    """Return a slice as red, green, blue, 0 to 1."""
    place: tuple[Any, ...] = tuple(index if k == axis else box[k] for k in range(3))
    if ct is None:
        paper = [int(PAPER[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        image = np.broadcast_to(np.array(paper), (*labels[place].shape, 3)).copy()
        opacity = 1.0
    else:
        low, high = WINDOW_HU
        grey = np.clip((ct[place].astype(float) - low) / (high - low), 0.0, 1.0)
        image = np.repeat(grey[..., None], 3, axis=-1)
        opacity = OPACITY
    if content == "CT":
        return image
    if content == "ABBC classes":
        numbers, table = abbc[place], dict(enumerate(ABBC_COLOURS[1:], start=1))
    else:
        numbers, table = labels[place], colours
    image *= 0.75  # the colours stand out
    for number, colour in table.items():
        mask = numbers == number
        image[mask] = (1 - opacity) * image[mask] + opacity * np.array(colour) / 255
    return image


def _show(
    axes: Any,
    image: NDArray[np.float64],
    plane: tuple[int, str, bool, str],
    spacing_mm: Sequence[float],
    *,
    first: bool,
) -> None:
    """Show a slice in its true proportions, with directions; names in the first column, and one scale bar."""
    axis, name, is_upward, letters = plane
    rows, columns = (float(spacing_mm[k]) for k in range(3) if k != axis)
    height, width = image.shape[0] * rows, image.shape[1] * columns
    extent = (0.0, width, 0.0, height) if is_upward else (0.0, width, height, 0.0)
    axes.imshow(image, extent=extent, origin="lower" if is_upward else "upper", interpolation="nearest", aspect="equal")
    axes.set_axis_off()
    style = {"color": FAINT, "size": 9, "transform": axes.transAxes}
    axes.text(0.012, 0.5, letters[0], ha="left", va="center", **style)
    axes.text(0.988, 0.5, letters[1], ha="right", va="center", **style)
    axes.text(0.5, 0.985, letters[2], ha="center", va="top", **style)
    axes.text(0.5, 0.015, letters[3], ha="center", va="bottom", **style)
    if first:
        axes.text(0.012, 0.98, name, ha="left", va="top", **{**style, "color": INK, "size": 11})
    if first and not is_upward:  # one scale bar is enough: all panels have the same scale
        y = 0.95 * height
        axes.plot([0.03 * width, 0.03 * width + 50.0], [y, y], color=INK, linewidth=2, solid_capstyle="butt")
        axes.annotate("50 mm", (0.03 * width, y), (0, 4), textcoords="offset points", color=INK, size=9)


def _class_legend(figure: Any, line: tuple[float, float, float]) -> None:
    """Write what the class colours mean; `line` is left edge, top and step in parts of the figure."""
    left, top, step = line
    meanings = {
        ABBC.BOUNDARY: "boundary: bone near its surface",
        ABBC.CORE: "core: deep inside a fragment, one piece each",
        ABBC.BORDER: "border: where fragments of a bone meet",
    }
    for row, (label, text) in enumerate(meanings.items()):
        colour = tuple(value / 255 for value in ABBC_COLOURS[label])
        figure.text(left, top - row * step, "\N{BLACK SQUARE}", color=colour, size=16, va="center")
        figure.text(left + 0.016, top - row * step, text, color=INK, size=10.5, va="center")


def _fragment_legend(
    figure: Any, line: tuple[float, float, float], scheme: LabelScheme, colours: dict[int, tuple[int, int, int]]
) -> None:
    """Write the bones with the numbers of their fragments, each in its colour."""
    left, top, step = line
    pitch, most = (0.0295, 8) if max(colours, default=0) < 100 else (0.0375, 6)
    for row, (name, numbers) in enumerate(_bones(scheme, list(colours)).items()):
        figure.text(left, top - row * step, name, color=INK, size=10.5, va="center")
        for place, number in enumerate(numbers[: most + 1]):
            colour = tuple(value / 255 for value in colours[number])
            x, y = left + 0.082 + pitch * place, top - row * step
            if place < most:
                figure.text(x, y, "\N{BLACK SQUARE}", color=colour, size=16, va="center")
            figure.text(x + 0.0155, y, str(number) if place < most else "...", color=INK, size=9.5, va="center")
