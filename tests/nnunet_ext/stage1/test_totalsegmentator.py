"""TotalSegmentator's own code, end to end, on weights made here; nothing reaches another machine or the user's home."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("totalsegmentator")

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.preparation.orientation import turned
from nnunet_ext.stage1 import BoneFinder, segment_bones
from nnunet_ext.stage1 import totalsegmentator as stage
from nnunet_ext.stage1._totalsegmentator_child import refuse_connections
from nnunet_ext.stage1.totalsegmentator import TotalSegmentatorBones
from nnunet_ext.stage1.totalsegmentator_weights import download_weights
from tests.nnunet_ext.stage1.networks import pelvis
from tests.nnunet_ext.stage1.totalsegmentator_weights import write_weights

WATCHER = """
import os, sys
def watch(event, arguments, log=os.environ["ABBC_TEST_LOG"]):
    if event.startswith("socket.") and event != "socket.__new__" or event == "subprocess.Popen":
        with open(log, "a") as stream:
            stream.write(f"{event} {arguments[-1] if event == 'socket.connect' else arguments[0]}\\n")
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            raise PermissionError("blocked by the test")
    elif event == "open" and isinstance(arguments[0], str) and "w" in str(arguments[1] or ""):
        with open(log + ".written", "a") as stream:
            stream.write(arguments[0] + "\\n")
sys.addaudithook(watch)
"""


REACHING = ("socket.connect", "socket.get", "socket.send")


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Put an audit hook into all Python processes started from here: sockets are noted and refused, files noted."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCHER)
    log = tmp_path / "log"
    for path in (log, Path(f"{log}.written")):
        path.touch()
    monkeypatch.setenv("ABBC_TEST_LOG", str(log))
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path / "site"), inherited])))
    return log


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with TotalSegmentator's settings, statistics on, and its weights where it puts them."""
    folder = tmp_path / "home" / ".totalsegmentator"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"totalseg_id": "x", "send_usage_stats": True, "prediction_counter": 3})
    )
    monkeypatch.setenv("HOME", str(folder.parent))
    for name in ("TOTALSEG_WEIGHTS_PATH", "TOTALSEG_HOME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return folder


def content_of(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def purity(found, true):
    return float((true[found > 0] == found[found > 0]).mean())


@pytest.mark.slow
def test_the_fine_models_in_private(home, watched):
    place = home / "nnunet" / "results"
    write_weights(place, (292, 294, 298))
    (place / "Dataset297_TotalSegmentator_total_3mm_1559subj_v204").mkdir()  # TotalSegmentator would delete it
    before = content_of(home.parent)
    ct, true = pelvis()
    found = TotalSegmentatorBones(device="cpu")(ct)
    assert found.anatomy.grid == ct.grid
    assert purity(found.anatomy.array, true) == 1
    assert [int((found.anatomy.array == number).sum()) for number in range(1, 6)] == [6480, 13552, 13552, 3136, 3136]
    assert content_of(home.parent) == before
    events = watched.read_text().splitlines()
    assert [line for line in events if line.startswith(REACHING)] == []
    assert not [line for line in events if "python" in line], "a worker process was started"
    written = {
        Path(line).parts[1] for line in Path(f"{watched}.written").read_text().splitlines() if line.startswith("/")
    }
    assert written <= {"tmp", "dev", *Path(watched).parts[1:2]}
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if _is_ours(path, str(watched))]
    assert left == []
    assert found.details["models"][0] == "Dataset292_TotalSegmentator_part2_vertebrae_1532subj"


def _is_ours(environ, log):
    """Tell whether a process other than this one runs in the environment of the test."""
    try:
        return environ.parent.name != str(os.getpid()) and f"ABBC_TEST_LOG={log}".encode() in environ.read_bytes()
    except OSError:
        return False


def test_the_watcher_sees_what_it_has_to(watched):
    """The control of the test above: requests, by which TotalSegmentator sends and fetches, is seen and refused."""
    script = (
        "import requests\ntry:\n    requests.get('https://stats.example')\nexcept Exception as e:\n    print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    assert "socket.getaddrinfo stats.example" in watched.read_text()


@pytest.mark.slow
def test_the_fast_model_on_other_axes(tmp_path, monkeypatch):
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(write_weights(tmp_path / "weights", (297, 298))))
    ct, true = pelvis()
    found = segment_bones(turned(ct, "RAI"), "totalsegmentator", device="cpu", fast=True)
    back = turned(found.anatomy, "LPS").array
    assert purity(back, true) == 1
    assert [int((back == number).sum()) > 2000 for number in range(1, 6)] == [True] * 5
    assert found.source == "totalsegmentator"
    assert found.details["spacing_mm"] == [3.0, 3.0, 3.0]
    json.dumps(found.details)


@pytest.mark.parametrize(
    ("fast", "name", "flag"),
    [
        (False, "Dataset294_TotalSegmentator_part4_muscles_1559subj", "-t total'"),
        (True, "Dataset297_TotalSegmentator_total_3mm_1559subj", "-t total_fast'"),
    ],
)
def test_missing_weights(home, monkeypatch, fast, name, flag):
    monkeypatch.setattr("requests.get", lambda *_, **__: pytest.fail("a download was tried"))
    (home / "nnunet" / "results" / name).mkdir(parents=True)
    with pytest.raises(VolumeFileError) as caught:
        BoneFinder("totalsegmentator", device="cpu", fast=fast)
    text = str(caught.value)
    assert f"weights are missing in '{home / 'nnunet' / 'results'}'" in text
    assert all(
        part in text for part in (name, flag, "Dataset298", "--download-weights", "TOTALSEG_WEIGHTS_PATH=FOLDER")
    )


def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def refuse(url, **_):
        assert url.endswith("/Dataset297_TotalSegmentator_total_3mm_1559subj.zip")
        raise OSError("no route to host")

    monkeypatch.setattr("requests.get", refuse)
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "w"))
    with pytest.raises(
        VolumeFileError, match=r"cannot be downloaded to .*no route to host; check the connection, or copy"
    ):
        download_weights(fast=True)
    assert list((tmp_path / "w").iterdir()) == []
    assert os.environ["TOTALSEG_WEIGHTS_PATH"] == str(tmp_path / "w")


def test_a_download_adds_what_is_missing(tmp_path, monkeypatch):
    fetched = []

    def fetch(number):
        fetched.append(number)
        write_weights(Path(os.environ["TOTALSEG_WEIGHTS_PATH"]), (number,))

    monkeypatch.setattr("totalsegmentator.libs.download_pretrained_weights", fetch)
    place = write_weights(tmp_path / "w", (297,))
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(place))
    BoneFinder("totalsegmentator", device="cpu", fast=True, download_weights=True)
    assert fetched == [298]
    assert sorted(path.name[:10] for path in place.iterdir()) == ["Dataset297", "Dataset298"]


def test_not_installed(monkeypatch):
    monkeypatch.setattr(stage.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"not installed; pip install 'nnunet-abbc\[totalsegmentator\]', or take --bones b"
    ):
        TotalSegmentatorBones()


def test_a_run_that_fails(tmp_path):
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(DataError, match=r"TotalSegmentator failed: json.decoder.JSONDecodeError"):
        stage._run_child(tmp_path / "task.json", dict(os.environ))
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("event", "arguments", "is_refused"),
    [
        ("socket.connect", (None, ("192.0.2.1", 443)), True),
        ("socket.connect", (None, ("2001:db8::1", 443, 0, 0)), True),
        ("socket.connect", (None, ("stats.example", 443)), True),
        ("socket.connect", (None, ("127.0.0.1", 5000)), False),
        ("socket.connect", (None, "/tmp/socket"), False),
        ("socket.getaddrinfo", ("stats.example", 443, 0, 0, 0), True),
        ("socket.getaddrinfo", ("localhost", 0, 0, 0, 0), False),
        ("socket.gethostbyname", ("stats.example",), True),
        ("socket.sendto", (None, ("192.0.2.1", 53)), True),
        ("open", ("file", "r", 0), False),
    ],
)
def test_what_is_refused(event, arguments, is_refused):
    if is_refused:
        with pytest.raises(PermissionError, match="stage 1 opens no connection"):
            refuse_connections(event, arguments)
    else:
        refuse_connections(event, arguments)
