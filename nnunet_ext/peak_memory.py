"""The largest resident memory of this process, as the system counts it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["peak_bytes", "reset_peak"]


def reset_peak() -> None:
    """Let the peak of this process begin anew, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Return the largest resident memory of this process since `reset_peak`, or since it began."""
    status = Path("/proc/self/status")
    with suppress(OSError):  # unlike getrusage, this forgets the process that this one was forked from
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
