"""Hounsfield units by depth of simulated and real bones: `python -m tests.benchmarks.simulated_hu [--real FOLDER]`.

Depth is the distance from the outer surface of a bone, fragments taken together. The published range is that of five
real fractured pelves. Contacts are voxels next to another fragment, beside bone of the same depth. `--real` adds cases
of a folder: `NAME_bone_ct.nii.gz` beside `NAME_labels.nii.gz`, fragments in the bands of PENGWIN 2024, Hounsfield units
inside bones at least.
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path

import edt
import numpy as np
import SimpleITK

from label_gen._sampling import SampleGrid
from label_gen.phantom import CENTRE_MM, PHANTOM_SCHEME
from label_gen.simulation.parametric import draw_parametric_pelvis
from label_gen.simulation.settings import SimulationSettings
from label_gen.simulation.simulate import simulate_fractures

EDGES_MM = (0, 1, 2, 3, 5, 8, 12, 20)
CONTACT_EDGES_MM = (1, 2, 4, 8)
GAP_MM = 3.0
FEWEST = 30
"""Voxels below which a band says nothing."""
PUBLISHED = {
    50: ("286-441", "424-698", "277-469", "163-300", "114-250", "116-247", "140-312"),
    5: ("137-253", "119-277", "54-164", "20-113", "-11-92", "-11-109", "23-245"),
    95: ("534-735", "858-1142", "828-1133", "482-776", "299-476", "246-415", "235-389"),
}
"""Source: five fractured pelves, range over cases of the median, 5th and 95th percentile."""


def profile(ct, bones, spacing_mm):
    """Return the 5th, 50th and 95th percentile in each band of depth, (bands, 3)."""
    depth = np.zeros(bones.shape, np.float32)
    for number in np.unique(bones[bones > 0]):
        mask = bones == number
        inside = edt.edt(mask, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
        depth = np.where(mask, inside, depth)
    rows = []
    for low, high in pairwise(EDGES_MM):
        values = ct[(depth > low) & (depth <= high)]
        rows.append(np.percentile(values, [5, 50, 95]) if len(values) >= 50 else np.full(3, np.nan))
    return np.array(rows)


def contacts(ct, labels, bones, spacing_mm):
    """Return, by bone, (bands, 3): voxels next to another fragment, their median, and that of the bone 4-8 mm away."""
    found = {}
    for number in np.unique(bones[bones > 0]):
        mask = bones == number
        own = np.where(mask, labels, 0)
        touch = np.zeros(mask.shape, bool)
        for axis in range(3):
            a, b = np.moveaxis(own, axis, 0)[:-1], np.moveaxis(own, axis, 0)[1:]
            meets = (a != b) & (a > 0) & (b > 0)
            np.moveaxis(touch, axis, 0)[:-1] |= meets
            np.moveaxis(touch, axis, 0)[1:] |= meets
        if np.count_nonzero(touch) < FEWEST:
            continue
        # Depth below the surface with narrow gaps filled, so that a gap is no surface.
        wide = edt.edt(~mask, anisotropy=tuple(spacing_mm), parallel=1) <= GAP_MM
        is_filled = mask | (edt.edt(wide, anisotropy=tuple(spacing_mm), parallel=1) > GAP_MM)
        depth = edt.edt(is_filled, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
        away = edt.edt(~touch, anisotropy=tuple(spacing_mm), parallel=1)
        rows = []
        for low, high in pairwise(CONTACT_EDGES_MM):
            is_band = mask & (depth > low) & (depth <= high)
            here, around = ct[touch & is_band], ct[is_band & (away >= 4) & (away <= 8)]
            enough = min(len(here), len(around)) >= FEWEST
            rows.append((len(here), np.median(here), np.median(around)) if enough else (len(here), np.nan, np.nan))
        found[int(number)] = np.array(rows)
    return found


def simulated(seed, spacing_mm):
    """Return CT, labels and bones of a simulated parametric pelvis, and how long it took."""
    start = time.process_time()
    patient = draw_parametric_pelvis(np.random.default_rng([seed, 0]))
    grid = SampleGrid.around(CENTRE_MM, (250.0, 210.0, 330.0), (spacing_mm,) * 3)
    settings = SimulationSettings(vary_anatomy=False)
    case = simulate_fractures(patient.solids, seed, grid, settings=settings, extra=patient.extra)
    return case.ct, case.labels, case.anatomy, time.process_time() - start


def real_cases(folder):
    """Yield name, CT, labels, bones and spacing of the real cases of a folder."""
    for path in sorted(Path(folder).glob("*_bone_ct.nii.gz")):
        name = path.name.removesuffix("_bone_ct.nii.gz")
        image = SimpleITK.ReadImage(str(path))
        labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path.with_name(f"{name}_labels.nii.gz"))))
        bones = np.where(labels > 0, (labels.astype(int) - 1) // 10 + 1, 0).astype(np.uint8)
        yield name, SimpleITK.GetArrayFromImage(image), labels, bones, image.GetSpacing()[::-1]


def show(name, ct, labels, bones, spacing_mm):
    """Print the table of one case and return it."""
    pelvis = np.where(bones <= 3, bones, 0)
    table = profile(ct, pelvis, spacing_mm)
    for column, part in ((1, "median"), (0, "5th"), (2, "95th")):
        print(f"{name if column == 1 else '':22} {part:7}" + "".join(f"{v:9.0f}" for v in table[:, column]))
    ratios = []
    for number, rows in contacts(ct, labels, pelvis, spacing_mm).items():
        bone = next(k for k, v in PHANTOM_SCHEME.anatomy.items() if v == number)
        cells = (f"{here:.0f}/{around:.0f} ({count:.0f})" for count, here, around in rows)
        print(f"{'':22} contact / 4-8 mm away (voxels), {bone}: " + ", ".join(cells))
        ratios.append(rows[:, 1] / rows[:, 2])
    return table, ratios


def show_ratios(name, ratios):
    """Print the middle half of what contacts have of the HU around them, by depth."""
    if ratios:
        quarters = np.nanpercentile(ratios, [25, 50, 75], axis=0).T
        cells = (f"{middle:.2f} ({low:.2f}-{high:.2f})" for low, middle, high in quarters)
        print(f"{name}, {len(ratios)} bones, HU at contacts over HU around, 1-2, 2-4, 4-8 mm deep: " + ", ".join(cells))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=4, help="simulated patients")
    parser.add_argument("--spacing", type=float, default=0.9, help="voxel size in mm")
    parser.add_argument("--real", type=Path, help="folder with real cases")
    options = parser.parse_args(arguments)
    bands = pairwise(EDGES_MM)
    print(f"{'HU by depth in mm':30}" + "".join(f"{f'{a}-{b}':>9}" for a, b in bands))
    for percentile, part in ((50, "median"), (5, "5th"), (95, "95th")):
        name = "five real, published" if percentile == 50 else ""
        print(f"{name:22} {part:7}" + "".join(f"{value:>9}" for value in PUBLISHED[percentile]))
    found = [show(name, *volumes)[1] for name, *volumes in real_cases(options.real)] if options.real else []
    show_ratios("real", [ratio for ratios in found for ratio in ratios])
    tables, ratios = [], []
    for seed in range(options.cases):
        *volumes, seconds = simulated(seed, options.spacing)
        table, found = show(f"simulated {seed} ({seconds:.0f} s CPU)", *volumes, (options.spacing,) * 3)
        tables.append(table)
        ratios += found
    low, high = np.fmin.reduce(tables), np.fmax.reduce(tables)
    for column, part in ((1, "median"), (0, "5th"), (2, "95th")):
        cells = [f"{a:.0f}-{b:.0f}" for a, b in zip(low[:, column], high[:, column], strict=True)]
        print(f"{'all simulated' if column == 1 else '':22} {part:7}" + "".join(f"{cell:>9}" for cell in cells))
    show_ratios("simulated", ratios)


if __name__ == "__main__":
    main()
