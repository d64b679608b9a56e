"""The wheel as users get it: built, installed into a fresh environment, and used from there, not from the checkout."""

import importlib.util
import json
import os
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("label_gen", "nnunet_ext", "postproc")


def run(*command, cwd, **options):
    """Run a command away from the checkout, without the variables that could lead Python back to it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=cwd, env=environment, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The source archive, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    alone = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    run(sys.executable, "-m", "build", *alone, "--outdir", folder, ROOT, cwd=folder)
    (archive,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def fresh(distributions, tmp_path_factory):
    """A fresh environment with the wheel; the dependencies come from this one, whose own `.pth` files do not count."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", distributions[1], cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    dependencies = [path for path in site.getsitepackages() if Path(path).is_dir()]
    for path in dependencies:
        assert not any((Path(path) / name / "__init__.py").exists() for name in PACKAGES)
    (packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    return python


def files_below(folder):
    return {
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix in {".py", ".toml", ".md"}
    }


def test_source_archive(distributions):
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml", "tests/test_wheel.py"} <= names
    assert "datasets/schemes/free.toml" in names
    assert not {name.split("/")[0] for name in names} & {".git", ".venv", "demo", "dist", "shared"}


def test_installed_names(fresh):
    (packages,) = fresh.parents[1].glob("lib/python*/site-packages")
    info = f"nnunet_abbc-{PROJECT['version']}.dist-info"
    assert {path.name for path in packages.iterdir()} == {*PACKAGES, info, "dependencies.pth"}
    for name in PACKAGES:
        apart = ("_datasets/", "pretrained/")
        installed = {file for file in files_below(packages / name) if not file.startswith(apart)}
        assert installed == {file for file in files_below(ROOT / name) if file.endswith(".py")}
        assert (packages / name / "py.typed").is_file()
    assert files_below(packages / "nnunet_ext" / "_datasets") == files_below(ROOT / "datasets")
    places = (packages / "nnunet_ext" / "pretrained", ROOT / "nnunet_ext" / "pretrained")
    models = [{path.relative_to(place) for path in place.rglob("*")} for place in places]
    assert models[0] == models[1]
    assert not [path for path in packages.rglob("*") if path.name in {"datasets", "tests"}]
    assert (packages / info / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


LOOK = """
import importlib.metadata, json, sys
import label_gen, nnunet_ext, postproc
from nnunet_ext.environment import trainer_folder
from nnunet_ext.recipes import list_recipes
from nnunet_ext.rules import list_rules
from nnunet_ext.schemes import list_schemes, load_scheme
print(json.dumps({
    "files": [module.__file__ for module in (label_gen, nnunet_ext, postproc)],
    "path": sys.path,
    "schemes": {name: load_scheme(name).last_id for name in list_schemes()},
    "recipes": list_recipes(), "rules": list_rules(),
    "trainers": str(trainer_folder()),
    "versions": [nnunet_ext.__version__, importlib.metadata.version("nnunet-abbc")],
}))
"""


def test_packages_are_those_of_the_wheel(fresh, tmp_path):
    seen = json.loads(run(fresh, "-c", LOOK, cwd=tmp_path).stdout)
    assert all(Path(file).is_relative_to(fresh.parents[1]) for file in seen["files"])
    assert str(ROOT) not in seen["path"]
    assert seen["schemes"] == {"free": 65535, "pengwin2024": 30, "pengwin2026": 200}
    assert {"pengwin2024", "pengwin2026", "folder"} <= set(seen["recipes"])
    assert seen["rules"] == ["ekman2025"]
    assert (Path(seen["trainers"]) / "abbc_trainers.py").is_relative_to(fresh.parents[1])
    assert (Path(seen["trainers"]) / "abbc_trainers.py").is_file()
    assert seen["versions"] == [PROJECT["version"]] * 2


@pytest.mark.parametrize("command", PROJECT["scripts"])
def test_help(fresh, tmp_path, command):
    assert f"usage: {command} " in run(fresh.parent / command, "--help", cwd=tmp_path).stdout


def test_commands_from_labels_to_scores(fresh, tmp_path):
    labels = np.zeros((14, 16, 30), np.uint8)
    labels[2:12, 2:14, 2:12], labels[2:12, 2:14, 12:20], labels[3:11, 3:13, 22:28] = 11, 12, 1
    anatomy = np.select([labels == 1, labels > 10], [1, 2], 0).astype(np.uint8)
    for name, array in (("labels", labels), ("anatomy", anatomy)):
        (tmp_path / name).mkdir()
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / name / "a.nii.gz"))
    commands = fresh.parent
    run(commands / "abbc-generate-labels", "-i", "labels", "-o", "abbc", "--audit", "--workers", "2", cwd=tmp_path)
    run(commands / "abbc-recover-instances", "-i", "abbc", "-a", "anatomy", "-o", "fragments", cwd=tmp_path)
    run(commands / "abbc-evaluate", "-p", "fragments", "-r", "labels", "-o", "scores.json", cwd=tmp_path)
    case = json.loads((tmp_path / "scores.json").read_text())["cases"]["a"]["case"]
    assert case["fragment_iou"] > 0.99
    assert (case["reference_fragments"], case["prediction_fragments"], case["f1"]) == (3, 3, 1)
