import json
from pathlib import Path

import pytest

from label_gen.errors import VolumeFileError
from nnunet_ext import __version__
from nnunet_ext.manifest import Manifest, versions, without_paths


def test_versions():
    found = versions()
    assert set(found) == {"python", "nnunet-abbc", "numpy", "scipy", "cc3d", "edt", "skfmm", "SimpleITK"}
    assert found["nnunet-abbc"] == __version__
    assert "unknown" not in found.values()


def test_version_is_that_of_the_project():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == __version__


@pytest.mark.parametrize(
    ("text", "paths", "expected"),
    [
        ("'/data/p1/a.nii.gz' is bad", ["/data/p1/a.nii.gz"], "'a.nii.gz' is bad"),
        ("'Mueller/a.mha' and '../x/b.mha' differ", ["Mueller/a.mha", "../x/b.mha"], "'a.mha' and 'b.mha' differ"),
        ("in /some/where/else/c.mha: x/y mm", [], "in c.mha: x/y mm"),
        ("'/data/my cases/a.mha' is bad", ["/data/my cases/a.mha"], "'a.mha' is bad"),
        ("'/data/my cases/dataset.json' is bad", ["/data/my cases/a.mha"], "'dataset.json' is bad"),
        ("'a.mha': use core/border", ["a.mha"], "'a.mha': use core/border"),
    ],
)
def test_without_paths(text, paths, expected):
    assert without_paths(text, map(Path, paths)) == expected


def test_earlier_cases_are_kept(tmp_path):
    path = tmp_path / "abbc-x.json"
    first = Manifest(path, "abbc-x", {"mode": "default"}, seed=3)
    first.record("b", {"status": "done", "seconds": 1.0})
    first.record("a", {"status": "failed", "error": "bad"})
    first.save()
    content = json.loads(path.read_text())
    assert (content["command"], content["seed"], content["settings"]) == ("abbc-x", 3, {"mode": "default"})
    assert "not a medical device" in content["note"]

    second = Manifest(path, "abbc-x", {"mode": "literal"})
    other = Manifest(path, "abbc-x", {"mode": "literal"})
    other.record("d", {"status": "done"})
    other.save()
    second.record("b", {"status": "skipped"})
    second.record("a", {"status": "done", "seconds": 2.0})
    second.record("c", {"status": "skipped"})
    assert second.notes() == ("finished cases made with other settings: b; redo them with --overwrite",)
    second.save()
    cases = json.loads(path.read_text())["cases"]
    assert list(cases) == ["a", "b", "c", "d"]
    assert cases["a"] == {"status": "done", "seconds": 2.0, "settings": {"mode": "literal"}}
    assert cases["b"] == {"status": "done", "seconds": 1.0, "settings": {"mode": "default"}}
    assert cases["c"] == {"status": "skipped"}


def test_other_file_of_that_name(tmp_path):
    (tmp_path / "abbc-x.json").write_text("[]")
    with pytest.raises(VolumeFileError, match=r"abbc-x\.json' is no readable manifest of earlier runs"):
        Manifest(tmp_path / "abbc-x.json", "abbc-x", {})
