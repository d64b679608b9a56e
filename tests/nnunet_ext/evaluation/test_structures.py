import csv
import json

import numpy as np
import pytest

from label_gen.errors import DataError, UsageError
from nnunet_ext.evaluation.structure_choice import StructureChoice, choose_structures, find_regions
from nnunet_ext.evaluation.structures import evaluate_structures
from nnunet_ext.evaluation.tables import format_structures
from postproc.slice_scores import score_slices
from postproc.structure_scores import end_slices, score_structure

SPACING = (1.5, 0.8, 0.9)


@pytest.fixture
def bones():
    """A femur of two labels, a tibia, and a voxel of something else (z, y, x)."""
    array = np.zeros((16, 12, 14), np.uint8)
    array[1:8, 2:9, 3:9] = 1
    array[8:13, 4:8, 4:8] = 2
    array[13:16, 3:9, 3:9] = 3
    array[0, 0, 0] = 9
    return array


@pytest.fixture
def cohort(save, bones, tmp_path):
    """Two predictions: one as it should be, one shifted without the tibia."""
    shifted = np.where(np.roll(bones, 1, 2) == 3, 0, np.roll(bones, 1, 2))
    for name, prediction in (("a", bones), ("b", shifted)):
        save(prediction, tmp_path / "pred" / f"{name}.mha")
        save(bones, tmp_path / "ref" / f"{name}.nii.gz")
    return tmp_path / "pred", tmp_path / "ref", shifted


def test_files_in_scores_out(cohort, bones, save, tmp_path):
    prediction, reference, shifted = cohort
    head = np.zeros_like(bones)
    head[:5] = 1
    for name in ("a", "b"):
        save(head, tmp_path / "heads" / f"{name}.nii.gz")
    found = evaluate_structures(
        prediction,
        reference,
        tmp_path / "out" / "scores.json",
        structures={"femur": (1, 2), "tibia": 3},
        regions={"head": tmp_path / "heads"},
        end_slices=3,
    )
    assert found.batch.exit_status == 0
    text = (tmp_path / "out" / "scores.json").read_text()
    content = json.loads(text)
    assert str(tmp_path) not in text
    assert (content["command"], content["kind"]) == ("abbc-evaluate", "structures")
    assert content["settings"] == {
        "structures": {"femur": [1, 2], "tibia": [3]},
        "ignore_label": None,
        "regions": ["head"],
        "end_slices": 3,
        "slice_axis": 0,
    }
    perfect = content["cases"]["a"]["structures"]["femur"]
    assert perfect["volume"]["dice"] == perfect["slices"]["dice"] == perfect["regions"]["head"]["volume"]["dice"] == 1
    assert perfect["volume"]["hd95_mm"] == perfect["volume"]["abs_surface_p95_mm"] == 0
    assert list(perfect["regions"]) == ["head", "first_end", "last_end", "ends", "between"]

    masks = np.isin(shifted, (1, 2)), np.isin(bones, (1, 2))
    own = content["cases"]["b"]["structures"]["femur"]
    regions = {"head": head > 0, "first_end": end_slices(masks[1], 3), "last_end": end_slices(masks[1], 3, end="last")}
    regions["ends"] = regions["first_end"] | regions["last_end"]
    regions["between"] = end_slices(masks[1], 99) & ~regions["ends"]
    for name, region in (("", None), *regions.items()):
        entry = own["regions"][name] if name else own
        scores, slices = score_structure(*masks, SPACING, region=region), score_slices(*masks, SPACING, region=region)
        for key, value in entry["volume"].items():
            assert value == pytest.approx(getattr(scores, key), rel=1e-6), (name, key)
        for key, value in slices.means().items():
            assert entry["slices"][key] == pytest.approx(value, rel=1e-6), (name, key)
        assert (entry["slices"]["n"], entry["slices"]["n_one_sided"]) == (len(slices.index), 0)

    lost = content["cases"]["b"]["structures"]["tibia"]
    assert lost["volume"]["dice"] == 0
    assert lost["volume"]["asd_mm"] is lost["volume"]["signed_surface_p95_mm"] is None
    assert {"volume.asd_mm", "volume.hd95_mm", "volume.abs_surface_p95_mm"} <= set(lost["infinite"])
    assert lost["slices"]["n"] == lost["slices"]["n_one_sided"] == 3
    assert lost["regions"]["head"]["volume"]["dice"] is None

    summary = content["summary"]["femur"]
    both = [content["cases"][name]["structures"]["femur"]["volume"]["dice"] for name in "ab"]
    assert summary["cases"] == 2
    assert summary["volume"]["dice"]["mean"] == pytest.approx(np.mean(both))
    assert summary["volume"]["dice"]["sd"] == pytest.approx(np.std(both, ddof=1))
    assert summary["pooled_slices"]["dice"]["n"] == 24
    assert summary["slices"]["dice"]["n"] == 2
    assert content["summary"]["tibia"]["volume"]["asd_mm"]["infinite"] == 1
    assert set(summary["regions"]) == set(own["regions"])

    lines = format_structures(found.content).splitlines()
    assert lines[0].split()[:4] == ["structure", "case", "Dice", "IoU"]
    assert lines[2].split()[:3] == ["femur", "a", "1.000"]
    assert [line.split()[1] for line in lines[4:8]] == ["mean", "sd", "median", "mean"]
    assert any(line.split()[:2] == ["femur", "head"] for line in lines)
    (tibia,) = (line.split() for line in lines if line.split()[:2] == ["tibia", "b"])
    assert tibia[2:] == ["0.000", "0.000", "0.000", "1.000", "0.000", "inf", "inf", "inf", "inf", "-", "-"]


def test_all_labels_and_tables(cohort, tmp_path):
    prediction, reference, _ = cohort
    found = evaluate_structures(prediction, reference, tmp_path, csv=tmp_path / "s.csv", slice_axis=2)
    assert list(found.content["cases"]["a"]["structures"]) == ["1", "2", "3", "9"]
    assert found.content["settings"]["structures"] == "all"
    with (tmp_path / "s.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["structure"]) for row in rows] == [(case, label) for case in "ab" for label in "1239"]
    by_name = {(row["case"], row["structure"]): row for row in rows}
    assert by_name["b", "3"]["asd_mm"] == "inf"
    assert by_name["b", "3"]["signed_surface_p95_mm"] == ""
    own = found.content["cases"]["b"]["structures"]["1"]
    assert float(by_name["b", "1"]["slices_dice"]) == own["slices"]["dice"]
    with (tmp_path / "s_slices.csv").open(newline="") as stream:
        slices = [row for row in csv.DictReader(stream) if (row["case"], row["structure"]) == ("b", "1")]
    assert [int(row["slice"]) for row in slices] == list(range(3, 10))
    assert np.mean([float(row["dice"]) for row in slices]) == pytest.approx(own["slices"]["dice"])


def test_same_scores_whatever_the_workers(cohort, tmp_path):
    prediction, reference, _ = cohort
    for workers in (1, 2):
        evaluate_structures(prediction, reference, tmp_path / f"{workers}.json", structures="f=1+2", workers=workers)
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_what_is_wrong_with_a_case_is_told(cohort, bones, save, tmp_path):
    prediction, reference, _ = cohort
    save(bones[:-1], tmp_path / "ref" / "c.nii.gz")
    save(bones, tmp_path / "pred" / "c.mha")
    save(bones, tmp_path / "ref" / "d.nii.gz")
    for name in "abd":
        save(bones, tmp_path / "parts" / f"{name}.nii.gz")
    save(bones[:, :-1], tmp_path / "parts" / "b.nii.gz")
    found = evaluate_structures(
        prediction, reference, tmp_path, structures="femur=1,x=77", regions={"part": tmp_path / "parts"}
    )
    cases = found.content["cases"]
    assert cases["a"]["status"] == "done"
    assert "on different grids" in cases["b"]["error"]
    assert "no mask of this name for region part; add it, or leave the region out" in cases["c"]["error"]
    assert "no prediction of this name" in cases["d"]["error"]
    assert found.batch.notes == ("structure x (label 77) is in no volume; check its number",)
    assert found.batch.exit_status == 1
    assert "failed" in format_structures(found.content)
    assert str(tmp_path) not in (tmp_path / "scores.json").read_text()


def test_one_mask_for_all_cases_and_voxels_to_ignore(cohort, bones, save, tmp_path):
    _, _, shifted = cohort
    truth = np.where(bones == 9, 0, bones)
    truth[:, :, 10:] = 4
    where = truth != 4
    paths = save(shifted, tmp_path / "p.mha"), save(truth, tmp_path / "r.mha")
    dataset = {"labels": {"background": 0, "upper leg": [1, 2], "tibia": 3, "ignore": 4}}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    found = evaluate_structures(
        *paths,
        tmp_path,
        structures=tmp_path / "dataset.json",
        regions={"half": paths[1]},
    )
    own = found.content["cases"]["r"]["structures"]
    assert list(own) == ["upper_leg", "tibia"]
    masks = np.isin(shifted, (1, 2)), np.isin(truth, (1, 2))
    expected = score_structure(*masks, SPACING, region=where)
    assert own["upper_leg"]["volume"]["dice"] == pytest.approx(expected.dice)
    assert own["upper_leg"]["volume"]["prediction_mm3"] == pytest.approx(expected.prediction_mm3)
    assert own["upper_leg"]["regions"]["half"]["volume"]["sensitivity"] == pytest.approx(expected.sensitivity)


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("all", None),
        ("femur=1", {"femur": (1,)}),
        ("femur=1,leg=2+1", {"femur": (1,), "leg": (1, 2)}),
        ({"femur": 3, "leg": [4, 4, 1]}, {"femur": (3,), "leg": (1, 4)}),
    ],
)
def test_choice(words, labels):
    assert choose_structures(words) == StructureChoice(labels)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("femur", r"'femur' names no structure; expected all, NAME=LABEL"),
        ("femur=1,", r"'' names no structure"),
        ("femur=x", r"'femur=x' names no structure"),
        ("femur=0", r"labels of structure 'femur' are \[0\]; whole numbers from 1 upward"),
        ("a=1,a=2", r"'a' is named twice"),
        ("=1", r"'' is no name of a structure"),
        ("a/b=1", r"'a/b' is no name of a structure"),
        ({}, r"no structure is named"),
        ({"a": 1.5}, r"labels of structure 'a' are 1.5"),
        ({"a": []}, r"labels of structure 'a' are \[\]"),
        ("no/such.json", r"there is no file 'no/such.json'"),
    ],
)
def test_bad_choice(words, message):
    with pytest.raises(UsageError, match=message):
        choose_structures(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"d.json' is no JSON file"),
        ("[]", r"d.json' has no table 'labels'"),
        ('{"labels": {}}', r"d.json' has no table 'labels'"),
        ('{"labels": {"background": 0}}', r"d.json': no structure is named"),
        ('{"labels": {"a": "1"}}', r"d.json': the labels of structure 'a' are '1'"),
    ],
)
def test_bad_dataset_json(tmp_path, text, message):
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(DataError, match=message):
        choose_structures(tmp_path / "d.json")


def test_regions_need_a_name_of_their_own(tmp_path):
    for name in ("", "a b", "ends", "slices"):
        with pytest.raises(UsageError, match=rf"a region cannot be named '{name}'"):
            find_regions({name: tmp_path}, ["a"])
    with pytest.raises(UsageError, match=r"there is no file or folder"):
        find_regions({"head": tmp_path / "no"}, ["a"])


def test_bad_options(cohort, tmp_path):
    prediction, reference, _ = cohort
    with pytest.raises(UsageError, match=r"slice axis is 3; give 0, 1 or 2"):
        evaluate_structures(prediction, reference, tmp_path, slice_axis=3)
    with pytest.raises(UsageError, match=r"number of end slices is 0; give 1 or more"):
        evaluate_structures(prediction, reference, tmp_path, end_slices=0)
