"""The models made from nothing: the whole road with networks that learn nothing, and what stops it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from label_gen.errors import UsageError
from nnunet_ext.commands import models as command
from nnunet_ext.modelling.making import STAGES, find_anatomies, make_models
from nnunet_ext.models import list_models, model_folder

TINY = [
    "workers=1", "loaders=0", "scheme=pengwin2024", "simulation.phantom_cases=2", "simulation.anatomy_cases=0",
    "simulation.validation_cases=1", "simulation.phantom_test_cases=1", "simulation.anatomy_test_cases=0",
    "simulation.spacing_mm=2.5", "simulation.test_spacing_mm=2.5", "bones.spacing_mm=4.0", "bones.patch_size=32",
    "bones.batch_size=2", "bones.base_features=4", "bones.epochs=1", "bones.iterations=2", "bones.val_iterations=1",
    "abbc.spacing_mm=3.0", "abbc.patch_size=32", "abbc.base_features=4", "abbc.most_blocks=1", "abbc.epochs=1",
    "abbc.iterations=2", "abbc.val_iterations=1", "test.step_size=1.0",
    "test.cost_spacings_mm=[3.0]",
]  # fmt: skip


def test_anatomies_for_training_and_test(save, labels, tmp_path):
    for name in ("ts_1", "ts_2", "hra"):
        save(labels, tmp_path / "bones" / f"{name}.nii.gz")
    found = find_anatomies([tmp_path / "bones"], ["ts_2", "h*"])
    assert (list(found.training), sorted(found.test)) == (["ts_1"], ["hra", "ts_2"])
    found = find_anatomies([tmp_path / "bones" / "hra.nii.gz"], [])
    assert (list(found.training), list(found.test)) == (["hra"], [])
    with pytest.raises(UsageError, match="no anatomy is called 'x'; there are hra, ts_1, ts_2"):
        find_anatomies([tmp_path / "bones"], ["x"])
    with pytest.raises(UsageError, match="two anatomies are called 'hra'; rename one"):
        find_anatomies([tmp_path / "bones", tmp_path / "bones" / "hra.nii.gz"], [])


def test_unknown_stages(tmp_path):
    with pytest.raises(UsageError, match="there is no stage 'simulate'; there are simulate-training, "):
        make_models(tmp_path, stages=["simulate"])
    assert all(stage in " ".join(command.DESCRIPTION.split()) for stage in STAGES)


def test_a_stage_without_those_before_it(tmp_path):
    with pytest.raises(UsageError, match="the stage 'simulate-training' has to be done first"):
        make_models(tmp_path, stages=["prepare"], say=lambda text: None)


def test_cases_that_are_there_already(save, labels, anatomy, tmp_path):
    for kind, array in (("images", labels.astype(np.int16)), ("labels", labels), ("anatomy", anatomy)):
        save(array, tmp_path / "given" / kind / "a.nii.gz")
    options = {"training_cases": tmp_path / "given", "stages": ["simulate-training"], "say": lambda text: None}
    made = make_models(tmp_path / "work", **options)
    assert made["simulate-training"]["cases"] == ["a"]
    assert (tmp_path / "work" / "cases" / "training" / "images" / "a.nii.gz").is_file()
    make_models(tmp_path / "work", **options, redo=["simulate-training"])
    assert len(list((tmp_path / "given" / "images").iterdir())) == 1


def test_errors_of_the_command(capsys, tmp_path):
    assert command.main(["-o", str(tmp_path), "--profile", "tpu"]) == 2
    assert "abbc-train-models: error: unknown training profile 'tpu'; known are" in capsys.readouterr().err
    assert command.main(["-o", str(tmp_path), "--set", "abbc.epochs=x"]) == 2


@pytest.mark.slow
def test_the_whole_road(tmp_path, capsys):
    work, place = tmp_path / "work", tmp_path / "pretrained"
    arguments = ["-o", str(work), "--set", *TINY]
    assert command.main([*arguments, "--ship", str(place)]) == 0, capsys.readouterr().err
    assert list_models(place) == ("bones", "abbc")
    assert {model_folder(name, place=place).name for name in ("bones", "abbc")} == {"bones", "abbc"}
    card = (place / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Where it fails" in card
    assert str(tmp_path) not in card
    assert all((place / picture).is_file() for picture in re.findall(r"]\((.*?)\)", card))
    records = {path.stem: json.loads(path.read_text()) for path in (work / "records").iterdir()}
    assert set(records) == set(STAGES) - {"test-real"}
    assert {record["status"] for record in records.values()} == {"done"}
    trained = records["train-abbc"]["result"]
    assert (trained["epochs"], trained["steps"], trained["patches"]) == (1, 2, 4)
    assert records["test-abbc"]["result"]["costs"]["summary"]["peak_mb"]["max"] > 100

    capsys.readouterr()
    assert command.main(arguments) == 0
    said = capsys.readouterr().err
    assert said.count("finished before") == len(records)

    longer = [text.replace("abbc.epochs=1", "abbc.epochs=2") for text in arguments]
    assert command.main([*longer, "--stage", "train-abbc", "pack"]) == 0
    log = (work / "logs" / "train-abbc.log").read_text(encoding="utf-8", errors="replace")
    assert "Epoch 1\n" in log
    assert log.count("Epoch 0\n") == 1  # it went on, and did not begin anew
    assert command.main([*longer, "abbc.border_weight=9", "--stage", "train-abbc"]) == 2
    assert "border_weight was 10.0, now it is 9.0; redo it (--redo train-abbc)" in capsys.readouterr().err
    assert not [path for path in Path(work).rglob("*.npz") if "scores" in path.parts]
