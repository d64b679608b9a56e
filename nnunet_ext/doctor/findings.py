"""What a check finds, and how a check that breaks becomes a finding itself."""

from __future__ import annotations

import io
import re
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

from label_gen.errors import FractureError

__all__ = ["Finding", "error", "from_error", "guard", "ok", "warning"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at, in a word or two.
        status: `ok`; `warning`: training runs, but slowly, or its scores say less; `error`: training would fail, or
            learn from wrong labels.
        text: What was found.
        cure: What mends it; None where nothing has to be.
        details: The single cases, or the traceback of a check that broke.
    """

    check: str
    status: Literal["ok", "warning", "error"]
    text: str
    cure: str | None = None
    details: tuple[str, ...] = ()


def ok(check: str, text: str) -> Finding:
    """Return a finding without fault.

    Args:
        check: What was looked at.
        text: What was found.
    """
    return Finding(check, "ok", text)


def warning(check: str, text: str, cure: str, details: Iterable[str] = ()) -> Finding:
    """Return a finding that training survives.

    Args:
        check: What was looked at.
        text: What was found.
        cure: What mends it.
        details: The single cases.
    """
    return Finding(check, "warning", text, cure, tuple(details))


def error(check: str, text: str, cure: str, details: Iterable[str] = ()) -> Finding:
    """Return a finding that training would fail from.

    Args:
        check: What was looked at.
        text: What was found.
        cure: What mends it.
        details: The single cases.
    """
    return Finding(check, "error", text, cure, tuple(details))


def from_error(check: str, problem: FractureError) -> Finding:
    """Turn an error of this project, whose text ends in its cure, into a finding.

    Args:
        check: What was looked at.
        problem: The error.
    """
    text, _, cure = str(problem).rpartition("; ")
    return error(check, text, cure) if text else error(check, cure, "mend what the message says")


def guard(check: str, function: Callable[..., Finding | list[Finding]], *arguments: Any) -> list[Finding]:
    """Run a check; whatever it raises becomes a finding, and what nnU-Net prints meanwhile is dropped.

    Args:
        check: What is looked at.
        function: The check.
        *arguments: Its arguments.

    Returns:
        The findings.
    """
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = function(*arguments)
    except FractureError as problem:
        return [from_error(check, problem)]
    except Exception as problem:
        text = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
        missing = re.fullmatch(r"No module named '([^']+)'.*", str(problem))
        cure = f"pip install {missing[1].split('.')[0]}" if missing else "mend what the message says"
        trace = traceback.format_exc().rstrip()
        return [error(check, f"the check broke: {text}", f"{cure}; --verbose shows where", [trace])]
    return [found] if isinstance(found, Finding) else list(found)
