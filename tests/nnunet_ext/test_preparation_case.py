import os

import numpy as np
import pytest
import SimpleITK

from label_gen.errors import DataError, GridError, SchemeError, VolumeFileError
from nnunet_ext.preparation.case import Making, prepare_case
from nnunet_ext.preparation.orientation import orientation_of, turned_to_lps
from nnunet_ext.preparation.targets import Target, labels_of_task
from nnunet_ext.preparation.transfer import is_usable_as_is, transfer
from nnunet_ext.schemes import load_scheme
from nnunet_ext.volumes import Volume, read_volume, write_volume

DIRECTIONS = {
    "LPS": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "RAS": (-1, 0, 0, 0, -1, 0, 0, 0, 1),
    "PSL": (0, 0, 1, 1, 0, 0, 0, 1, 0),  # a sagittal stack
    "LSA": (1, 0, 0, 0, 0, -1, 0, 1, 0),  # a coronal stack
}


@pytest.fixture
def ct(labels):
    """A volume whose voxels all differ, of the shape of `labels`."""
    return np.arange(labels.size, dtype=np.int16).reshape(labels.shape)


@pytest.fixture
def make(tmp_path):
    """Run `prepare_case` for a task."""

    def run(image, label_file, task="abbc", part="Tr", bones=("sacrum", "left_hip", "right_hip"), **options):
        scheme = None if task == "semantic" else load_scheme("pengwin2024")
        classes = {"bone": (11, 12), "eyes": (1,)} if task == "semantic" else {}
        target = Target(tmp_path / task, task, ".mha", labels_of_task(task, bones, classes), bones)
        values = {"transfer": "link", "orientation": "reorient", "overwrite": False, **options}
        making = Making((target,), scheme, classes, **values)
        return target, prepare_case(case="a", part=part, image=image, labels=label_file, making=making)

    return run


def volumes(target, part="Tr"):
    return {kind: read_volume(target.volume(kind, "a", part)) for kind in target.kinds}


@pytest.mark.parametrize(("name", "direction"), DIRECTIONS.items())
def test_turning_moves_voxels_and_keeps_their_places(name, direction, ct):
    volume = Volume(ct, (1.5, 0.8, 0.9), (-10.0, 20.0, 30.0), tuple(map(float, direction)))
    assert orientation_of(volume.grid) == name
    turned = turned_to_lps(volume)
    assert orientation_of(turned.grid) == "LPS"
    before, after = (SimpleITK.GetImageFromArray(v.array) for v in (volume, turned))
    for image, v in ((before, volume), (after, turned)):
        image.SetSpacing(v.spacing_mm[::-1])
        image.SetOrigin(v.origin)
        image.SetDirection(v.direction)
    for index in [(0, 0, 0), (3, 4, 5), (29, 15, 13)]:
        place = before.TransformIndexToPhysicalPoint(index)
        assert after[after.TransformPhysicalPointToIndex(place)] == before[index]


def test_abbc_case(make, save, ct, labels, anatomy, tmp_path):
    image, file = save(ct, tmp_path / "a.mha"), save(labels, tmp_path / "l.nrrd")
    target, details = make(image, file)
    made = volumes(target)
    assert os.path.samefile(target.image("a", "Tr"), image)
    assert {"image": "linked", "bones": {"sacrum": 1, "left_hip": 2}}.items() <= details.items()
    assert set(np.unique(made["labels"].array)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(made["fragments"].array, labels)
    np.testing.assert_array_equal(made["anatomy"].array, anatomy)
    for volume in made.values():
        assert volume.grid == read_volume(image).grid


def test_anatomy_and_semantic_cases(make, save, ct, labels, anatomy, tmp_path):
    image, file = save(ct, tmp_path / "a.mha"), save(labels, tmp_path / "l.mha")
    target, _ = make(image, file, "anatomy", part="Ts")
    np.testing.assert_array_equal(volumes(target, "Ts")["labels"].array, anatomy)
    target, details = make(image, file, "semantic")
    np.testing.assert_array_equal(volumes(target)["labels"].array, np.select([labels == 1, labels > 10], [2, 1], 0))
    assert details["classes"] == ["bone", "eyes"]


def test_case_without_the_bones_is_left_out(make, save, ct, labels, tmp_path):
    image, file = save(ct, tmp_path / "a.mha"), save(labels, tmp_path / "l.mha")
    target, details = make(image, file, "anatomy", bones=("right_hip",))
    assert details["left_out"] == ["anatomy"]
    assert details["image"] == "left out"
    assert not target.folder.exists()


def test_bones_that_are_not_wanted_are_no_bone(make, save, ct, labels, tmp_path):
    target, _ = make(save(ct, tmp_path / "a.mha"), save(labels, tmp_path / "l.mha"), bones=("sacrum",))
    for volume in volumes(target).values():
        np.testing.assert_array_equal(volume.array > 0, labels == 1)


def test_sagittal_stack_is_turned_or_refused(make, save, ct, labels, tmp_path):
    direction = DIRECTIONS["PSL"]
    image, file = (save(a, tmp_path / n, direction=direction) for a, n in ((ct, "a.mha"), (labels, "l.mha")))
    target, details = make(image, file)
    assert (details["orientation"], details["image"]) == ("PSL", "reoriented")
    picture = read_volume(target.image("a", "Tr"))
    np.testing.assert_array_equal(picture.array, ct.transpose(1, 2, 0))
    np.testing.assert_array_equal(volumes(target)["fragments"].array, labels.transpose(1, 2, 0))
    with pytest.raises(DataError, match=r"a\.mha' runs along PSL \(x, y, z\), LPS is expected.*--orientation reorient"):
        make(image, file, orientation="refuse", overwrite=True)


def test_other_file_type_is_converted(make, save, ct, labels, tmp_path):
    target, details = make(save(ct, tmp_path / "a.nii"), save(labels, tmp_path / "l.mha"))
    assert details["image"] == "converted"
    np.testing.assert_array_equal(read_volume(target.image("a", "Tr")).array, ct)


def test_header_rounding_is_forgiven_and_the_labels_take_the_images_grid(make, save, ct, labels, tmp_path):
    image = save(ct, tmp_path / "a.mha", spacing=(0.7, 0.7, 1.1), direction=DIRECTIONS["LPS"])
    file = save(labels, tmp_path / "l.nii.gz", spacing=(0.7, 0.70001, 1.1), direction=DIRECTIONS["LPS"])
    target, _ = make(image, file)
    assert volumes(target)["labels"].grid == read_volume(image).grid


@pytest.mark.parametrize(
    ("error", "message", "image", "label"),
    [
        (GridError, r"a\.mha' and '.*l\.mha' are on different grids: spacing", {}, {"spacing": (0.9, 0.8, 1.6)}),
        (GridError, r"different grids: size \(30, 16, 13\) against \(30, 16, 14\)", {"cut": True}, {}),
        (SchemeError, r"l\.mha': labels 31 are in no band of scheme 'pengwin2024'", {}, {"number": 31}),
        (DataError, r"l\.mha' holds no fragment", {}, {"number": 0}),
        (DataError, r"a\.mha' holds NaN or infinite values", {"nan": True}, {}),
        (VolumeFileError, r"l\.mha' is truncated or damaged", {}, {"truncated": True}),
    ],
)
def test_bad_case_leaves_no_image(make, save, ct, labels, tmp_path, error, message, image, label):
    if "number" in label:
        labels[labels > 0] = label.pop("number")
    is_truncated = label.pop("truncated", False)
    if image.pop("nan", False):
        ct = ct.astype(np.float32)
        ct[0, 0, 0] = np.nan
    if image.pop("cut", False):
        ct = ct[1:]
    picture, file = save(ct, tmp_path / "a.mha", **image), save(labels, tmp_path / "l.mha", **label)
    if is_truncated:
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(error, match=message):
        make(picture, file)
    assert not list(tmp_path.glob("abbc/imagesTr/*"))


def test_failure_on_overwriting_takes_the_old_image_out(make, save, ct, labels, tmp_path):
    image, file = save(ct, tmp_path / "a.mha"), save(labels, tmp_path / "l.mha")
    target, _ = make(image, file)
    save(labels[1:], file)
    with pytest.raises(GridError):
        make(image, file, overwrite=True)
    assert target.finished("Tr") == ()
    assert image.exists()


def test_label_outside_of_the_classes(make, save, ct, labels, tmp_path):
    labels[labels == 1] = 7
    with pytest.raises(SchemeError, match=r"l\.mha': labels 7 are in no class \(bone 11/12, eyes 1\); .*--classes"):
        make(save(ct, tmp_path / "a.mha"), save(labels, tmp_path / "l.mha"), "semantic")


@pytest.mark.parametrize(("how", "done"), [("link", "linked"), ("copy", "copied"), ("symlink", "symlinked")])
def test_transfer(tmp_path, how, done):
    source, target = tmp_path / "a", tmp_path / "new" / "b"
    source.write_bytes(b"123")
    for _ in range(2):
        assert transfer(source, target, how) == done
        assert target.read_bytes() == b"123"
        assert [path.name for path in target.parent.iterdir()] == ["b"]
        assert source.stat().st_nlink == (2 if how == "link" else 1)
    assert target.is_symlink() == (how == "symlink")


def test_link_becomes_a_copy_where_it_is_impossible(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"123")

    def fail(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    assert transfer(tmp_path / "a", tmp_path / "b", "link") == "copied"
    assert (tmp_path / "b").read_bytes() == b"123"


def test_files_with_their_voxels_elsewhere_are_not_used_as_they_are(tmp_path):
    write_volume(Volume(np.zeros((2, 2, 2), np.int16), (1.0, 1.0, 1.0)), tmp_path / "a.nrrd")
    assert is_usable_as_is(tmp_path / "a.nrrd", ".nrrd")
    assert not is_usable_as_is(tmp_path / "a.nrrd", ".mha")
    (tmp_path / "b.nrrd").write_bytes(b"NRRD0004\ndimension: 3\ndata file: b.raw\n\n")
    assert not is_usable_as_is(tmp_path / "b.nrrd", ".nrrd")
    (tmp_path / "c.mha").write_bytes(b"ObjectType = Image\nElementDataFile = c.raw\n")
    assert not is_usable_as_is(tmp_path / "c.mha", ".mha")


def test_moving_between_training_and_testing(make, save, ct, labels, tmp_path):
    image, file = save(ct, tmp_path / "a.mha"), save(labels, tmp_path / "l.mha")
    target, _ = make(image, file, part="Tr")
    make(image, file, part="Ts")
    assert target.settle("a", "Ts")
    assert (target.finished("Tr"), target.finished("Ts")) == ((), ("a",))
    assert not target.settle("a", "Ts")
