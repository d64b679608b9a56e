"""TotalSegmentator, which may find the bones (stage 1): is it there, and are its weights, for use without internet."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from nnunet_ext.doctor.findings import Finding, ok, warning

__all__ = ["check_totalsegmentator", "weights_folder"]

FINE = (291, 292, 293, 294, 295)
"""nnU-Net dataset numbers of the weights at 1.5 mm, one per group of structures. Source: TotalSegmentator 2.18."""
FAST = (297,)
"""The weights at 3 mm."""
ROUGH = (298,)
"""The weights at 6 mm, which it crops with whenever a subset of structures is asked for."""


def weights_folder() -> Path:
    """Return the folder that TotalSegmentator takes its weights from. Source: TotalSegmentator 2.18."""
    named = os.environ.get("TOTALSEG_WEIGHTS_PATH")
    if named:
        return Path(named)
    home = os.environ.get("TOTALSEG_HOME_DIR")
    return (Path(home) if home else Path.home() / ".totalsegmentator") / "nnunet" / "results"


def check_totalsegmentator() -> Finding:
    """Check whether TotalSegmentator can run without internet. It is optional: never more than a warning."""
    folder = weights_folder()
    missing = {number for number in (*FINE, *FAST, *ROUGH) if not any(folder.glob(f"Dataset{number}_*/*/"))}
    sets = {"1.5 mm": FINE, "3 mm": FAST}
    there = [name for name, numbers in sets.items() if not missing & {*numbers, *ROUGH}]
    if importlib.util.find_spec("totalsegmentator") is None:
        return warning("TotalSegmentator", "not installed; it is needed only to find bones with it",
                       "pip install TotalSegmentator, and where there is no internet, put its weights (folders "
                       f"DatasetXXX_*) into '{folder}'")  # fmt: skip
    if not there:
        return warning("TotalSegmentator", f"weights are missing in '{folder}': {_say(missing)}",
                       "with internet: totalseg_download_weights -t total (-t total_fast for 3 mm); without: copy them "
                       "there, or elsewhere and export TOTALSEG_WEIGHTS_PATH=FOLDER")  # fmt: skip
    return ok("TotalSegmentator", f"weights at {' and '.join(there)} are in '{folder}'")


def _say(numbers: set[int]) -> str:
    return ", ".join(f"Dataset{number}_*" for number in sorted(numbers))
