import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_gen.errors import UsageError
from nnunet_ext.preparation.splits import make_folds, patients_of, read_names, select_cases
from nnunet_ext.recipes import load_recipe
from tests.volumes import fixed

DONORS = {f"{donor}{side}": str(donor) for donor in range(1, 9) for side in "LR"}


@pytest.mark.parametrize(
    ("recipe", "name", "patient"),
    [
        ("femur_dallara", "F7L_fall", "F7"),
        ("femur_dallara", "F7R_fall", "F7"),
        ("femur_dallara", "10_L_fall", "10"),
        ("femur_dallara", "10R_fall", "10"),
        ("femur_dallara", "donor03_right", "donor03"),
        ("femur_dallara", "left_12", "12"),
        ("femur_rizzoli", "L442", "442"),
        ("femur_rizzoli", "R442_x", "442"),
        ("pengwin2024", "001", "001"),
    ],
)
def test_patients_in_names(recipe, name, patient):
    assert patients_of([name], load_recipe(recipe).patient) == ({name: patient}, ())


def test_names_that_tell_no_patient_are_reported():
    assert patients_of(["femur_01", "1L"], load_recipe("femur_dallara").patient) == (
        {"femur_01": "femur_01", "1L": "1"},
        ("femur_01",),
    )


@fixed(60)
@given(st.dictionaries(st.text("abc", min_size=1), st.integers(0, 9), min_size=1), st.integers(2, 7), st.integers(0, 9))
def test_folds_keep_patients_together_and_use_every_case_once(numbers, folds, seed):
    patients = {name: str(number) for name, number in numbers.items()}
    splits = make_folds(patients, folds, seed)
    groups = set(patients.values())
    if len(groups) == 1:
        assert splits == [{"train": sorted(patients), "val": sorted(patients)}]
        return
    assert len(splits) == min(folds, len(groups))
    assert sorted(name for fold in splits for name in fold["val"]) == sorted(patients)
    for fold in splits:
        assert sorted(fold["train"] + fold["val"]) == sorted(patients)
        assert fold["train"]
        assert fold["val"]
        assert not {patients[name] for name in fold["train"]} & {patients[name] for name in fold["val"]}
    assert splits == make_folds(dict(reversed(patients.items())), folds, seed)


def test_folds_are_even_and_follow_the_seed():
    splits = make_folds(DONORS, 4, 0)
    assert [len(fold["val"]) for fold in splits] == [4, 4, 4, 4]
    assert splits != make_folds(DONORS, 4, 1)
    with pytest.raises(UsageError, match=r"1 folds are wanted; .* 2 or more"):
        make_folds(DONORS, 1, 0)


def test_fewer_cases_are_among_more():
    drawn = [set(select_cases(DONORS, number=n, test=["1L", "1R"], seed=3)) - {"1L", "1R"} for n in (1, 3, 6, 14, 99)]
    assert [len(names) for names in drawn] == [1, 3, 6, 14, 14]
    assert all(few <= more for few, more in itertools.pairwise(drawn))
    assert drawn[1] != set(select_cases(DONORS, number=3, test=["1L", "1R"], seed=4)) - {"1L", "1R"}


def test_training_and_testing_share_no_patient():
    assert select_cases(DONORS, cases=["2L"], test=["1L"]) == {"1L": "Ts", "2L": "Tr"}
    with pytest.raises(UsageError, match=r"patient 1 would be in training and in testing; add 1R to --test"):
        select_cases(DONORS, test=["1L"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cases": ["9L"]},
            r"there is no case 9L \(--cases\); the source has 1L, 1R, 2L, 2R, 3L, \.\.\. \(16 in all\)",
        ),
        ({"test": list(DONORS)}, r"no case is left to train on"),
        ({"number": 0}, r"the number of cases is 0; 1 or more"),
    ],
)
def test_wrong_choice(options, message):
    with pytest.raises(UsageError, match=message):
        select_cases(DONORS, **options)


def test_names_from_files(tmp_path):
    file = tmp_path / "test.txt"
    file.write_text("a\n\n b \n")
    assert read_names([str(file), "c", "a"], "--test") == ("a", "b", "c")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"cannot read .*test\.txt' as a list of case names, one per line \(--test\)"):
        read_names([str(file)], "--test")
