"""The rules of the house: who imports whom, what the array libraries never do, and what no file may hold."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from label_gen import ABBC

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("label_gen", "postproc", "nnunet_ext")
"""Each room may import those before it."""
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
PURE = [path for path in MODULES if path.relative_to(ROOT).parts[0] != "nnunet_ext"]

ALLOWED = {"numpy", "scipy", "cc3d", "edt", "fastremap", "manifold3d", "skfmm", "skimage"}
"""What the array libraries may import beside each other and the standard library."""
WORLDLY = {"argparse", "glob", "io", "logging", "os", "pathlib", "shutil", "subprocess", "sys", "tempfile"}
"""What of the standard library they may not: files, paths, processes, streams, options."""
WORLDLY_CALLS = {"print", "open", "input", "load", "save", "savez", "savez_compressed", "loadtxt", "savetxt"}
WORLDLY_CALLS |= {"fromfile", "tofile", "memmap", "genfromtxt"}


def name_of(path):
    return str(path.relative_to(ROOT))


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path):
    """Return the top-level packages that a module imports anywhere in it."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_upward_only(path):
    room = ROOMS.index(path.relative_to(ROOT).parts[0])
    assert not imports_of(path) & {*ROOMS[room + 1 :], "datasets", "tests"}


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_array_libraries_know_arrays_only(path):
    foreign = imports_of(path) - ALLOWED - set(ROOMS[:2])
    assert foreign <= set(sys.stdlib_module_names) - WORLDLY
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert called not in WORLDLY_CALLS, f"line {node.lineno}"


ALONE = """
import importlib, importlib.abc, pkgutil, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "nnunetv2", "SimpleITK", "nnunet_ext", "totalsegmentator",
                                  "matplotlib", "nibabel", "pydicom"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import label_gen, postproc
for package in (label_gen, postproc):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
import numpy as np
labels = np.zeros((12, 12, 30), np.uint16)
labels[2:10, 2:10, 2:15], labels[2:10, 2:10, 15:28] = 1, 2
for engine in ("fmm", "watershed"):
    abbc = label_gen.generate_abbc(labels, (1.0, 1.0, 1.0)).abbc
    found = postproc.recover_fragments(abbc, (1.0, 1.0, 1.0), engine=engine)
    assert len(found.fragments) == 2 and ((found.labels > 0) == (labels > 0)).all()
postproc.evaluate_fragments(found.labels, labels, (1.0, 1.0, 1.0), scheme=label_gen.FREE_SCHEME)
postproc.audit_round_trip(labels, (1.0, 1.0, 1.0))
"""


def test_array_libraries_run_where_nothing_else_is_installed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_says_its_idea_and_is_short(path):
    text = path.read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].replace("\n", " ")
    assert re.fullmatch(r"[A-Z`].*[.!?:]", first), f"the first line is no sentence: {first!r}"
    assert text.count("\n") <= 350


def project_files():
    """Return the files that git tracks or would; skip where there is no git checkout."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


MACHINE = re.compile(
    r"(?<![\w.~-])/(?:work|root|home|opt|mnt|scratch|Users)/\w|(?:index|extra-index)[-]url|find[-]links|trusted[-]host"
)


def test_no_file_names_a_machine_or_a_registry():
    found = []
    for path in project_files():
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            if MACHINE.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_no_file_is_built_or_large():
    for path in project_files():
        assert path.suffix not in {".pyc", ".whl", ".nii", ".gz", ".mha", ".nrrd", ".npz"}, path
        is_model = path.is_relative_to(ROOT / "nnunet_ext" / "pretrained")
        assert path.stat().st_size < (40_000_000 if is_model else 3_000_000), path


def test_schemes_name_the_classes_alike():
    files = sorted((ROOT / "datasets" / "schemes").glob("*.toml"))
    tables = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in files}
    assert set(tables) == {"free", "pengwin2024", "pengwin2026"}
    for name, table in tables.items():
        assert table["name"] == name
        assert table["abbc"] == {c.name.lower(): c.value for c in ABBC}
        assert (ROOT / "datasets" / name / "README.md").is_file()
    assert tables["pengwin2024"]["anatomy"] == tables["pengwin2026"]["anatomy"]


@pytest.mark.parametrize(
    ("target", "commands"),
    [
        ("test", ["ruff check .", "ruff format --check .", "mypy", "python -m pytest"]),
        ("demo", ["abbc-demo -o demo"]),
        ("models", ["abbc-train-models -o models --profile cpu"]),
    ],
)
def test_make_targets(target, commands):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "--dry-run", "--always-make", "-C", str(ROOT), target]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for step in ["-m venv .venv", "--editable '.[test]'", *commands]:
        assert step in text
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_readme_names_targets_commands_and_libraries():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in ["make demo", "make test", *project["scripts"], "generate_abbc", "recover_fragments"]:
        assert word in text, f"the README does not name {word}"


def test_readme_example_runs():
    first, example = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert "from nnunet_ext import segment" in first  # runs in test_readme_example
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1 bone 16128.0", "2 bone 13824.0"]
