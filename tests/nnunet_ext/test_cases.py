from pathlib import Path

import pytest

from label_gen.errors import UsageError
from nnunet_ext.cases import Case, check_output, find_cases, output_path, pair_cases, split_suffix


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_bytes(b"")
        return tmp_path / "in"

    return make


def found(source, **options):
    return {case.name: case.path.name for case in find_cases(source, **options)}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.nii.gz", ("a", ".nii.gz")),
        ("a.b.NII.GZ", ("a.b", ".nii.gz")),
        ("a.nii", ("a", ".nii")),
        ("a.npz", ("a", ".npz")),
        ("a.gz", ("a.gz", "")),
        (".mha", (".mha", "")),
    ],
)
def test_split_suffix(name, parts):
    assert split_suffix(name) == parts


def test_folder_of_volumes(folder):
    source = folder(
        *("b.mha", "a.nii.gz", "c_0000.nrrd", "d.1.nii", "dataset.json", "plans.json", "a.pkl", "a.npz", "notes.txt"),
        *(".hidden.nii.gz", ".12-0123abcd.tmp.e.nii.gz", "audit/f.nii.gz"),
    )
    assert found(source) == {"a": "a.nii.gz", "b": "b.mha", "c": "c_0000.nrrd", "d.1": "d.1.nii"}


def test_numbered_series_keep_their_numbers(folder):
    source = folder("pelvis_0000.nii.gz", "pelvis_0001.nii.gz", "x_0000.nii.gz")
    assert list(found(source)) == ["pelvis_0000", "pelvis_0001", "x"]


def test_prediction_folder_of_nnunet(folder):
    source = folder("a.npz", "a.nii.gz", "a.pkl", "b.nii.gz", "dataset.json")
    assert found(source, prefers_probabilities=True) == {"a": "a.npz", "b": "b.nii.gz"}
    assert found(source) == {"a": "a.nii.gz", "b": "b.nii.gz"}


def test_single_file_is_given_as_the_user_wrote_it(folder, monkeypatch):
    source = folder("a_0000.nii.gz")
    monkeypatch.chdir(source)
    assert find_cases("a_0000.nii.gz") == (Case("a", Path("a_0000.nii.gz")),)


def test_case_folders_of_abbc_segment(folder):
    source = folder(
        *("b/segmentation.nii.gz", "b/segmentation.seg.nrrd", "b/statistics.json", "b/kept/bones.nii.gz"),
        *("a/segmentation.nii.gz", "unfinished/kept/bones.nii.gz", ".c/segmentation.nii.gz", "abbc-segment.json"),
    )
    assert [(case.name, case.path) for case in find_cases(source)] == [
        (name, source / name / "segmentation.nii.gz") for name in "ab"
    ]
    assert find_cases(source / "b") == (Case("b", source / "b" / "segmentation.nii.gz"),)
    with pytest.raises(UsageError, match="nothing usable in"):
        find_cases(source, prefers_probabilities=True)  # fragments are no ABBC classes
    assert found(source / "a") == {"segmentation": "segmentation.nii.gz"}  # may be anybody's
    assert found(folder("v.nii.gz")) == {"v": "v.nii.gz"}  # volumes beside the folders are the cases


@pytest.mark.parametrize(
    "names", [("a.mha", "a.nii.gz"), ("a.nii.gz", "a_0000.nii.gz"), ("a.nii", "a.nii.gz", "a.npz")]
)
def test_collisions_name_both(folder, names):
    with pytest.raises(
        UsageError, match=rf"'{names[0]}' and '{names[1]}' in '.*in' both give the case name 'a'; rename"
    ):
        find_cases(folder(*names), prefers_probabilities=True)


@pytest.mark.parametrize("name", ["Müller.nii.gz", "a b.nii.gz", "a$.mha"])
def test_unsafe_names(folder, name):
    with pytest.raises(UsageError, match=r"cannot become a case name; rename it with letters"):
        find_cases(folder(name))


def test_nothing_usable(folder):
    source = folder("a.dcm", "b.npz")
    with pytest.raises(
        UsageError, match=r"nothing usable in '.*in': the folder holds no such file; accepted are \.nii\.gz,"
    ):
        find_cases(source)
    with pytest.raises(UsageError, match=r"a\.dcm': the file is of an unknown file type; accepted are .*\.nrrd, \.npz"):
        find_cases(source / "a.dcm", prefers_probabilities=True)
    with pytest.raises(UsageError, match=r"there is no file or folder '.*missing'; check the path"):
        find_cases(source / "missing")


def test_output_path(folder, tmp_path):
    source = folder("a_0000.mha")
    case = Case("a", source / "a_0000.mha")
    assert output_path(case, source, tmp_path / "out") == tmp_path / "out" / "a.nii.gz"
    assert output_path(case, case.path, tmp_path / "out") == tmp_path / "out" / "a.nii.gz"
    assert output_path(case, case.path, tmp_path / "x.nrrd") == tmp_path / "x.nrrd"
    with pytest.raises(UsageError, match=r"is a folder but the output '.*x.nrrd' names a file"):
        output_path(case, source, tmp_path / "x.nrrd")


def test_output_inside_input(folder, tmp_path, monkeypatch):
    source = folder("a.mha")
    check_output(tmp_path / "out", source, None)
    check_output(tmp_path, source)
    check_output(source / "b.mha", source / "a.mha")
    (tmp_path / "link").symlink_to(source)
    monkeypatch.chdir(source)
    for output in (source, source / "deep" / "er", source / ".." / "in", tmp_path / "link" / "x", "out"):
        with pytest.raises(UsageError, match=r"is inside the input '.*in', or is the same; choose another output"):
            check_output(output, source)
    with pytest.raises(UsageError, match=r"is inside the input '.*a\.mha'"):
        check_output("a.mha", source / "a.mha")


def test_pairs(folder, tmp_path):
    first = folder("a.mha", "b.mha")
    second = tmp_path / "second"
    second.mkdir()
    for name in ("a_0000.nii.gz", "c.mha"):
        (second / name).write_bytes(b"")
    pairs = pair_cases(first, second, find_cases(first), find_cases(second))
    assert [(case.name, path.name) for case, path in pairs.pairs] == [("a", "a_0000.nii.gz")]
    assert [case.name for case in pairs.surplus] == ["c"]
    single = pair_cases(first / "a.mha", second / "c.mha", find_cases(first / "a.mha"), find_cases(second / "c.mha"))
    assert single.pairs[0][1].name == "c.mha"
    by_name = pair_cases(first / "a.mha", second, find_cases(first / "a.mha"), find_cases(second))
    assert by_name.surplus == ()
    with pytest.raises(UsageError, match=r"is a folder but '.*c.mha' is a single file; give two folders or two files"):
        pair_cases(first, second / "c.mha", find_cases(first), find_cases(second / "c.mha"))
    with pytest.raises(UsageError, match=r"no case of '.*b\.mha' \(b\) has a partner .* in '.*second' \(a, c\)"):
        pair_cases(first / "b.mha", second, find_cases(first / "b.mha"), find_cases(second))
