"""Read a study file; what is wrong in it is told with the line, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.package_data import data_folder, list_tables, read_table
from nnunet_ext.studies.columns import check_column
from nnunet_ext.studies.grid import cells_of
from nnunet_ext.studies.places import line_of
from nnunet_ext.studies.study import Cell, DataSettings, MetricSettings, Published, Study
from nnunet_ext.studies.trainer_names import is_trainer
from nnunet_ext.training.settings import VARIABLES

__all__ = ["KIND", "list_studies", "read_study"]

KIND = "studies"
"""The folder of study files in `datasets/`."""

_KEYS = {"name", "description", "reference", "dataset", "defaults", "grid", "cells", "metrics", "published"}
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")


def list_studies() -> tuple[str, ...]:
    """Return the names of the studies that come with the project, sorted."""
    return list_tables(KIND)


def read_study(
    name: str | Path, *, dataset: int | str | None = None, knows_trainer: Callable[[str], bool] = is_trainer
) -> Study:
    """Read a study file.

    Args:
        name: Name of a study that comes with the project, or a `.toml` file.
        dataset: Number or name of a dataset in nnUNet_raw, to run the study on instead of the file's.
        knows_trainer: Says whether there is a trainer of a name.

    Returns:
        The study.

    Raises:
        UsageError: There is no such file, or something in it is wrong; the message names file and line.
    """
    file, table = read_table(name, kind=KIND, noun="study", error=UsageError)
    path = Path(name) if Path(name).suffix == ".toml" else data_folder(KIND) / f"{name}.toml"
    return _Reader(file, path.read_text(encoding="utf-8"), table).study(dataset, knows_trainer)


class _Reader:
    """Reads the table of a study file; every complaint names file and line."""

    def __init__(self, file: str, text: str, table: Mapping[str, Any]) -> None:
        self.file = file
        self.text = text
        self.table = table

    def wrong(self, text: str, path: tuple[str | int, ...] = (), value: object = None) -> UsageError:
        return UsageError(f"study file '{self.file}', line {line_of(self.text, path, value)}: {text}")

    def study(self, dataset: int | str | None, knows_trainer: Callable[[str], bool]) -> Study:
        self.check_keys(self.table, _KEYS, ())
        name = self.get("name", str, "")
        if not _NAME.fullmatch(name):
            raise self.wrong(f"'name' is '{name}'; letters, digits, '_' and '-' are expected", ("name",))
        data = self.data()
        if dataset is not None:
            data = DataSettings(dataset=dataset, seed=data.seed, folds=data.folds, patient=data.patient)
        cells = cells_of(self.table, self.wrong)
        self.check_cells(cells, data, knows_trainer)
        return Study(
            name=name,
            description=self.get("description", str, ""),
            reference=self.get("reference", str, ""),
            data=data,
            cells=cells,
            metrics=self.metrics(),
            published=self.published(cells),
        )

    def get(self, key: str, kind: type, default: Any, within: tuple[str | int, ...] = ()) -> Any:
        table: Any = self.table
        for part in within:
            table = table[part] if isinstance(part, int) else table.get(part, {})
        value = table.get(key, default)
        if kind is float and type(value) is int:
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, kind):
            words = {str: "text", int: "whole number", float: "number", list: "list", dict: "table"}
            raise self.wrong(f"'{key}' is {value!r}; a {words[kind]} is expected", (*within, key))
        return value

    def names(self, key: str, within: tuple[str | int, ...]) -> tuple[str, ...]:
        values = self.get(key, list, [], within)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(f"'{key}' is {values!r}; a list of texts is expected", (*within, key))
        return tuple(values)

    def check_keys(self, table: Any, known: set[str], path: tuple[str | int, ...]) -> None:
        if not isinstance(table, dict):
            raise self.wrong(f"'{path[-1]}' is no table", path)
        for key in table:
            if key not in known:
                raise self.wrong(f"unknown key '{key}'; known here are {', '.join(sorted(known))}", (*path, key))

    def data(self) -> DataSettings:
        """Read `[dataset]`."""
        here = ("dataset",)
        self.check_keys(self.table.get("dataset", {}), {item.name for item in fields(DataSettings)}, here)
        settings = DataSettings(
            simulate=self.get("simulate", str, "", here),
            dataset=self.table.get("dataset", {}).get("dataset"),
            train=self.names("train", here),
            test=self.names("test", here),
            patient=self.names("patient", here),
            donors=self.get("donors", int, 0, here),
            test_donors=self.get("test_donors", int, 0, here),
            spacing_mm=self.get("spacing_mm", float, 1.0, here),
            seed=self.get("seed", int, 0, here),
            folds=self.get("folds", int, 5, here),
        )
        if bool(settings.simulate) == (settings.dataset is not None):
            raise self.wrong("give either 'dataset', of nnUNet_raw, or 'simulate', femora or pelves", here)
        if settings.dataset is not None and not isinstance(settings.dataset, (int, str)):
            raise self.wrong(f"'dataset' is {settings.dataset!r}; a number or name is expected", (*here, "dataset"))
        if settings.simulate not in ("", "femora", "pelves"):
            raise self.wrong(f"'simulate' is '{settings.simulate}'; choose femora or pelves", (*here, "simulate"))
        if settings.simulate and min(settings.donors, settings.test_donors) < 1:
            raise self.wrong("cases that are made need 'donors' and 'test_donors' above 0", here)
        if settings.folds < 2 or not settings.spacing_mm > 0 or settings.seed < 0:
            raise self.wrong("'folds' must be 2 or more, 'spacing_mm' above 0 and 'seed' 0 or more", here)
        for key in ("train", "test"):
            names = getattr(settings, key)
            if names and settings.simulate:
                raise self.wrong(f"'{key}' goes with 'dataset', not with cases that are made", (*here, key))
            if twice := sorted({case for case in names if names.count(case) > 1}):
                raise self.wrong(f"'{key}' names '{twice[0]}' twice", (*here, key), twice[0])
        if both := [case for case in settings.test if case in settings.train]:
            raise self.wrong(
                f"the test case '{both[0]}' is inside the training set; take it out of 'train' or of 'test'",
                (*here, "test"),
                both[0],
            )
        for pattern in settings.patient:
            try:
                fits = "patient" in re.compile(pattern).groupindex
            except re.error:
                fits = False
            if not fits:
                raise self.wrong(
                    f"'{pattern}' is no regular expression with a group (?P<patient>...)", (*here, "patient")
                )
        return settings

    def check_cells(self, cells: tuple[Cell, ...], data: DataSettings, knows_trainer: Callable[[str], bool]) -> None:
        for cell in cells:
            where = self.path_of(cell, "trainer")
            if not knows_trainer(cell.trainer):
                raise self.wrong(
                    f"unknown trainer '{cell.trainer}'; give the class name of one of nnU-Net's or of this package's, "
                    "without a number of epochs (key 'epochs'), or point nnUNet_extTrainer to the folder that has it",
                    where,
                    cell.trainer,
                )
            if strange := [key for key in cell.variables if key not in VARIABLES.values()]:
                raise self.wrong(
                    f"unknown variable '{strange[0]}'; there are {', '.join(VARIABLES.values())}",
                    self.path_of(cell, "variables"),
                    strange[0],
                )
            if data.made_cases is not None and (cell.cases or 0) > data.made_cases:
                raise self.wrong(
                    f"cell '{cell.name}' wants {cell.cases} training cases, and {data.made_cases} are made (key "
                    "'donors' of [dataset])",
                    self.path_of(cell, "cases"),
                    cell.cases,
                )

    def path_of(self, cell: Cell, key: str) -> tuple[str | int, ...]:
        """Return where a key of a cell stands: in the grid or cell with that value, else in the defaults."""
        value = getattr(cell, key)
        for kind in ("grid", "cells"):
            for place, entry in enumerate(self.table.get(kind, [])):
                given = entry.get(key)
                options = given if isinstance(given, list) else given.values() if isinstance(given, dict) else [given]
                if key in entry and (given == value or value in options):
                    return (kind, place, key)
        return ("defaults", key)

    def metrics(self) -> MetricSettings:
        """Read `[metrics]`."""
        here = ("metrics",)
        table = self.table.get("metrics", {})
        self.check_keys(table, {item.name for item in fields(MetricSettings)}, here)
        structures = table.get("structures", "all")
        columns = self.names("columns", here) or MetricSettings.columns
        end_slices = None if "end_slices" not in table else self.get("end_slices", int, 0, here)
        axis = self.get("slice_axis", int, 0, here)
        if axis not in (0, 1, 2) or (end_slices is not None and end_slices < 1):
            raise self.wrong("'slice_axis' must be 0, 1 or 2, and 'end_slices' above 0", here)
        for column in columns:
            if problem := check_column(column):
                raise self.wrong(problem, (*here, "columns"), column)
        wanted = "all" if structures == "all" else self.names("structures", here)
        return MetricSettings(structures=wanted, columns=columns, end_slices=end_slices, slice_axis=axis)

    def published(self, cells: tuple[Cell, ...]) -> tuple[Published, ...]:
        """Read each `[[published]]`."""
        names = {cell.name for cell in cells}
        found = []
        for place in range(len(self.get("published", list, []))):
            here = ("published", place)
            self.check_keys(self.table["published"][place], {item.name for item in fields(Published)}, here)
            columns = self.names("columns", here)
            for column in columns:
                if problem := check_column(column.removesuffix(".sd")):
                    raise self.wrong(problem, (*here, "columns"), column)
            rows = self.rows("rows", here, columns)
            if strange := [row for row in rows if row not in names]:
                raise self.wrong(
                    f"'{strange[0]}' is no cell of this study; rows that are none go under 'others'",
                    (*here, "rows", strange[0]),
                )
            found.append(
                Published(
                    title=self.get("title", str, "", here),
                    source=self.get("source", str, "", here),
                    note=self.get("note", str, "", here),
                    columns=columns,
                    rows=rows,
                    others=self.rows("others", here, columns),
                )
            )
            if not found[-1].title or not found[-1].source or not columns:
                raise self.wrong("a published table needs 'title', 'source' and 'columns'", here)
        return tuple(found)

    def rows(
        self, key: str, here: tuple[str | int, ...], columns: tuple[str, ...]
    ) -> dict[str, tuple[float | None, ...]]:
        found: dict[str, tuple[float | None, ...]] = {}
        for name, values in self.get(key, dict, {}, here).items():
            numbers = values if isinstance(values, list) else [values]
            if len(numbers) != len(columns) or not all(v == "" or type(v) in (int, float) for v in numbers):
                raise self.wrong(
                    f"row '{name}' is {numbers}; {len(columns)} numbers are expected, \"\" where there is none",
                    (*here, key, name),
                )
            found[name] = tuple(None if number == "" else float(number) for number in numbers)
        return found
