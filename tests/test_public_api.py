"""What the array libraries promise: names, descriptions that hold, and errors."""

import dataclasses
import doctest
import enum
import importlib
import inspect
import pkgutil
import types

import pytest

import label_gen
import nnunet_ext
import postproc
from label_gen import errors

PACKAGES = (label_gen, postproc)
SUBMODULES = [
    importlib.import_module(info.name)
    for package in (*PACKAGES, nnunet_ext)
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]
EXPORTS = [(package, name) for package in PACKAGES for name in package.__all__]


def order(name):
    """Sort as ruff does: constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_all_is_exactly_the_public_names(package):
    public = {n for n, v in vars(package).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}
    assert set(package.__all__) == public
    assert package.__all__ == sorted(set(package.__all__), key=order)


@pytest.mark.parametrize("module", SUBMODULES, ids=lambda module: module.__name__)
def test_all_of_a_module_names_what_it_defines(module):
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }
    assert own <= set(getattr(module, "__all__", ())) <= set(vars(module))


def sections(text):
    """Return the text of each section of a Google docstring, by its heading."""
    found, heading = {"": ""}, ""
    for line in text.splitlines():
        if line and not line[0].isspace() and line.endswith(":") and " " not in line:
            heading = line[:-1]
            found[heading] = ""
        else:
            found[heading] += line + "\n"
    return found


@pytest.mark.parametrize(("package", "name"), EXPORTS, ids=lambda value: getattr(value, "__name__", value))
def test_public_object_is_described(package, name):
    value = getattr(package, name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return  # a constant
    text = sections(inspect.getdoc(value))
    assert text[""].split("\n")[0].endswith(".")
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        for parameter in signature.parameters:
            assert f"{parameter}: " in text["Args"]
        assert text["Returns"].strip()
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            assert f"{field.name}: " in text["Attributes"]
    elif not issubclass(value, Exception):
        assert issubclass(value, enum.Enum)


@pytest.mark.parametrize("module", [*PACKAGES, *SUBMODULES], ids=lambda module: module.__name__)
def test_examples_run(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("function", [label_gen.generate_abbc, postproc.recover_fragments])
def test_the_two_main_functions_have_examples(function):
    assert ">>> " in function.__doc__


TREE = {
    "DataError": ("FractureError", ValueError),
    "GridError": ("DataError", ValueError),
    "SchemeError": ("DataError", ValueError),
    "VolumeFileError": ("FractureError", OSError),
    "UsageError": ("FractureError", ValueError),
}


def test_errors_form_the_tree_drawn():
    assert set(errors.__all__) == {*TREE, "FractureError"}
    for name, (parent, builtin) in TREE.items():
        error = getattr(errors, name)
        assert error.__bases__[0] is getattr(errors, parent)
        assert issubclass(error, builtin)
        assert f"── {name}" in errors.__doc__
        assert error.__doc__.rstrip(".").lower() in " ".join(errors.__doc__.split()).lower()
