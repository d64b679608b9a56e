"""Measure the round trip, fragments to ABBC classes and back: `python -m tests.benchmarks.round_trip`."""

import argparse
from pathlib import Path

import numpy as np

from label_gen.phantom import make_phantom
from nnunet_ext.schemes import load_scheme
from nnunet_ext.volumes import read_labels
from postproc import audit_round_trip


def cases(options):
    """Yield name, labels, spacing and scheme of every case."""
    if options.labels:
        scheme = load_scheme(options.scheme)
        for path in sorted(options.labels.glob("*labels*.nii.gz")):
            volume = read_labels(path)
            yield path.name.split(".")[0], volume.array, volume.spacing_mm, scheme
        return
    scheme = load_scheme("pengwin2026")
    for seed in range(options.cases):
        phantom = make_phantom(seed, (options.spacing,) * 3, scheme=scheme, with_ct=False)
        yield f"virtual patient {seed}", phantom.labels, phantom.spacing_mm, scheme


def main(arguments=None):
    """Print a row per case and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--labels", type=Path, metavar="DIR", help="measure on DIR/*labels*.nii.gz instead")
    parser.add_argument("--scheme", default="pengwin2024", help="scheme of these labels")
    parser.add_argument("--cases", type=int, default=20, help="how many virtual patients")
    parser.add_argument("--spacing", type=float, default=1.0, help="edge of their voxels in mm")
    parser.add_argument(
        "--mode", default="default", choices=["default", "literal"], help="mode of the label generation"
    )
    options = parser.parse_args(arguments)
    every, wrong = [], 0
    for name, labels, spacing, scheme in cases(options):
        audit = audit_round_trip(labels, spacing, scheme=scheme, mode=options.mode)
        # A piece of 500 mm3 or more stands for a fragment, in either mode.
        ious = [p.round_trip_iou for p in audit.pieces if p.report.piece == 1 or p.report.volume_mm3 >= 500]
        found = len(audit.recovered.fragments)
        wrong += found != len(ious)
        every += ious
        print(f"{name:32} {len(ious):3} fragments, {found:3} found, IoU {np.mean(ious):.4f}, worst {min(ious):.4f}")
    print(f"{'all':32} {len(every):3} fragments, {wrong} cases with another count, ", end="")
    print(f"IoU {np.mean(every):.4f}, worst {min(every):.4f}")


if __name__ == "__main__":
    main()
