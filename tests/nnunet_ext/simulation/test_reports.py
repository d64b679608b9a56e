import json

import pytest

from label_gen.simulation.statistics import FragmentFigures, summarise_fragments
from nnunet_ext.batch import CaseResult
from nnunet_ext.simulation.reports import describe_shortfall, format_statistics, read_record, read_report


def fragment(bone, volume, near=0, touching=0):
    return FragmentFigures(1, bone, volume, near, touching)


def test_table_of_broken_bones():
    case = [fragment("left_hip", 90_000.0, 10, 4), fragment("left_hip", 1234.0, 10, 3), fragment("tail", 5.0)]
    table = format_statistics(summarise_fragments([case], [{"closed": 2, "opened": 1, "crack": 1}]))
    said = {line[:39].strip(): line[39:].split("  ") for line in table.splitlines()}
    assert [word.strip() for word in said["a case has"] if word.strip()] == ["2-2", "3-9"]
    assert [word.strip() for word in said["left_hip: % with a 1st, 2nd, ..."] if word.strip()] == [
        "100 100",
        "100 66 36 11 1 1",
    ]
    assert [word.strip() for word in said["tail: % with a 1st, 2nd, ..."] if word.strip()] == ["100", "-"]
    assert "1.2" in said["minor fragments, cm3: median"][0]
    assert "35 (cases 35-35)" in table
    assert "fractures: % closed" in table
    assert "67" in said["fractures: % closed"][0]
    assert "1.00" in said["incomplete cracks in a case"][0]


def test_table_of_whole_bones():
    table = format_statistics(summarise_fragments([[fragment("sacrum", 90_000.0)]]))
    assert "minor fragments, cm3: median" in table
    assert "fractures" not in table


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fragments": [{}], "fractures": []}', '{"fragments": 3}'])
def test_what_is_no_record_is_passed_over(tmp_path, text):
    path = tmp_path / "motions" / "a.json"
    assert read_record(path) is None
    path.parent.mkdir()
    path.write_text(text)
    assert read_record(path) is None
    assert read_report(tmp_path) is None
    record = {"label": 1, "bone": "sacrum", "volume_mm3": 2.0, "near_voxels": 0, "touching_voxels": 0, "motion": []}
    (tmp_path / "motions" / "b.json").write_text(json.dumps({"fragments": [record], "fractures": [{"kind": "closed"}]}))
    report = read_report(tmp_path)
    assert list(report.cases) == ["b"]
    assert report.statistics.kinds == {"closed": 1}


def test_shortfall():
    results = [
        CaseResult("a", "done", details={"fewer": ["sacrum"]}),
        CaseResult("b", "done", details={"absent": ["left_hip"], "fewer": ["sacrum"]}),
        CaseResult("c", "failed"),
    ]
    assert list(describe_shortfall(results)) == [
        "cases without a bone that was to break: b (left_hip)",
        "cases with fewer fragments than asked for: a (sacrum), b (sacrum)",
    ]
