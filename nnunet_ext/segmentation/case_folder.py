"""The folder of a case: segmentation, surfaces, tables, pictures, report, and last of all `run.json`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.atomic import write_json
from nnunet_ext.cases import SEGMENTATION
from nnunet_ext.manifest import NOTE, versions
from nnunet_ext.segmentation.clock import Clock
from nnunet_ext.segmentation.products import Products
from nnunet_ext.segmentation.settings import Settings
from nnunet_ext.segmentation.work import Work
from nnunet_ext.volumes import write_volume

__all__ = ["RUN", "run_record", "write_products", "write_run"]

RUN = "run.json"
"""Written last: a case with it is finished."""

_LIBRARIES = ("torch", "nnunetv2", "scikit-image", "manifold3d", "pydicom", "TotalSegmentator", "highdicom")


def write_products(
    folder: Path,
    work: Work,
    products: Products,
    *,
    settings: Settings,
    instances: Sequence[Path],
    warnings: Sequence[str],
    run: Mapping[str, Any],
    clock: Clock,
) -> None:
    """Write everything of a case but `work/` and `run.json`.

    Args:
        folder: Of the case; made if missing.
        work: What the case was recovered from.
        products: What is to be written.
        settings: Which files are wanted.
        instances: DICOM files of the series, in the order of the slices; needed for a DICOM SEG.
        warnings: For the top of the report.
        run: For the end of the report.
        clock: Times the stages.

    Raises:
        VolumeFileError: A file cannot be written.
        UsageError: A DICOM SEG is wanted of what did not come as DICOM, or highdicom is not installed.
    """
    from nnunet_ext.outputs import write_itksnap_labels, write_seg_nrrd, write_slicer_colours
    from nnunet_ext.statistics import write_statistics

    names = products.names
    with clock.stage("write the segmentation"):
        whole = work.whole(products.labels)
        write_volume(whole, folder / SEGMENTATION)
        write_seg_nrrd(folder / "segmentation.seg.nrrd", whole, names)
        write_slicer_colours(folder / "segmentation.ctbl", names)
        write_itksnap_labels(folder / "segmentation.label.txt", names)
        write_statistics(folder, dict(products.statistics))
        del whole  # the report needs the memory
    if products.surfaces:
        from nnunet_ext.meshes import write_meshes

        with clock.stage("write the surfaces"):
            write_meshes(folder, products.surfaces, names)
    if settings.report:
        from nnunet_ext.report import write_preview, write_report

        with clock.stage("report"):
            preview = folder / "preview.png"
            write_preview(preview, work.ct, products.labels, names, surfaces=products.surfaces, title=folder.name)
            write_report(
                folder / "report.html",
                ct=work.ct,
                labels=products.labels,
                names=names,
                surfaces=products.surfaces,
                statistics=products.statistics,
                warnings=warnings,
                title=folder.name,
                run=run,
                preview=preview,
            )
    if settings.dicom_seg and instances:  # last: a header that does not do costs nothing else
        from nnunet_ext.outputs import write_dicom_seg

        with clock.stage("write DICOM SEG"):
            whole = work.whole(products.labels)
            write_dicom_seg(folder / "segmentation.dcm", whole, names, instances, deidentify=settings.deidentify)


def run_record(settings: Settings, **parts: Any) -> dict[str, Any]:
    """Return what `run.json` holds: note, versions, settings, and the parts given.

    Args:
        settings: Of the run.
        **parts: Model, bones, CT, memory, warnings and so on, without paths and patient data.
    """
    found = versions()
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"command": "abbc-segment", "note": NOTE, "versions": found, "settings": settings.to_dict(), **parts}


def write_run(folder: Path, run: Mapping[str, Any], clock: Clock | None) -> None:
    """Write `run.json`, which says that the case is finished.

    Args:
        folder: Of the case.
        run: Of `run_record`.
        clock: Seconds and peak of memory; None to leave those that the run has.
    """
    write_json(folder / RUN, {**run, **(clock.to_dict() if clock else {})})
