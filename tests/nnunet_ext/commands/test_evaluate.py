import csv
import json

import numpy as np
import pytest

from label_gen.errors import UsageError
from nnunet_ext.commands.evaluate import evaluate


@pytest.fixture
def cohort(save, labels, tmp_path):
    """Two predictions of which one has two fragments merged, and their references."""
    merged = np.where(labels == 12, 11, labels)
    for name, prediction in (("a", labels), ("b", merged)):
        save(prediction, tmp_path / "pred" / f"{name}.mha")
        save(labels, tmp_path / "ref" / f"{name}_0000.nii.gz")
    return tmp_path / "pred", tmp_path / "ref"


@pytest.mark.parametrize("matching", ["pengwin2024", "one-to-one"])
@pytest.mark.parametrize("workers", [1, 2])
def test_folders(call, cohort, tmp_path, matching, workers):
    prediction, reference = cohort
    scores = tmp_path / "out" / "scores.json"
    status, out, err = call(
        *("evaluate", "-p", prediction, "-r", reference, "-o", scores, "--matching", matching),
        *("--csv", tmp_path / "out" / "s.csv", "--workers", workers),
    )
    assert status == 0, err
    text = scores.read_text()
    content = json.loads(text)
    assert str(tmp_path) not in text
    assert content["settings"] == {"scheme": "pengwin2024", "matching": matching}
    assert content["cases"]["a"]["case"]["fragment_iou"] == 1
    assert content["cases"]["b"]["case"]["merge_errors"] == 1
    assert content["summary"]["cases"] == 2
    assert "numpy" in content["versions"]
    with (tmp_path / "out" / "s.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["reference_id"]) for row in rows if row["reference_id"]] == [
        (case, fragment) for case in "ab" for fragment in ("1", "11", "12")
    ]
    with (tmp_path / "out" / "s_cases.csv").open(newline="") as stream:
        first = next(csv.DictReader(stream))
    assert (first["case"], first["status"], first["f1"]) == ("a", "done", "1.0")
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["case", "true", "found", "IoU"]
    assert lines[2].split()[:4] == ["a", "3", "3", "1.000"]
    assert [line.split()[0] for line in lines[3:7]] == ["b", "mean", "sd", "median"]
    assert lines[-1].startswith(f"matching: {matching}; distances in mm.")


def test_same_scores_whatever_the_workers(cohort, tmp_path):
    prediction, reference = cohort
    for workers in (1, 2):
        evaluate(prediction, reference, tmp_path / f"{workers}.json", workers=workers)
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_files_and_empty_prediction(call, save, labels, tmp_path):
    prediction, reference = save(labels * 0, tmp_path / "p.mha"), save(labels, tmp_path / "r.nrrd")
    status, out, err = call("evaluate", "-p", prediction, "-r", reference, "-o", tmp_path, "--matching", "one-to-one")
    assert status == 0, err
    assert json.loads((tmp_path / "scores.json").read_text())["cases"]["r"]["case"]["recall"] == 0
    assert out.splitlines()[2].split()[:4] == ["r", "3", "0", "0.000"]


def test_missing_prediction(call, cohort, save, labels, tmp_path):
    prediction, reference = cohort
    (prediction / "a.mha").unlink()
    save(labels, prediction / "c.mha")
    status, out, err = call("evaluate", "-p", prediction, "-r", reference, "-o", tmp_path / "s.json")
    assert status == 1
    assert "error: case a: no prediction of this name in 'pred'; predict it, or leave the reference out" in err
    assert "note: predictions without reference were left out: c" in err
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["cases"]["a"]["status"] == "failed"
    assert content["predictions_without_reference"] == ["c"]
    assert out.splitlines()[2].split() == ["a", "failed"]


def test_unwritable_output_is_told_before_the_work(call, cohort, tmp_path):
    prediction, reference = cohort
    (tmp_path / "file").write_text("")
    for options in (
        ("-o", tmp_path / "file" / "s.json"),
        ("-o", tmp_path / "s.json", "--csv", tmp_path / "file/t.csv"),
    ):
        status, out, err = call("evaluate", "-p", prediction, "-r", reference, *options)
        assert (status, out) == (1, "")
        assert "a file stands where a folder was expected; choose another output" in err


def test_wrong_outputs(call, cohort, tmp_path):
    prediction, reference = cohort
    arguments = ("evaluate", "-p", prediction, "-r", reference)
    status, _, err = call(*arguments, "-o", tmp_path / "s.txt")
    assert (status, r"s.txt' has to end in .json (-o)" in err) == (2, True)
    status, _, err = call(*arguments, "-o", tmp_path / "s.json", "--csv", tmp_path / "t.json")
    assert (status, r"t.json' has to end in .csv (--csv)" in err) == (2, True)
    with pytest.raises(UsageError, match=r"unknown matching 'x'; choose one of pengwin2024, one-to-one"):
        evaluate(prediction, reference, tmp_path / "s.json", matching="x")
