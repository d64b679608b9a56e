"""One case from its CT to everything that comes out: the list of the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from label_gen.errors import DataError, UsageError
from label_gen.grid import bounding_box
from nnunet_ext.devices import choose_device
from nnunet_ext.grids import Grid, check_same_grid
from nnunet_ext.schemes import load_scheme
from nnunet_ext.segmentation.case_folder import run_record, write_products, write_run
from nnunet_ext.segmentation.clock import Clock
from nnunet_ext.segmentation.frames import box_in, crop_grid, model_grid
from nnunet_ext.segmentation.memory import Forecast, forecast
from nnunet_ext.segmentation.model import AbbcModel, load_model
from nnunet_ext.segmentation.products import make_products
from nnunet_ext.segmentation.settings import Settings
from nnunet_ext.segmentation.work import make_work, write_fragments, write_work
from nnunet_ext.volumes import Volume

if TYPE_CHECKING:
    from nnunet_ext.ct import CtImage
    from nnunet_ext.fragment_names import FragmentName
    from nnunet_ext.stage1 import BoneFinder
    from postproc.surfaces import FragmentSurface

__all__ = ["Segmentation", "load_models", "segment_ct"]

LEFT_OUT = ("outside dropped", "beyond band", "bone dropped", "empty bone", "cut")
"""Kinds of `postproc.Event` that the reader of a report has to know."""


@dataclass(frozen=True)
class Segmentation:
    """What comes out of a CT.

    Attributes:
        labels: Fragment numbers in the CT's own voxels (z, y, x).
        fragments: Name, bone and colour of each fragment, by number.
        statistics: As `statistics.json` has them: `fragments`, `interfaces`, `decisions`.
        surfaces: One per fragment in LPS millimetres, closed; empty if none were wanted.
        warnings: What the reader has to know.
        run: As `run.json` has it: versions, settings, model, seconds, memory.
    """

    labels: Volume
    fragments: Mapping[int, FragmentName]
    statistics: Mapping[str, Any]
    surfaces: tuple[FragmentSurface, ...]
    warnings: tuple[str, ...]
    run: Mapping[str, Any]


def segment_ct(
    ct: CtImage,
    settings: Settings,
    *,
    output: Path | None = None,
    case: str = "",
    bones: Volume | None = None,
    clock: Clock | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Segmentation:
    """Find the fragments in a CT.

    Args:
        ct: The CT.
        settings: How.
        output: Folder of the case to write everything to; None to write nothing.
        case: Its name, where the bones come from a folder of cases.
        bones: Whole bones on the CT's grid, if they are known; stage 1 is left out then.
        clock: Times the stages; one that began before the CT was read.
        say: Called with a line about memory, and about each stage if there is no clock.

    Returns:
        What comes out.

    Raises:
        UsageError: A model or device is not there, or a DICOM SEG is wanted of what did not come as DICOM.
        DataError: The CT shows no bones that the models find.
        VolumeFileError: A file cannot be read or written.
    """
    if settings.dicom_seg and not ct.instances:
        raise UsageError(
            "a DICOM SEG refers to the slices of one DICOM series, and this CT has none (a file, an array, a "
            "multi-frame or resampled series); leave out --dicom-seg"
        )
    clock = clock or Clock(say)
    scheme = load_scheme(settings.scheme)
    with clock.stage("load the model"):
        model = load_model(settings)
    spacing = model.spacing_mm(ct.volume.grid)
    first = forecast(ct.volume.grid, spacing, extra_bytes=model.working_bytes)
    say(f"{first}; less once the bones are known")
    with clock.stage("bones"):
        anatomy, whole, told = _find_bones(ct.volume, bones, settings, case)
    box = bounding_box(anatomy.array)
    if box is None:
        raise DataError("stage 1 finds no pelvis and no femur in this CT; give a CT of the pelvis, or --bones FILE")
    grid = model_grid(ct.volume.grid, box, spacing, settings.margin_mm)
    expected = forecast(
        ct.volume.grid,
        spacing,
        box=crop_grid(ct.volume.grid, box_in(ct.volume.grid, grid)),
        model=grid,
        extra_bytes=model.working_bytes,
    )
    say(str(expected))
    with clock.stage("predict"):
        work = make_work(ct.volume, anatomy, model, grid)
        if settings.exact_bones:
            work = work.within(anatomy)
    with clock.stage("recover"):
        recovered = work.recover(scheme)
    bones_of = {fragment.fragment_id: fragment.bone for fragment in recovered.fragments}
    products = make_products(
        work,
        recovered.labels,
        bones_of,
        scheme=scheme,
        settings=settings,
        decisions=recovered.warnings,
        clock=clock,
    )
    left_out = [str(event) for event in recovered.events if event.kind in LEFT_OUT]
    warnings = tuple(dict.fromkeys([*ct.warnings, *whole, *left_out, *products.warnings]))
    run = run_record(
        settings,
        device=str(choose_device(settings.device)),
        ct={"kind": ct.kind, **_describe(ct.volume.grid), **ct.series},
        bones=told,
        model=_describe_model(model, grid),
        memory=_describe_memory(first, expected),
        recovery={"engine": recovered.engine, "events": [asdict(event) for event in recovered.events]},
        decisions=list(recovered.warnings),
        bones_of_fragments=bones_of,
        corrections=[],
        warnings=list(warnings),
    )
    if output is not None:
        with clock.stage("write work"):
            write_work(work, output / "work")
            write_fragments(work, recovered.labels, output / "work")
        write_products(
            output,
            work,
            products,
            settings=settings,
            instances=ct.instances,
            warnings=warnings,
            run={**run, **clock.to_dict()},
            clock=clock,
        )
        write_run(output, run, clock)
    return Segmentation(
        work.whole(products.labels),
        products.names,
        products.statistics,
        products.surfaces,
        warnings,
        {**run, **clock.to_dict()},
    )


def load_models(settings: Settings) -> None:
    """Load the models of both stages, which stay in memory for the cases that follow.

    Args:
        settings: Names them.

    Raises:
        FractureError: One is not there, is damaged, or does not do.
    """
    load_model(settings)
    _load_finder(settings)


def _find_bones(
    ct: Volume, given: Volume | None, settings: Settings, case: str
) -> tuple[Volume, tuple[str, ...], dict[str, Any]]:
    """Return whole bones on the CT's grid, warnings, and what `run.json` tells of them."""
    if given is not None:
        check_same_grid(ct.grid, given.grid, "the CT", "its bones")
        return given, (), {"source": "given"}
    found = _load_finder(settings)(ct, case=case)
    check_same_grid(ct.grid, found.anatomy.grid, "the CT", "its bones")
    return found.anatomy, tuple(found.warnings), {"source": found.source, **found.details}


def _load_finder(settings: Settings) -> BoneFinder:
    finder = _finder(str(settings.bones), settings.device, settings.fast, settings.download_weights)
    if settings.exact_bones and not finder.is_given:
        raise UsageError(
            "bones that a model finds are not exact; give a volume of them (--bones FILE), or leave out --exact-bones"
        )
    return finder


@lru_cache(maxsize=1)
def _finder(bones: str, device: str, fast: bool, download_weights: bool) -> BoneFinder:
    """Return what finds bones; the last one stays in memory for the next case."""
    from nnunet_ext.stage1 import BoneFinder

    return BoneFinder(bones, device=device, fast=fast, download_weights=download_weights)


def _describe(grid: Grid) -> dict[str, Any]:
    return {"size_zyx": list(grid.shape), "spacing_zyx_mm": [round(s, 6) for s in grid.spacing_mm]}


def _describe_model(model: AbbcModel, grid: Grid) -> dict[str, Any]:
    return {"name": model.name, "sha256": model.sha256, "folds": list(model.folds), **_describe(grid)}


def _describe_memory(first: Forecast, expected: Forecast) -> dict[str, Any]:
    return {
        "forecast_before_bones_mb": round(first.bytes / 1e6),
        "forecast_mb": round(expected.bytes / 1e6),
        "ct_voxels": expected.ct_voxels,
        "box_voxels": expected.box_voxels,
        "model_voxels": expected.model_voxels,
    }
