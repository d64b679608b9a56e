"""The tables of the report: order, units, unknown values, and that nothing gets through unescaped."""

import dataclasses
import re

import pytest

from nnunet_ext.report.tables import facts, fracture_rows, fragment_rows, listed, measurement_rows, shown


def text_of(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1234567.4, 0, "1\u202f234\u202f567"), (0.04, 1, "0.0"), (-0.01, 1, "0.0"), (None, 1, "–"),
     (float("nan"), 0, "–"), (-12.34, 1, "-12.3"), (True, 0, "–"), ("7", 0, "–")],
)  # fmt: skip
def test_numbers(value, digits, text):
    assert shown(value, digits) == text


def test_fragments(statistics, case):
    rows = fragment_rows(statistics, case[2]).split("\n")
    assert [re.search(r'data-fragment="(\d+)"', row)[1] for row in rows] == [str(number) for number in case[2]]
    volume = statistics["fragments"][0]["volume_mm3"] / 1000
    assert f'<td class="number">{volume:.1f}</td>' in rows[0]
    assert '<td class="number">–</td>' in fragment_rows({}, case[2])


def test_doubtful_fractures_first(statistics, case):
    rows = [text_of(row) for row in fracture_rows(statistics, case[2]).split("\n")]
    assert rows == [
        "Left hip bone, fragments 1 and 3 30 % doubtful 3.0 0.0",
        "Left hip bone, fragments 1 and 2 90 % 3.0 0.0",
        "Left hip bone, fragments 2 and 3 not rated 3.0 0.0",
    ]


def test_fractures_of_unknown_fragments_are_left_out(statistics, case):
    statistics["interfaces"].append({"first": 51, "second": 99, "confidence": 0.1})
    assert fracture_rows(statistics, case[2]).count("<tr") == 3


def test_measurements(statistics, case):
    rows = [text_of(row) for row in measurement_rows(statistics, case[2]).split("\n")]
    assert rows[2].startswith("Left hip bone, fragment 2 52 ")
    assert rows[2].endswith(" 123.5 321 40 × 50 × 60 1.2, -2.0, 3.0 Left hip bone, fragment 1 (2.5 cm²)")
    statistics["fragments"][0] = {"label": 1}
    assert text_of(measurement_rows(statistics, case[2]).split("\n")[0]) == "Sacrum, fragment 1 1 – – – – – –"


def test_facts():
    run = {
        "command": "abbc-segment",
        "peak_memory_mb": 5321.2,
        "warnings": ["x"],
        "settings": {"fast": False, "folds": [0, 1], "model": {"name": "abbc", "hash": None}},
        "seconds": {"read the CT": 1.23456},
        "empty": {},
    }
    assert text_of(facts(run)) == (
        "Run command abbc-segment peak memory mb 5321 Settings fast no folds 0, 1 model name abbc; hash – "
        "Seconds read the CT 1.235"
    )


def test_text_is_escaped_and_without_folders(statistics, case):
    bad = '<img src=x onerror="1">'
    names = {number: dataclasses.replace(name, display_name=bad) for number, name in case[2].items()}
    pages = [fragment_rows(statistics, names), fracture_rows(statistics, names), measurement_rows(statistics, names)]
    pages += [listed([bad]), facts({bad: {bad: bad}})]
    for page in pages:
        assert "<img" not in page
        assert "&lt;img" in page
    assert listed(["cannot read /data/Doe_John/ct.nii"]) == "<li>cannot read ct.nii</li>"
    assert "Doe" not in facts({"settings": {"model": "/data/Doe/model"}})
