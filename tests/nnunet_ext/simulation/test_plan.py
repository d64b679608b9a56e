from collections import namedtuple
from pathlib import Path

import pytest

from label_gen import FREE_SCHEME
from label_gen.errors import UsageError, VolumeFileError
from label_gen.simulation.settings import SimulationSettings
from nnunet_ext.schemes import load_scheme
from nnunet_ext.simulation import plan
from nnunet_ext.simulation.plan import check_room, check_view, check_wanted, parse_fragments, plan_cases
from nnunet_ext.simulation.sources import Source

PELVIS, FEMORA = load_scheme("pengwin2024"), load_scheme("pengwin2026")
SOURCES = (Source("a", Path("a.mha"), size_mm=(100.0, 100.0, 100.0)), Source("b", problem="bad"), Source("phantom"))


def cases(number, folder=Path("out"), **options):
    chosen = {"scheme": PELVIS, "settings": SimulationSettings(), "spacing_mm": None, "field_of_view_mm": None}
    return plan_cases(SOURCES, number, options.pop("seed", 7), folder, **{**chosen, **options})


def test_sources_take_turns_and_every_case_has_its_seed():
    tasks = cases(4)
    assert [task.name for task in tasks] == ["a_00007", "b_00008", "phantom_00009", "a_00010"]
    assert [task.arguments["seed"] for task in tasks] == [7, 8, 9, 10]
    assert [task.problem for task in tasks] == ["", "bad", "", ""]
    places = [path.parent.name for path in tasks[0].outputs]
    assert places == ["labels", "anatomy", "intact", "images", "motions"]
    (task,) = cases(1, settings=SimulationSettings(with_ct=False))
    assert "images" not in [path.parent.name for path in task.outputs]


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_share_the_cases(parts):
    found = [task.name for part in range(parts) for task in cases(5, num_parts=parts, part_id=part)]
    assert sorted(found) == sorted(task.name for task in cases(5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 0}, r"number of cases is 0; it has to be 1 or more \(-n\)"),
        ({"number": 1, "seed": -1}, r"seed is -1; it has to be 0 or more"),
        ({"number": 1, "num_parts": 2, "part_id": 2}, r"one of 0 to 1; got: 2 \(-part_id"),
    ],
)
def test_impossible_numbers(options, message):
    with pytest.raises(UsageError, match=message):
        cases(**options)


@pytest.mark.parametrize("word", ["sacrum", "sacrum=", "sacrum=x", "sacrum=-2", "=3=4"])
def test_fragments_that_cannot_be_read(word):
    with pytest.raises(UsageError, match=r"is no number of fragments; write BONE=NUMBER"):
        parse_fragments([word])


def test_fragments_given_twice():
    with pytest.raises(UsageError, match="'sacrum' are given twice"):
        parse_fragments(["sacrum=1", "sacrum=2"])


@pytest.mark.parametrize(
    ("wanted", "scheme", "message"),
    [
        ({"skull": 2}, PELVIS, "there is no bone 'skull'; bones are sacrum, left_hip"),
        ({"left_femur": 2}, PELVIS, r"has no fragment numbers for 'left_femur' \(sacrum 1-10"),
        (
            {"sacrum": 11},
            PELVIS,
            r"11 fragments are wanted of sacrum; .* numbers 10 of 'sacrum' \(1-10\): ask for fewer",
        ),
    ],
)
def test_fragments_that_no_scheme_numbers(wanted, scheme, message):
    with pytest.raises(UsageError, match=message):
        check_wanted(wanted, scheme)


def test_fragments_that_a_scheme_numbers():
    check_wanted({"sacrum": 10, "left_hip": 10}, PELVIS)
    check_wanted({"left_femur": 23, "right_femur": 23}, FEMORA)
    check_wanted({"left_femur": 23, "sacrum": 23}, FREE_SCHEME)


def test_view():
    assert check_view(None, None) == (None, None)
    assert check_view([2], None)[0] == (2.0, 2.0, 2.0)
    assert check_view([5, 1, 0.8], [100, 200, 300]) == ((5.0, 1.0, 0.8), (100.0, 200.0, 300.0))


@pytest.mark.parametrize("spacing", [[3.1], [0.2], [1, 1], [5.1, 1, 1], [1, 3.1, 1], [float("nan")], []])
def test_impossible_spacing(spacing):
    with pytest.raises(UsageError, match=r"mm; one number from 0.3 to 3 is expected, or three in the order z y x"):
        check_view(spacing, None)


@pytest.mark.parametrize("view", [[300, 300], [10, 300, 300], [300, 300, 900]])
def test_impossible_field_of_view(view):
    with pytest.raises(UsageError, match=r"three numbers from 20 to 700 are expected, in the order z y x"):
        check_view(None, view)


def test_room(tmp_path, monkeypatch):
    tasks = cases(3, tmp_path)
    check_room(tasks, tmp_path / "missing" / "folder", False)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(3_000_000))
    with pytest.raises(
        VolumeFileError, match=r"the files of 2 cases take about 4\d\.\d MB, 3.0 MB are free; make space"
    ):
        check_room(tasks, tmp_path, False)
    for path in (*tasks[0].outputs, *tasks[2].outputs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    check_room(tasks, tmp_path, overwrite=False)
    with pytest.raises(VolumeFileError, match="2 cases"):
        check_room(tasks, tmp_path, overwrite=True)
    check_room(cases(1, settings=SimulationSettings(with_ct=False)), tmp_path, False)
    assert plan.LABEL_BYTES < plan.CT_BYTES
