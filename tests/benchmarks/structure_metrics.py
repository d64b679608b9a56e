"""Surface metrics beside SimpleITK's: `python -m tests.benchmarks.structure_metrics [--size 256] [--repeat 3]`.

Masks of a long bone, and three predictions of it: close (a network's), rough, and far off. Each side runs in a process
of its own, one thread; memory is counted above the loaded masks, in 10^6 bytes. SimpleITK's side is its usual recipe:
contours by LabelContour, distances by SignedMaurerDistanceMap, in the whole volume or in the box of both masks.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.measure import ROOT, THREADS, say

SPACING_MM = (1.0, 0.8, 0.8)
CASES = ("close", "rough", "far")
SIDES = {
    "simpleitk": "SimpleITK, ASD and HD95",
    "simpleitk-box": "SimpleITK in the box of both masks",
    "surfaces": "ours, ASD and HD95",
    "triangles": "ours, triangulated distances",
    "volume": "ours, all 14 figures of a volume",
    "slices": "ours, all figures of every slice",
}


def make_masks(folder, size):
    """Save a reference and its predictions as boolean arrays (size, size, size)."""
    import numpy as np
    from scipy.ndimage import gaussian_filter, zoom

    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size, dtype=np.float32)] * 3, indexing="ij", sparse=True)
    shaft = (y - 0.1 * z) ** 2 + x**2 < (0.16 + 0.22 * z**4) ** 2
    head = (z - 0.62) ** 2 + (y - 0.12) ** 2 + (x - 0.32) ** 2 < 0.26**2
    reference = (shaft & (np.abs(z) < 0.9)) | head
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((size // 4,) * 3), 2)
    noise = zoom((noise / noise.std()).astype(np.float32), 4, order=1)
    smooth = gaussian_filter(reference.astype(np.float32), 1.5)
    predictions = {
        "close": smooth + 0.06 * noise > 0.5,
        "rough": smooth + 0.25 * noise > 0.5,
        "far": np.roll(reference, size // 6, 2),
    }
    for name, mask in {"reference": reference, **predictions}.items():
        np.save(Path(folder) / f"{name}.npy", mask)
    return {
        name: float(2 * (mask & reference).sum() / (mask.sum() + reference.sum())) for name, mask in predictions.items()
    }


def simpleitk_figures(prediction, reference, spacing_mm):
    """Return ASD and HD95 by SimpleITK's filters."""
    import numpy as np
    import SimpleITK

    contours = []
    for mask in (prediction, reference):
        image = SimpleITK.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing(spacing_mm[::-1])
        contours.append(SimpleITK.LabelContour(image, fullyConnected=False))
    sides = []
    for own, other in (contours, contours[::-1]):
        away = SimpleITK.SignedMaurerDistanceMap(other, squaredDistance=False, useImageSpacing=True)
        is_own, is_other = (SimpleITK.GetArrayViewFromImage(contour) > 0 for contour in (own, other))
        distances = np.abs(SimpleITK.GetArrayViewFromImage(away)[is_own])
        sides.append(np.where(is_other[is_own], 0, distances).astype(np.float64))
    both = np.concatenate(sides)
    return {"asd_mm": both.mean(), "hd95_mm": max(np.percentile(side, 95) for side in sides)}


def _boxed(prediction, reference, spacing_mm):
    from label_gen.grid import bounding_box

    box = bounding_box(prediction | reference)
    return simpleitk_figures(prediction[box], reference[box], spacing_mm)


def _surfaces(prediction, reference, spacing_mm):
    from postproc.paired_surfaces import surface_figures
    from postproc.structure_scores import StructurePair

    return surface_figures(StructurePair(prediction, reference, spacing_mm).surfaces)


def _triangles(prediction, reference, spacing_mm):
    from postproc.mesh_distance import mask_mesh, mesh_distances
    from postproc.structure_scores import StructurePair

    pair = StructurePair(prediction, reference, spacing_mm)
    true, found = (mask_mesh(mask, spacing_mm) for mask in (pair.reference, pair.prediction))
    distances = mesh_distances(true, found)
    return {"abs_surface_p95_mm": distances.percentile(95, signed=False), "vertices": len(distances.signed_mm)}


def _volume(prediction, reference, spacing_mm):
    import dataclasses

    from postproc.structure_scores import score_structure

    return dataclasses.asdict(score_structure(prediction, reference, spacing_mm))


def _slices(prediction, reference, spacing_mm):
    from postproc.slice_scores import score_slices

    return score_slices(prediction, reference, spacing_mm).means()


WORK = dict(zip(SIDES, (simpleitk_figures, _boxed, _surfaces, _triangles, _volume, _slices), strict=True))


def measure(side, case, folder, repeat):
    """Do one side's work on a case and return its figures, median time of the processor, and peak memory."""
    import numpy as np

    from tests.benchmarks.side import peak_mb, resident_mb

    masks = [np.load(Path(folder) / f"{name}.npy") for name in (case, "reference")]
    small = np.zeros((16, 16, 16), bool)
    small[4:12, 4:12, 4:12] = True
    WORK[side](small, np.roll(small, 1, 0), SPACING_MM)  # what is imported on first use
    before = resident_mb()
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        figures = WORK[side](*masks, SPACING_MM)
        seconds.append(time.process_time() - start)
    figures = {name: float(value) for name, value in figures.items()}
    return {"seconds": statistics.median(seconds), "peak_mb": peak_mb() - before, "figures": figures}


def run(role, **options):
    """Run a part of the work in a process of its own and return its answer."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": path}
    environment["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    command = [sys.executable, "-m", "tests.benchmarks.structure_metrics", "--part", role, json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(rows, dice):
    """Return the measurements as lines of text, each case with the ratios to SimpleITK in the whole volume."""
    lines = []
    for case in rows:
        lines.append(f"\n{case}, Dice {dice[case]:.3f}")
        lines.append(f"  {'':36}{'seconds':>9}{'ratio':>8}{'peak MB':>9}{'ratio':>8}{'ASD mm':>10}{'HD95 mm':>10}")
        base = rows[case]["simpleitk"]
        for side, row in rows[case].items():
            ratios = row["seconds"] / base["seconds"], row["peak_mb"] / base["peak_mb"]
            figures = [row["figures"].get(name) for name in ("asd_mm", "hd95_mm")] if side != "slices" else [None] * 2
            cells = "".join(f"{value:10.4f}" if value is not None else f"{'':10}" for value in figures)
            lines.append(
                f"  {SIDES[side]:36}{row['seconds']:9.2f}{ratios[0]:8.2f}{row['peak_mb']:9.0f}{ratios[1]:8.2f}{cells}"
            )
    return lines


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="voxels along each axis")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side; medians are shown")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="predictions to measure")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        role, given = options.part[0], json.loads(options.part[1])
        print(json.dumps(make_masks(**given) if role == "make" else measure(role, **given)))
        return
    with tempfile.TemporaryDirectory(prefix="abbc-metrics-") as folder:
        say("making masks ...")
        dice = run("make", folder=folder, size=options.size)
        rows = {case: {} for case in options.cases}
        for case in rows:
            for side in SIDES:
                say(f"{case}: {SIDES[side]} ...")
                row = rows[case][side] = run(side, case=case, folder=folder, repeat=options.repeat)
                say(f"  {row['seconds']:.2f} s, {row['peak_mb']:.0f} MB")
    print(f"{options.size}^3 voxels of {' x '.join(map(str, SPACING_MM))} mm, one thread per side")
    print("\n".join(table(rows, dice)))
    if options.json:
        options.json.write_text(json.dumps({"size": options.size, "dice": dice, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
