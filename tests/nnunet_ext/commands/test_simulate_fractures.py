import csv
import inspect
import json
import sys

import numpy as np
import pytest
import SimpleITK

from label_gen.phantom import make_phantom
from label_gen.simulation.settings import FractureKinds, SimulationSettings
from nnunet_ext.commands import prepare_dataset, simulate_fractures
from nnunet_ext.preparation.splits import patients_of
from nnunet_ext.recipes import load_recipe
from nnunet_ext.volumes import Volume, read_volume, write_volume

PARTS = ("sacrum", "left_hip", "right_hip", "left_femur", "right_femur")
KINDS = ("images", "labels", "anatomy", "intact", "motions")
SMALL = ("--spacing", "3", "--field-of-view", "150", "110", "150")


@pytest.fixture(scope="module")
def bones(tmp_path_factory):
    """Bone labels of 3 mm, and a CT that belongs to them."""
    folder = tmp_path_factory.mktemp("bones")
    phantom = make_phantom(3, (3.0, 3.0, 3.0), fragments=dict.fromkeys(PARTS, 1))
    for name, array in (("anatomy", phantom.anatomy), ("ct", phantom.ct)):
        write_volume(Volume(array, phantom.spacing_mm, phantom.origin_mm), folder / name / "pelvis.nii.gz")
    return folder


@pytest.fixture(scope="module")
def made(bones, tmp_path_factory):
    """Two simulated patients: of bone labels, and of a parametric pelvis."""
    out = tmp_path_factory.mktemp("simulated")
    status = simulate_fractures.main(
        ["-i", str(bones / "anatomy"), "--phantom", "-o", str(out), "-n", "2", "--spacing", "3", "--seed", "40",
         "--scheme", "pengwin2026", "--fragments", "left_hip=3", "left_femur=2"]
    )  # fmt: skip
    assert status == 0
    return out


CASES = ("pelvis_00040", "phantom_00041")


def check(result, status, message):
    assert result[0] == status, result[2]
    assert message in result[2]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for kind in KINDS for path in (folder / kind).glob("*")}


@pytest.mark.parametrize("case", CASES)
def test_files_of_a_case(made, case):
    volumes = {kind: read_volume(made / kind / f"{case}.nii.gz") for kind in KINDS[:4]}
    grid = volumes["images"].grid
    assert {volume.grid for volume in volumes.values()} == {grid}
    assert grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert grid.spacing_mm == (3.0, 3.0, 3.0)
    image, labels, anatomy, intact = (volumes[kind].array for kind in KINDS[:4])
    assert image.dtype == np.int16
    assert image[intact > 0].mean() > 150 > -300 > image.min() >= -1024
    assert set(np.unique(anatomy)) == set(np.unique(intact)) == set(range(6))
    for first, numbers in ((1, [1]), (51, [2]), (101, [3]), (151, [4, 5])):
        own = (labels >= first) & (labels < first + 50)
        assert (own == np.isin(anatomy, numbers)).all()
        sizes = np.bincount(labels[own])[first:]
        assert (np.diff(sizes) <= 0).all()
    assert labels[labels > 0].size == (anatomy > 0).sum()
    assert {51, 52, 53} <= set(np.unique(labels))


@pytest.mark.parametrize("case", CASES)
def test_motions_bring_fragments_back(made, case):
    record = json.loads((made / "motions" / f"{case}.json").read_text())
    labels, intact = (read_volume(made / kind / f"{case}.nii.gz") for kind in ("labels", "intact"))
    image = SimpleITK.GetImageFromArray(intact.array)
    image.SetSpacing((3.0, 3.0, 3.0))
    image.SetOrigin(intact.origin)
    numbers = {name: number for number, name in enumerate(PARTS, start=1)}
    assert [found["label"] for found in record["fragments"]] == np.unique(labels.array)[1:].tolist()
    moved = 0
    for fragment in record["fragments"]:
        motion = np.array(fragment["motion"])
        assert motion[:3, :3] @ motion[:3, :3].T == pytest.approx(np.eye(3), abs=1e-6)
        assert np.linalg.det(motion) == pytest.approx(1)
        moved += not np.allclose(motion, np.eye(4))
        index = np.argwhere(labels.array == fragment["label"])
        assert len(index) * 27 == fragment["volume_mm3"]
        found = np.array(labels.origin) + 3.0 * index[:, ::-1]
        rest = (found - motion[:3, 3]) @ motion[:3, :3]
        place = np.rint((rest - np.array(labels.origin)) / 3.0).astype(int)
        place = place[((place >= 0) & (place < image.GetSize())).all(axis=1)]
        back = intact.array[tuple(place[:, ::-1].T)] == numbers[fragment["bone"]]
        assert back.mean() > (0.85 if len(index) > 100 else 0.5), fragment["label"]
    assert moved
    assert record["seed"] == int(case[-5:])
    assert record["source"]["name"] == case[:-6]
    assert record["fragments_wanted"]["left_hip"] == 3
    assert {fracture["bone"] for fracture in record["fractures"]} <= set(PARTS)
    assert record["settings"]["kinds"]["closed"] == 0.62


def test_statistics_beside_the_cases(made, call):
    status, out, err = call("simulate", "--statistics", made, "--scheme", "pengwin2026")
    assert (status, err) == (0, "abbc-simulate-fractures: 2 done\n")
    assert out.splitlines()[0].split() == ["2", "cases", "100", "real", "cases"]
    for word in (
        "a case has on average",
        "left_hip: % with",
        "minor fragments, cm3: median",
        "near surface",
    ):
        assert word in out
    content = json.loads((made / "statistics.json").read_text())
    assert content["real_cases"]["mean_per_case"] == 5.75
    assert content["this_set"]["cases"] == 2
    assert content["this_set"]["shares"]["left_hip"] == [1, 1, 1]
    with (made / "statistics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {"left_femur", "right_femur"} <= set(content["this_set"]["shares"])
    assert "left_femur: % with" in out
    assert content["this_set"]["bones"] == ["sacrum", "left_hip", "right_hip"]
    assert sum("femur" not in row["bone"] for row in rows) == content["this_set"]["fragments"]
    assert {row["case"] for row in rows} == set(CASES)
    assert (made / "statistics.png").read_bytes().startswith(b"\x89PNG")


def test_statistics_of_labels_alone(made, call, tmp_path, save, labels):
    place = tmp_path / "real"
    save(labels, place / "a.mha")
    save(labels * 0, place / "empty.mha")
    status, out, err = call("simulate", "--statistics", place, "-o", tmp_path / "figures")
    assert status == 1
    assert "case empty: " in err
    assert "holds no fragment" in err
    assert "1 cases" in out
    assert "fractures" not in out
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "statistics.csv",
        "statistics.json",
        "statistics.png",
    ]
    check(call("simulate", "--statistics", place, "-i", place), 2, "leave out -i, --ct and --phantom")
    check(call("simulate", "--statistics", tmp_path / "none"), 2, "there is no file or folder")


def test_manifest_and_second_run(made, bones, call):
    text = (made / "abbc-simulate-fractures.json").read_text()
    assert str(made) not in text
    assert str(bones) not in text
    manifest = json.loads(text)
    assert manifest["seed"] == 40
    assert manifest["settings"]["fragments"] == {"left_hip": 3, "left_femur": 2}
    assert [entry["status"] for entry in manifest["cases"].values()] == ["done"] * 2
    assert manifest["cases"]["pelvis_00040"]["details"]["source"] == "pelvis"
    before = contents(made)
    result = call("simulate", "-i", bones / "anatomy", "--phantom", "-o", made, "-n", "2", "--seed", "40", "--spacing",
                  "3", "--scheme", "pengwin2026")  # fmt: skip
    check(result, 0, "abbc-simulate-fractures: 2 skipped")
    check(result, 0, "finished cases made with other settings: pelvis_00040, phantom_00041")
    assert "2 cases" in result[1]
    assert contents(made) == before


@pytest.mark.parametrize(
    ("recipe", "task", "classes"),
    [
        ("simulated", "both", {"background": 0, "sacrum": 1, "left_hip": 2, "right_hip": 3, "left_femur": 4,
                               "right_femur": 5}),
        ("pengwin2026", "both", {"background": 0, "sacrum": 1, "left_hip": 2, "right_hip": 3}),
    ],
)  # fmt: skip
def test_datasets_are_made_of_them(made, tmp_path, monkeypatch, capfd, recipe, task, classes):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    arguments = [recipe, str(made), "-d", "701", "702", "--task", task, "--scheme", "pengwin2026"]
    assert prepare_dataset.main(arguments) == 0, capfd.readouterr().err
    abbc, bones = sorted(tmp_path.iterdir())
    assert len(list((abbc / "fragmentsTr").iterdir())) == 2
    about = json.loads((bones / "dataset.json").read_text())
    assert about["labels"] == classes
    assert about["numTraining"] == 2
    if recipe == "simulated":
        for case in CASES:
            written = read_volume(bones / "labelsTr" / f"{case}.nii.gz").array
            assert (written == read_volume(made / "anatomy" / f"{case}.nii.gz").array).all()


def test_cases_of_one_source_are_one_patient():
    names = ["pelvis_00040", "pelvis_00042", "a_b_100001", "phantom_00001", "phantom_00002"]
    patients, unread = patients_of(names, load_recipe("simulated").patient)
    assert list(patients.values()) == ["pelvis", "pelvis", "a_b", "phantom_00001", "phantom_00002"]
    assert not unread


def run_small(call, bones, out, *more):
    result = call("simulate", "-i", bones / "anatomy", "--phantom", "-o", out, "-n", "2", *SMALL, *more)
    assert result[0] == 0, result[2]
    return contents(out)


@pytest.mark.slow
def test_same_seed_same_bytes(call, bones, tmp_path):
    first = run_small(call, bones, tmp_path / "one")
    assert len(first) == 10
    assert run_small(call, bones, tmp_path / "two", "--workers", "2") == first
    for part in "01":
        run_small(call, bones, tmp_path / "parts", "-num_parts", "2", "-part_id", part)
    assert contents(tmp_path / "parts") == first
    without = run_small(call, bones, tmp_path / "labels", "--no-ct")
    assert len(without) == 8
    assert all(without[name] == first[name] for name in without if not name.startswith("motions"))


@pytest.mark.slow
def test_a_real_ct(call, bones, tmp_path):
    out = tmp_path / "out"
    result = call("simulate", "-i", bones / "anatomy/pelvis.nii.gz", "--ct", bones / "ct/pelvis.nii.gz", "-o", out,
                  "--fragments", "sacrum=2", "left_hip=3", "right_hip=2", "--gallery")  # fmt: skip
    check(result, 0, "1 done")
    assert (out / "gallery.html").exists()
    made, given = (read_volume(path) for path in (out / "images/pelvis_00001.nii.gz", bones / "ct/pelvis.nii.gz"))
    assert made.grid == given.grid
    assert np.mean(made.array == given.array) > 0.3
    assert json.loads((out / "motions/pelvis_00001.json").read_text())["source"]["kind"] == "ct"


def test_defaults_are_those_of_the_simulator():
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(simulate_fractures.simulate_fractures_to_files).parameters.items()
    }
    kinds, settings = FractureKinds(), SimulationSettings()
    assert all(defaults[name] == getattr(kinds, name) for name in ("closed", "opened", "displaced", "impacted"))
    same = {"crack_rate": "cracks", "chip_rate": "chips", "vary_anatomy": "variation"}
    for name in SimulationSettings.__dataclass_fields__:
        if name not in ("kinds", "fragments"):
            assert defaults[same.get(name, name)] == getattr(settings, name), name


BAD = [
    (("--phantom",), "the following arguments are required: -o/--output"),
    (("-o", "out"), "there is nothing to break: give bone labels (-i), numbered 1 sacrum"),
    (("-o", "out", "--ct", "x"), "a CT needs the labels of its bones"),
    (("-o", "out", "-i", "missing"), "there is no file or folder 'missing'"),
    (("-o", "out", "--phantom", "--spacing", "4"), "the spacing is 4 mm; one number from 0.3 to 3 is expected"),
    (("-o", "out", "--phantom", "--spacing", "1", "1"), "the spacing is 1, 1 mm"),
    (("-o", "out", "--phantom", "--fragments", "sacrum=0"), "0 fragments are wanted of 'sacrum'; 1 to 23 are possible"),
    (("-o", "out", "--phantom", "--fragments", "sacrum=24"), "24 fragments are wanted of 'sacrum'; 1 to 23"),
    (("-o", "out", "--phantom", "--fragments", "sacrum=12"), "'pengwin2024' numbers 10 of 'sacrum' (1-10): ask for"),
    (("-o", "out", "--phantom", "--fragments", "skull=2"), "there is no bone 'skull'; bones are sacrum, left_hip"),
    (("-o", "out", "--phantom", "--fragments", "left_femur=2"), "has no fragment numbers for 'left_femur'"),
    (("-o", "out", "--phantom", "-n", "0"), "the number of cases is 0"),
    (("-o", "out", "--phantom", "--closed", "-1"), "weights from 0, not all 0"),
    (("-o", "out", "--phantom", "--cracks", "99"), "crack_rate is a mean number per bone from 0 to 10"),
    (("-o", "out", "--phantom", "--min-fragment", "1"), "the smallest fragment is 1.0 mm3; 50 to 100,000"),
    (("-o", "out", "--phantom", "--slice-thickness", "9"), "the slice thickness is 9.0 mm; 0.3 to 5"),
    (("-o", "out", "--phantom", "--noise", "-3"), "the noise is -3.0 HU"),
    (("-o", "out", "--phantom", "--kernel", "b70"), "invalid choice: 'b70'"),
    (("-o", "out", "--phantom", "--scheme", "x"), "unknown scheme 'x'"),
    (("-o", "out", "--phantom", "-num_parts", "2", "-part_id", "2"), "the part must be one of 0 to 1"),
    (("-o", "out", "--phantom", "--workers", "2", "--dask", "x"), "leave out --workers or --dask"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD, ids=lambda value: " ".join(value) if value != str(value) else ""
)
def test_wrong_usage(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    check(call("simulate", *arguments), 2, message)
    assert not list(tmp_path.iterdir())


def test_output_inside_the_input(call, bones):
    for output in (bones / "anatomy", bones / "anatomy" / "out", bones / "ct"):
        result = call("simulate", "-i", bones / "anatomy", "--ct", bones / "ct", "-o", output)
        check(result, 2, "is inside the input")


def test_bad_sources_do_not_stop_the_others(call, bones, save, tmp_path):
    place = tmp_path / "in"
    array = read_volume(bones / "anatomy" / "pelvis.nii.gz").array
    options = {"spacing": (3.0, 3.0, 3.0), "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}
    save(array * 0, place / "empty.mha", **options)
    save(array + 7, place / "codes.mha", **options)
    save(array, place / "coarse.mha", **{**options, "spacing": (1.0, 1.0, 4.0)})
    save(array, place / "pelvis.nii.gz", **options)
    save(array, place / "short.nii.gz", **options)
    (place / "short.nii.gz").write_bytes((place / "pelvis.nii.gz").read_bytes()[:3000])
    result = call("simulate", "-i", place, "-o", tmp_path / "out", "-n", "5", "--no-ct", "--spacing", "3")
    assert result[0] == 1
    assert "4 failed" in result[2]
    for message in (
        f"error: case empty_00003: '{place}/empty.mha': there is no bone in the labels",
        f"error: case codes_00002: '{place}/codes.mha': label 7, 8, 9, 10, 11 is no bone; bones are numbered 1 sacrum",
        f"error: case coarse_00001: '{place}/coarse.mha' has voxels of 4 x 1 x 1 mm (z, y, x); at most 3 mm",
        f"error: case short_00005: '{place}/short.nii.gz' is truncated or damaged",
    ):
        assert message in result[2]
    assert [path.name for path in (tmp_path / "out" / "labels").iterdir()] == ["pelvis_00004.nii.gz"]
    assert "1 cases" in result[1]
    assert str(tmp_path) not in (tmp_path / "out" / "abbc-simulate-fractures.json").read_text()


def test_a_ct_of_another_geometry(call, bones, save, tmp_path):
    ct = save(read_volume(bones / "ct" / "pelvis.nii.gz").array, tmp_path / "pelvis.mha", spacing=(3.0, 3.0, 3.0))
    result = call("simulate", "-i", bones / "anatomy/pelvis.nii.gz", "--ct", ct, "-o", tmp_path / "out")
    check(result, 1, "are on different grids: origin")


def test_bones_that_are_not_there(call, save, bones, tmp_path):
    whole = read_volume(bones / "anatomy" / "pelvis.nii.gz")
    write_volume(whole.like(np.where(whole.array == 1, 1, 0).astype(np.uint8)), tmp_path / "sacrum.mha")
    result = call("simulate", "-i", tmp_path / "sacrum.mha", "-o", tmp_path / "out", "--no-ct", "--spacing", "3",
                  "--fragments", "left_hip=2", "sacrum=2")  # fmt: skip
    check(result, 0, "note: cases without a bone that was to break: sacrum_00001 (left_hip)")


def test_not_enough_disk(call, tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_ext.simulation.plan.free_bytes", lambda _: 5_000_000)
    result = call("simulate", "--phantom", "-o", tmp_path / "out", "-n", "1000")
    check(result, 1, f"too little disk for '{tmp_path}/out': the files of 1000 cases take about 4")
    check(result, 1, "5.0 MB are free; make space, choose another output (-o), fewer cases (-n) or wider voxels")
    assert not (tmp_path / "out").exists()


def test_dask_is_an_extra(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = call("simulate", "--phantom", "-o", tmp_path / "out", "--dask", "tcp://127.0.0.1:1")
    check(result, 2, "Dask is not installed, which --dask needs; install the extra: pip install 'nnunet-abbc[dask]'")
