"""The model card is written from records: every number in it comes from them."""

import json
import re

import pytest

from nnunet_ext.modelling.card import compose_card
from nnunet_ext.modelling.card_parts import changes_between, credits_of, describe_log
from nnunet_ext.modelling.profile import load_profile

PROFILE = load_profile("cpu").to_dict()


def scores(iou):
    case = {"fragment_iou": iou, "f1": 0.875, "merge_errors": 2, "split_errors": 1}
    case |= {"reference_fragments": 6, "prediction_fragments": 5}
    summary = {"cases": 1, "fragment_iou": {"mean": iou, "median": iou, "min": iou}, "f1": {"mean": 0.875}}
    summary |= {"fragment_hd95_mm": {"mean": 4.56}, "merge_errors": 2, "split_errors": 1}
    summary |= {"reference_fragments": 6, "prediction_fragments": 5}
    costs = {key: {"mean": 61.4, "max": 70.2} for key in ("wall_s", "processor_s", "peak_mb")}
    variants = {name: {"summary": summary, "cases": {"phantom_9": case}} for name in ("default", "no healing")}
    return {"variants": variants, "costs": {"summary": costs, "cases": {}}}


@pytest.fixture
def records():
    bones = {"dice": {"sacrum": {"mean": 0.981, "min": 0.95, "cases": 1}}, "swapped": 0, "cases": 1}
    bones |= {"surplus": {"left_femur": 3, "right_femur": 2}, "largest_share_found_as_twin": 0.001, "refused": {}}
    plan = {"network": "ResidualEncoderUNet", "features": [8, 16], "spacing": [1.3] * 3, "patch_size": [64] * 3}
    curves = {"train_losses": [1.0, -0.5], "val_losses": [1.0, 0.0], "ema_fg_dice": [0.1, 0.654]}
    train = {"epochs": 2, "steps": 100, "patches": 200, "seconds_in_epochs": 7200, "curves": curves}
    costs = scores(0.9)["costs"]
    spent = {"wall_s": 12.3, "processor_s": 20.4, "peak_mb": 901.2}
    cost = {
        "spacing_mm": 1.5,
        "voxels": 7_750_000,
        "cost": spent,
        "stages": {"bones": 3.2, "predict": 6.7, "recover": 2.6},
    }
    results = {
        "simulate-training": {"cases": ["phantom_1", "ts_s1_2"], "anatomies": ["ts_s1"], "failed": []},
        "simulate-test": {"cases": ["phantom_9", "mine_9"], "anatomies": ["mine"], "failed": []},
        "plan-abbc": plan,
        "train-abbc": train,
        "pack": {"abbc": {"bytes": 5_100_000, "parameters": 2_456_080, "files": {}}},
        "test-abbc": scores(0.912),
        "test-bones": {"summary": bones, "cases": {}, "costs": costs},
        "cost": {
            "view_zyx_mm": [300.0, 250.0, 350.0],
            "runs": [cost, {**cost, "spacing_mm": 3.0, "refused": "no bones"}],
        },
        "test-real": {"outside_hu": 40, "abbc": scores(0.777)},
    }
    return {name: {"result": result, "versions": {"nnunet-abbc": "9.9"}} for name, result in results.items()}


def test_card(records):
    other = {**PROFILE, "simulation": {**PROFILE["simulation"], "closed": 0.0}}
    tried = [{"name": "no-closed", "profile": other, "test": scores(0.512), "train": {"patches": 400}}]
    text = compose_card(PROFILE, records, tried, None, {"pictures/worst_1.png": "phantom_9: IoU 0.912"})
    for said in (
        "not for clinical use",
        "2.5 million, 5.1 MB",
        "2 epochs, 100 steps, 200 patches | 2.0 h | 1.00 to -0.50 | 0.654",
        "| `abbc`, epoch | 1 | 2 |\n|---|---|---|\n| training loss | 1.00 | -0.50 |\n| validation loss | 1.00 | 0.00 |",
        "- training: 2 cases at 1.3 mm; 1 of parametric pelves, 1 of 1 given anatomies",
        "No anatomy is in both.",
        "CC BY 4.0",
        "| `mine` | not in credits.toml | ? | ? |",
        "The mean IoU of 0.912 is enough to ship (aim 0.93",
        "| default | 0.912 | 0.912 | 0.912 | 0.875 | 4.6 | 2 | 1 | 6 / 5 |",
        "| no healing |",
        "| sacrum | 1 | 0.981 | 0.950 |",
        "Found in cases whose labels have none of it: left_femur in 3, right_femur in 2.",
        "all else was filled with 40 HU",
        "| default | 0.777 |",
        "| no-closed | simulation.closed 0.0 (0.62) | 400 | 1 | 0.512 |",
        "| `abbc` | 61 (at most 70) |",
        "| 1.5 mm | 7.8 | 12 | 20 | 901 | 3 | 7 | 3 | 0 |",
        "| 3 mm | 7.8 | 12 | 20 | 901 | refused | 7 | 3 | 0 |",
        "![phantom_9: IoU 0.912](pictures/worst_1.png)",
        '"nnunet-abbc": "9.9"',
    ):
        assert said in text, said
    block = re.search(r"```json\n(.*)```", text, re.DOTALL)
    assert json.loads(block[1])["profile"] == PROFILE


def test_log_shows_first_and_last_epoch():
    curve = [float(epoch) for epoch in range(1, 301)]
    curves = dict.fromkeys(("train_losses", "val_losses", "ema_fg_dice"), curve)
    head, _, losses, *_ = describe_log("abbc", {"epochs": 300, "curves": curves}).splitlines()
    epochs = [int(cell) for cell in head.split("|")[2:-1]]
    assert len(epochs) == 11
    assert (epochs[0], epochs[5], epochs[-1]) == (1, 151, 300)
    assert [float(cell) for cell in losses.split("|")[2:-1]] == epochs


def test_a_model_that_is_not_there_is_said(records):
    assert "**Not trained yet, and not in this folder: `bones`.**" in compose_card(PROFILE, records)
    assert "Not trained yet" not in compose_card(PROFILE, {**records, "train-bones": records["train-abbc"]})


@pytest.mark.parametrize(("iou", "verdict"), [(0.94, "reaches the aim"), (0.5, "is below the least")])
def test_verdict(records, iou, verdict):
    records["test-abbc"]["result"] = scores(iou)
    assert verdict in compose_card(PROFILE, records)


def test_a_card_of_little():
    text = compose_card(PROFILE, {})
    assert "Nothing yet." in text
    assert "Scores" not in text


def test_differences_between_profiles():
    other = load_profile("cpu", ["abbc.epochs=7", "device=cuda", "packing.half=false"]).to_dict()
    told = f"device cuda (cpu), abbc.epochs 7 ({PROFILE['abbc']['epochs']}), packing.half False (True)"
    assert changes_between(PROFILE, other) == told
    assert changes_between(PROFILE, PROFILE) == ""


def test_credits_name_source_and_licence():
    assert "| `pelvicref_001_labels_1mm` | pelvic annotations" in credits_of(["pelvicref_001_labels_1mm"])
