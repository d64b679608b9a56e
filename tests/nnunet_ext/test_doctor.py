"""The checks of `abbc-doctor`: each fault is provoked once, and named with its cure."""

import json
import os
import resource
import sys
import types
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from label_gen.errors import DataError, UsageError
from nnunet_ext.doctor import (
    Finding,
    cases,
    dataset,
    diagnose,
    diagnosis,
    findings,
    hardware,
    report,
    software,
    totalsegmentator,
    training,
    variables,
)

Usage = namedtuple("Usage", "total used free")
NAME = "Dataset003_Tiny"
CASES = ["a1", "a2", "b", "c", "d"]


def only(found):
    (finding,) = found if isinstance(found, list) else [found]
    return finding


def assert_fault(found, status, text, cure):
    finding = only(found)
    assert finding.status == status
    assert text in finding.text
    assert cure in finding.cure


# --- findings -------------------------------------------------------------------------------------------------------


def breaks(error):
    print("noise of nnU-Net")
    raise error


def test_a_check_that_breaks_is_a_finding(capsys):
    finding = only(findings.guard("x", breaks, KeyError("plans_name")))
    assert_fault(finding, "error", "the check broke: KeyError: 'plans_name'", "--verbose")
    assert "in breaks" in finding.details[0]
    assert_fault(
        findings.guard("x", breaks, ModuleNotFoundError("No module named 'blosc2.core'")),
        "error", "No module named", "pip install blosc2;",
    )  # fmt: skip
    assert only(findings.guard("x", breaks, DataError("bad; mend it"))) == Finding("x", "error", "bad", "mend it")
    assert only(findings.guard("x", breaks, DataError("bad"))).cure
    assert capsys.readouterr().out == ""


# --- software -------------------------------------------------------------------------------------------------------


def test_python():
    assert software.check_python().status == "ok"
    assert_fault(software.check_python((3, 10, 4)), "error", "Python 3.10.4 is too old", "new environment")


def test_packages():
    assert only(software.check_packages(["numpy>=1", 'absent>=1; extra == "test"'])).status == "ok"
    assert_fault(software.check_packages(["numpy<1"]), "error", "; <1 is needed", 'pip install "numpy<1"')
    assert_fault(
        software.check_packages(["absent-package>=2,<3"]), "error", "absent-package is not installed",
        'pip install "absent-package<3,>=2"',
    )  # fmt: skip


def test_packages_of_a_checkout_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(software, "DISTRIBUTION", "absent-package")
    assert_fault(software.check_packages(), "warning", "is not installed in this environment", "pip install .")


@pytest.fixture
def torch(monkeypatch):
    """A torch without any GPU; the test may add some."""
    fake = types.ModuleType("torch")
    fake.__version__ = "9.9"
    fake.version = types.SimpleNamespace(cuda="13.2")
    fake.cuda = types.SimpleNamespace(is_available=lambda: False, device_count=lambda: 1)
    fake.backends = types.SimpleNamespace(mps=types.SimpleNamespace(is_available=lambda: False))
    fake.nn = types.SimpleNamespace(functional=types.SimpleNamespace(conv3d=lambda *_: np.ones(1)))
    fake.ones = lambda *shape: np.ones(shape)
    fake.zeros = lambda *_, **__: types.SimpleNamespace(add_=lambda _: None)
    fake.tensor = np.array
    fake.device = lambda *_: nullcontext()
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(hardware, "NVIDIA", Path("no/such/device"))
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_torch_pair(torch, monkeypatch):
    vision = types.ModuleType("torchvision")
    vision.__version__ = "8.8"
    vision.ops = types.SimpleNamespace(nms=lambda *_: np.array([0]))
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    assert only(software.check_torch_pair()).status == "ok"
    vision.ops.nms = lambda *_: np.array([1])
    assert_fault(software.check_torch_pair(), "error", "computes wrongly", "--upgrade torch torchvision")
    vision.ops.nms = lambda *_: breaks(RuntimeError("operator torchvision::nms does not exist"))
    assert_fault(software.check_torch_pair(), "error", "torchvision does not fit it: operator", "torch torchvision")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_fault(software.check_torch_pair(), "error", "torch cannot be loaded", "torch torchvision")


# --- hardware -------------------------------------------------------------------------------------------------------


def test_no_gpu(torch, monkeypatch):
    assert_fault(hardware.check_device(), "warning", "training on CPU is slow", "-device cpu")
    assert_fault(hardware.check_device("cpu"), "warning", "training on CPU is slow", "-device cpu")
    assert_fault(hardware.check_device("cuda"), "error", "torch finds no NVIDIA GPU", "-device cpu")
    assert_fault(hardware.check_device("mps"), "error", "no Apple GPU", "-device cpu")
    monkeypatch.setattr("shutil.which", lambda _: "nvidia-smi")
    assert_fault(hardware.check_device("cuda"), "error", "driver is too old", "-device cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert_fault(hardware.check_device("cuda"), "error", "CUDA_VISIBLE_DEVICES hides", "-device cpu")
    torch.version.cuda = None
    assert_fault(hardware.check_device("cuda"), "error", "built for the CPU only, though", "-device cpu")


def test_gpu(torch):
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_properties = lambda _: types.SimpleNamespace(name="Big GPU", total_memory=10**10)
    torch.cuda.mem_get_info = lambda _: (23 * 10**9, 24 * 10**9)
    finding = only(hardware.check_device())
    assert (finding.status, finding.check) == ("ok", "GPU 0")
    assert "Big GPU, 24.0 GB, 23.0 GB free, CUDA 13.2" in finding.text
    torch.cuda.mem_get_info = lambda _: (5 * 10**9, 24 * 10**9)
    assert_fault(hardware.check_device("cuda"), "warning", "other programs use it", "CUDA_VISIBLE_DEVICES")
    torch.cuda.mem_get_info = lambda _: (4 * 10**9, 4 * 10**9)
    assert_fault(hardware.check_device(), "warning", "little for 3D training", "-gpu_memory_target")
    torch.nn.functional.conv3d = lambda *_: breaks(RuntimeError("no kernel image is available"))
    assert_fault(
        hardware.check_device(), "error", "Big GPU cannot compute with torch 9.9: no kernel", "install a torch"
    )


def test_apple_gpu(torch):
    torch.backends.mps.is_available = lambda: True
    assert only(hardware.check_device()).status == "ok"
    assert only(hardware.check_device("mps")).status == "ok"


def test_preset_and_gpu_memory(torch):
    plans = {"experiment_planner_used": "ABBCPlannerL"}
    assert training._check_preset(plans) == []
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_properties = lambda _: types.SimpleNamespace(total_memory=11 * 10**9)
    assert_fault(training._check_preset(plans), "warning", "plans for 24 GB, the GPU has 11.0 GB", "smaller preset")
    assert only(training._check_preset({"experiment_planner_used": "nnUNetPlannerResEncM"})).status == "ok"
    assert training._check_preset({"experiment_planner_used": "ExperimentPlanner"}) == []


def test_memory(monkeypatch):
    assert hardware.memory_bytes() > 10**8
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 8 * 10**9)
    assert_fault(hardware.check_memory(), "warning", "8.0 GB", "export nnUNet_n_proc_DA=2")
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 64 * 10**9)
    assert only(hardware.check_memory()).status == "ok"


def test_shared_memory(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    for free, status in ((64 * 2**20, "error"), (10**9, "warning"), (10**10, "ok")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: Usage(free, 0, free))
        finding = hardware.check_shared_memory(str(tmp_path))
        assert finding.status == status
        assert status == "ok" or "--shm-size=8g" in finding.cure
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(0, 0, 0))
    assert hardware.check_shared_memory(str(tmp_path / "none")).status == "ok"
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    assert hardware.check_shared_memory(str(tmp_path)).status == "ok"


def test_open_files(monkeypatch):
    for limit, status in ((256, "warning"), (4096, "ok"), (resource.RLIM_INFINITY, "ok")):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        finding = hardware.check_open_files()
        assert finding.status == status
        assert status == "ok" or finding.cure == "ulimit -n 65536"


# --- variables ------------------------------------------------------------------------------------------------------


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """The three folders of nnU-Net, by variable."""
    found = {}
    for variable in variables.ROOM_BYTES:
        found[variable] = tmp_path / variable.removeprefix("nnUNet_")
        found[variable].mkdir()
        monkeypatch.setenv(variable, str(found[variable]))
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**12, 0, 10**12))
    return found


def test_folders(roots, monkeypatch):
    for variable in roots:
        assert "1000.0 GB free" in variables.check_folder(variable).text
    roots["nnUNet_results"].rmdir()
    assert variables.check_folder("nnUNet_results").text.endswith("will be made")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 0, 10**9))
    assert_fault(variables.check_folder("nnUNet_preprocessed"), "warning", "1.0 GB free: little", "make space")
    assert variables.check_folder("nnUNet_raw").status == "ok"
    for variable, status in (("nnUNet_raw", "warning"), ("nnUNet_preprocessed", "error"), ("nnUNet_results", "error")):
        monkeypatch.delenv(variable)
        assert_fault(variables.check_folder(variable), status, f"{variable} is not set", f"export {variable}=FOLDER")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody may write to")
def test_folders_that_cannot_be_written(monkeypatch):
    for variable, status in (("nnUNet_preprocessed", "warning"), ("nnUNet_results", "error")):
        monkeypatch.setenv(variable, "/proc")
        assert_fault(variables.check_folder(variable), status, "nothing can be written there", "mend that")


def test_workers(roots, monkeypatch):
    assert variables.check_workers().status == "ok"
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    assert_fault(variables.check_workers(), "warning", "nnUNet_n_proc_DA is 0", "unset nnUNet_n_proc_DA")
    assert variables.check_workers("cpu").status == "ok"
    for variable in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc"):
        monkeypatch.setenv(variable, "many")
        assert_fault(variables.check_workers(), "error", f"{variable} is 'many'", f"unset {variable}")
        monkeypatch.delenv(variable)


@pytest.fixture
def search(monkeypatch):
    """Stand in for nnU-Net's search for trainers, which imports everything; the real one runs with the command."""
    from nnunetv2.utilities import find_objects

    def fail(name):
        raise RuntimeError(f"Could not find requested nnunet trainer {name}")

    def set_search(function=fail):
        monkeypatch.setattr(find_objects, "recursive_find_trainer_class_by_name", function)

    set_search()
    return set_search


def test_trainer(roots, search, monkeypatch, tmp_path):
    cure = 'eval "$(abbc-env)"'
    assert_fault(variables.check_trainer("T"), "error", "cannot find T: nnUNet_extTrainer is not set", cure)
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path / "gone"))
    assert_fault(variables.check_trainer("T"), "error", f"not there: {tmp_path / 'gone'}", cure)
    search(lambda _: breaks(ImportError("no timm")))
    assert_fault(variables.check_trainer("T"), "error", "dies of ImportError: no timm", cure)
    search(lambda _: Finding)
    assert variables.check_trainer("T").text == "nnU-Net finds T in nnunet_ext.doctor.findings"


# --- TotalSegmentator -----------------------------------------------------------------------------------------------


def test_totalsegmentator(tmp_path, monkeypatch):
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
    monkeypatch.delenv("TOTALSEG_HOME_DIR", raising=False)
    assert totalsegmentator.weights_folder() == Path.home() / ".totalsegmentator" / "nnunet" / "results"
    monkeypatch.setenv("TOTALSEG_HOME_DIR", "home")
    assert totalsegmentator.weights_folder() == Path("home/nnunet/results")
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    assert totalsegmentator.weights_folder() == tmp_path

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert_fault(totalsegmentator.check_totalsegmentator(), "warning", "not installed", f"into '{tmp_path}'")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    cure = "totalseg_download_weights -t total"
    assert_fault(totalsegmentator.check_totalsegmentator(), "warning", "Dataset291_*, Dataset292_*", cure)
    for number in (*totalsegmentator.FAST, *totalsegmentator.ROUGH):
        (tmp_path / f"Dataset{number}_x" / "model").mkdir(parents=True)
    assert "weights at 3 mm are in" in totalsegmentator.check_totalsegmentator().text
    for number in totalsegmentator.FINE:
        (tmp_path / f"Dataset{number}_x" / "model").mkdir(parents=True)
    assert "weights at 1.5 mm and 3 mm are in" in totalsegmentator.check_totalsegmentator().text


# --- dataset --------------------------------------------------------------------------------------------------------


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def volumes():
    """Image, classes, fragments and bones of one case: two fragments of the left hip."""
    fragments = np.zeros((6, 8, 12), np.uint8)
    fragments[1:5, 1:7, 1:6], fragments[1:5, 1:7, 6:11] = 11, 12
    classes = (fragments > 0).astype(np.uint8)
    classes[2:4, 3:5, 3], classes[2:4, 3:5, 8] = 2, 2
    bones = (fragments > 0).astype(np.uint8) * 2
    return {"images": fragments.astype(np.int16) * 10, "labels": classes, "fragments": fragments, "anatomy": bones}


@pytest.fixture
def tiny(roots, volumes, save):
    """A good ABBC dataset in nnUNet_raw."""
    folder = roots["nnUNet_raw"] / NAME
    for case in CASES:
        for part, array in volumes.items():
            save(array, folder / f"{part}Tr" / f"{case}{'_0000' if part == 'images' else ''}.mha")
    write_dataset(folder)
    write(folder / "splits_final.json", [{"train": ["a1", "a2", "b"], "val": ["c", "d"]}])
    return folder


def write_dataset(folder, **changes):
    content = {
        "labels": {"background": 0, "boundary": 1, "core": 2, "border": 3},
        "channel_names": {"0": "CT"},
        "numTraining": 5,
        "file_ending": ".mha",
        "abbc": {"task": "abbc", "scheme": "pengwin2024"},
    }
    write(folder / "dataset.json", content | changes)


def look(check=None):
    found = dataset.check_dataset(3)
    return found if check is None else only([finding for finding in found if finding.check == check])


def test_good_dataset(tiny):
    found = look()
    assert {finding.status for finding in found} == {"ok"}
    names = ["dataset", "label names", *(kind[0] for kind in cases.KINDS.values()), "folds"]
    assert [finding.check for finding in found] == names


def test_dataset_that_is_not_there(roots, tiny):
    assert_fault(dataset.check_dataset(4), "error", "no dataset number 4", "abbc-prepare-dataset")
    tiny.rename(roots["nnUNet_preprocessed"] / NAME)
    assert_fault(look(), "warning", "is not in nnUNet_raw here", "before they are preprocessed")


def test_dataset_json_that_does_not_fit(tiny):
    write_dataset(tiny, numTraining=6)
    assert_fault(look("dataset"), "error", "has 5 cases in imagesTr", "abbc-prepare-dataset")
    write(tiny / "dataset.json", "{")
    assert_fault(look(), "error", "no valid JSON", "abbc-prepare-dataset")


def test_label_names(tiny):
    write_dataset(tiny, labels={"background": 0, "skull": 1, "left_hip": 2, "x": 3})
    assert_fault(look("dataset"), "error", "labels background 0, skull 1", "abbc-prepare-dataset")
    about = {"task": "anatomy", "scheme": "pengwin2024"}
    write_dataset(tiny, labels={"background": 0, "skull": 1}, abbc=about)
    assert_fault(look("label names"), "error", "skull are no bones of scheme", "abbc-prepare-dataset")
    write_dataset(tiny, labels={"background": 0, "bone": 1, "inner": 2}, abbc={})
    assert {finding.check for finding in look()} == {"dataset", "files", "geometry", "labels", "image values", "folds"}


def test_labels_out_of_range(tiny, volumes, save):
    volumes["labels"][0, 0, 0] = 9
    for case in ("b", "d"):
        save(volumes["labels"], tiny / "labelsTr" / f"{case}.mha")
    finding = look("labels")
    assert_fault(finding, "error", "2 of 5 cases (b, d); b: label 9 in b.mha, dataset.json has 0, 1, 2, 3", "mend the")
    assert [detail[:2] for detail in finding.details] == ["b:", "d:"]


@pytest.mark.parametrize("part", ["images", "fragments", "anatomy"])
def test_grids_differ(tiny, volumes, save, part):
    name = "c_0000.mha" if part == "images" else "c.mha"
    save(volumes[part], tiny / f"{part}Tr" / name, spacing=(0.9, 0.8, 1.6))
    text = f"'{part}Tr/{name}' and 'labelsTr/c.mha' are on different grids: spacing"
    assert_fault(look("geometry"), "error", text, "resample them")


def test_numbers_outside_the_scheme(tiny, volumes, save):
    save(np.where(volumes["fragments"] == 12, 99, 0).astype(np.uint8), tiny / "fragmentsTr" / "a1.mha")
    assert_fault(look("scheme"), "error", "labels 99 are in no band of scheme 'pengwin2024'", "with the scheme that")
    save(volumes["fragments"], tiny / "fragmentsTr" / "a1.mha")
    save(volumes["anatomy"] * 4, tiny / "anatomyTr" / "a2.mha")
    assert_fault(look("scheme"), "error", "bone 8 in a2.mha, scheme 'pengwin2024' has sacrum 1", "abbc-prepare-dataset")


def test_scheme_of_the_user(tiny):
    write_dataset(tiny, abbc={"task": "abbc", "scheme": "mine"})
    warned = [finding for finding in look() if finding.check == "scheme"]
    assert_fault(warned, "warning", "unknown scheme 'mine'", "pass a file ending in .toml")
    assert look("cores").status == "ok"
    bones = '[[bones]]\nname = "hip"\nids = [11, 11]\n'
    head = 'name = "mine"\n[abbc]\nbackground = 0\nboundary = 1\ncore = 2\nborder = 3\n[anatomy]\nhip = 2\n'
    write(tiny / "scheme.toml", head + bones)
    assert_fault(look("scheme"), "error", "labels 12 are in no band of scheme 'mine'", "with the scheme that")


def test_fragment_without_core(tiny, volumes, save):
    volumes["labels"][:, :, 8] = volumes["labels"][:, :, 8].clip(max=1)
    save(volumes["labels"], tiny / "labelsTr" / "b.mha")
    assert_fault(look("cores"), "error", "1 of 5 cases (b); b: no core in fragment 12", "abbc-generate-labels --audit")


def test_core_is_looked_up_by_name(tiny):
    write_dataset(tiny, labels={"background": 0, "core": 1, "boundary": 2, "border": 3})
    assert look("cores").status == "ok"  # what was boundary is everywhere
    write_dataset(tiny, labels={"background": 0, "boundary": 1, "border": 2, "core": 3})
    assert_fault(look("cores"), "error", "5 of 5 cases", "abbc-prepare-dataset")


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz"])
def test_image_with_nan(tmp_path, volumes, save, suffix):
    image = volumes["images"].astype(np.float32)
    good = save(image, tmp_path / f"good{suffix}")
    image[0, 0, 0] = np.nan
    bad = save(image, tmp_path / f"bad{suffix}")
    labels = save(volumes["labels"], tmp_path / "labels.mha")
    common = {"labels": labels, "allowed": [0, 1, 2, 3], "core": 2, "scheme": None, "fragments": None, "anatomy": None}
    assert cases.inspect_case((good,), **common) == {}
    assert cases.inspect_case((good, bad), **common) == {"values": f"NaN or infinite values in bad{suffix}"}


def test_damaged_file_and_missing_fragments(tiny):
    (tiny / "labelsTr" / "a1.mha").write_bytes(b"no volume")
    (tiny / "fragmentsTr" / "b.mha").unlink()
    finding = look("files")
    assert_fault(finding, "error", "2 of 5 cases (a1, b)", "export these files again")
    assert "fragmentsTr" in finding.details[1]


def test_other_file_types_are_left_to_nnunet(tiny):
    found = cases.check_cases(tiny, {}, {"file_ending": ".png", "labels": {}})
    assert_fault(found, "warning", "cases of type .png are not looked at", "--verify_dataset_integrity")


def test_folds(tiny):
    def folds(content, **changes):
        write(tiny / "splits_final.json", content)
        write_dataset(tiny, **changes)
        return look("folds")

    assert_fault(folds([{"train": ["a1"], "val": ["x"]}]), "error", "cases that are not there: x", "splits_final.json")
    assert_fault(folds([]), "error", "is no list of folds", "remove it")
    leak = [{"train": ["a1", "b"], "val": ["b", "c", "d", "a2"]}]
    assert_fault(folds(leak), "warning", "trains and validates on the same: b;", "on one side")
    leak = [{"train": ["a1", "b"], "val": ["c", "d", "a2"]}]
    assert folds(leak).status == "ok"
    about = {"task": "abbc", "scheme": "pengwin2024", "patients": {"a1": "A", "a2": "A"}}
    assert_fault(folds(leak, abbc=about), "warning", "trains and validates on the same: A;", "on one side")
    assert_fault(folds([{"train": ["b"], "val": ["c"]}]), "warning", "no fold uses a1, a2, d", "splits_final.json")
    (tiny / "splits_final.json").unlink()
    assert_fault(look("folds"), "warning", "draw folds by case", "abbc-prepare-dataset")
    assert_fault(dataset.check_splits(tiny, {"a"}, {}), "warning", "1 cases are too few", "fold 'all'")


# --- training -------------------------------------------------------------------------------------------------------


@pytest.fixture
def planned(roots, tiny):
    """The dataset as it is after planning and preprocessing."""
    folder = roots["nnUNet_preprocessed"] / NAME
    for case in CASES:
        for end in (".b2nd", "_seg.b2nd", ".pkl"):
            write(folder / "data" / f"{case}{end}", "x")
        write(folder / "gt_segmentations" / f"{case}.mha", "x")
    configuration = {
        "data_identifier": "data",
        "normalization_schemes": ["CT"],
        "patch_size": [8, 8, 8],
        "batch_size": 2,
    }
    plans = {"dataset_name": NAME, "plans_name": "P", "configurations": {"3d_fullres": configuration}}
    write(folder / "P.json", {**plans, "plans_name": "Plans"})
    write(folder / "ABBCPlansM.json", {**plans, "plans_name": "ABBCPlansM"})
    write(folder / "dataset_fingerprint.json", {})
    write(folder / "splits_final.json", [{"train": ["a1", "a2", "b"], "val": ["c", "d"]}])
    (folder / "dataset.json").write_bytes((tiny / "dataset.json").read_bytes())
    (folder / "fragments").mkdir()
    return folder


def train(plans="ABBCPlansM", configuration="3d_fullres", fold=0, trainer=None, check="configuration"):
    found = training.check_planned_training(3, plans, configuration, fold, trainer)
    return only([finding for finding in found if finding.check == check])


@pytest.mark.filterwarnings("ignore")  # of torch, at its import
def test_training(planned):
    found = training.check_planned_training(3, "ABBCPlansM", "3d_fullres", None, None)
    assert [finding.status for finding in found] == ["ok"]
    assert train().text == "3d_fullres of ABBCPlansM is preprocessed, patch 8x8x8, batch 2"
    assert_fault(train(fold=4), "warning", "fold 4 is not in splits_final.json, which has 1", "from 0 to 0 (-f)")
    assert_fault(train("no", check="plans"), "error", "no plans 'no' in nnUNet_preprocessed; there are ABBCPlansM (-p)",
                 "abbc-plan-and-preprocess -d 3")  # fmt: skip
    assert_fault(train(configuration="triplanar"), "error", "no configuration 'triplanar'", "-pl TriPlanarPlanner")
    (planned / "data" / "c.pkl").unlink()
    assert_fault(train(), "error", "in part only", "nnUNetv2_preprocess -d 3 -plans_name ABBCPlansM -c 3d_fullres")
    (planned / "fragments").rmdir()
    assert_fault(train(check="true fragments"), "warning", "no true fragments", "abbc-plan-and-preprocess")
    plans = json.loads((planned / "P.json").read_text())
    write(planned / "P.json", {**plans, "dataset_name": "Dataset001_Other"})
    assert_fault(train("P", check="plans"), "error", "are of another dataset, Dataset001_Other",
                 f"nnUNetv2_move_plans_between_datasets -s Dataset001_Other -t {NAME}")  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of torch, at its import
def test_what_a_trainer_itself_demands(planned, search):
    def refuse(plans, configuration, dataset_json):
        raise DataError(f"{plans['plans_name']} {configuration} {len(dataset_json['labels'])}; other data")

    search(lambda _: types.SimpleNamespace(check_dataset=refuse))
    assert_fault(train(trainer="T"), "error", "ABBCPlansM 3d_fullres 4", "other data")
    search()
    assert train(trainer="T").status == "ok"  # that it is not found is said elsewhere


# --- all together ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"dataset": 3, "configuration": "2d", "fold": -1}, "the fold is '-1'"),
        ({"configuration": "2d"}, r"no dataset; give its number \(-d\)"),
        ({"dataset": 3, "plans": "P"}, r"no configuration; .*\(-c\)"),
        ({"workers": -1}, r"give 0 or more \(--workers\)"),
    ],
)
def test_diagnose_wants_sensible_options(options, message):
    with pytest.raises(UsageError, match=message):
        diagnose(**options)


def test_diagnose_survives_a_broken_installation(monkeypatch, roots):
    for name in ("check_python", "check_packages", "check_memory", "check_trainer", "check_totalsegmentator"):
        monkeypatch.setattr(diagnosis, name, lambda *_: breaks(OSError("broken")))
    monkeypatch.setitem(sys.modules, "torch", None)
    found = diagnose(dataset=3, configuration="3d_fullres")
    statuses = {finding.check: finding.status for finding in found}
    for check in ("Python", "packages", "torch", "GPU", "memory", "trainer", "TotalSegmentator", "dataset"):
        assert statuses[check] == "error"
    assert statuses["nnUNet_raw"] == "ok"
    assert "training" not in statuses  # that the dataset is not there was said
    assert all(finding.cure for finding in found if finding.status != "ok")


FOUND = [
    Finding("Python", "ok", "3.11"),
    Finding("labels", "error", "2 cases in '/data/someone/raw'", 'eval "$(abbc-env)"', ("b: label 9", "d: label 9")),
    Finding("a name that is longer than its column", "warning", "word " * 40, "make space"),
]


def test_table():
    text = report.as_table(FOUND, width=90)
    assert text.splitlines()[0] == "ok      Python              3.11"
    assert '-> eval "$(abbc-env)"' in text
    assert text.endswith("\n\n1 error, 1 warning, 1 ok: training would fail")
    assert "label 9" not in text
    assert "  d: label 9" in report.as_table(FOUND, details=True)
    assert max(map(len, text.splitlines())) <= 90
    assert report.as_table(FOUND[:1]).endswith("0 errors, 0 warnings, 1 ok: nothing stands in the way of training")


def test_object_names_no_folder():
    content = json.loads(json.dumps(report.as_object(FOUND)))
    assert content["would_fail"] is True
    assert report.as_object(FOUND[:1])["would_fail"] is False
    assert content["findings"][1] == {
        "check": "labels", "status": "error", "text": "2 cases in 'raw'", "cure": 'eval "$(abbc-env)"',
        "details": ["b: label 9", "d: label 9"],
    }  # fmt: skip
    assert content["findings"][0]["cure"] is None
    assert os.sep + "data" not in json.dumps(content)
