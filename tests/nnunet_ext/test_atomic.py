import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from label_gen.errors import VolumeFileError
from nnunet_ext.atomic import remove_leftovers, replacing, write_csv, write_json


def test_file_appears_only_when_complete(tmp_path):
    target = tmp_path / "sub" / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".tmp.a.txt")
        assert not target.exists()
    assert target.read_text() == "half"
    assert os.listdir(target.parent) == ["a.txt"]


def test_nothing_is_left_after_an_error(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_leftovers_of_dead_writers_go_and_of_living_stay(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    names = [f".{dead.pid}-0123abcd.tmp.a.txt", f".{os.getpid()}-0123abcd.tmp.a.txt", f".{dead.pid}-0123abcd.tmp.b.txt"]
    for name in names:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path / "a.txt")
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])


def test_folder_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(
        VolumeFileError, match=r"out/a.json': a file stands where a folder was expected; choose another"
    ):
        write_json(tmp_path / "out" / "a.json", {})


def test_json_holds_plain_finite_numbers(tmp_path):
    write_json(
        tmp_path / "a.json", {"a": np.float32(0.5), "b": (np.int64(3), float("inf")), 4: np.arange(2), "n": np.nan}
    )
    content = json.loads((tmp_path / "a.json").read_text())
    assert content == {"a": 0.5, "b": [3, None], "4": [0, 1], "n": None}


def test_csv_has_all_columns(tmp_path):
    write_csv(tmp_path / "a.csv", [{"a": 1, "b": None}, {"a": 2, "c": "x, y"}])
    with (tmp_path / "a.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["a", "b", "c"], ["1", "", ""], ["2", "", "x, y"]]
