"""`abbc-report`: from labels and from case folders, one or many, again, and with bad input."""

import inspect
import json

import numpy as np
import pytest

from label_gen.errors import UsageError
from nnunet_ext.commands import report
from nnunet_ext.fragment_names import name_fragments
from nnunet_ext.schemes import load_scheme
from nnunet_ext.statistics import make_statistics, write_statistics
from nnunet_ext.volumes import read_labels

FILES = ["preview.png", "report.html"]


@pytest.fixture
def call(capfd):
    """Run the command in this process; return its exit status and what it said."""

    def run(*arguments):
        try:
            status = report.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        said = capfd.readouterr().err
        assert "Traceback" not in said
        return status, said

    return run


@pytest.fixture
def image(labels):
    """A CT of the fragments, with air in front."""
    noise = np.random.default_rng(1).normal(0, 20, labels.shape)
    clean = np.where(labels > 0, 700, 40)
    clean[:, :2] = -1000
    return (clean + noise).astype(np.int16)


@pytest.fixture
def case_folder(save, labels, tmp_path):
    """What `abbc-segment` leaves, as far as a report needs it; its scheme is not the command's default."""
    labels = np.select([labels == 11, labels == 12, labels == 1], [51, 151, 1]).astype(np.uint8)
    folder = tmp_path / "cases" / "A-1"
    path = save(labels, folder / "segmentation.nii.gz")
    names = name_fragments([1, 51, 151], load_scheme("pengwin2026"), bones={151: "left_femur"})
    write_statistics(folder, make_statistics(read_labels(path), names, ct=None, scheme="pengwin2026"))
    run = {"warnings": ["the left femur is cut by the field of view"], "seconds": {"predict": 3.25}}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def text_of(path):
    return path.read_text(encoding="utf-8")


def test_labels_with_ct(call, save, labels, image, tmp_path):
    fragments, ct = save(labels, tmp_path / "in" / "a.nii.gz"), save(image, tmp_path / "ct.nii.gz")
    status, said = call("-i", fragments, "-o", tmp_path / "out", "--ct", ct, "--plain")
    assert (status, said) == (0, "abbc-report: 1 done\n")
    assert sorted(path.name for path in (tmp_path / "out" / "a").iterdir()) == FILES
    text = text_of(tmp_path / "out" / "a" / "report.html")
    assert "Left hip bone, fragment 2" in text
    assert '"slices":["' in text
    assert str(tmp_path) not in text
    record = json.loads(text_of(tmp_path / "out" / "abbc-report.json"))
    assert record["cases"]["a"]["details"]["fragments"] == 3
    assert str(tmp_path) not in json.dumps(record)
    assert call("-i", fragments, "-o", tmp_path / "out", "--ct", ct, "--plain")[1].endswith("1 skipped\n")


def test_case_folder(call, case_folder):
    status, said = call("-i", case_folder)
    assert status == 0, said
    assert "without a CT (--ct) the slices show the fragments alone" in said
    assert {*FILES} < {path.name for path in case_folder.iterdir()}
    text = text_of(case_folder / "report.html")
    assert "Left femur, fragment 1" in text  # the side is known from the statistics only
    assert "the left femur is cut by the field of view" in text
    assert "3.25" in text
    assert "<h1>A-1</h1>" in text
    assert '"slices":null' in text


def test_folder_of_case_folders_past_a_bad_one(call, case_folder, tmp_path):
    bad = case_folder.parent / "B"
    bad.mkdir()
    (bad / "segmentation.nii.gz").write_bytes(b"nothing")
    status, said = call("-i", case_folder.parent, "-o", tmp_path / "out", "--plain")
    assert status == 1
    assert "error: case B: " in said
    assert "1 done, 1 failed" in said
    assert sorted(path.name for path in (tmp_path / "out" / "A-1").iterdir()) == FILES


def test_bad_input(call, save, labels, image, case_folder, tmp_path):
    one = save(labels, tmp_path / "in" / "a.nii.gz")
    status, said = call("-i", one)
    assert (status, "no output is given" in said) == (2, True)
    assert call("-i", tmp_path / "no", "-o", tmp_path / "out")[0] == 2
    assert call("-i", one, "-o", tmp_path / "out", "--scheme", "x")[0] == 2
    other = save(image[1:], tmp_path / "ct.nii.gz")
    status, said = call("-i", one, "-o", tmp_path / "out", "--ct", other)
    assert status == 1
    assert "are on different grids" in said
    (case_folder / "run.json").write_text("{")
    status, said = call("-i", case_folder)
    assert (status, "cannot read 'run.json' of the case folder" in said) == (1, True)
    status, said = call("-i", save(labels + 100, tmp_path / "b.nii.gz"), "-o", tmp_path / "out")
    assert status == 1
    assert "b.nii.gz': label" in said


def test_ct_of_another_name(save, labels, image, tmp_path):
    save(labels, tmp_path / "in" / "a.nii.gz")
    save(image, tmp_path / "ct" / "b.nii.gz")
    with pytest.raises(UsageError, match="has a partner of the same name"):
        report.make_reports(tmp_path / "in", tmp_path / "out", ct=tmp_path / "ct")


def test_every_option_is_an_argument(capsys):
    with pytest.raises(SystemExit):
        report.main(["--help"])
    shown = capsys.readouterr().out
    for word in ("--input", "--output", "--ct", "--plain", "--scheme", "--workers", "--overwrite", "--verbose"):
        assert word in shown
    arguments = inspect.signature(report.make_reports).parameters
    assert {"labels", "output", "ct", "surfaces", "scheme", "workers", "overwrite"} <= set(arguments)
