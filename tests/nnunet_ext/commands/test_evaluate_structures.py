import json

import numpy as np
import pytest


@pytest.fixture
def cohort(save, labels, tmp_path):
    for name in "ab":
        save(np.roll(labels, 1, 2) if name == "b" else labels, tmp_path / "pred" / f"{name}.mha")
        save(labels, tmp_path / "ref" / f"{name}.nii.gz")
    return "-p", tmp_path / "pred", "-r", tmp_path / "ref"


def test_structures(call, cohort, save, labels, tmp_path):
    mask = save((labels > 0).astype(np.uint8), tmp_path / "mask.nii.gz")
    status, out, err = call(
        *("evaluate", *cohort, "-o", tmp_path / "s.json", "--structures", "hip=11+12,sacrum=1", "--csv"),
        *(tmp_path / "s.csv", "--region", f"bone={mask}", "--end-slices", 2, "--slice-axis", 2),
    )
    assert status == 0, err
    assert "2 done" in err
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["settings"]["slice_axis"] == 2
    assert list(content["summary"]) == ["hip", "sacrum"]
    assert set(content["summary"]["hip"]["regions"]) == {"bone", "first_end", "last_end", "ends", "between"}
    assert content["cases"]["b"]["structures"]["hip"]["volume"]["hd95_mm"] == pytest.approx(0.9)
    lines = out.splitlines()
    assert lines[2].split()[:3] == ["hip", "a", "1.000"]
    assert lines[-1].startswith("2D: mean over slices; distances in mm")
    assert (tmp_path / "s_slices.csv").exists()


def test_structures_of_a_dataset(call, cohort, tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "sacrum": 1}}')
    status, _, err = call(
        "evaluate", *cohort, "-o", tmp_path / "s.json", "--structures", tmp_path / "dataset.json", "--workers", 2
    )
    assert status == 0, err
    assert json.loads((tmp_path / "s.json").read_text())["settings"]["structures"] == {"sacrum": [1]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--end-slices", 20), "--end-slices is for whole structures; give --structures all, say, or leave it out"),
        (("--slice-axis", 0), "--slice-axis is for whole structures"),
        (("--region", "a=b"), "--region is for whole structures"),
        (("--structures", "hip"), "'hip' names no structure"),
        (("--structures", "all", "--region", "head"), "'head' is no region; give each once, as NAME=FOLDER"),
        (("--structures", "all", "--end-slices", "0"), "number of end slices is 0"),
        (("--structures", "all", "--slice-axis", "3"), "invalid choice: 3"),
    ],
)
def test_wrong_usage(call, cohort, tmp_path, options, message):
    status, _, err = call("evaluate", *cohort, "-o", tmp_path / "s.json", *options)
    assert (status, message in err) == (2, True), err


@pytest.mark.parametrize("structures", [("--structures", "hip=11+12,sacrum=1"), ()])
def test_pictures(call, cohort, save, labels, tmp_path, structures):
    for name in "ab":
        save((labels * 50).astype(np.int16), tmp_path / "ct" / f"{name}_0000.nii.gz")
    arguments = ("evaluate", *cohort, "-o", tmp_path / "s.json", *structures)
    assert call(*arguments)[0] == 0
    baseline = (tmp_path / "s.json").rename(tmp_path / "baseline.json")
    folder = tmp_path / "plots"
    status, out, err = call(*arguments, "--plots", folder, "--baseline", baseline, "--images", tmp_path / "ct")
    assert status == 0, err
    names = ["cases.png", "boxes.png", "improvement.png", "overlays.html"]
    assert out.splitlines()[-1].endswith(": " + ", ".join(names))
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    page = (folder / "overlays.html").read_text()
    assert str(tmp_path) not in page
    assert ("sacrum" in page) == bool(structures)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--baseline", "x.json"), 2, "--baseline is for pictures; give a folder for them (--plots)"),
        (("--images", "ct"), 2, "--images is for pictures"),
        (("--plots", "plots", "--baseline", "no.json"), 2, "there is no file 'no.json'"),
    ],
)
def test_wrong_pictures(call, cohort, tmp_path, options, status, message):
    found, _, err = call("evaluate", *cohort, "-o", tmp_path / "s.json", "--structures", "all", *options)
    assert (found, message in err) == (status, True), err


def test_a_baseline_has_to_be_scores(call, cohort, tmp_path):
    for text, message in (("{", "is no JSON file"), ("[]", "has no 'summary' and 'cases'")):
        (tmp_path / "b.json").write_text(text)
        options = ("--plots", tmp_path / "plots", "--baseline", tmp_path / "b.json")
        status, _, err = call("evaluate", *cohort, "-o", tmp_path / "s.json", *options)
        assert (status, message in err) == (1, True), err
