"""Where the bones of simulated patients come from: label volumes, with or without a CT, or a parametric pelvis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen._sampling import SampleGrid
from label_gen.errors import DataError, FractureError, UsageError
from label_gen.phantom import BONE_NAMES, PHANTOM_SCHEME
from label_gen.scheme import LabelScheme
from label_gen.simulation.parametric import draw_parametric_pelvis
from label_gen.simulation.simulate import IntactCT
from label_gen.simulation.solids import Solid, solids_of_labels
from nnunet_ext.cases import check_output, find_cases, pair_cases
from nnunet_ext.preparation.orientation import turned_to_lps
from nnunet_ext.simulation.views import PHANTOM_SIZE_MM, lay_grid, lay_phantom_grid
from nnunet_ext.volumes import Volume, check_same_grid, naming, read_grid, read_labels, read_volume

__all__ = ["PHANTOM", "Patient", "Source", "find_sources", "load_patient"]

PHANTOM = "phantom"
"""Name of the parametric pelvis among the sources."""

COARSEST_MM = 3.0
"""Largest distance of voxels of a source. Source: chosen here; above it the joints of a pelvis close."""

GRAZE_MM2 = 100.0
"""Less bone than this on a face of a label volume does not go on beyond it. Source: chosen here; the smallest shaft has
twice as much."""

DENSE_HU = 150.0
"""A CT is at least so dense in a twentieth of the voxels that are labelled as bone. Source: chosen here, far below what
real bones have."""


@dataclass(frozen=True)
class Source:
    """One anatomy.

    Attributes:
        name: Its name.
        anatomy: The label volume; None for the parametric pelvis.
        ct: The CT of it, or None.
        size_mm: Size of its volume in the order z, y, x.
        spacing_mm: Voxel size in the order z, y, x; None for the parametric pelvis.
        problem: Why it cannot be used; empty if it can.
    """

    name: str
    anatomy: Path | None = None
    ct: Path | None = None
    size_mm: tuple[float, float, float] = PHANTOM_SIZE_MM
    spacing_mm: tuple[float, float, float] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Patient:
    """The bones of a patient before they break.

    Attributes:
        bones: By name.
        extra: Bones that a CT shows and nothing labels.
        ct: The CT, or None.
        grid: Where the simulated volumes lie; axes are those of LPS.
        may_vary: Whether sizes and shapes may still be changed; parametric pelves were drawn already.
        traits: What is known of the patient, for the record.
    """

    bones: Mapping[str, Solid]
    extra: tuple[Solid, ...]
    ct: IntactCT | None
    grid: SampleGrid
    may_vary: bool = True
    traits: Mapping[str, Any] = field(default_factory=dict)


def find_sources(
    anatomy: str | Path | None, ct: str | Path | None, phantom: bool, output: Path
) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """Find the anatomies that are used in turn, and look at the headers of their files.

    Args:
        anatomy: A label volume, or a folder of them; or None.
        ct: The CT of it, or a folder of CTs with the same names; or None.
        phantom: Use the parametric pelvis too.
        output: The folder that will be written to.

    Returns:
        The sources, those with a `problem` included, and what the user ought to know.

    Raises:
        UsageError: There is no source, a CT without labels, nothing usable, or the output lies in an input.
        VolumeFileError: A folder cannot be read.
    """
    if anatomy is None and ct is not None:
        raise UsageError("a CT needs the labels of its bones: give them too (-i)")
    if anatomy is None and not phantom:
        raise UsageError(
            "there is nothing to break: give bone labels (-i), numbered 1 sacrum, 2 left hip, 3 right hip, 4 left "
            "femur, 5 right femur, or use parametric pelves (--phantom)"
        )
    sources: list[Source] = []
    notes: list[str] = []
    if anatomy is not None:
        check_output(output, anatomy, ct)
        cases = find_cases(anatomy)
        partners: dict[str, Path] = {}
        if ct is not None:
            pairs = pair_cases(anatomy, ct, cases, find_cases(ct))
            partners = {case.name: partner for case, partner in pairs.pairs}
            if pairs.surplus:
                notes.append(f"CTs without bone labels: {', '.join(case.name for case in pairs.surplus)}")
        for case in cases:
            source = Source(case.name, case.path, partners.get(case.name))
            if ct is not None and source.ct is None:
                text = f"there is no CT of this name in '{Path(ct).name}'; add '{case.name}.nii.gz' to it"
                sources.append(replace(source, problem=text))
            else:
                sources.append(_look_at(source))
    if phantom:
        if any(source.name == PHANTOM for source in sources):
            raise UsageError(f"a label volume is called '{PHANTOM}', as parametric pelves are; rename it")
        sources.append(Source(PHANTOM))
    return tuple(sources), tuple(notes)


def _look_at(source: Source) -> Source:
    """Fill in what the header of a source tells, or what is wrong with it."""
    assert source.anatomy is not None
    try:
        grid = read_grid(source.anatomy)
        if source.ct is not None:
            check_same_grid(grid, read_grid(source.ct), str(source.anatomy), str(source.ct))
        if max(grid.spacing_mm) > COARSEST_MM * 1.0001:
            raise DataError(
                f"'{source.anatomy}' has voxels of {_say(grid.spacing_mm)} mm (z, y, x); at most {COARSEST_MM:g} mm "
                "show where a bone ends: take labels made on a finer CT"
            )
    except FractureError as error:
        return replace(source, problem=str(error))
    nz, ny, nx = (n * step for n, step in zip(grid.shape, grid.spacing_mm, strict=True))
    return replace(source, size_mm=(nz, ny, nx), spacing_mm=grid.spacing_mm)


def _say(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def load_patient(
    source: Source,
    seed: int,
    scheme: LabelScheme,
    spacing_mm: tuple[float, float, float] | None,
    field_of_view_mm: tuple[float, float, float] | None,
    *,
    with_ct: bool = True,
) -> Patient:
    """Read or draw the bones of a patient, and lay the grid of the volumes.

    Volumes that do not run along LPS are turned. An oblique one is taken as a patient who lies aslant: its own axes
    become those of the world.

    Args:
        source: The anatomy.
        seed: Seed of a parametric pelvis.
        scheme: Its anatomy table says which number is which bone.
        spacing_mm: Voxel size in the order z, y, x; None for that of the CT, or 1 mm.
        field_of_view_mm: Size in the order z, y, x, around the middle of the bones; None for that of the CT, or what
            the bones need.
        with_ct: Read the CT.

    Returns:
        The patient.

    Raises:
        VolumeFileError: A file cannot be read.
        DataError: The labels hold no bone or wrong numbers, or the CT shows no bone there.
    """
    if source.anatomy is None:
        pelvis = draw_parametric_pelvis(np.random.default_rng([seed, 0]))
        grid = lay_phantom_grid(pelvis.solids, spacing_mm, field_of_view_mm)
        return Patient(pelvis.solids, pelvis.extra, None, grid, may_vary=False, traits=asdict(pelvis.traits))
    names = scheme.anatomy if set(scheme.anatomy) & set(BONE_NAMES) else PHANTOM_SCHEME.anatomy
    labels = _without_grazes(turned_to_lps(read_labels(source.anatomy)))
    spacing, origin = labels.spacing_mm, _three(labels.origin)
    with naming(source.anatomy):
        solids: dict[str, Solid] = dict(solids_of_labels(labels.array, spacing, origin, names))
        bones = {name: solid for name, solid in solids.items() if name in BONE_NAMES}
        if not bones:
            raise DataError(f"none of the bones that can break is there: {', '.join(BONE_NAMES)}")
    ct = None
    if source.ct is not None:
        array = _read_ct(source.ct, labels)
        ct = IntactCT(array, spacing, origin) if with_ct else None
    grid = lay_grid(bones, labels.array, spacing, origin, source.ct is not None, spacing_mm, field_of_view_mm)
    return Patient(bones, tuple(solid for name, solid in solids.items() if name not in bones), ct, grid)


def _without_grazes(labels: Volume) -> Volume:
    """Take bone off the faces of a volume that only grazes them: cut close, it does not go on beyond."""
    array = labels.array.copy()
    for axis in range(3):
        for end in (0, -1):
            face = np.moveaxis(array, axis, 0)[end]
            step = float(np.prod(labels.spacing_mm)) / labels.spacing_mm[axis]
            if 0 < np.count_nonzero(face) * step < GRAZE_MM2:
                face[...] = 0
    return labels.like(array)


def _read_ct(path: Path, labels: Volume) -> NDArray[Any]:
    """Read a CT on the grid of labels that were turned to LPS; check that it shows bone where they say so."""
    picture = read_volume(path)
    array = turned_to_lps(picture).array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"'{path}' holds NaN or infinite values; replace them, with -1024 outside of the body, say")
    dense = float(np.percentile(array[labels.array > 0], 95)) if labels.array.any() else DENSE_HU
    if dense < DENSE_HU:
        raise DataError(
            f"'{path}' shows no bone where the labels say so: 95 % of that is below {dense:.0f}, bone has more than "
            f"{DENSE_HU:g} HU; is it the CT of another patient, or not in Hounsfield units?"
        )
    return array


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
