"""Where a key stands in a TOML file."""

import pytest

from nnunet_ext.studies.places import line_of

TEXT = """# a comment
name = "x"

[dataset]
test = [
  "a",
  "b",  # the second
]

[[grid]]
trainer = "A"
exclude = [{ cases = 3 }]

[[grid]]
trainer = ["B",
  "C"]

[grid.planner]
small = "P"

[[published]]
title = "one"
[published.rows]
"2d, x" = [1]
[[published]]
[published.rows]
2d = 5
"""


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("name",), None, 2),
        (("dataset",), None, 4),
        (("dataset", "test"), None, 5),
        (("dataset", "test"), "b", 7),
        (("dataset", "test"), "not there", 5),
        (("dataset", "train"), None, 4),
        (("grid", 0, "trainer"), None, 11),
        (("grid", 0, "exclude"), 3, 12),
        (("grid", 1, "trainer"), "C", 16),
        (("grid", 1, "planner", "small"), None, 19),
        (("grid", 1, "planner", "large"), None, 18),
        (("grid", 7), None, 1),
        (("published", 0, "rows", "2d, x"), None, 24),
        (("published", 1, "rows", "2d"), None, 27),
        ((), None, 1),
    ],
)
def test_line_of(path, value, line):
    assert line_of(TEXT, path, value) == line
