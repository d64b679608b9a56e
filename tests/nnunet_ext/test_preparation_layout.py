import re

import pytest

from label_gen.errors import UsageError
from nnunet_ext.preparation.layout import find_source_cases, layouts_of_options
from nnunet_ext.recipes import Layout, load_recipe


@pytest.fixture
def tree(tmp_path):
    """Make empty files below a source folder."""

    def make(*names):
        for name in names:
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "source"

    return make


def found(source, recipe):
    layouts = load_recipe(recipe).layouts if isinstance(recipe, str) else recipe
    cases = find_source_cases(source, layouts).cases
    return {case.name: tuple(str(p.relative_to(source)) for p in (case.image, case.labels) if p) for case in cases}


PENGWIN24 = "PENGWIN_CT_train_{}/{}.mha"
PENGWIN26 = "PENGWIN26_task1_2_train_part{}/{}/{}.mha"


@pytest.mark.parametrize("nested", ["", "unpacked/PENGWIN/"])
def test_pengwin2024(tree, nested):
    source = tree(
        *(nested + PENGWIN24.format(*parts) for parts in (("images_part1", "001"), ("images_part2", "051"))),
        *(nested + PENGWIN24.format("labels", case) for case in ("001", "051")),
    )
    assert list(found(source, "pengwin2024")) == ["001", "051"]
    assert found(source, "pengwin2024")["051"][0].endswith("PENGWIN_CT_train_images_part2/051.mha")


def test_pengwin2026(tree):
    files = [
        PENGWIN26.format(part, case, what) for part, case in ((1, "001"), (3, "251")) for what in ("image", "label")
    ]
    source = tree(*files, "PENGWIN26_task2_train_clicks/center_of_mass/001/peripelvic-fragment-clicks.json")
    assert found(source, "pengwin2026") == {"001": tuple(files[:2]), "251": tuple(files[2:])}
    assert list(found(source / "PENGWIN26_task1_2_train_part3", "pengwin2026")) == ["251"]


@pytest.mark.parametrize(
    ("recipe", "image", "label", "case"),
    [
        ("pengwin2024", "images/7.mha", "labels/7.mha", "7"),
        ("pengwin2026", "imagesTr/7_0000.nii.gz", "labelsTr/7.nii.gz", "7"),
        ("femur_rizzoli", "Images/L442_ct.nrrd", "GoldStandard/L442_mask.nrrd", "L442"),
        ("femur_rizzoli", "NewPatients/Images/L442.nrrd", "NewPatients/GoldStandard/L442.nrrd", "L442"),
        ("femur_rizzoli", "images/a.nrrd", "masks/a.nrrd", "a"),
        ("femur_dallara", "images/F7L_fall.nrrd", "labels/F7L_fall.nrrd", "F7L_fall"),
        ("femur_dallara", "data/images/10_L_fall.nrrd", "data/labels/10_L_fall.nrrd", "10_L_fall"),
        ("femur_dallara", "images/1L.nrrd", "labels/1L.seg.nrrd", "1L"),
        ("ekman", "images/p.nii.gz", "masks/p.nii", "p"),
        ("folder", "IMAGES/p.nrrd", "Labels/p.NII.GZ", "p"),
        ("folder", "images/p_0000.nii.gz", "labels/p.nii.gz", "p"),
        ("folder", "x/p/image.mha", "x/p/label.mha", "p"),
    ],
)
def test_layouts_of_the_recipes(tree, recipe, image, label, case):
    assert found(tree(image, label, "notes.txt"), recipe) == {case: (image, label)}


def test_layout_with_most_pairs_is_taken(tree):
    source = tree("images/a.mha", "labels/a.mha", "imagesTr/b_0000.mha", "imagesTr/c_0000.mha", "labelsTr/b.mha",
                  "labelsTr/c.mha")  # fmt: skip
    assert list(found(source, "folder")) == ["b", "c"]


def test_places_given_by_options(tree, tmp_path):
    source = tree("ct/a_0000.mha", "seg/a.mha", "ct/b.mha")
    assert list(found(source, layouts_of_options("ct", "seg/"))) == ["a"]
    assert list(found(source / "ct", layouts_of_options(".", "../seg"))) == ["a"]
    assert list(found(tmp_path, layouts_of_options(str(source / "ct"), f"{source}/seg/{{case}}"))) == ["a"]
    assert layouts_of_options("ct/{case}_x", "seg") == (Layout("ct/{case}_x", "seg/{case}"),)


def test_partners_that_are_missing_or_double(tree):
    source = tree("images/a.mha", "images/b.mha", "images/b.nrrd", "images/c.mha", "labels/a.mha", "labels/b.mha",
                  "labels/d.mha", "images/.a.mha")  # fmt: skip
    result = find_source_cases(source, load_recipe("folder").layouts)
    problems = {case.name: case.problem for case in result.cases}
    assert problems["a"] == ""
    assert re.search(r"it is there twice: .*b\.mha, .*b\.nrrd; keep one", problems["b"])
    assert re.search(r"c\.mha' has no labels", problems["c"])
    assert result.notes == ("labels without an image are left out: d",)


def test_nothing_found_says_what_was_looked_for(tree, tmp_path):
    source = tree("images/a.mha", "PENGWIN_CT_train_labels.zip")
    with pytest.raises(UsageError, match=r"no pair .* looked for images/\{case\} with labels/\{case\};.* seen there: "
                       r"a\.mha; unpack PENGWIN_CT_train_labels\.zip first"):  # fmt: skip
        found(source, "folder")
    with pytest.raises(UsageError, match=r"does not exist; check the path"):
        found(tmp_path / "no", "folder")
    with pytest.raises(UsageError, match=r"is a file; unpack it"):
        found(source / "PENGWIN_CT_train_labels.zip", "folder")


def test_unsafe_names(tree):
    with pytest.raises(UsageError, match=r"cannot become a case name \('Jörg 1'\)"):
        found(tree("images/Jörg 1.mha", "labels/Jörg 1.mha"), "folder")


def test_links_to_folders_are_followed_once_and_raw_is_passed_over(tree, tmp_path):
    source = tree("images/a.mha", "labels/a.mha", "raw/imagesTr/b_0000.mha", "raw/imagesTr/c_0000.mha",
                  "raw/labelsTr/b.mha", "raw/labelsTr/c.mha")  # fmt: skip
    (source / "images" / "again").symlink_to(source)
    layouts = (Layout("**/imagesTr/{case}_0000", "**/labelsTr/{case}"), *load_recipe("folder").layouts)
    assert list(found(source, layouts)) == ["b", "c"]
    result = find_source_cases(source, layouts, without=source / "raw")
    assert [case.name for case in result.cases] == ["a"]
