"""Surfaces beside plain marching cubes: `python -m tests.benchmarks.surfaces [--labels DIR] [--fragments N]`.

Without `--labels` pelves are simulated until there are as many fragments as asked for. Time is that of the processor,
one thread; deviation is that of vertices and middles of faces from the outer faces of the voxels; bending is the
angle between neighbouring triangles times the length of their edge, per area, which tells steps from smooth bone.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import SimpleITK
from skimage.measure import marching_cubes

from label_gen.grid import bounding_box
from postproc.surfaces import Surface, fragment_surfaces
from postproc.surfaces.deviation import voxel_surface_distances
from postproc.surfaces.net import find_net
from postproc.surfaces.solids import check_surface
from postproc.surfaces.surface import face_normals
from tests.benchmarks.simulated_hu import simulated

COLUMNS = ("fragments", "seconds", "triangles", "largest mm", "mean mm", "volume %", "worst %", "deg/mm", "sound")


def plain(labels, spacing_mm):
    """Return the surfaces of Lorensen's marching cubes, label by label, each in its box."""
    found = {}
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        box = bounding_box(mask)
        padded = np.pad(mask[box], 1).astype(np.float32)
        vertices, faces, _, _ = marching_cubes(padded, 0.5, method="lorensen", gradient_direction="ascent")
        start = np.array([side.start for side in box]) - 1
        places = ((vertices + start) * spacing_mm)[:, ::-1]
        found[int(label)] = Surface(np.ascontiguousarray(places, np.float64), np.ascontiguousarray(faces[:, ::-1]))
    return found


def bending(surface):
    """Return how much a surface bends: angle between neighbouring faces times length of their edge, per area.

    In degrees per mm. Steps bend much; how finely a smooth surface is divided does not matter.
    """
    faces = surface.faces.astype(np.int64)
    normals = face_normals(surface.vertices, surface.faces)
    size = np.linalg.norm(normals, axis=1)
    starts, ends = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    owners = np.repeat(np.arange(len(faces)), 3)
    keys = np.minimum(starts, ends) * len(surface.vertices) + np.maximum(starts, ends)
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    one, other = order[same], order[same + 1]
    a, b = owners[one], owners[other]
    is_sized = (size[a] > 0) & (size[b] > 0)
    one, a, b = one[is_sized], a[is_sized], b[is_sized]
    cosine = np.einsum("ij,ij->i", normals[a], normals[b]) / (size[a] * size[b])
    length = np.linalg.norm(surface.vertices[starts[one]] - surface.vertices[ends[one]], axis=1)
    return float(np.degrees((np.arccos(np.clip(cosine, -1, 1)) * length).sum() / surface.area_mm2))


def measure(labels, spacing_mm):
    """Return the rows of both sides, {"plain": [...], "ours": [...]}, a row per fragment."""
    net = find_net(labels)
    counts = np.bincount(labels.ravel())
    rows = {"plain": [], "ours": []}
    start = time.process_time()
    baseline = plain(labels, spacing_mm)
    seconds = {"plain": time.process_time() - start}
    start = time.process_time()
    ours = fragment_surfaces(labels, spacing_mm)
    seconds["ours"] = time.process_time() - start
    sides = {"plain": baseline, "ours": {fragment.label: fragment.surface for fragment in ours}}
    for side, surfaces in sides.items():
        for label, surface in surfaces.items():
            distances = voxel_surface_distances(surface, net, net.labels.index(label), spacing_mm)
            validity = check_surface(surface)
            expected = float(counts[label]) * float(np.prod(spacing_mm))
            rows[side].append(
                {
                    "label": label,
                    "seconds": seconds[side] / len(surfaces),
                    "triangles": len(surface.faces),
                    "largest_mm": float(distances.max()),
                    "mean_mm": float(distances.mean()),
                    "volume_error": surface.volume_mm3 / expected - 1,
                    "bending": bending(surface),
                    "sound": validity.is_watertight and validity.is_manifold and validity.is_outward,
                }
            )
    overlaps = {fragment.label: fragment.overlap_mm3 for fragment in ours}
    rows["ours"] = [{**row, "overlap_mm3": overlaps[row["label"]]} for row in rows["ours"]]
    return rows


def cases_of(folder):
    """Yield name, labels and spacing of the label volumes of a folder."""
    for path in sorted(Path(folder).glob("*.nii.gz")):
        if "labels" in path.name or not path.name.endswith("_bone_ct.nii.gz"):
            image = SimpleITK.ReadImage(str(path))
            yield path.name.removesuffix(".nii.gz"), SimpleITK.GetArrayFromImage(image), image.GetSpacing()[::-1]


def simulated_cases(fragments, spacing_mm):
    """Yield simulated cases until they have so many fragments together."""
    seed, found = 0, 0
    while found < fragments:
        _, labels, _, _ = simulated(seed, spacing_mm)
        found += len(np.unique(labels[labels > 0]))
        yield f"simulated {seed}", labels, (spacing_mm,) * 3
        seed += 1


def line(name, rows):
    """Return the row of a table that sums up fragments."""
    errors = np.abs([row["volume_error"] for row in rows]) * 100
    cells = [
        str(len(rows)),
        f"{sum(row['seconds'] for row in rows):.2f}",
        str(sum(row["triangles"] for row in rows)),
        f"{max(row['largest_mm'] for row in rows):.2f}",
        f"{np.mean([row['mean_mm'] for row in rows]):.2f}",
        f"{errors.mean():.3f}",
        f"{errors.max():.3f}",
        f"{np.mean([row['bending'] for row in rows]):.1f}",
        f"{sum(row['sound'] for row in rows)}/{len(rows)}",
    ]
    return f"{name:34}" + "".join(f"{cell:>11}" for cell in cells)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fragments", type=int, default=50, help="simulated fragments at least")
    parser.add_argument("--spacing", type=float, default=1.5, help="voxel size of simulated cases in mm")
    parser.add_argument("--labels", type=Path, help="folder with label volumes instead")
    parser.add_argument("--limit", type=int, help="so many cases at most")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    cases = cases_of(options.labels) if options.labels else simulated_cases(options.fragments, options.spacing)
    print(f"{'':34}" + "".join(f"{column:>11}" for column in COLUMNS))
    total = {"plain": [], "ours": []}
    for number, (name, labels, spacing_mm) in enumerate(cases):
        if options.limit is not None and number >= options.limit:
            break
        for side, rows in measure(labels, spacing_mm).items():
            total[side] += [{**row, "case": name} for row in rows]
            print(line(f"{name} {side}", rows), flush=True)
    for side, rows in total.items():
        print(line(f"all {side}", rows))
    print(f"largest overlap of ours: {max(row['overlap_mm3'] for row in total['ours']):.2g} mm3")
    if options.json:
        options.json.write_text(json.dumps(total, indent=1))


if __name__ == "__main__":
    main()
