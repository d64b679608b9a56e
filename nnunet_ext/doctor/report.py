"""The findings as a table for people, and as an object for programs."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from nnunet_ext.doctor.findings import Finding
from nnunet_ext.manifest import NOTE, versions, without_paths

__all__ = ["as_object", "as_table", "would_fail"]

INDENT = 28


def would_fail(findings: Sequence[Finding]) -> bool:
    """Tell whether training would fail.

    Args:
        findings: What was found.
    """
    return any(finding.status == "error" for finding in findings)


def as_table(findings: Sequence[Finding], *, width: int = 120, details: bool = False) -> str:
    """Return the findings as lines: status, check and text, and under each that needs one, its cure.

    Args:
        findings: What was found.
        width: Columns to keep to; paths and commands are not broken.
        details: Tell the single cases too.
    """
    lines = []
    for finding in findings:
        lines += _wrap(f"{finding.status:<8}{finding.check:<{INDENT - 8}}", finding.text, width)
        if finding.cure:
            lines += _wrap(f"{'':<{INDENT - 3}}-> ", finding.cure, width)
        if details:
            lines += [f"{'':<{INDENT}}{line}" for detail in finding.details for line in detail.splitlines()]
    counts = Counter(finding.status for finding in findings)
    parts = [_count(counts["error"], "error"), _count(counts["warning"], "warning"), f"{counts['ok']} ok"]
    end = "training would fail" if would_fail(findings) else "nothing stands in the way of training"
    return "\n".join([*lines, "", f"{', '.join(parts)}: {end}"])


def _wrap(start: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, INDENT + 40),
        initial_indent=start if start.endswith(" ") else f"{start} ",
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def as_object(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as plain values for JSON, without the folders in their texts, which may name people.

    Args:
        findings: What was found.

    Returns:
        `command`, `note`, `versions`, `would_fail`, and `findings`: a list of objects with `check`, `status` (`ok`,
        `warning` or `error`), `text`, `cure` (text or null) and `details` (list of texts).
    """
    return {
        "command": "abbc-doctor",
        "note": NOTE,
        "versions": versions(),
        "would_fail": would_fail(findings),
        "findings": [
            {
                "check": finding.check,
                "status": finding.status,
                "text": without_paths(finding.text),
                "cure": None if finding.cure is None else without_paths(finding.cure),
                "details": [without_paths(detail) for detail in finding.details],
            }
            for finding in findings
        ],
    }
