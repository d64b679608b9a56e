"""What a user ought to know of datasets that were made: what was left out, turned, labelled in part."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.preparation.targets import Target
from nnunet_ext.recipes import Recipe
from nnunet_ext.training.splits import few

__all__ = ["describe_dataset", "describe_run", "known_details"]


def known_details(manifest: Path) -> dict[str, Mapping[str, Any]]:
    """Return what the manifest tells of each finished case.

    Args:
        manifest: The JSON file; it may be missing.
    """
    try:
        cases = json.loads(manifest.read_text(encoding="utf-8"))["cases"]
        return {name: entry["details"] for name, entry in cases.items() if "details" in entry}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def describe_run(details: Mapping[str, Mapping[str, Any]], targets: Sequence[Target], recipe: Recipe) -> Iterator[str]:
    """Yield notes on the cases of a run.

    Args:
        details: Of each finished case, see `nnunet_ext.preparation.case.prepare_case`.
        targets: The datasets.
        recipe: The recipe.
    """
    turned = Counter(str(found["orientation"]) for found in details.values() if "orientation" in found)
    if turned:
        said = ", ".join(f"{count} from {axes}" for axes, count in sorted(turned.items()))
        yield (
            f"volumes were turned to LPS ({said}), as training mirrors left and right by array axis; turn volumes to "
            "predict likewise"
        )
    for target in targets:
        left_out = sorted(name for name, found in details.items() if target.folder.name in found.get("left_out", ()))
        if left_out:
            others = " or ".join(f"--group {group}" for group in recipe.groups if group != target.group)
            yield (
                f"{target.folder.name}: left out, without labels of {', '.join(target.bones)}: {few(left_out)}"
                + (f"; a dataset of their own is made by {others} and another ID" if others else "")
            )
        if target.task == "abbc" and not target.group:
            yield from _mixed(details, target, recipe)
        if target.task == "anatomy":
            yield from _incomplete(details, target)


def _mixed(details: Mapping[str, Mapping[str, Any]], target: Target, recipe: Recipe) -> Iterator[str]:
    counts = {
        group: sum(bool(set(bones) & set(found.get("bones", ()))) for found in details.values())
        for group, bones in recipe.groups.items()
    }
    counts = {group: count for group, count in counts.items() if count}
    if len(counts) > 1:
        said = ", ".join(f"{group} in {count}" for group, count in counts.items())
        yield (
            f"{target.folder.name}: cases are labelled in part ({said}); bone in view without labels counts as "
            "background there; --group makes a dataset of one group"
        )


def _incomplete(details: Mapping[str, Mapping[str, Any]], target: Target) -> Iterator[str]:
    for bone in target.bones:
        lacking = sorted(
            name
            for name, found in details.items()
            if target.folder.name not in found.get("left_out", ())
            and bone not in found.get("whole_bones", found.get("bones", ()))
        )
        if lacking:
            yield f"{target.folder.name}: no labels of {bone} in {few(lacking)}; if it is in view there, leave them out"


def describe_dataset(target: Target, chosen: Sequence[str], folds: int) -> str:
    """Return one line on a dataset.

    Args:
        target: The dataset.
        chosen: The training cases of this run.
        folds: Number of folds; 0 if the dataset is empty.
    """
    train, test = target.finished("Tr"), target.finished("Ts")
    if not train:
        return f"{target.folder.name}: no training case is complete, so that it has no dataset.json yet"
    text = f"{target.folder.name}: {len(train)} training cases, {len(test)} test cases, {folds} folds"
    if folds == 1:
        text += "; the only patient is validated on its own training cases"
    if earlier := sorted(set(train) - set(chosen)):
        text += f"; of earlier runs: {few(earlier)}"
    return text
