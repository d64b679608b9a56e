"""A page of one file that browsers run nothing else in: style and script are named by their hashes, data is text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["as_data", "fill_page"]


def fill_page(template: str, style: str, script: str, parts: Mapping[str, str]) -> str:
    """Return a page with all in it, that asks nothing of a network.

    Args:
        template: HTML with places such as `{{title}}`; those of the policy, style and script are `rules`, `style` and
            `script`.
        style: Its only style sheet.
        script: Its only script; it runs as one function.
        parts: What goes into the other places, as HTML: text of others has to be escaped before.

    Returns:
        The page.
    """
    script = f'(function () {{\n"use strict";\n{script}\n}})();'
    rules = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    known = {**parts, "rules": rules, "style": style, "script": script}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: known[found[1]], template)


def as_data(content: Any) -> str:
    """Return content as JSON that may stand inside a page: no text in it can end the element that it stands in.

    Args:
        content: Mappings, lists, text and numbers; numbers that are not finite are refused.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _hash(text: str) -> str:
    """Return what a content security policy calls a script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
