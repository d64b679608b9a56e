"""One simulated patient to its files: CT, fragments, bones before and after, and the record of what was done."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.scheme import LabelScheme
from label_gen.simulation.settings import SimulationSettings
from label_gen.simulation.simulate import SimulatedCase, simulate_fractures
from label_gen.simulation.statistics import FragmentFigures, measure_fragments
from nnunet_ext import __version__
from nnunet_ext.atomic import write_json
from nnunet_ext.simulation.sources import Patient, Source, load_patient
from nnunet_ext.volumes import Volume, naming, write_volume

__all__ = ["CaseFiles", "simulate_case"]


@dataclass(frozen=True)
class CaseFiles:
    """The files of one patient.

    Attributes:
        labels: Fragments in the bands of the scheme.
        anatomy: Bones of the broken patient by the scheme's anatomy numbers.
        intact: Bones before they broke.
        record: JSON: rigid motion and figures of each fragment, fractures, seed and settings.
        image: The CT; None for none.
    """

    labels: Path
    anatomy: Path
    intact: Path
    record: Path
    image: Path | None

    @classmethod
    def of(cls, folder: Path, case: str, *, with_ct: bool) -> CaseFiles:
        """Return the files of a case in a folder of simulated patients."""
        places = [folder / name / f"{case}.nii.gz" for name in ("labels", "anatomy", "intact", "images")]
        record = folder / "motions" / f"{case}.json"
        return cls(places[0], places[1], places[2], record, places[3] if with_ct else None)

    @property
    def all(self) -> tuple[Path, ...]:
        """All files, in the order in which they are written."""
        image = (self.image,) if self.image is not None else ()
        return (self.labels, self.anatomy, self.intact, *image, self.record)


def simulate_case(
    *,
    case: str,
    seed: int,
    source: Source,
    files: CaseFiles,
    scheme: LabelScheme,
    settings: SimulationSettings,
    spacing_mm: tuple[float, float, float] | None,
    field_of_view_mm: tuple[float, float, float] | None,
) -> dict[str, Any]:
    """Simulate one patient and write its files, the record last.

    Args:
        case: Name of the case.
        seed: Seed of everything random.
        source: Where the bones come from.
        files: The files.
        scheme: Scheme of the fragment numbers.
        settings: What is simulated.
        spacing_mm: Voxel size in the order z, y, x; see `nnunet_ext.simulation.sources.load_patient`.
        field_of_view_mm: Size in the order z, y, x; the same.

    Returns:
        What the manifest tells: the source, the fragments of each bone, and `absent`, bones that were to be broken
        and are not there, and `fewer`, bones that have fewer fragments than were asked for.

    Raises:
        VolumeFileError: A file cannot be read or written.
        DataError: The source holds no bones, or something that makes no sense.
    """
    patient = load_patient(source, seed, scheme, spacing_mm, field_of_view_mm, with_ct=settings.with_ct)
    with naming(source.anatomy or source.name):
        made = simulate_fractures(
            patient.bones,
            seed,
            patient.grid,
            scheme=scheme,
            settings=replace(settings, vary_anatomy=settings.vary_anatomy and patient.may_vary),
            extra=patient.extra,
            ct=patient.ct,
        )
    figures = measure_fragments(made.labels, made.spacing_mm, scheme, made.anatomy)
    record = _record(case, source, patient, made, figures, settings)
    arrays: dict[Path, NDArray[Any]] = {
        files.labels: made.labels,
        files.anatomy: made.anatomy,
        files.intact: made.intact_anatomy,
    }
    if files.image is not None and made.ct is not None:
        arrays[files.image] = made.ct
    for path, array in arrays.items():
        write_volume(Volume(array, made.spacing_mm, made.origin_mm), path)
    write_json(files.record, record)
    counts = Counter(figure.bone for figure in figures)
    asked = settings.fragments
    short = {
        "absent": [name for name in asked if name not in patient.bones],
        "fewer": [name for name, count in asked.items() if name in patient.bones and counts[name] < count],
    }
    told = {"source": source.name, "fragments": dict(counts)}
    return told | {key: names for key, names in short.items() if names}


def _record(
    case: str,
    source: Source,
    patient: Patient,
    made: SimulatedCase,
    figures: tuple[FragmentFigures, ...],
    settings: SimulationSettings,
) -> dict[str, Any]:
    """Return what is written of a case beside its volumes; it does not depend on when or where it was made."""
    kind = "phantom" if source.anatomy is None else "ct" if source.ct is not None else "labels"
    return {
        "case": case,
        "version": __version__,
        "seed": made.seed,
        "source": {"name": source.name, "kind": kind, **patient.traits},
        "scheme": made.scheme.name,
        "size_zyx": made.labels.shape,
        "spacing_zyx_mm": made.spacing_mm,
        "origin_xyz_mm": made.origin_mm,
        "settings": asdict(settings),
        "fragments_wanted": dict(made.counts_wanted),
        "fragments": [{**asdict(figure), "motion": np.round(made.motions[figure.label], 9)} for figure in figures],
        "fractures": [asdict(fracture) for fracture in made.fractures],
    }
