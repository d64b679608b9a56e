import csv
import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from label_gen.errors import VolumeFileError
from nnunet_ext.atomic import check_writable, remove_leftovers, replacing, write_csv, write_failure, write_json


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


WRITER = """
import sys, time
from nnunet_ext.atomic import replacing
with replacing(__import__("pathlib").Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_leftovers_of_dead_writers_go_and_of_living_stay(tmp_path, environment):
    target = tmp_path / "a.txt"
    (tmp_path / ".0123abcd.tmp.b.txt").write_text("")
    command = [sys.executable, "-c", WRITER, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
        writer.stdout.readline()
        remove_leftovers(target)
        assert len(list(tmp_path.glob(".*.tmp.a.txt"))) == 1
        writer.kill()
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet gone from the process table
        remove_leftovers(target)
    assert os.listdir(tmp_path) == [".0123abcd.tmp.b.txt"]


def test_folder_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(
        VolumeFileError, match=r"out/a.json': a file stands where a folder was expected; choose another"
    ):
        write_json(tmp_path / "out" / "a.json", {})


def test_place_is_checked_before_the_work(tmp_path):
    check_writable(tmp_path / "new" / "a.json")
    assert os.listdir(tmp_path / "new") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(VolumeFileError, match=r"file/a.json': a file stands where a folder was expected"):
        check_writable(tmp_path / "file" / "a.json")


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "MB are free there. Make space or choose another output (-o), then run the same command again"),
        (errno.EACCES, "Permission denied; choose an output (-o) in a folder that you may write to"),
        (errno.ENOENT, "No such file or directory; choose an output (-o) in a folder that you may write to"),
    ],
)
def test_cure_fits_the_cause(tmp_path, number, cure):
    assert cure in str(write_failure(tmp_path / "a.json", OSError(number, os.strerror(number))))


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
