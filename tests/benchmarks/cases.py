"""Test volumes: a procedural pelvis of an exact shape, spacing and number of fragments, saved for the other processes.

The volume is filled by the field of view, as in a CT: bone is 2 to 4 % of the voxels, the rest is empty.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_gen import Bone, LabelScheme, generate_abbc
from label_gen.phantom import BONE_NAMES, make_phantom

SCHEME = LabelScheme(
    name="benchmark",
    bones=tuple(Bone(name, 1 + 10 * index, 10 + 10 * index) for index, name in enumerate(BONE_NAMES)),
    anatomy={name: index for index, name in enumerate(BONE_NAMES, 1)},
)
COUNTS = {5: (1, 1, 1, 1, 1), 13: (3, 4, 4, 1, 1), 27: (6, 6, 6, 5, 4)}
"""Fragments per bone, in the order of the phantom's bones, by their sum."""


@dataclass(frozen=True)
class Case:
    """A volume on disk: `labels.npy`, `anatomy.npy` and `abbc.npy` in one folder."""

    folder: Path
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    fragments: int
    bone_voxels: int
    abbc_cores: int

    @property
    def mega_voxels(self):
        """Size of the volume in millions of voxels."""
        return float(np.prod(self.shape)) / 1e6

    def load(self, name):
        """Load one of its volumes into memory."""
        return np.load(self.folder / f"{name}.npy")

    @classmethod
    def read(cls, folder):
        """Read the description of a case from its folder."""
        facts = json.loads((Path(folder) / "case.json").read_text())
        return cls(Path(folder), tuple(facts.pop("shape")), tuple(facts.pop("spacing_mm")), **facts)


def make_case(folder, shape, spacing_mm, fragments, seed=1):
    """Make a case and save it.

    Args:
        folder: Where to; made if missing.
        shape: Exact shape (z, y, x).
        spacing_mm: Isotropic spacing.
        fragments: How many fragments: 5, 13 or 27.
        seed: Seed of the phantom.

    Returns:
        The case as plain types, as it stands in `case.json`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    spacing = (spacing_mm,) * 3
    phantom = make_phantom(
        seed,
        spacing,
        scheme=SCHEME,
        fragments=dict(zip(BONE_NAMES, COUNTS[fragments], strict=True)),
        field_of_view_mm=tuple(n * spacing_mm for n in shape),
        with_ct=False,
    )
    labels = _exactly(phantom.labels, shape)
    abbc = generate_abbc(labels, spacing, scheme=SCHEME)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "anatomy.npy", _exactly(phantom.anatomy, shape))
    np.save(folder / "abbc.npy", abbc.abbc)
    facts = {
        "shape": list(shape),
        "spacing_mm": list(spacing),
        "fragments": len(np.unique(labels)) - 1,
        "bone_voxels": int(np.count_nonzero(labels)),
        "abbc_cores": sum(piece.core_voxels > 0 for piece in abbc.pieces),
    }
    (folder / "case.json").write_text(json.dumps(facts))
    return facts


def _exactly(volume, shape):
    """Return a volume cropped or padded with zeros at the far ends to an exact shape."""
    volume = volume[tuple(slice(0, n) for n in shape)]
    return np.pad(volume, [(0, n - m) for n, m in zip(shape, volume.shape, strict=True)])
