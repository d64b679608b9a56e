"""From tables of a study file to its cells: the product of the axes of a grid, without what is excluded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any, get_type_hints

from label_gen.errors import UsageError
from nnunet_ext.studies.folder import ALL_CASES
from nnunet_ext.studies.study import FINE_TUNING, PLANS_OF, Cell

__all__ = ["CELL_KEYS", "cells_of"]

Complain = Callable[..., UsageError]
"""Makes the error: text, path of the key in the file, value that is wrong."""

CELL_KEYS = tuple(item.name for item in fields(Cell) if item.name not in ("name", "labels"))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_WHOLE = {"batch_size", "patch_size", "base_features", "most_blocks", "cases", "epochs", "iterations"}
_NO_AXES = {"folds", "variables"}
"""Keys whose value is a list or table itself."""


def cells_of(table: Mapping[str, Any], wrong: Complain) -> tuple[Cell, ...]:
    """Return the cells of a study file: those of each `[[grid]]`, then each `[[cells]]`.

    Args:
        table: The file's content; `[defaults]` holds for all cells that do not say otherwise.
        wrong: Makes an error that names the line.

    Returns:
        The cells, in the order of the file.

    Raises:
        UsageError: A key is unknown, a value makes no sense, two cells have one name, or there is none.
    """
    defaults = table.get("defaults", {})
    _check_keys(defaults, {*CELL_KEYS}, ("defaults",), wrong)
    found: dict[str, Cell] = {}
    for kind in ("grid", "cells"):
        for place, entry in enumerate(_tables(table, kind, wrong)):
            path = (kind, place)
            made = list(
                _of_grid(entry, defaults, path, wrong) if kind == "grid" else _of_cell(entry, defaults, wrong, path)
            )
            if not made:
                raise wrong("the grid has no cells: an axis is empty, or all of them are excluded", path)
            for cell in made:
                if cell.name in found:
                    raise wrong(
                        f"two cells are called '{cell.name}'; let 'name' tell them apart, by {{cases}} say",
                        (*path, "name"),
                    )
                found[cell.name] = cell
    if not found:
        raise wrong("there are no cells; add a [[grid]] or [[cells]] with a name and a configuration at least", ())
    return tuple(found.values())


def _tables(table: Mapping[str, Any], kind: str, wrong: Complain) -> Sequence[Mapping[str, Any]]:
    entries = table.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise wrong(f"'{kind}' is no list of tables; write [[{kind}]]", (kind,))
    return entries


def _of_cell(
    entry: Mapping[str, Any], defaults: Mapping[str, Any], wrong: Complain, path: tuple[str | int, ...]
) -> Iterator[Cell]:
    _check_keys(entry, {"name", *CELL_KEYS}, path, wrong)
    values = {**defaults, **entry}
    yield _cell(values, {key: str(value) for key, value in values.items()}, str(entry.get("name", "")), path, wrong)


def _of_grid(
    entry: Mapping[str, Any], defaults: Mapping[str, Any], path: tuple[str | int, ...], wrong: Complain
) -> Iterator[Cell]:
    _check_keys(entry, {"name", "exclude", *CELL_KEYS}, path, wrong)
    axes: dict[str, list[tuple[str, Any]]] = {}
    for key, value in {**defaults, **entry}.items():
        if key in ("name", "exclude"):
            continue
        if key not in _NO_AXES and isinstance(value, (list, dict)):
            pairs = value.items() if isinstance(value, dict) else [(str(item), item) for item in value]
            axes[key] = [(str(label), item) for label, item in pairs]
        else:
            axes[key] = [(str(value), value)]
    excluded = entry.get("exclude", [])
    if not isinstance(excluded, list) or not all(isinstance(item, dict) and item for item in excluded):
        raise wrong("'exclude' is no list of tables, [{configuration = \"2d\", cases = 3}] say", (*path, "exclude"))
    for item in excluded:
        if strange := [key for key in item if key not in axes]:
            raise wrong(f"'exclude' names '{strange[0]}', which is no axis of this grid", (*path, "exclude"))
    for choice in product(*axes.values()):
        chosen = dict(zip(axes, choice, strict=True))
        labels = {key: label for key, (label, _) in chosen.items()}
        if any(all(item[key] in chosen[key] for key in item) for item in excluded):
            continue
        try:
            name = str(entry.get("name", "")).format(**labels)
        except (KeyError, IndexError, ValueError) as error:
            raise wrong(
                f"the name '{entry.get('name')}' asks for {error}, which is no axis of this grid; it has "
                f"{', '.join(axes)}",
                (*path, "name"),
            ) from error
        yield _cell({key: value for key, (_, value) in chosen.items()}, labels, name, path, wrong)


def _check_keys(table: Any, known: set[str], path: tuple[str | int, ...], wrong: Complain) -> None:
    if not isinstance(table, dict):
        raise wrong(f"'{path[-1]}' is no table", path)
    for key in table:
        if key not in known:
            raise wrong(f"unknown key '{key}'; known here are {', '.join(sorted(known))}", (*path, key))


def _cell(
    values: Mapping[str, Any], labels: Mapping[str, str], name: str, path: tuple[str | int, ...], wrong: Complain
) -> Cell:
    """Return a cell, its values checked."""
    if not _NAME.fullmatch(name):
        raise wrong(
            f"the cell is called '{name}'; a name of letters, digits and _ . + - is expected (key 'name')",
            (*path, "name"),
        )
    given = {key: value for key, value in values.items() if key != "name"}
    if "configuration" not in given:
        raise wrong(f"cell '{name}' has no configuration; give 2d, 3d_fullres or triplanar", path)
    hints = get_type_hints(Cell)
    for key, value in given.items():
        where = (*path, key)
        if key in _WHOLE and not (type(value) is int and value > 0):
            raise wrong(f"'{key}' is {value!r}; a whole number above 0 is expected", where, value)
        if key == "cases" and value >= ALL_CASES:
            raise wrong(f"'cases' is {value}; less than {ALL_CASES} are possible, leave it out for all", where, value)
        if hints[key] is bool and not isinstance(value, bool):
            raise wrong(f"'{key}' is {value!r}; true or false is expected", where, value)
        if hints[key] is str and not isinstance(value, str):
            raise wrong(f"'{key}' is {value!r}; a text is expected", where, value)
    folds = given.get("folds", ["all"])
    folds = folds if isinstance(folds, list) else [folds]
    if not folds or not all(fold == "all" or (type(fold) is int and fold >= 0) for fold in folds):
        raise wrong(f"'folds' is {given['folds']!r}; a list of numbers from 0 is expected, or 'all'", (*path, "folds"))
    if "all" in folds and len(folds) > 1:
        raise wrong("'folds' holds 'all' beside others; give either", (*path, "folds"))
    variables = given.get("variables", {})
    if not isinstance(variables, dict) or not all(isinstance(value, (str, int, float)) for value in variables.values()):
        raise wrong(f"'variables' is {variables!r}; a table of texts or numbers is expected", (*path, "variables"))
    given |= {"folds": tuple(folds), "variables": {key: str(value) for key, value in variables.items()}}
    planner = given.get("planner") or (
        "TriPlanarPlanner" if given["configuration"].startswith("triplanar") else "ExperimentPlanner"
    )
    if planner not in PLANS_OF:
        raise wrong(f"unknown planner '{planner}'; known are {', '.join(PLANS_OF)}", (*path, "planner"), planner)
    if given.get("iterations") and not given.get("epochs"):
        raise wrong("'iterations' needs 'epochs' too", (*path, "iterations"))
    sizes = [key for key in ("patch_size", "base_features", "most_blocks") if given.get(key)]
    if planner == FINE_TUNING and sizes:
        raise wrong(f"'{sizes[0]}' cannot be set where the network is that of the weights (FineTuning)", path)
    return Cell(name=name, labels=dict(labels), **{**given, "planner": planner})
