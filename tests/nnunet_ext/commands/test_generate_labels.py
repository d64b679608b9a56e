import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK

from label_gen.errors import UsageError
from nnunet_ext.commands.generate_labels import describe_fallbacks, generate_labels
from nnunet_ext.volumes import read_volume


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
@pytest.mark.parametrize("mode", ["default", "literal"])
def test_file_keeps_its_geometry(call, save, labels, tmp_path, suffix, mode):
    source = save(labels, tmp_path / f"a_0000{suffix}")
    status, _, err = call("generate", "-i", source, "-o", tmp_path / "out", "--mode", mode)
    assert status == 0, err
    before, after = (SimpleITK.ReadImage(str(path)) for path in (source, tmp_path / "out" / "a.nii.gz"))
    assert after.GetSize() == before.GetSize()
    assert after.GetSpacing() == pytest.approx(before.GetSpacing(), abs=1e-6)
    assert after.GetOrigin() == pytest.approx(before.GetOrigin(), abs=1e-5)
    assert after.GetDirection() == pytest.approx(before.GetDirection(), abs=1e-6)
    classes = SimpleITK.GetArrayFromImage(after)
    assert set(np.unique(classes)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(classes > 0, labels > 0)


def test_whole_numbers_in_float_are_labels(call, save, labels, classes, tmp_path):
    source = save(labels.astype(np.float32), tmp_path / "a.nii.gz")
    assert call("generate", "-i", source, "-o", tmp_path / "x.nrrd")[0] == 0
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nrrd").array, classes)


def test_folder_manifest_and_rerun(call, save, labels, tmp_path):
    source, out = tmp_path / "Jane_Doe", tmp_path / "out"
    save(labels, source / "a.nii.gz")
    save(labels.astype(np.float32) + 0.5, source / "b.nii.gz")
    status, _, err = call("generate", "-i", source, "-o", out)
    assert status == 1
    assert f"abbc-generate-labels: error: case b: '{source}/b.nii.gz' holds values that are not whole" in err
    assert err.endswith("abbc-generate-labels: 1 done, 1 failed\n")
    text = (out / "abbc-generate-labels.json").read_text()
    manifest = json.loads(text)
    assert "Jane" not in text
    assert str(tmp_path) not in text
    assert manifest["settings"] == {"scheme": "pengwin2024", "mode": "default", "border_mm": None}
    assert manifest["cases"]["a"]["status"] == "done"
    assert {piece["fragment_id"] for piece in manifest["cases"]["a"]["details"]["pieces"]} == {1, 11, 12}
    assert manifest["cases"]["b"]["error"].startswith("'b.nii.gz' holds values")

    save(labels, source / "b.nii.gz")
    made = (out / "a.nii.gz").stat().st_mtime_ns
    status, _, err = call("generate", "-i", source, "-o", out, "--mode", "literal")
    assert status == 0
    assert "finished cases made with other settings: a; redo them with --overwrite" in err
    assert err.endswith("abbc-generate-labels: 1 done, 1 skipped\n")
    assert (out / "a.nii.gz").stat().st_mtime_ns == made
    assert json.loads((out / "abbc-generate-labels.json").read_text())["cases"]["a"]["settings"]["mode"] == "default"
    status, _, err = call("generate", "-i", source, "-o", out, "--mode", "literal", "--overwrite")
    assert (status, "2 done" in err) == (0, True)
    assert (out / "a.nii.gz").stat().st_mtime_ns > made


def test_same_input_same_bytes(call, save, labels, tmp_path):
    source = save(labels, tmp_path / "a.mha")
    for out in ("x", "y"):
        call("generate", "-i", source, "-o", tmp_path / out)
    assert (tmp_path / "x" / "a.nii.gz").read_bytes() == (tmp_path / "y" / "a.nii.gz").read_bytes()


def test_audit(call, save, labels, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    save(labels, source / "a.nii.gz")
    assert call("generate", "-i", source, "-o", out)[0] == 0
    save(labels[::-1], source / "b.nii.gz")
    status, _, err = call("generate", "-i", source, "-o", out, "--audit")
    assert (status, "2 done" in err) == (0, True), err  # the first had no audit
    assert "note: pieces recovered from the classes, all cases: 6 kept (audit.csv)" in err
    assert sorted(os.listdir(out)) == ["a.nii.gz", "abbc-generate-labels.json", "audit", "audit.csv", "b.nii.gz"]
    audit = json.loads((out / "audit" / "a.json").read_text())
    assert (audit["case"], len(audit["pieces"])) == ("a", 3)

    save(labels, source / "c.nii.gz")
    status, _, err = call("generate", "-i", source, "-o", out, "--audit")
    assert (status, "1 done, 2 skipped" in err) == (0, True)
    with (out / "audit.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert all(float(row["round_trip_iou"]) > 0.9 for row in rows)
    assert call("recover", "-i", out, "-o", tmp_path / "back")[0] == 0
    assert sorted(os.listdir(tmp_path / "back")) == [
        *("a.nii.gz", "abbc-recover-instances.json", "b.nii.gz", "c.nii.gz"),
    ]


def test_fallbacks_are_told_in_one_line(call, save, labels, tmp_path):
    labels[5, 5, 29] = 3
    status, _, err = call("generate", "-i", save(labels, tmp_path / "a.mha"), "-o", tmp_path / "out")
    assert status == 0
    (line,) = [line for line in err.splitlines() if "fallbacks" in line]
    assert line.startswith("abbc-generate-labels: case a: fallbacks used (")
    assert "fragments 3" in line
    pieces = [{"fallback": kind, "fragment_id": i} for kind, i in [("thin", 5), ("none", 1), ("thin", 2), ("close", 5)]]
    assert describe_fallbacks({"pieces": pieces}) == "close: fragments 5; thin: fragments 2, 5"


def test_function_refuses_unknown_mode(tmp_path):
    with pytest.raises(UsageError, match=r"unknown mode 'x'; choose one of default, literal \(--mode\)"):
        generate_labels(tmp_path, tmp_path / "out", mode="x")


def test_kill_in_the_middle_of_fifty_cases(save, labels, tmp_path, environment):
    source, out = tmp_path / "in", tmp_path / "out"
    names = [f"case{number:02d}.nii.gz" for number in range(50)]
    for name in names:
        save(labels, source / name)
    command = [sys.executable, "-m", "nnunet_ext.commands.generate_labels", "-i", str(source), "-o", str(out)]
    command += ["--workers", "2"]
    with subprocess.Popen(command, start_new_session=True, env=environment, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(visible(out)) < 12:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
    first = {path.name: path.stat().st_mtime_ns for path in visible(out)}
    assert 12 <= len(first) < 50
    whole = read_volume(out / min(first)).array
    for name in first:
        np.testing.assert_array_equal(read_volume(out / name).array, whole)

    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"abbc-generate-labels: {50 - len(first)} done, {len(first)} skipped\n"
    assert sorted(os.listdir(out)) == ["abbc-generate-labels.json", *names]
    for path in visible(out):
        assert path.stat().st_mtime_ns == first.get(path.name, path.stat().st_mtime_ns)
        np.testing.assert_array_equal(read_volume(path).array, whole)
    cases = json.loads((out / "abbc-generate-labels.json").read_text())["cases"]
    assert len(cases) == 50


def visible(folder):
    return list(folder.glob("[!.]*.nii.gz"))
