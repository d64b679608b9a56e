"""The models that come with the package: found by name, and checked before they are used."""

import json
import re

import pytest

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext import models
from nnunet_ext.commands.predict import main
from nnunet_ext.models import INDEX, MODELS, PRETRAINED, list_models, model_folder, sums_of


@pytest.fixture
def place(tmp_path):
    """A folder with a model of three files and the index."""
    folder = tmp_path / "pretrained" / "abbc"
    (folder / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth"):
        (folder / name).write_text(f"content of {name}")
    index = {"models": {"abbc": {"files": sums_of(folder)}}}
    (folder.parent / INDEX).write_text(json.dumps(index))
    return folder.parent


def test_a_model_that_is_whole(place):
    assert model_folder("abbc", place=place) == place / "abbc"
    assert list_models(place) == ("abbc",)


def test_unknown_names(place):
    with pytest.raises(UsageError, match="there is no model 'femur'; there are bones, abbc, or give a model folder"):
        model_folder("femur", place=place)


def test_models_that_are_not_there(place, tmp_path):
    with pytest.raises(VolumeFileError, match=r"the model 'bones' does not come with this version.*make models"):
        model_folder("bones", place=place)
    with pytest.raises(VolumeFileError, match="does not come with this version"):
        model_folder("abbc", place=tmp_path / "nothing")


def test_missing_and_damaged_files(place):
    weights = place / "abbc" / "fold_0" / "checkpoint_final.pth"
    weights.write_text("content of fold_0/checkpoint_fina1.pth")
    with pytest.raises(DataError, match=r"damaged: 'fold_0/checkpoint_final.pth' is not the file.*pip install"):
        model_folder("abbc", place=place)
    weights.unlink()
    with pytest.raises(VolumeFileError, match=r"not complete: 'fold_0/checkpoint_final.pth' is missing; install"):
        model_folder("abbc", place=place)
    (place / INDEX).write_text("{")
    with pytest.raises(VolumeFileError, match=r"the list of models 'index.json' cannot be read"):
        model_folder("abbc", place=place)


def test_what_ships_is_whole():
    for name in list_models():
        assert model_folder(name) == PRETRAINED / name
        card = (PRETRAINED / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert all((PRETRAINED / picture).is_file() for picture in re.findall(r"]\((.*?)\)", card))
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) < 40e6
    assert set(MODELS) >= set(list_models())


def test_predict_takes_a_name(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "PRETRAINED", place)
    asked = []

    def load(folder, folds, *_):
        asked.append((folder, tuple(folds)))
        raise DataError("enough")

    monkeypatch.setattr("nnunet_ext.commands.predict._load", load)
    arguments = ["-i", str(tmp_path / "images"), "-o", str(tmp_path / "out"), "-device", "cpu"]
    assert main(["-m", "abbc", *arguments]) == 1
    assert main(["-m", "abbc", "-f", "1", *arguments]) == 1
    assert main(["-m", "bones", *arguments]) == 1
    assert asked == [(place / "abbc", (0,)), (place / "abbc", ("1",))]
    assert "the model 'bones' does not come with this version" in capsys.readouterr().err


def test_a_folder_goes_before_a_name(place, tmp_path, monkeypatch):
    asked = []

    def load(folder, folds, *_):
        asked.append((str(folder), tuple(folds)))
        raise DataError("enough")

    monkeypatch.setattr("nnunet_ext.commands.predict._load", load)
    (tmp_path / "abbc").mkdir()
    monkeypatch.chdir(tmp_path)
    main(["-m", "abbc", "-i", str(tmp_path / "images"), "-o", str(tmp_path / "out"), "-device", "cpu"])
    assert asked == [("abbc", ("0", "1", "2", "3", "4"))]
