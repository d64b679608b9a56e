import json
import os
import subprocess
import sys

import numpy as np
import pytest

from label_gen.errors import UsageError
from nnunet_ext.commands import postprocess as command
from nnunet_ext.commands.postprocess import postprocess
from nnunet_ext.volumes import read_volume

NUMBERS = {"background": 0, "trachea": 1, "parenchyma": 2}
SPACING = (1.5, 1.0, 2.0)  # x, y, z: 3 mm3 per voxel


@pytest.fixture
def call(capfd):
    """Run the command in this process; return its exit status and stderr."""

    def run(*arguments):
        try:
            status = command.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        err = capfd.readouterr().err
        assert "Traceback" not in err or "--verbose" in arguments
        return status, err

    return run


@pytest.fixture
def dirty():
    """Two lungs, one with a hole, and a trachea; besides a speck, and a second trachea that touches nothing."""
    array = np.zeros((10, 12, 40), np.uint8)
    array[1:9, 1:11, 1:10] = array[1:9, 1:11, 20:30] = 2
    array[3:7, 4:7, 10:20] = 1
    array[4:6, 5:7, 4:6] = 0
    array[1, 1, 38] = 2
    array[1:9, 1:11, 32:37] = 1
    return array


@pytest.fixture
def clean(dirty):
    array = dirty.copy()
    array[4:6, 5:7, 4:6] = 2
    array[:, :, 31:] = 0
    return array


@pytest.fixture
def predict(save, tmp_path):
    """Lay out what nnU-Net leaves in a folder of predictions."""

    def write(cases, *, probabilities=False, numbers=NUMBERS):
        folder = tmp_path / "in"
        for name, array in cases.items():
            path = save(array, folder / f"{name}.nii.gz", spacing=SPACING)
            if probabilities:
                maps = np.stack([array == number for number in range(3)]).astype(np.float32)
                np.savez_compressed(folder / f"{name}.npz", probabilities=maps * 0.55 + 0.15)
                save(array * 0, path, spacing=SPACING)
        if numbers:
            (folder / "dataset.json").write_text(json.dumps({"labels": numbers}))
        return folder

    return write


@pytest.mark.parametrize("probabilities", [False, True])
def test_folder(call, predict, dirty, clean, tmp_path, oblique, probabilities):
    folder, out = predict({"a": dirty, "b": clean}, probabilities=probabilities), tmp_path / "out"
    status, err = call("-i", folder, "-o", out)
    assert status == 0, err
    for name in "ab":
        volume = read_volume(out / f"{name}.nii.gz")
        np.testing.assert_array_equal(volume.array, clean)
        assert volume.spacing_mm == pytest.approx(SPACING[::-1])
        assert volume.direction == pytest.approx(oblique, abs=1e-6)
        assert volume.origin == pytest.approx((-101.5, 20.25, 7.125))
    assert "note: rules that no class has the name of, not used: skeletal, orbita, eyes, mandible" in err
    note = "2 of 2 cases are segmentations without probabilities: no threshold applies"
    assert (note in err) == (not probabilities)
    manifest = json.loads((out / "abbc-postprocess.json").read_text())
    assert manifest["settings"]["rules"] == "ekman2025"
    assert manifest["settings"]["classes"][1]["touch"] == "parenchyma"
    trachea, parenchyma = manifest["cases"]["a"]["details"]["classes"]
    assert trachea["threshold"] == (0.5 if probabilities else None)
    assert (trachea["apart_objects"], trachea["apart_mm3"], trachea["kept_objects"]) == (1, 1200.0, 1)
    assert (parenchyma["small_objects"], parenchyma["small_mm3"], parenchyma["filled_mm3"]) == (1, 3.0, 24.0)
    status, err = call("-i", folder, "-o", out)
    assert (status, "2 skipped" in err) == (0, True)


def test_thresholds_of_table_4_on_probabilities(call, save, tmp_path):
    maps = np.zeros((3, 8, 8, 8), np.float32)
    maps[0] = 1
    maps[:, 1:7, 1:7, 1:4] = np.array([0.7, 0.2, 0.1])[:, None, None, None]  # orbita from 12.5 % on
    maps[:, 1:7, 1:7, 4:7] = np.array([0.5, 0.2, 0.3])[:, None, None, None]  # both, the eyes more
    np.savez_compressed(tmp_path / "a.npz", probabilities=maps)
    save(np.zeros((8, 8, 8), np.uint8), tmp_path / "a.nii.gz")
    status, err = call("-i", tmp_path / "a.npz", "-o", tmp_path / "out", "--labels", "Orbita=1", "eyes=2")
    assert status == 0, err
    found = read_volume(tmp_path / "out" / "a.nii.gz").array
    assert (found[1:7, 1:7, 1:4] == 1).all()
    assert (found[1:7, 1:7, 4:7] == 2).all()
    assert np.count_nonzero(found) == 216
    arguments = ("-i", tmp_path / "a.npz", "-o", tmp_path / "out", "--overwrite")
    status, err = call(*arguments, "--labels", "orbita=1", "eyes=3")
    assert status == 1
    assert f"case a: '{tmp_path}/a.npz': probabilities hold the classes 0 to 2 only; there is no class 3" in err


def test_segmentations_beside_probabilities(call, predict, clean, tmp_path):
    folder = predict({"a": clean}, probabilities=True)
    status, err = call("-i", folder, "-o", tmp_path / "out", "--segmentations")
    assert status == 0, err
    assert not read_volume(tmp_path / "out" / "a.nii.gz").array.any()  # the one that the fixture emptied


def test_own_rules_and_names(call, predict, dirty, clean, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\n[[rules]]\nname = "tube"\ntouch = "lungs"\n[[rules]]\nname = "lungs"\nfill = false')
    folder = predict({"a": dirty})
    mapping = ("--classes", "tube=trachea", "lungs=parenchyma")
    status, err = call("-i", folder / "a.nii.gz", "-o", tmp_path / "b.mha", "--rules", file, *mapping, "--verbose")
    assert status == 0, err
    clean[4:6, 5:7, 4:6] = 0
    np.testing.assert_array_equal(read_volume(tmp_path / "b.mha").array, clean)
    assert "case a: trachea: 1 object(s) kept (360 mm3), 1 apart (1200 mm3)" in err
    assert "case a: parenchyma: 2 object(s) kept (4536 mm3), 1 too small (3 mm3)" in err


def test_labels_given_and_classes_without_rules(call, predict, dirty, tmp_path):
    folder = predict({"a": dirty}, numbers=None)
    arguments = ("-i", folder, "-o", tmp_path / "out")
    status, err = call(*arguments)
    assert status == 2
    assert "there is no dataset.json beside 'a.nii.gz' or in the folder above" in err
    status, err = call(*arguments, "--labels", "bone=2", "other=1", "--classes", "skeletal=bone")
    assert status == 0, err
    assert "note: classes without a rule, left as they are: other" in err
    found = read_volume(tmp_path / "out" / "a.nii.gz").array
    np.testing.assert_array_equal(found == 1, dirty == 1)
    assert not (found[:, :, 38] == 2).any()


def test_a_class_of_which_nothing_is_left_is_told(call, predict, tmp_path):
    array = np.zeros((9, 9, 9), np.uint8)
    array[1:8, 1:8, 1:8] = 1
    err = call("-i", predict({"a": array}), "-o", tmp_path / "out")[1]
    assert "case a: trachea: 0 object(s) kept (0 mm3), 1 apart (1029 mm3)" in err
    assert "parenchyma: 0" not in err  # there was none


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_case_does_not_stop_the_others(call, predict, save, clean, tmp_path, workers):
    folder = predict({"a": clean, "b": clean + 1, "c": clean})
    (folder / "c.nii.gz").write_bytes((folder / "c.nii.gz").read_bytes()[:-20])
    np.savez_compressed(folder / "d.npz", probabilities=np.zeros((3, 4, 5, 6), np.float32))
    status, err = call("-i", folder, "-o", tmp_path / "out", "--workers", workers)
    assert status == 1
    assert "case b: " in err
    assert "holds the label 3, but the classes in its dataset.json end at 2" in err
    assert "case c: " in err
    assert "is truncated or damaged" in err
    assert "case d: " in err
    assert "has no geometry" in err
    assert "1 done, 3 failed" in err
    assert sorted(os.listdir(tmp_path / "out")) == ["a.nii.gz", "abbc-postprocess.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rules", "no"), "unknown rule 'no'; known are ekman2025, or pass a file ending in .toml"),
        (("--rules", "no.toml"), "cannot read the rule file 'no.toml'"),
        (("--classes", "skeletal"), "'skeletal' is no pair; write NAME=VALUE"),
        (("--classes", "skeletal=bone"), "the data set has no class 'bone' for rule 'skeletal'; it has trachea, paren"),
        (
            ("--classes", "skeletal=trachea", "skeletal=parenchyma"),
            "'skeletal' is given twice; give it once (--classes)",
        ),
        (("--labels", "bone=one"), "'bone=one' has no whole number behind the '='; write NAME=NUMBER"),
        (("--labels", "bone=1"), "none of the rules 'ekman2025' (skeletal, orbita, eyes,"),
        (("--labels", "trachea=1"), "demands contact with 'parenchyma', which the data set has not (it has trachea)"),
        (("--labels", "orbita=1", "eyes=1"), "class 1 has two rules, 'orbita' and 'eyes'; leave one out"),
        (("--workers", "-1"), "'-1' is no whole number from 0 upward"),
    ],
)
def test_wrong_usage(call, predict, clean, tmp_path, arguments, message):
    status, err = call("-i", predict({"a": clean}), "-o", tmp_path / "out", *arguments)
    assert status == 2, err
    assert message in err
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_output_in_the_input(call, predict, clean):
    folder = predict({"a": clean})
    status, err = call("-i", folder, "-o", folder)
    assert (status, "is inside the input" in err) == (2, True)


def test_function_checks_the_rules_before_any_case(predict, clean, tmp_path):
    file = tmp_path / "mine.toml"
    rule = '[[rules]]\nname = "{}"\ntouch = "{}"\n'
    file.write_text('name = "mine"\n' + rule.format("trachea", "parenchyma") + rule.format("parenchyma", "trachea"))
    with pytest.raises(UsageError, match="demand contact in a circle"):
        postprocess(predict({"a": clean}), tmp_path / "out", rules=file)
    assert not (tmp_path / "out").exists()


def test_help_imports_nothing_heavy(environment):
    code = "import sys, nnunet_ext.commands.postprocess; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not set(done.stdout.split()) & {"numpy", "scipy", "SimpleITK", "torch", "label_gen", "postproc", "tqdm"}
    done = subprocess.run(
        [sys.executable, "-m", "nnunet_ext.commands.postprocess", "--help"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert "(default: ekman2025)" in " ".join(done.stdout.split())
    assert "None" not in done.stdout
