"""Load recipes: where a source keeps its files and what they mean, from the TOML files in `datasets/recipes`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.package_data import list_tables, read_table

__all__ = ["TASKS", "Layout", "Recipe", "list_recipes", "load_recipe", "parse_classes", "parse_patient"]

TASKS = ("abbc", "anatomy", "semantic")
"""What a dataset can be made for: fragments as ABBC classes, whole bones of a scheme, any structures as they are."""

_KEYS = {"name", "description", "dataset_name", "reference", "licence", "scheme", "tasks", "channel", "patient"}
_KEYS |= {"classes", "groups", "layouts", "cohorts", "default_cohort"}
_COHORT_KEYS = {"description", "dataset_name", "channel", "classes"}
_DATASET_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Layout:
    """One way in which a source may lay out its files.

    Attributes:
        images: Pattern of the images' paths below the source, without file type. `{case}` stands for the name of a
            case, `*` for any part of a name, `**/` for any number of folders.
        labels: Pattern of the labels' paths.
        anatomy: Pattern of the paths of volumes of whole bones, numbered by the scheme's anatomy table. Where it is
            given, the task `anatomy` learns these, bones without fragment numbers and both sides of a band included.
    """

    images: str
    labels: str
    anatomy: str = ""


@dataclass(frozen=True)
class Recipe:
    """What has to be known of a source to make nnU-Net datasets of it.

    Attributes:
        name: Identifier.
        description: One line.
        dataset_name: Name of the dataset where none is given.
        tasks: What can be made, of `TASKS`; the first is the default.
        layouts: Ways in which the files may lie.
        scheme: Name of the label scheme, or empty if labels are not fragments.
        classes: For `semantic`: the numbers in the label files, by class name, in the order of the written numbers.
        channel: nnU-Net's channel name; `CT` has its own normalisation.
        patient: Regular expressions that find the group `patient` in a case name; the first that fits counts.
        groups: Bones that are labelled together, where a case has labels of one group only.
        cohort: The cohort that was chosen; empty if the source has none.
        cohorts: All cohorts of the source.
        reference: DOI, or what is known of the source.
        licence: What is known of the licence.
    """

    name: str
    description: str
    dataset_name: str
    tasks: tuple[str, ...]
    layouts: tuple[Layout, ...]
    scheme: str = ""
    classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    channel: str = "CT"
    patient: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cohort: str = ""
    cohorts: tuple[str, ...] = ()
    reference: str = ""
    licence: str = ""


def list_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with the project, sorted."""
    return list_tables("recipes")


def load_recipe(name: str | Path, *, cohort: str | None = None) -> Recipe:
    """Load a recipe.

    Args:
        name: Name of a recipe that comes with the project, or a `.toml` file of the same layout.
        cohort: One of the source's cohorts; its default if None.

    Returns:
        The recipe.

    Raises:
        UsageError: There is no such recipe, file or cohort, it is no valid TOML, or an entry is missing or wrong.
    """
    file, table = read_table(name, kind="recipes", noun="recipe", error=UsageError)
    return _Reader(file, table).recipe(cohort)


def parse_classes(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read class names with their numbers in the label files, as the command line gives them.

    Args:
        words: `NAME`, `NAME=3` or `NAME=1,255`; without a number a class has the place in the list, counted from 1.

    Returns:
        The numbers by name.

    Raises:
        UsageError: A name or number makes no sense, or two classes share one.

    Example:
        >>> parse_classes(["mandible", "cranium=7,8"])
        {'mandible': (1,), 'cranium': (7, 8)}
    """
    classes: dict[str, Any] = {}
    for place, word in enumerate(words, 1):
        name, _, numbers = word.partition("=")
        if name in classes:
            raise UsageError(f"class '{name}' is given twice (--classes)")
        parts = numbers.split(",") if numbers else [str(place)]
        classes[name] = [int(part) if part.isascii() and part.isdigit() else part for part in parts]
    return _Reader("--classes", {"classes": classes}).classes()


def parse_patient(pattern: str) -> tuple[str, ...]:
    """Check a regular expression for patients that the command line gives.

    Args:
        pattern: It fits whole case names and has the group `(?P<patient>...)`.

    Returns:
        The patterns of a recipe.

    Raises:
        UsageError: It is no such expression.
    """
    return _Reader("--patient", {"patient": [pattern]}).patient()


class _Reader:
    """Reads the table of a recipe file; every complaint names file and key."""

    def __init__(self, file: str, table: Mapping[str, Any]) -> None:
        self.file = file
        self.table = dict(table)

    def wrong(self, text: str) -> UsageError:
        where = self.file if self.file.startswith("--") else f"recipe file '{self.file}'"
        return UsageError(f"{where}: {text}")

    def recipe(self, cohort: str | None) -> Recipe:
        self.check_keys(self.table, _KEYS, "")
        cohorts = self.get("cohorts", dict, {})
        chosen = cohort or self.get("default_cohort", str, "")
        if cohort and cohort not in cohorts:
            raise UsageError(
                f"recipe '{self.file.removesuffix('.toml')}' has no cohort '{cohort}'; it has "
                f"{', '.join(cohorts) or 'none'} (--cohort)"
            )
        if chosen:
            if not isinstance(cohorts.get(chosen), Mapping):
                raise self.wrong(f"cohort '{chosen}' is no table headed [cohorts.{chosen}]")
            self.check_keys(cohorts[chosen], _COHORT_KEYS, f" in [cohorts.{chosen}]")
            self.table |= cohorts[chosen]
        tasks = self.texts("tasks")
        if not tasks or set(tasks) - set(TASKS):
            raise self.wrong(f"'tasks' is {list(tasks)}; choose from {', '.join(TASKS)}")
        scheme, classes = self.get("scheme", str, ""), self.classes()
        if not scheme and set(tasks) & {"abbc", "anatomy"}:
            raise self.wrong("'scheme' is missing; the tasks abbc and anatomy need one")
        if tasks == ("semantic",) and not classes:
            raise self.wrong("[classes] is missing; the task semantic needs the names of its classes")
        name = self.get("dataset_name", str)
        if not _DATASET_NAME.fullmatch(name):
            raise self.wrong(f"'dataset_name' is '{name}'; letters, digits, '_' and '-' are expected")
        return Recipe(
            name=self.get("name", str),
            description=self.get("description", str, ""),
            dataset_name=name,
            tasks=tasks,
            layouts=self.layouts(),
            scheme=scheme,
            classes=classes,
            channel=self.get("channel", str, "CT"),
            patient=self.patient(),
            groups={key: self.texts(key, self.table["groups"]) for key in self.get("groups", dict, {})},
            cohort=chosen,
            cohorts=tuple(cohorts),
            reference=self.get("reference", str, ""),
            licence=self.get("licence", str, ""),
        )

    def check_keys(self, table: Mapping[str, Any], known: set[str], where: str) -> None:
        if strange := sorted(set(table) - known):
            raise self.wrong(f"'{strange[0]}'{where} is unknown; known are {', '.join(sorted(known))}")

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.table.get(key, default)
        if value is None:
            raise self.wrong(f"'{key}' is missing; add it as in the recipes that come with the project")
        if not isinstance(value, kind):
            words = {"str": "text", "list": "list", "dict": "table"}
            raise self.wrong(f"'{key}' is {value!r}; a {words[kind.__name__]} is expected")
        return value

    def texts(self, key: str, table: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        values = (self.table if table is None else table).get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.wrong(f"'{key}' is {values!r}; a list of texts is expected")
        return tuple(values)

    def patient(self) -> tuple[str, ...]:
        patterns = self.texts("patient")
        for pattern in patterns:
            try:
                if "patient" in re.compile(pattern).groupindex:
                    continue
                reason = "it has no group (?P<patient>...)"
            except re.error as error:
                reason = str(error)
            raise self.wrong(f"'{pattern}' is no regular expression that finds a patient: {reason}")
        return patterns

    def layouts(self) -> tuple[Layout, ...]:
        tables = self.get("layouts", list)
        found = []
        for place, table in enumerate(tables, 1):
            if not isinstance(table, Mapping) or set(table) - {"anatomy"} != {"images", "labels"}:
                raise self.wrong(
                    f"[[layouts]] number {place} needs the entries 'images' and 'labels', and may have 'anatomy'; "
                    "no others"
                )
            for key, pattern in table.items():
                if not isinstance(pattern, str) or "{case}" not in pattern:
                    raise self.wrong(f"'{key}' of [[layouts]] number {place} is {pattern!r}; it needs {{case}} in it")
            found.append(Layout(**table))
        if not found:
            raise self.wrong("[[layouts]] is empty; say where images and labels lie")
        return tuple(found)

    def classes(self) -> dict[str, tuple[int, ...]]:
        classes: dict[str, tuple[int, ...]] = {}
        taken: dict[int, str] = {}
        for name, value in self.get("classes", dict, {}).items():
            numbers = value if isinstance(value, list) else [value]
            if not name or name in ("background", "ignore"):
                raise self.wrong(f"a class cannot be called '{name}'; nnU-Net uses that name itself")
            for number in numbers or [None]:
                if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                    raise self.wrong(f"the number of class '{name}' is {number!r}; whole numbers from 1 are expected")
                if number in taken:
                    raise self.wrong(f"the classes '{taken[number]}' and '{name}' both have the number {number}")
                taken[number] = name
            classes[name] = tuple(numbers)
        return classes
