"""`abbc-segment` on a folder with a good and a bad case, its files, its resuming; and corrections of what it made."""

import gzip
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import nnunet_ext
from label_gen.errors import DataError, UsageError
from nnunet_ext.commands import recover_instances
from nnunet_ext.commands.segment import main, segment_to_files
from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.correcting import correct_case
from nnunet_ext.volumes import read_grid, read_labels, write_volume
from tests.nnunet_ext.dicom.made import write_series
from tests.nnunet_ext.segmentation.phantom import FINE, acquired, image_of

pytestmark = pytest.mark.slow

GRID = Grid((54, 58, 114), (2.0, 2.0, 2.0), FINE.origin)
FILES = {
    "segmentation.nii.gz",
    "segmentation.seg.nrrd",
    "segmentation.ctbl",
    "segmentation.label.txt",
    "statistics.json",
    "statistics.csv",
    "preview.png",
    "report.html",
    "run.json",
    "assembly.3mf",
    "assembly.glb",
    "meshes",
    "work",
}


CLUSTER = """
import sys
from distributed import LocalCluster
from nnunet_ext.commands.segment import main

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        sys.exit(main([*sys.argv[1:], "--dask", cluster.scheduler_address]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, drawn):
    """Folder with the CTs `phantom` and `junk`, and the bones of the phantom."""
    folder = tmp_path_factory.mktemp("Smith_John")
    write_volume(acquired(drawn[0], GRID), folder / "in" / "phantom.nii.gz")
    write_volume(acquired(drawn[1], GRID, order=0), folder / "bones" / "phantom.nii.gz")
    (folder / "in" / "junk.nii.gz").write_bytes(b"junk")
    return folder


@pytest.fixture(scope="module")
def arguments(place, model):
    return ["-i", place / "in", "-o", place / "out", "--bones", place / "bones", "-m", model, "--device", "cpu"]


@pytest.fixture(scope="module")
def done(place, arguments):
    """The folder of the finished case."""
    assert main([str(a) for a in arguments]) == 1
    return place / "out" / "phantom"


def call(capfd, arguments, *more):
    try:
        status = main([str(argument) for argument in (*arguments, *more)])
    except SystemExit as end:
        status = end.code
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_a_case_has_all_its_files_and_a_bad_one_none(done):
    assert {path.name for path in done.iterdir()} == FILES
    assert not (done.parent / "junk").exists()
    assert {path.stem for path in (done / "meshes").glob("*.stl")} == {
        "sacrum_frag01",
        "hip_left_frag01",
        "hip_left_frag02",
        "hip_right_frag01",
        "hip_right_frag02",
    }
    manifest = json.loads((done.parent / "abbc-segment.json").read_text())
    assert {name: case["status"] for name, case in manifest["cases"].items()} == {"phantom": "done", "junk": "failed"}


def test_the_segmentation_lies_on_the_ct(done, place):
    assert read_grid(done / "segmentation.nii.gz") == read_grid(place / "in" / "phantom.nii.gz")
    assert set(np.unique(read_labels(done / "segmentation.nii.gz").array)) == {0, 1, 51, 52, 101, 102}


def test_the_record_of_the_run(done):
    run = json.loads((done / "run.json").read_text())
    assert run["note"] == "Research use only, not a medical device."
    assert {"torch", "nnunetv2", "numpy", "nnunet-abbc"} <= set(run["versions"])
    assert run["settings"]["bones"] == "given"
    assert len(run["model"]["sha256"]) == 64
    assert [stage["stage"] for stage in run["stages"]][:6] == [
        "read",
        "load the model",
        "bones",
        "predict",
        "recover",
        "back to the CT",
    ]
    assert run["seconds"] >= sum(stage["seconds"] for stage in run["stages"]) - 1
    assert run["peak_mb"] > 100
    assert any("femur" in warning for warning in run["warnings"])


def test_no_file_tells_where_it_was_made(done, place):
    for path in done.parent.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            assert b"Smith_John" not in content, path.name
            assert str(place).encode() not in content, path.name


def test_a_finished_case_is_skipped(done, arguments, capfd):
    before = (done / "run.json").stat().st_mtime_ns
    status, _, err = call(capfd, arguments)
    assert status == 1
    assert "1 skipped, 1 failed" in err
    assert "case junk" in err
    assert (done / "run.json").stat().st_mtime_ns == before
    status, _, err = call(capfd, arguments, "-num_parts", 2, "-part_id", 1)  # junk is the first
    assert (status, "1 skipped" in err) == (0, True)


def test_processes_and_a_cluster_find_the_same(done, arguments, tmp_path, environment, capfd):
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(CLUSTER)
    expected = read_labels(done / "segmentation.nii.gz").array
    for name, more in (("processes", ["--workers", "2"]), ("cluster", [])):
        here = [str(tmp_path / name if a == done.parent else a) for a in (*arguments, "--no-meshes", "--no-report")]
        if more:
            status, _, err = call(capfd, here, *more)
        else:
            quiet = {**environment, "PYTHONWARNINGS": "default"}
            ended = subprocess.run(
                [sys.executable, script, *here], capture_output=True, text=True, env=quiet, cwd=tmp_path, check=False
            )
            status, err = ended.returncode, ended.stderr
        assert status == 1, err
        assert "case junk" in err
        assert "1 done, 1 failed" in err
        assert (read_labels(tmp_path / name / "phantom" / "segmentation.nii.gz").array == expected).all()


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        (["-m", "nowhere"], 2, "there is no model folder 'nowhere'"),
        (["--device", "tpu"], 2, "auto, cpu, cuda, cuda:N "),
        (["-f", "3"], 2, "folds that have it: 0"),
        (["-step_size", "0"], 2, "-step_size"),
        (["-num_parts", "2", "-part_id", "2"], 2, "-part_id"),
        (["--dask", "tcp://x:1", "--workers", "2"], 2, "--workers or --dask"),
        (["--overwrite", "--dicom-seg"], 1, "leave out --dicom-seg"),
    ],
)
def test_wrong_usage(arguments, done, tmp_path, more, status, text, capfd):
    arguments = ["-o" if a == "-o" else tmp_path / "out" if a == done.parent else a for a in arguments]
    found, _, err = call(capfd, arguments, *more)
    assert (found, text in err) == (status, True), err


def correct(capfd, case, *more):
    status = recover_instances.main(["-i", str(case), *map(str, more)])
    _, err = capfd.readouterr()
    return status, err


@pytest.fixture
def case(done, tmp_path):
    """A copy of the finished case, made without a report, which takes longest."""
    shutil.copytree(done, tmp_path / "phantom")
    run = json.loads((done / "run.json").read_text())
    run["settings"]["report"] = False
    (tmp_path / "phantom" / "run.json").write_text(json.dumps(run))
    return tmp_path / "phantom"


def test_corrections(case, tmp_path, capfd):
    done = case
    before = read_labels(done / "segmentation.nii.gz").array
    rows = {row["label"]: row for row in json.loads((done / "statistics.json").read_text())["fragments"]}

    assert correct(capfd, done, "--merge", "51,52")[0] == 0
    joined = read_labels(done / "segmentation.nii.gz").array
    assert set(np.unique(joined)) == {0, 1, 51, 101, 102}
    assert ((joined == 51) == ((before == 51) | (before == 52))).mean() > 0.9999
    assert not (done / "meshes" / "hip_left_frag02.stl").exists()

    points = ";".join(",".join(map(str, rows[label]["centroid_lps_mm"])) for label in (51, 52))
    assert correct(capfd, done, "--split", f"51@{points}")[0] == 0
    cut = read_labels(done / "segmentation.nii.gz").array
    for label in (51, 52):
        both, either = ((cut == label) & (before == label)).sum(), ((cut == label) | (before == label)).sum()
        assert both / either > 0.9
    notes = json.loads((done / "run.json").read_text())["corrections"]
    assert [note["decisions"] for note in notes] == [
        ["joined by hand: 51, 52 became 51"],
        ["cut by hand: 51 became 51, 52"],
    ]
    assert notes[1]["seconds"] > 0
    decisions = json.loads((done / "statistics.json").read_text())["decisions"]
    assert "cut by hand: 51 became 51, 52" in decisions

    edited = before.copy()
    edited[(edited == 101) | (edited == 102)] = 103
    volume = read_labels(done / "segmentation.nii.gz")
    write_volume(volume.like(edited), tmp_path / "edited.nii.gz")
    assert correct(capfd, done, "--seeds", tmp_path / "edited.nii.gz")[0] == 0
    assert set(np.unique(read_labels(done / "segmentation.nii.gz").array)) == {0, 1, 51, 52, 103}

    assert correct(capfd, done)[0] == 0  # as recovered
    assert (read_labels(done / "segmentation.nii.gz").array == before).all()

    status, err = correct(capfd, done, "--merge", "51,101")
    assert (status, "of left_hip, right_hip" in err) == (2, True)
    status, err = correct(capfd, tmp_path, "--merge", "51,52")
    assert (status, "is no finished case of abbc-segment" in err) == (2, True)


def test_arrays_images_and_files_give_the_same(drawn, model, place):
    ct, bones = acquired(drawn[0], GRID), acquired(drawn[1], GRID, order=0)
    options = {"model": model, "device": "cpu", "meshes": False, "report": False}
    first = nnunet_ext.segment(ct.array, spacing_mm=GRID.spacing_mm, origin=GRID.origin, bones=bones.array, **options)
    second = nnunet_ext.segment(image_of(ct), bones=place / "bones" / "phantom.nii.gz", fast=True, **options)
    third = nnunet_ext.segment(place / "in" / "phantom.nii.gz", bones=bones, mirroring=True, **options)
    for other in (second, third):
        assert (other.labels.array != first.labels.array).mean() < 0.002  # windows and flips differ
        assert other.labels.grid == first.labels.grid
    assert (second.run["settings"]["step_size"], first.run["settings"]["step_size"]) == (0.75, 0.5)
    assert first.fragments[52].display_name == "Left hip bone, fragment 2"
    assert {row["label"] for row in first.statistics["fragments"]} == set(first.fragments)


def test_arrays_need_a_spacing_and_cts_bones(drawn, model):
    with pytest.raises(UsageError, match="spacing_mm"):
        nnunet_ext.segment(drawn[0].array, bones=drawn[1].array)
    with pytest.raises(UsageError, match="Got: list"):
        nnunet_ext.segment([1, 2], bones=drawn[1].array)
    with pytest.raises(DataError, match="finds no pelvis"):
        nnunet_ext.segment(drawn[0], bones=0 * drawn[1].array, model=model, device="cpu")


def test_nothing_usable(tmp_path):
    with pytest.raises(UsageError):
        segment_to_files(tmp_path / "nowhere", tmp_path / "out")


def test_dicom_in_and_dicom_seg_out(drawn, model, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    ct, bones = acquired(drawn[0], GRID), acquired(drawn[1], GRID, order=0)
    write_series(tmp_path / "dicom", ct.array, spacing=GRID.spacing_mm, origin=GRID.origin)
    case = tmp_path / "out" / "case"
    options = {"model": model, "device": "cpu", "meshes": False, "report": False}
    found = nnunet_ext.segment(tmp_path / "dicom", bones=bones, output=case, dicom_seg=True, **options)
    assert found.run["ct"]["kind"] == "dicom"
    assert b"Secret" not in (case / "run.json").read_bytes()
    seg = pydicom.dcmread(case / "segmentation.dcm")
    assert seg.Modality == "SEG"
    assert [item.SegmentLabel for item in seg.SegmentSequence][:2] == [
        "Sacrum, fragment 1",
        "Left hip bone, fragment 1",
    ]
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == pydicom.dcmread(tmp_path / "dicom" / "000.dcm").SeriesInstanceUID
    correct_case(case, merge=[(51, 52)])
    assert not (case / "segmentation.dcm").exists()
    assert "was removed" in json.loads((case / "run.json").read_text())["warnings"][-1]
