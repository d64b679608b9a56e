"""One case of a folder: from its file or DICOM folder to its folder of results, in whatever process runs it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_ext.segmentation.case_folder import RUN
from nnunet_ext.segmentation.clock import Clock
from nnunet_ext.segmentation.settings import Settings

__all__ = ["segment_case"]

DETAILS = ("seconds", "peak_mb", "memory", "warnings")
"""What of `run.json` the manifest of the batch repeats."""


def segment_case(ct: Path, name: str, output: Path, settings: Settings, tell: bool) -> Mapping[str, Any]:
    """Segment a case and write its folder; models that the process has loaded are used again.

    Args:
        ct: Volume file, DICOM folder or zip.
        name: Name of the case.
        output: Folder of the case. What an unfinished run left in it is written over.
        settings: How.
        tell: Print each stage on stderr.

    Returns:
        What the manifest tells of the case.

    Raises:
        FractureError: It cannot be done.
    """
    from nnunet_ext.ct import read_ct
    from nnunet_ext.segmentation.pipeline import segment_ct

    def say(text: str) -> None:
        if tell:
            print(f"{name}: {text}", file=sys.stderr, flush=True)

    (output / RUN).unlink(missing_ok=True)
    clock = Clock(say)
    with clock.stage("read"):
        image = read_ct(ct, series=settings.series, resample_irregular=settings.resample_irregular)
    found = segment_ct(image, settings, output=output, case=name, clock=clock, say=say)
    told = {key: found.run[key] for key in DETAILS}
    return {"fragments": len(found.fragments), **told}
