"""The table that a study leaves."""

import csv


def rows_of(folder):
    """Return the rows of `table.csv` by name of the cell."""
    with (folder / "table.csv").open(newline="") as stream:
        return {row["cell"]: row for row in csv.DictReader(stream)}
