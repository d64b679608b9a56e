"""Fragment scores beside nnU-Net's summary."""

import json

import numpy as np
import pytest

from label_gen import generate_abbc
from nnunet_ext.package_data import data_folder
from nnunet_ext.schemes import load_scheme
from nnunet_ext.training.fragments import SUMMARY, score_fragments
from nnunet_ext.volumes import Volume, read_labels, write_volume

DESCRIPTION = {
    "labels": {"background": 0, "boundary": 1, "core": 2, "border": 3},
    "abbc": {"task": "abbc", "scheme": "pengwin2024"},
}
SPACING = (1.0, 1.0, 1.0)


@pytest.fixture
def folders(tmp_path, labels, anatomy):
    """Two validated cases of a dataset of three; the network was right about the first and silent on the second."""
    big = np.kron(labels, np.ones((2, 2, 2), np.uint8))
    bones = np.kron(anatomy, np.ones((2, 2, 2), np.uint8))
    classes = generate_abbc(big, SPACING, scheme=load_scheme("pengwin2024")).abbc
    preprocessed, validation = tmp_path / "preprocessed", tmp_path / "fold_0" / "validation"
    for case in ("a", "b", "c"):
        for folder, array in (("gt_segmentations", classes), ("fragments", big), ("anatomy", bones)):
            write_volume(Volume(array, SPACING), preprocessed / folder / f"{case}.mha")
    write_volume(Volume(classes, SPACING), validation / "a.mha")
    write_volume(Volume(np.zeros_like(classes), SPACING), validation / "b.mha")
    np.savez_compressed(validation / "a.npz", probabilities=np.eye(4)[classes].transpose(3, 0, 1, 2)[[0, 1, 3, 2]])
    return validation, preprocessed


def test_scores_of_the_validated_cases(folders):
    validation, preprocessed = folders
    found = score_fragments(validation, preprocessed, DESCRIPTION)
    scores = json.loads((validation / SUMMARY).read_text())
    assert set(scores["cases"]) == {"a", "b"}
    figures = {name: case["case"] for name, case in scores["cases"].items()}
    # The segmentation counts, as in nnU-Net's own summary, not the probabilities beside it.
    assert (figures["a"]["recall"], figures["a"]["prediction_fragments"]) == (1.0, 3)
    assert figures["a"]["fragment_iou"] > 0.99
    assert (figures["b"]["recall"], figures["b"]["prediction_fragments"]) == (0.0, 0)
    assert found.mean["recall"] == 0.5
    assert found.remarks == ()
    assert sorted(path.name for path in (validation / "fragments").glob("*.nii.gz")) == ["a.nii.gz", "b.nii.gz"]
    assert sorted(path.name for path in validation.iterdir() if path.is_dir()) == ["fragments"]


def test_without_fragments_and_bones(folders):
    validation, preprocessed = folders
    for folder in ("fragments", "anatomy"):
        for file in (preprocessed / folder).iterdir():
            file.unlink()
        (preprocessed / folder).rmdir()
    found = score_fragments(validation, preprocessed, DESCRIPTION)
    assert found.mean["recall"] == 0.5
    assert "no bones" in found.remarks[0]
    assert "those of the true classes" in found.remarks[1]
    assert json.loads((validation / SUMMARY).read_text())["settings"]["scheme"] == "free"


def test_classes_in_another_order(folders):
    validation, preprocessed = folders
    order = {"background": 0, "core": 1, "boundary": 2, "border": 3}
    for folder in (validation, preprocessed / "gt_segmentations"):
        for file in folder.glob("*.mha"):
            volume = read_labels(file)
            write_volume(Volume(np.array([0, 2, 1, 3], np.uint8)[volume.array], SPACING), file)
    found = score_fragments(validation, preprocessed, {**DESCRIPTION, "labels": order})
    assert found.mean["recall"] == 0.5


def test_scheme_of_ones_own(folders):
    validation, preprocessed = folders
    text = (data_folder("schemes") / "pengwin2024.toml").read_text(encoding="utf-8")
    (preprocessed / "scheme.toml").write_text(text.replace('name = "pengwin2024"', 'name = "mine"'))
    score_fragments(validation, preprocessed, DESCRIPTION)
    assert json.loads((validation / SUMMARY).read_text())["settings"]["scheme"] == "mine"
