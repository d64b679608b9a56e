import shutil
from pathlib import Path

import pytest

from label_gen.errors import UsageError
from nnunet_ext import package_data, recipes
from nnunet_ext.recipes import TASKS, list_recipes, load_recipe, parse_classes, parse_patient
from nnunet_ext.schemes import load_scheme

GOOD = """
name = "mine"
dataset_name = "Mine"
scheme = "free"
tasks = ["abbc", "semantic"]
patient = ['(?P<patient>\\d+)_.*']
[classes]
bone = [1, 255]
eyes = 2
[groups]
legs = ["bone"]
[[layouts]]
images = "i/{case}"
labels = "l/{case}"
"""
SHIPPED = ("ekman", "femur_dallara", "femur_rizzoli", "folder", "pengwin2024", "pengwin2026", "simulated")


@pytest.fixture
def mine(tmp_path):
    def write(old="", new=""):
        assert old in GOOD
        file = tmp_path / "mine.toml"
        file.write_text(GOOD.replace(old, new, 1))
        return file

    return write


def test_shipped_recipes_load():
    assert list_recipes() == SHIPPED
    for name in SHIPPED:
        recipe = load_recipe(name)
        assert recipe.name == name
        assert set(recipe.tasks) <= set(TASKS)
        for cohort in recipe.cohorts:
            assert load_recipe(name, cohort=cohort).classes
        if recipe.scheme:
            known = {bone.name for bone in load_scheme(recipe.scheme).bones}
            assert {bone for bones in recipe.groups.values() for bone in bones} <= known


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "folder"])
def test_sources_have_a_readme(name):
    readme = Path(recipes.__file__).parents[1] / "datasets" / name / "README.md"
    assert "icence" in readme.read_text(encoding="utf-8")


def test_recipes_of_an_installed_package_are_found(tmp_path, monkeypatch):
    shutil.copytree(Path(recipes.__file__).parents[1] / "datasets", tmp_path / "_datasets")
    monkeypatch.setattr(package_data, "_PACKAGE", tmp_path)
    assert package_data.data_folder("recipes") == tmp_path / "_datasets" / "recipes"
    assert list_recipes() == SHIPPED


def test_own_file(mine):
    recipe = load_recipe(mine())
    assert recipe.classes == {"bone": (1, 255), "eyes": (2,)}
    assert recipe.groups == {"legs": ("bone",)}
    assert (recipe.layouts[0].images, recipe.channel) == ("i/{case}", "CT")


def test_cohorts():
    assert load_recipe("ekman").cohort == "skeletal"
    fetal = load_recipe("ekman", cohort="fetal")
    assert (fetal.channel, fetal.dataset_name, next(iter(fetal.classes))) == ("MR", "EkmanFetal", "fetus")
    with pytest.raises(UsageError, match=r"recipe 'ekman' has no cohort 'knees'; it has skeletal, oculo_cranial"):
        load_recipe("ekman", cohort="knees")


def test_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(UsageError, match=r"unknown recipe 'pengwin'; known are ekman, femur_dallara"):
        load_recipe("pengwin")
    with pytest.raises(UsageError, match=r"cannot read the recipe file .*no\.toml.*check the path"):
        load_recipe(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"\n', "", r"recipe file 'mine.toml': 'name' is missing; add it"),
        ('name = "mine"', 'name = "mine', r"'mine.toml' is no valid TOML: .*line 2"),
        ('name = "mine"', 'nam = "mine"', r"'nam' is unknown; known are channel, classes"),
        ('"abbc", "semantic"', '"abbc", "x"', r"'tasks' is \['abbc', 'x'\]; choose from abbc, anatomy, semantic"),
        ('tasks = ["abbc", "semantic"]', 'tasks = "abbc"', r"'tasks' is 'abbc'; a list of texts is expected"),
        ('scheme = "free"\n', "", r"'scheme' is missing; the tasks abbc and anatomy need one"),
        ("(?P<patient>\\d+)", "(\\d+)", r"no regular expression that finds a patient: it has no group"),
        ("(?P<patient>\\d+)", "(?P<patient>", r"no regular expression that finds a patient: missing \)"),
        ("eyes = 2", "eyes = 0", r"the number of class 'eyes' is 0; whole numbers from 1"),
        ("eyes = 2", "eyes = 1", r"the classes 'bone' and 'eyes' both have the number 1"),
        ("eyes = 2", "background = 2", r"a class cannot be called 'background'"),
        ('labels = "l/{case}"', 'labels = "l"', r"'labels' of \[\[layouts\]\] number 1 is 'l'; it needs \{case\}"),
        ('labels = "l/{case}"', "", r"\[\[layouts\]\] number 1 needs the entries 'images' and 'labels', and may have"),
        ('"Mine"', '"My bones"', r"'dataset_name' is 'My bones'; letters, digits"),
    ],
)
def test_wrong_file_names_file_key_and_cure(mine, old, new, message):
    with pytest.raises(UsageError, match=message):
        load_recipe(mine(old, new))


def test_options_of_the_command_line():
    assert parse_classes(["a", "b=7,8", "c"]) == {"a": (1,), "b": (7, 8), "c": (3,)}
    with pytest.raises(UsageError, match=r"--classes: the number of class 'a' is 'x'"):
        parse_classes(["a=x"])
    with pytest.raises(UsageError, match=r"class 'a' is given twice"):
        parse_classes(["a", "a"])
    assert parse_patient("(?P<patient>.)x") == ("(?P<patient>.)x",)
    with pytest.raises(UsageError, match=r"--patient: '\.x' is no regular expression that finds a patient"):
        parse_patient(".x")
