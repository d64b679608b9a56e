import pytest

from label_gen.errors import UsageError
from nnunet_ext.rules import RuleSet, list_rules, load_rules, match_rules
from postproc import ClassRule

GOOD = """
name = "mine"
[[rules]]
name = "lungs"
n_largest = 2
[[rules]]
name = "trachea"
threshold = 1
touch = "lungs"
fill = false
min_volume_mm3 = 0
"""

TABLE_4 = {
    "skeletal": (50, None, None),
    "orbita": (12.5, 1, None),
    "eyes": (12.5, 2, None),
    "mandible": (50, 1, None),
    "cranium": (50, 1, None),
    "congenital": (25, 1, None),
    "fetal": (50, 1, None),
    "parenchyma": (50, 2, None),
    "trachea": (50, 1, "parenchyma"),
}
"""Ekman 2025, Table 4: percent, n largest, what to touch."""


def test_ekman2025_has_the_numbers_of_the_paper():
    rules = load_rules("ekman2025").rules
    assert {rule.name: (rule.threshold * 100, rule.n_largest, rule.touch) for rule in rules} == TABLE_4
    assert all(rule.fill and rule.min_volume_mm3 == 100.0 for rule in rules)


def test_all_shipped_rules_load():
    assert "ekman2025" in list_rules()
    for name in list_rules():
        loaded = load_rules(name)
        assert loaded.name == name
        assert loaded.description


def test_own_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    trachea = ClassRule("trachea", 1, touch="lungs", fill=False, min_volume_mm3=0)
    assert load_rules(file) == RuleSet("mine", (ClassRule("lungs", n_largest=2), trachea))


def test_unknown_name_and_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"unknown rule 'ekman'; known are ekman2025, or pass a file ending in .toml"):
        load_rules("ekman")
    with pytest.raises(UsageError, match=r"cannot read the rule file '.*no\.toml': .*; check the path, or use one of"):
        load_rules(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"', "name = mine", r"'mine.toml' is no valid TOML: .*line 2"),
        ('name = "mine"', "", r"'mine.toml': 'name' is None; text is expected"),
        ('name = "mine"', 'name = "mine"\nversion = 1', r"it has the unknown key 'version'; known are name, desc"),
        ("[[rules]]", "[[classes]]", r"'mine.toml': 'rules' is None; tables headed \[\[rules\]\] is expected"),
        ("touch", "touches", r"\[\[rules\]\] number 2 has the unknown key 'touches'; known are name, threshold"),
        ('name = "lungs"', "", r"'mine.toml': 'name' is missing in \[\[rules\]\] number 1; add the name of the class"),
        ("threshold = 1", "threshold = 12.5", r"'mine.toml': rule for class 'trachea': threshold must be above 0"),
        ("n_largest = 2", 'n_largest = "2"', r"rule for class 'lungs': n_largest must be .* Got: '2'"),
        ("fill = false", "fill = 0", r"fill must be true or false. Got: 0"),
        ('name = "trachea"', 'name = "Lungs"', r"there are two rules for class 'Lungs'; leave one out"),
    ],
)
def test_wrong_file_names_file_key_and_cure(tmp_path, old, new, message):
    assert old in GOOD
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_rules(file)


def test_rules_of_another_kind(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nrules = ["lungs"]')
    with pytest.raises(UsageError, match=r"\[\[rules\]\] number 1 is 'lungs'; a table headed"):
        load_rules(file)


def matched(numbers, classes=None):
    return match_rules(load_rules("ekman2025"), numbers, classes)


def test_classes_are_found_by_name_whatever_their_case():
    found = matched({"background": 0, "Trachea": 2, "Parenchyma": 1, "heart": 3})
    assert found.rules == (
        ClassRule("Parenchyma", n_largest=2),
        ClassRule("Trachea", n_largest=1, touch="Parenchyma"),
    )
    assert found.unruled == ("heart",)
    assert found.unused == ("skeletal", "orbita", "eyes", "mandible", "cranium", "congenital", "fetal")


def test_classes_of_other_names():
    found = matched({"background": 0, "airway": 1, "lungs": 2}, {"trachea": "airway", "parenchyma": "LUNGS"})
    assert found.rules == (ClassRule("lungs", n_largest=2), ClassRule("airway", n_largest=1, touch="lungs"))
    assert found.unruled == ()


def test_a_mapped_rule_goes_before_the_one_of_the_name():
    assert matched({"mandible": 1}, {"skeletal": "mandible"}).rules == (ClassRule("mandible"),)


def test_contact_with_a_class_without_a_rule():
    rules = RuleSet("mine", (ClassRule("a", touch="b"),))
    assert match_rules(rules, {"a": 1, "B": 2}).rules == (ClassRule("a", touch="B"),)


@pytest.mark.parametrize(
    ("numbers", "classes", "message"),
    [
        (
            {"bone": 1},
            None,
            r"none of the rules 'ekman2025' \(skeletal, .*\) has a class .* bone: say .* --classes RULE=",
        ),
        ({"background": 0}, {"skeletal": "background"}, r"no class 'background' for rule 'skeletal'; it has none"),
        ({"bone": 1}, {"skeletal": "bones"}, r"the data set has no class 'bones' for rule 'skeletal'; it has bone"),
        ({"bone": 1}, {"bony": "bone"}, r"rules 'ekman2025' have none called 'bony'; they have skeletal, orbita"),
        ({"bone": 1}, {"skeletal": "bone", "fetal": "bone"}, r"class 'bone' gets two rules .*; leave 'fetal=bone' out"),
        (
            {"trachea": 1},
            None,
            r"'trachea' demands contact with 'parenchyma', which .* \(it has trachea\); map it with",
        ),
        ({"Eyes": 1, "EYES": 2}, None, "none of the rules"),
    ],
)
def test_rules_without_their_classes(numbers, classes, message):
    with pytest.raises(UsageError, match=message):
        matched(numbers, classes)
