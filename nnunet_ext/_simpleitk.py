"""SimpleITK made quiet, and its complaints made readable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import SimpleITK

from label_gen.errors import DataError, VolumeFileError

__all__ = ["reason", "silent", "sitk", "translated"]

sitk: Any = SimpleITK
"""SimpleITK without its half of type hints."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SimpleITK's complaint about a file into one of ours.

    Args:
        path: The file that the block reads.

    Raises:
        DataError: The axes of the volume are not at right angles.
        VolumeFileError: The file cannot be read.
    """
    try:
        with silent():
            yield
    except RuntimeError as error:
        text = reason(error)
        if "orthonormal" in text:
            raise DataError(
                f"'{path}' has axes that are not at right angles; resample it onto a grid with right angles"
            ) from error
        if "Unable to determine ImageIO reader" in text:
            text = "its content is not what its name says, or it is damaged"
        raise VolumeFileError(f"cannot read '{path}': {text}; copy or export it again") from error


@contextmanager
def silent() -> Iterator[None]:
    """Switch off SimpleITK's warnings, which our own errors replace."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def reason(error: RuntimeError) -> str:
    """Return the telling line of SimpleITK's message: without its source lines, addresses and file names."""
    lines = [line.strip() for line in str(error).splitlines() if "ERROR" in line or line.startswith("Reason")]
    telling = next((line for line in lines if line.startswith("Reason")), lines[-1] if lines else "")
    return telling.rpartition("): ")[2].removeprefix("Reason: ").removeprefix("sitk::ERROR: ") or "SimpleITK failed"
