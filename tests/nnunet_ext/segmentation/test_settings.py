"""Settings, devices, models and corrections as they are typed: what is accepted, noted, refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

import nnunet_ext
from label_gen.errors import SchemeError, UsageError
from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.correcting import parse_merge, parse_split
from nnunet_ext.segmentation.model import load_model
from nnunet_ext.segmentation.settings import Settings
from tests.nnunet_ext.segmentation.phantom import FINE, acquired, save_model


def test_the_package_stays_light(environment):
    code = "import sys, nnunet_ext, nnunet_ext.commands.segment; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not set(done.stdout.split()) & {"numpy", "scipy", "SimpleITK", "torch", "label_gen", "postproc", "tqdm"}
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        _ = nnunet_ext.segmnt


def test_what_the_record_tells_of_settings(tmp_path):
    settings = Settings(
        bones=tmp_path / "Smith.nii.gz", model=tmp_path / "A__B__c", series="1.2.3", fast=True, mirroring=True
    )
    told = settings.to_dict()
    assert (told["bones"], told["model"], told["series"]) == ("given", "A__B__c", "chosen")
    assert (told["step_size"], told["mirroring"], told["fast"]) == (0.75, False, True)
    assert str(tmp_path) not in json.dumps(told)
    assert Settings().to_dict()["bones"] == "bundled"


@pytest.mark.parametrize("wrong", [{"step_size": 0}, {"step_size": 1.5}, {"margin_mm": -1}, {"clearance_mm": 9}])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(UsageError):
        Settings(**wrong)


def test_a_model_is_loaded_once(model):
    settings = Settings(model=model, device="cpu")
    assert load_model(settings) is load_model(Settings(model=model, device="cpu", margin_mm=5))
    assert load_model(Settings(model=model, device="cpu", fast=True)) is not load_model(settings)


def test_folds(tmp_path):
    folder = save_model(tmp_path / "two", folds=(0, 3))
    assert load_model(Settings(model=folder, device="cpu")).folds == ("0", "3")
    assert load_model(Settings(model=folder, device="cpu", fast=True)).folds == ("0",)
    assert load_model(Settings(model=folder, device="cpu", folds=(3,))).folds == ("3",)
    with pytest.raises(UsageError, match="folds that have it: 0, 3"):
        load_model(Settings(model=folder, device="cpu", folds=(1,)))


def test_models_that_are_no_abbc_models(tmp_path):
    folder = save_model(tmp_path / "other", names=["background", "boundary", "core", "liver"])
    with pytest.raises(SchemeError, match="does not name the class"):
        load_model(Settings(model=folder, device="cpu"))


@pytest.mark.parametrize(
    "options",
    [
        {"transpose": (1, 2, 0), "spacing": (2.0, 2.5, 3.0)},
        {"names": ["background", "core", "border", "boundary"]},
    ],
)
def test_axes_and_classes_come_back_in_our_order(drawn, tmp_path, options):
    plain = save_model(tmp_path / "plain", spacing=options.get("spacing", (2.0, 2.0, 2.0)))
    other = save_model(tmp_path / "other", **options)
    grid = Grid((25, 26, 40), options.get("spacing", (2.0, 2.0, 2.0)), (-40.0, -30.0, -30.0))
    ct = acquired(drawn[0], FINE)
    first, second = (load_model(Settings(model=m, device="cpu")) for m in (plain, other))
    assert first.spacing_mm(ct.grid) == second.spacing_mm(ct.grid) == grid.spacing_mm
    assert first.sha256 != second.sha256
    found = [model.predict(ct, grid) for model in (first, second)]
    assert found[0].shape == (4, *grid.shape)
    assert np.abs(found[0].astype(float) - found[1]).max() < 0.01
    assert np.allclose(found[0].sum(axis=0, dtype=np.float32), 1, atol=5e-3)


@pytest.mark.parametrize("text", ["11", "11;12", "a,b", ""])
def test_joins_as_typed(text):
    with pytest.raises(UsageError, match="11,12"):
        parse_merge(text)


@pytest.mark.parametrize(
    "text", ["21", "21@1,2,3", "21@1,2;3,4", "x@1,2,3;4,5,6", "21@1,2,nan;1,2,3", "21@1,2,3;a,b,c"]
)
def test_cuts_as_typed(text):
    with pytest.raises(UsageError, match="LPS millimetres"):
        parse_split(text)
