"""TotalSegmentator's Python API, called in a process of its own that cannot open a connection."""

from __future__ import annotations

import ipaddress
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["main", "refuse_connections", "without_workers"]

ASKED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
"""Audit events of everything that reaches another machine. Source: Python's table of audit events."""


def refuse_connections(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise where Python is about to look up or reach another machine; an audit hook.

    Sockets of the machine itself, by which worker processes talk to each other, are left alone.

    Args:
        event: Name of the audit event.
        arguments: Its arguments.

    Raises:
        PermissionError: It is about another machine.
    """
    if event not in ASKED:
        return
    address = arguments[-1] if event in ("socket.connect", "socket.sendto") else arguments[0]
    if isinstance(address, (str, bytes)) and event in ("socket.connect", "socket.sendto"):
        return  # a path: a socket of this machine
    host = address[0] if isinstance(address, tuple) and address else address
    try:
        if host is None or ipaddress.ip_address(str(host)).is_loopback:
            return
    except ValueError:
        if str(host) == "localhost":
            return
    raise PermissionError("stage 1 opens no connection; TotalSegmentator tried to reach another machine")


if __name__ in ("__main__", "__mp_main__"):  # worker processes run this module first, under the second name
    sys.addaudithook(refuse_connections)


def without_workers() -> None:
    """Let nnU-Net predict in this process, as it can, instead of starting two more for each model.

    These would import torch and nnU-Net anew, which takes longer than the prediction, and hold 0.5 GB each.
    """
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    def predict(
        self: Any, source: str, target: str, *, save_probabilities: bool = False, overwrite: bool = True, **_: Any
    ) -> Any:
        return self.predict_from_files_sequential(source, target, save_probabilities, overwrite)

    nnUNetPredictor.predict_from_files = predict


def main(task: Path) -> None:
    """Run TotalSegmentator on one image.

    Args:
        task: JSON with `image` and `labels` (files), `classes`, `device` and `fast`.
    """
    settings = json.loads(task.read_text(encoding="utf-8"))
    import nibabel
    import totalsegmentator.nnunet  # changes nnU-Net when it is imported, so before the next line does
    from totalsegmentator.python_api import totalsegmentator

    without_workers()
    found = totalsegmentator(
        nibabel.load(settings["image"]),
        None,
        ml=True,
        task="total",
        roi_subset=settings["classes"],
        fast=settings["fast"],
        device=settings["device"],
        nr_thr_resamp=1,
        nr_thr_saving=1,
        quiet=True,
        statistics=False,
        preview=False,
    )
    nibabel.save(found, settings["labels"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
