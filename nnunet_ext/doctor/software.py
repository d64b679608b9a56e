"""Python and the packages: versions in range, and torch and torchvision that work together."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence

from nnunet_ext.doctor.findings import Finding, error, ok, warning

__all__ = ["check_packages", "check_python", "check_torch_pair"]

DISTRIBUTION = "nnunet-abbc"
PAIR_CURE = "install the two together, so that pip picks versions that fit: pip install --upgrade torch torchvision"


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Check the version of Python.

    Args:
        version: Its parts.
    """
    said = ".".join(map(str, version[:3]))
    if tuple(version[:2]) < (3, 11):
        return error("Python", f"Python {said} is too old; 3.11 or newer is needed", "make a new environment with it")
    return ok("Python", f"{said} on {platform.system()} {platform.machine()}")


def check_packages(requirements: Sequence[str] | None = None) -> list[Finding]:
    """Check that the packages that this project needs are there, in versions that it was made for.

    Args:
        requirements: As in pyproject.toml; those of the installed project if None.
    """
    from packaging.requirements import Requirement

    if requirements is None:
        try:
            requirements = importlib.metadata.requires(DISTRIBUTION) or ()
        except importlib.metadata.PackageNotFoundError:
            return [
                warning(
                    "packages",
                    f"{DISTRIBUTION} is not installed in this environment, so versions cannot be compared",
                    "pip install . in its checkout",
                )
            ]
    findings, told = [], []
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            findings.append(
                error("packages", f"{wanted.name} is not installed", f'pip install "{wanted.name}{wanted.specifier}"')
            )
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            findings.append(
                error(
                    "packages",
                    f"{wanted.name} is {version}; {wanted.specifier} is needed",
                    f'pip install "{wanted.name}{wanted.specifier}"',
                )
            )
        told.append(f"{wanted.name} {version}")
    return findings or [ok("packages", ", ".join(told))]


def check_torch_pair() -> Finding:
    """Check that torch and torchvision load and compute together; with a wrong pair nnU-Net's trainer search dies."""
    try:
        import torch
    except Exception as problem:
        return error("torch", f"torch cannot be loaded: {problem}", PAIR_CURE)
    try:
        import torchvision  # type: ignore[import-untyped]

        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5)
    except Exception as problem:
        return error("torch", f"torch {torch.__version__} loads, torchvision does not fit it: {problem}", PAIR_CURE)
    if kept.tolist() != [0]:
        return error("torch", f"torchvision {torchvision.__version__} computes wrongly", PAIR_CURE)
    return ok("torch", f"torch {torch.__version__} and torchvision {torchvision.__version__} work together")
