"""Simulated femora as an nnU-Net dataset: cases, labels, folds by donor, the same bytes for the same seed."""

import json

import numpy as np
import pytest

from label_gen.errors import UsageError
from nnunet_ext.studies.femora import make_femora
from nnunet_ext.volumes import Volume, read_volume, write_volume

SIZES = {"spacing_mm": (3.0, 2.5, 2.5), "length_mm": 60}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_femora(tmp_path_factory.mktemp("raw"), 31, donors=2, test_donors=1, seed=4, **SIZES)


def names(folder):
    return sorted(path.name.removesuffix(".nii.gz") for path in folder.iterdir())


def test_layout_and_folds(dataset):
    assert dataset.name == "Dataset031_SimulatedFemora"
    cases = [f"donor_{number:03d}_{side}" for number in range(2) for side in ("left", "right")]
    assert names(dataset / "labelsTr") == cases
    assert names(dataset / "imagesTr") == [f"{case}_0000" for case in cases]
    assert names(dataset / "labelsTs") == ["test_000_left", "test_000_right"]
    described = json.loads((dataset / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "femur": 1}
    assert (described["numTraining"], described["channel_names"]) == (4, {"0": "CT"})
    assert described["abbc"]["patients"] == {case: case[:9] for case in cases}
    folds = json.loads((dataset / "splits_final.json").read_text())
    assert len(folds) == 2
    for fold in folds:
        assert not {case[:9] for case in fold["train"]} & {case[:9] for case in fold["val"]}
        assert sorted(fold["train"] + fold["val"]) == cases


def test_each_case_shows_one_femur(dataset):
    for part in ("Tr", "Ts"):
        for path in sorted((dataset / f"labels{part}").iterdir()):
            labels = read_volume(path)
            image = read_volume(dataset / f"images{part}" / path.name.replace(".nii.gz", "_0000.nii.gz"))
            assert labels.grid == image.grid
            assert labels.spacing_mm == pytest.approx((3.0, 2.5, 2.5))
            is_femur = labels.array == 1
            assert set(np.unique(labels.array)) == {0, 1}
            assert 20 < is_femur.sum() * 3 * 2.5 * 2.5 / 1000 < 200  # mL of 60 mm of a proximal femur
            assert is_femur[0].any()  # the shaft goes on below the view
            assert not is_femur[-1].any()
            assert image.array[is_femur].mean() > 200 + image.array[~is_femur].mean()
            middle = labels.origin[0] + 2.5 * np.argwhere(is_femur)[:, 2].mean()
            assert np.sign(middle) == (1 if "left" in path.name else -1)  # x runs to the left


def test_same_seed_same_bytes_and_nothing_is_made_twice(dataset, tmp_path):
    again = make_femora(tmp_path, 31, donors=1, seed=4, **SIZES)
    files = [again / "imagesTr" / "donor_000_left_0000.nii.gz", again / "labelsTr" / "donor_000_right.nii.gz"]
    for file in files:
        assert file.read_bytes() == (dataset / file.relative_to(again)).read_bytes()
    before = [file.stat().st_mtime_ns for file in files]
    seen = []
    make_femora(tmp_path, 31, donors=1, seed=4, on_result=lambda result: seen.append(result.status), **SIZES)
    assert seen == ["skipped"]
    assert [file.stat().st_mtime_ns for file in files] == before
    with pytest.raises(UsageError, match="is there already, made otherwise"):
        make_femora(tmp_path, 31, donors=1, seed=5, **SIZES)


def thigh(shift):
    """Return two shafts with round heads as bone labels of 2.5 mm."""
    z, y, x = np.indices((40, 40, 110))
    array = np.zeros(z.shape, np.uint8)
    for label, middle in ((4, 85 + shift), (5, 25 + shift)):
        array[((y - 20) ** 2 + (x - middle) ** 2 < 36) & (z < 30)] = label
        array[(y - 20) ** 2 + (x - middle) ** 2 + (z - 28) ** 2 < 81] = label
    return Volume(array, (2.5, 2.5, 2.5), (-137.5, -50.0, 0.0))


def test_femora_of_labels_keep_shapes_of_the_test_set_apart(tmp_path):
    for number, name in enumerate(("a_labels_1mm", "b_labels_1mm", "b_labels_native")):
        write_volume(thigh(2 * number), tmp_path / "bones" / f"{name}.nii.gz")
    only_one = thigh(0)
    write_volume(only_one.like(only_one.array * (only_one.array == 4)), tmp_path / "bones" / "half.nii.gz")
    folder = make_femora(tmp_path, 7, donors=1, test_donors=2, anatomies=tmp_path / "bones", **SIZES)
    told = json.loads((folder / "simulated_femora.json").read_text())["cases"]
    assert {name: case["details"]["source"] for name, case in told.items()} == {
        "donor_000": "a_labels_1mm",
        "test_000": "b_labels_1mm",
        "test_001": "b_labels_native",
    }
    labels = read_volume(folder / "labelsTr" / "donor_000_left.nii.gz").array
    assert 10 < labels.sum() * 3 * 2.5 * 2.5 / 1000 < 100
    assert json.loads((folder / "dataset.json").read_text())["abbc"]["patients"] == {
        "donor_000_left": "a",
        "donor_000_right": "a",
    }


def test_nonsense_is_refused(tmp_path):
    for wrong, said in (
        ({"donors": 0}, "0 donors, 0 test donors"),
        ({"donors": 1, "length_mm": 5}, "5 mm of each femur"),
        ({"donors": 1, "spacing_mm": 9.0}, "the spacing is 9 mm"),
        ({"donors": 1, "anatomies": tmp_path / "one.nii.gz", "test_donors": 1}, "'one' is the only person"),
        ({"donors": 1, "anatomies": tmp_path / "none.nii.gz"}, "no label volume in .* shows both femora"),
    ):
        write_volume(thigh(0), tmp_path / "one.nii.gz")
        write_volume(Volume(np.ones((20, 20, 20), np.uint8), (3.0, 3.0, 3.0)), tmp_path / "none.nii.gz")
        with pytest.raises(UsageError, match=said):
            make_femora(tmp_path / "raw", 8, **wrong)
    assert not (tmp_path / "raw").exists()


def test_fewer_donors_later_part_none_of_those_that_are_there(dataset):
    files = [dataset / "splits_final.json", dataset / "dataset.json"]
    before = [file.read_text() for file in files]
    seen = []
    make_femora(dataset.parent, 31, donors=1, seed=4, on_result=lambda result: seen.append(result.status), **SIZES)
    assert seen == ["skipped"]
    assert [file.read_text() for file in files] == before
