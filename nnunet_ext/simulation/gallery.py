"""A page of pictures of simulated patients, one file that needs nothing else: slices, surfaces, fractures close by."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from label_gen.classes import ABBC
from label_gen.errors import UsageError, VolumeFileError
from label_gen.scheme import LabelScheme
from nnunet_ext.atomic import replacing
from nnunet_ext.cases import find_cases, pair_cases
from nnunet_ext.colours import fragment_colours
from nnunet_ext.picture import choose_slices
from nnunet_ext.preparation.orientation import turned_to_lps
from nnunet_ext.schemes import load_scheme
from nnunet_ext.simulation.surfaces import VIEWS, draw_surfaces, draw_xray
from nnunet_ext.volumes import check_same_grid, read_labels, read_volume

__all__ = ["GALLERY_NAME", "write_gallery"]

GALLERY_NAME = "gallery.html"
"""Name of the page in the folder of the patients, where no other is given."""

BODY_WINDOW_HU, BONE_WINDOW_HU = (-220.0, 420.0), (-250.0, 1100.0)
"""Hounsfield units shown black and white in whole slices and at close range. Source: chosen here, usual windows."""

MARGIN_MM, CLOSE_MM, MAX_CLOSE = 45.0, 76.0, 6
"""Room around the bones, edge of the close pictures, and how many of these a patient has. Source: chosen here."""

NEAR_MM = 5.0
"""Fragments of a bone that come as near as this show a fracture, closed or open. Source: chosen here."""

OPACITY = 0.55
"""Opacity of colours over the CT. Source: chosen here."""

PLANES = ((0, "axial"), (1, "coronal"), (2, "sagittal"))

STYLE = """
body{margin:0;background:#101318;color:#e8eaed;font:15px/1.5 system-ui,sans-serif}
main{max-width:1500px;margin:auto;padding:28px 32px}
h1{font-size:27px;margin:0 0 4px}h2{font-size:20px;margin:44px 0 2px}
p{color:#9aa1ab;margin:4px 0 12px;max-width:75em}.row{display:flex;gap:8px;margin:8px 0;align-items:flex-end}
figure{margin:0;flex:1 1 0;max-width:25%}img{width:100%;display:block;border-radius:4px;background:#000}
.pair{position:relative}.pair img+img{position:absolute;top:0;left:0;opacity:0;transition:opacity .12s}
.pair:hover img+img{opacity:1}
figcaption{color:#8b929c;font-size:12px;padding:3px 1px}b{display:inline-block;width:12px;height:12px;border-radius:3px}
"""


@dataclass(frozen=True)
class _Patient:
    """A patient to draw: name, CT or None, fragments, voxel size, and a line of text."""

    name: str
    ct: NDArray[Any] | None
    labels: NDArray[Any]
    spacing_mm: tuple[float, float, float]
    text: str


def write_gallery(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    cases: int = 6,
    real: str | Path | None = None,
    scheme: str | Path | None = None,
) -> Path:
    """Draw simulated patients into one HTML file with all pictures inside.

    Args:
        folder: Folder of `abbc-simulate-fractures`: `labels/`, and where there are, `images/` and `motions/`.
        output: The file; None for `gallery.html` in the folder.
        cases: How many patients at most, spread evenly over those that are there.
        real: Folder of real cases to look at beside them, with `images/` and `labels/` too.
        scheme: Scheme of the fragment numbers: a name or file; None for the one that the records name.

    Returns:
        The file.

    Raises:
        UsageError: There is no case, or no number of cases to draw.
        VolumeFileError: A file cannot be read or written.
        SchemeError: A fragment's number is in no band of the scheme.
        GridError: CT and labels of a case lie on different grids.
    """
    if cases < 1:
        raise UsageError(f"a gallery of {cases} cases is wanted; at least 1 is possible")
    folder = Path(folder)
    output = folder / GALLERY_NAME if output is None else Path(output)
    sections = []
    for title, place in (("Simulated", folder), ("Real", None if real is None else Path(real))):
        if place is None:
            continue
        found = _find(place)
        chosen = np.unique(np.linspace(0, len(found) - 1, min(cases, len(found))).round().astype(int))
        for index in chosen:
            patient, named = _load(*found[index])
            loaded = load_scheme(scheme if scheme is not None else named)
            sections.append(_section(patient, loaded, title))
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Simulated fractures</title><style>{STYLE}</style><main><h1>Simulated fractures</h1>"
        "<p>Slices through the most broken places, then fractures at close range: point at these to see the "
        "fragments. The patient's right is on the left. Made by a computer, from no patient's CT where nothing else is "
        f"said; research use only, not a medical device.</p>{''.join(sections)}</main></html>\n"
    )
    with replacing(output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return output


def _find(folder: Path) -> list[tuple[str, Path, Path | None, Path]]:
    """Return name, labels, CT and record of the cases of a folder."""
    if not (folder / "labels").is_dir():
        raise UsageError(f"'{folder}' holds no folder 'labels'; give the output folder of abbc-simulate-fractures")
    labels = find_cases(folder / "labels")
    images: dict[str, Path] = {}
    if (folder / "images").is_dir():
        pairs = pair_cases(folder / "labels", folder / "images", labels, find_cases(folder / "images"))
        images = {case.name: path for case, path in pairs.pairs}
    return [(c.name, c.path, images.get(c.name), folder / "motions" / f"{c.name}.json") for c in labels]


def _load(name: str, labels: Path, image: Path | None, record: Path) -> tuple[_Patient, str]:
    """Read a case; returns the name of its scheme too."""
    about: Mapping[str, Any] = {}
    if record.is_file():
        try:
            about = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise VolumeFileError(f"cannot read '{record}': {error}; simulate the case again") from error
    fragments = read_labels(labels)
    ct = None
    if image is not None:
        volume = read_volume(image)
        check_same_grid(volume.grid, fragments.grid, str(image), str(labels))
        ct = turned_to_lps(volume).array
    turned = turned_to_lps(fragments)
    text = ""
    if about:
        kinds = [str(fracture.get("kind", "")) for fracture in about.get("fractures", ())]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "none"
        source = about.get("source", {})
        text = f"bones of {source.get('name', 'unknown source')}, seed {about.get('seed')}; fractures: {counted}. "
    step = " x ".join(f"{value:.2f}" for value in turned.spacing_mm[::-1])
    text += f"Voxels of {step} mm."
    return _Patient(name, ct, turned.array, turned.spacing_mm, text), str(about.get("scheme", "pengwin2024"))


def _section(patient: _Patient, scheme: LabelScheme, title: str) -> str:
    """Return the HTML of one patient."""
    labels = patient.labels
    numbers = [int(n) for n in np.unique(labels) if n]
    colours = fragment_colours(scheme, numbers)
    broken = _contacts(labels, patient.spacing_mm, scheme, numbers)
    slices = choose_slices(labels, np.where(broken > 0, ABBC.BORDER, 0))
    box = _box(labels, patient.spacing_mm)
    whole, solid, close = [], [], []
    for axis, name in PLANES:
        place: tuple[Any, ...] = tuple(slices[axis] if k == axis else box[k] for k in range(3))
        shown = _slices(patient, place, axis, colours, BODY_WINDOW_HU, name)
        whole += [_figure([image], caption, stretch) for image, caption, stretch in shown]
    for name, view in VIEWS.items():
        solid.append(_figure([draw_surfaces(labels, patient.spacing_mm, colours, view)], name))
    if patient.ct is not None:
        stretch = patient.spacing_mm[0] / patient.spacing_mm[2]
        solid.append(_figure([draw_xray(patient.ct[box], patient.spacing_mm)], "X-ray", stretch))
    for axis, near, name in _close_places(patient, broken):
        shown = _slices(patient, near, axis, colours, BONE_WINDOW_HU, name)
        close.append(_figure([image for image, _, _ in shown], name, shown[0][2]))
    half = len(whole) * 2 // 3
    rows = [whole[:half], whole[half:] + solid, close]
    legend = " ".join(f'<b style="background:rgb{colours[n]}"></b> {n}' for n in numbers)
    inner = "".join(f'<div class="row">{"".join(row)}</div>' for row in rows if row)
    return (
        f"<h2>{html.escape(title)}: {html.escape(patient.name)}, {len(numbers)} fragments</h2>"
        f"<p>{html.escape(patient.text)} {legend}</p>{inner}"
    )


def _contacts(
    labels: NDArray[Any], spacing_mm: Sequence[float], scheme: LabelScheme, numbers: Sequence[int]
) -> NDArray[np.uint8]:
    """Return, uint8 (z, y, x), where fragments of one bone lie near each other: the bone's index."""
    found = np.zeros(labels.shape, np.uint8)
    window = [2 * max(1, round(NEAR_MM / 2 / float(step))) + 1 for step in spacing_mm]
    bones: dict[str, list[int]] = {}
    for number in numbers:
        bones.setdefault(scheme.bone_of(number).name, []).append(number)
    for index, own in enumerate(bones.values(), start=1):
        if len(own) < 2:
            continue
        box = _box(np.isin(labels, own), spacing_mm)
        mask = np.isin(labels[box], own)
        highest = maximum_filter(np.where(mask, labels[box], 0), window)
        lowest = maximum_filter(np.where(mask, max(own) + 1 - labels[box].astype(np.int32), 0), window)
        found[box][mask & (highest != max(own) + 1 - lowest)] = index
    return found


def _close_places(patient: _Patient, broken: NDArray[np.uint8]) -> list[tuple[int, tuple[Any, ...], str]]:
    """Return axis, index and name of the pictures at close range: the largest fractures, seen where they are long."""
    pieces = cc3d.connected_components(broken, connectivity=26)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    places = []
    for piece in np.argsort(-sizes, kind="stable")[:MAX_CLOSE]:
        if sizes[piece] < 20:
            break
        voxels = np.argwhere(pieces == piece)
        spread = np.ptp(voxels, axis=0) * np.array(patient.spacing_mm)
        # Across the axis along which the fracture reaches furthest, one sees its course in the other two.
        axis = 0 if spread[0] >= 0.6 * spread.max() else int(np.argmax(spread))
        values, counts = np.unique(voxels[:, axis], return_counts=True)
        index = int(values[counts.argmax()])
        middle = np.median(voxels[voxels[:, axis] == index], axis=0)
        place: list[Any] = []
        for k in range(3):
            half = round(CLOSE_MM / 2 / patient.spacing_mm[k])
            centre = int(np.clip(middle[k], half, max(broken.shape[k] - half, half)))
            place.append(index if k == axis else slice(max(centre - half, 0), centre + half))
        places.append((axis, tuple(place), f"{PLANES[axis][1]}, {CLOSE_MM:.0f} mm wide"))
    return places


def _box(labels: NDArray[Any], spacing_mm: Sequence[float]) -> tuple[slice, slice, slice]:
    """Return the part of the volume that holds the fragments and room around them."""
    box = []
    for axis in range(3):
        here = np.flatnonzero(labels.any(axis=tuple(k for k in range(3) if k != axis)))
        first, last = (int(here[0]), int(here[-1])) if len(here) else (0, labels.shape[axis] - 1)
        margin = round(MARGIN_MM / float(spacing_mm[axis]))
        box.append(slice(max(first - margin, 0), min(last + margin + 1, labels.shape[axis])))
    return box[0], box[1], box[2]


def _slices(
    patient: _Patient,
    place: tuple[Any, ...],
    axis: int,
    colours: Mapping[int, tuple[int, int, int]],
    window_hu: tuple[float, float],
    caption: str,
) -> list[tuple[NDArray[np.uint8], str, float]]:
    """Return a slice of the CT, where there is one, and with its fragments painted on, with caption and stretch."""
    numbers = patient.labels[place]
    low, high = window_hu
    if patient.ct is None:
        grey = np.zeros(numbers.shape)
    else:
        grey = np.clip((patient.ct[place].astype(float) - low) / (high - low), 0.0, 1.0) * 255
    painted = np.repeat(grey[..., None], 3, axis=-1)
    for number, colour in colours.items():
        painted[numbers == number] = (1 - OPACITY) * painted[numbers == number] + OPACITY * np.array(colour)
    images = [np.rint(grey).astype(np.uint8), np.rint(painted).astype(np.uint8)]
    if axis != 0:
        images = [image[::-1] for image in images]
    rows, columns = (patient.spacing_mm[k] for k in range(3) if k != axis)
    both = [(images[0], caption, rows / columns), (images[1], f"{caption}, fragments", rows / columns)]
    return both if patient.ct is not None else both[1:]


def _figure(images: Sequence[NDArray[np.uint8]], caption: str, stretch: float = 1.0) -> str:
    """Return pictures, the second seen when pointed at, as HTML; points are `stretch` times as high as wide."""
    height, width = images[0].shape[:2]
    shape = f"aspect-ratio:{width}/{height * stretch:.1f}"
    tags = "".join(f'<img alt="{caption}" style="{shape}" src="data:image/png;base64,{_png(i)}">' for i in images)
    return f'<figure><div class="pair">{tags}</div><figcaption>{caption}</figcaption></figure>'


def _png(image: NDArray[np.uint8]) -> str:
    """Return a PNG, base64."""
    from matplotlib.image import imsave

    stream = io.BytesIO()
    no_version: dict[str, Any] = {"Software": None}
    colours = np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image
    imsave(stream, colours, format="png", metadata=no_version, pil_kwargs={"optimize": True})
    return base64.b64encode(stream.getvalue()).decode("ascii")
