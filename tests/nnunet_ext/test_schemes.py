import pytest

from label_gen.errors import SchemeError
from nnunet_ext.schemes import list_schemes, load_scheme

GOOD = """
name = "mine"
[abbc]
background = 0
border = 3
boundary = 1
core = 2
[anatomy]
tibia = 1
[[bones]]
name = "tibia"
ids = [1, 9]
colour = "#0a0B0c"
snomed = { type = "1" }
"""


def test_all_shipped_schemes_load():
    assert set(list_schemes()) >= {"pengwin2024", "pengwin2026", "free"}
    for name in list_schemes():
        assert load_scheme(name).name == name


def test_pengwin2024_bands_and_anatomy():
    scheme = load_scheme("pengwin2024")
    assert [(b.name, b.first_id, b.last_id) for b in scheme.bones] == [
        ("sacrum", 1, 10),
        ("left_hip", 11, 20),
        ("right_hip", 21, 30),
    ]
    assert scheme.anatomy["right_femur"] == 5
    assert scheme.abbc == ("background", "boundary", "core", "border")


def test_own_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    scheme = load_scheme(file)
    assert scheme.abbc == ("background", "boundary", "core", "border")
    assert scheme.bone("tibia").colour == (10, 11, 12)
    assert scheme.bone("tibia").snomed == {"type": "1"}


def test_unknown_name_lists_the_known():
    with pytest.raises(SchemeError, match=r"unknown scheme 'pengwin2025'; known are free, pengwin2024, pengwin2026"):
        load_scheme("pengwin2025")


def test_missing_file(tmp_path):
    with pytest.raises(SchemeError, match=r"cannot read the scheme file .*no\.toml.*check the path"):
        load_scheme(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"\n', "", r"'mine.toml': 'name' is missing; add it"),
        ('name = "mine"', 'name = "mine', r"'mine.toml' is no valid TOML: .*line 2"),
        ("ids = [1, 9]", "ids = [1]", r"'ids' of \[\[bones\]\] number 1 is \[1\]; write the band as"),
        ("ids = [1, 9]\n", "", r"'ids' is missing in \[\[bones\]\] number 1"),
        ("ids = [1, 9]", "ids = [9, 1]", r"'mine.toml': scheme 'mine': the band 9-1"),
        ("core = 2", "core = 4", r"\[abbc\] numbers its classes \[0, 1, 3, 4\]; it needs four names"),
        ("core = 2", "core = 1", r"two names in \[abbc\] have the same number"),
        ("tibia = 1", 'tibia = "1"', r"'tibia' in \[anatomy\] is '1'; a number is expected"),
        ("#0a0B0c", "red", r"'colour' of \[\[bones\]\] number 1 is 'red'; write it as"),
        ('{ type = "1" }', '"1"', r"'snomed' in \[\[bones\]\] number 1 is '1'; a table is expected"),
        ("tibia = 1", "femur = 1", r"bone 'tibia' has no number in the anatomy table"),
    ],
)
def test_wrong_file_names_file_key_and_cure(tmp_path, old, new, message):
    assert old in GOOD
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(SchemeError, match=message):
        load_scheme(file)
