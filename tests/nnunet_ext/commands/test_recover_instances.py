import json

import numpy as np
import pytest

from label_gen.errors import UsageError
from nnunet_ext.commands.recover_instances import describe_remarks, recover_instances
from nnunet_ext.volumes import read_volume


def same_fragments(found, labels):
    """Tell whether two label volumes have the same fragments, whatever their numbers."""
    pairs = set(zip(found.ravel().tolist(), labels.ravel().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize("engine", ["fmm", "watershed"])
def test_file_with_anatomy(call, save, labels, classes, anatomy, tmp_path, oblique, engine):
    source, bones = save(classes, tmp_path / "abbc.nii.gz"), save(anatomy, tmp_path / "anatomy.mha")
    out = tmp_path / "out" / "fragments.mha"
    status, _, err = call("recover", "-i", source, "-a", bones, "-o", out, "--engine", engine)
    assert status == 0, err
    volume = read_volume(out)
    assert same_fragments(volume.array, labels)
    assert set(np.unique(volume.array)) == {0, 1, 11, 12}
    assert volume.direction == pytest.approx(oblique, abs=1e-6)
    assert volume.origin == pytest.approx((-101.5, 20.25, 7.125))
    manifest = json.loads((tmp_path / "out" / "abbc-recover-instances.json").read_text())
    assert manifest["settings"] == {"scheme": "pengwin2024", "engine": engine, "anatomy": True}
    details = manifest["cases"]["abbc"]["details"]
    assert [fragment["fragment_id"] for fragment in details["fragments"]] == [1, 11, 12]
    assert {"events", "warnings"} <= set(details)


def test_without_anatomy(call, save, labels, classes, tmp_path):
    status, _, err = call("recover", "-i", save(classes, tmp_path / "a.mha"), "-o", tmp_path / "out")
    assert status == 0, err
    assert "note: without anatomy (-a) fragments are numbered by size, not in the bands of scheme 'pengwin2024'" in err
    found = read_volume(tmp_path / "out" / "a.nii.gz").array
    assert same_fragments(found, labels)
    assert set(np.unique(found)) == {0, 1, 2, 3}


@pytest.mark.parametrize("beside", [True, False])
def test_probabilities(call, save, labels, classes, one_hot, anatomy, tmp_path, beside):
    source = tmp_path / "predicted"
    source.mkdir()
    numbers = {"background": 0, "core": 1, "border": 2, "boundary": 3}
    (source / "dataset.json").write_text(json.dumps({"labels": numbers}))
    np.savez_compressed(source / "a.npz", probabilities=one_hot[[0, 2, 3, 1]])
    save(anatomy, tmp_path / "anatomy" / "a_0000.nii.gz")
    if beside:
        save(classes * 0, source / "a.nii.gz")
    status, _, err = call("recover", "-i", source, "-a", tmp_path / "anatomy", "-o", tmp_path / "out")
    assert status == 0, err
    assert same_fragments(read_volume(tmp_path / "out" / "a.nii.gz").array, labels)


def test_cases_without_partner(call, save, classes, anatomy, tmp_path):
    for name in "ab":
        save(classes, tmp_path / "in" / f"{name}.mha")
    for name in "bc":
        save(anatomy, tmp_path / "bones" / f"{name}.mha")
    status, _, err = call("recover", "-i", tmp_path / "in", "-a", tmp_path / "bones", "-o", tmp_path / "out")
    assert status == 1
    assert "error: case a: there is no anatomy of this name in 'bones'; add 'a.nii.gz' to it" in err
    assert "note: anatomy without ABBC classes: c" in err
    assert "1 done, 1 failed" in err
    assert (tmp_path / "out" / "b.nii.gz").exists()


def test_remarks(call, save, classes, anatomy, tmp_path):
    anatomy[5, 5, 20:22] = 3
    source, bones = save(classes, tmp_path / "a.mha"), save(anatomy, tmp_path / "bones.mha")
    err = call("recover", "-i", source, "-a", bones, "-o", tmp_path / "out")[2]
    assert "case a: 1 remark(s), see abbc-recover-instances.json" in err
    err = call("recover", "-i", source, "-a", bones, "-o", tmp_path / "out", "--overwrite", "--verbose")[2]
    assert "case a: right_hip: the anatomy has the bone, the classes show none of it" in err


def test_bone_left_out_is_always_told(call, save, classes, anatomy, tmp_path):
    anatomy[anatomy == 1] = 4  # a femur, which pengwin2024 does not number
    source, bones = save(classes, tmp_path / "a.mha"), save(anatomy, tmp_path / "bones.mha")
    err = call("recover", "-i", source, "-a", bones, "-o", tmp_path / "out")[2]
    assert "case a: left_femur: bone of a kind that has no band in the scheme was left out (1, " in err
    details = {"events": [{"kind": "merged"}, {"kind": "beyond band"}], "warnings": ["one", "two"]}
    assert describe_remarks(details, False) == "two; 1 more remark(s), see abbc-recover-instances.json"
    assert describe_remarks(details, True) == "one; two"


def test_output_in_the_anatomy_folder(call, save, classes, anatomy, tmp_path):
    source, bones = save(classes, tmp_path / "a.mha"), save(anatomy, tmp_path / "bones" / "a.nii.gz")
    status, _, err = call("recover", "-i", source, "-a", bones, "-o", tmp_path / "bones")
    assert (status, "is inside the input" in err) == (2, True)


def test_function_refuses_unknown_engine(tmp_path):
    with pytest.raises(UsageError, match=r"unknown engine 'x'; choose one of fmm, watershed \(--engine\)"):
        recover_instances(tmp_path, tmp_path / "out", engine="x")


def test_no_healing(call, save, labels, classes, anatomy, tmp_path, monkeypatch):
    import postproc
    from postproc.thresholds import DEFAULT_THRESHOLDS, WITHOUT_HEALING

    used = []
    true = postproc.recover_fragments
    monkeypatch.setattr(postproc, "recover_fragments", lambda *a, **k: used.append(k["thresholds"]) or true(*a, **k))
    source, bones = save(classes, tmp_path / "abbc.mha"), save(anatomy, tmp_path / "anatomy.mha")
    for name, more in (("healed", ()), ("bare", ("--no-healing",))):
        assert call("recover", "-i", source, "-a", bones, "-o", tmp_path / name, *more)[0] == 0
    assert used == [DEFAULT_THRESHOLDS, WITHOUT_HEALING]
    settings = json.loads((tmp_path / "bare" / "abbc-recover-instances.json").read_text())["settings"]
    assert settings["healing"] is False
