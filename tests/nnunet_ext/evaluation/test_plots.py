"""Plots: whole files, the same bytes each time, errors before anything is drawn, and the words that they hold."""

import math
import re

import numpy as np
import pytest
from PIL import Image

from label_gen.errors import DataError, UsageError
from nnunet_ext.evaluation.paper import scatter_x
from nnunet_ext.evaluation.plots import plot_bars, plot_boxes, plot_cases, plot_curve, plot_improvement, plot_training
from nnunet_ext.evaluation.training_logs import TrainingLog
from tests.nnunet_ext.evaluation.made_scores import fragment_scores, structure_scores

FIRST = structure_scores({"femur_2": 0.8, "femur_10": 0.5, "femur_1": 0.25, "femur_3": None})
SECOND = structure_scores({"femur_2": 0.75, "femur_10": 0.9, "femur_1": 0.7, "femur_4": 0.9})
HIGH = structure_scores({"a": 0.975, "b": 0.98})


def words(path):
    """Return the words of a plot, which an SVG holds as comments beside their outlines."""
    return [text.strip() for text in re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))]


def log(epochs, classes=()):
    values = tuple(np.linspace(0.1, 0.9, epochs).tolist())
    dice = tuple((value, value / 2, math.nan) for value in values)
    times = tuple(10.0 for _ in values)
    return TrainingLog(tuple(range(epochs)), values, values, values, dice, values, times, values, classes)


def test_picture_is_whole_and_the_same_each_time(tmp_path):
    for name in ("one.png", "other.png", "one.svg", "other.svg"):
        plot_cases(tmp_path / name, {"2D": FIRST, "3D": SECOND}, title="Femora")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size[0] == 1440
        assert len(picture.convert("RGB").getcolors(1_000_000)) > 20
    for kind in ("png", "svg"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"other.{kind}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "one.svg", "other.png", "other.svg"]


def test_bars_name_cases_from_worst_to_best(tmp_path):
    plot_cases(tmp_path / "bars.svg", {"2D": FIRST, "3D": SECOND})
    found = words(tmp_path / "bars.svg")
    names = [word for word in found if word.startswith("femur_")]
    assert names == ["femur_3", "femur_1", "femur_10", "femur_2", "femur_4"]
    said = " ".join(found)
    assert "5 cases, from worst to best; higher is better; dashed: means; " in said
    assert "cut" not in said
    assert "0.517 ± 0.275 (n = 3)" in said
    plot_cases(tmp_path / "bars.svg", {"2D": FIRST}, order="name")
    names = [word for word in words(tmp_path / "bars.svg") if word.startswith("femur_")]
    assert names == ["femur_1", "femur_2", "femur_3", "femur_10"]


def test_bars_of_high_scores_are_cut_and_say_so(tmp_path):
    plot_cases(tmp_path / "bars.svg", {"2D": HIGH}, ["jaccard", "dice"])
    found = words(tmp_path / "bars.svg")
    assert any("the bars are cut below" in word for word in found)
    ticks = [float(word) for word in found if re.fullmatch(r"[01]\.\d+", word)]
    assert 0.9 < min(ticks) <= 0.95
    assert max(ticks) == 1.0


def test_scores_of_fragments_and_parts_are_drawn(tmp_path):
    scores = {"ABBC": fragment_scores({"a": 0.5, "b": None, "c": 0.25})}
    plot_cases(tmp_path / "a.svg", scores, ["fragment_iou", "merge_errors"])
    plot_cases(tmp_path / "b.png", scores, "iou", ["sacrum", "left_hip"])  # the hips have no value at all
    plot_boxes(tmp_path / "c.png", scores, ["fragment_iou", "fragment_hd95_mm"])
    plot_boxes(tmp_path / "d.svg", {"2D": FIRST}, ["dice"], part="head/slices")
    assert any("Femur, head, per slice; box: quartiles" in word for word in words(tmp_path / "d.svg"))
    assert "Fragment IoU" in words(tmp_path / "a.svg")


def test_boxes_of_several_structures(tmp_path):
    both = structure_scores({"a": 0.8, "b": 0.5})
    for case in both["cases"].values():
        case["structures"]["left_tibia"] = case["structures"]["femur"]
    plot_boxes(tmp_path / "boxes.svg", {"2D": both, "3D": both}, ["dice", "hd95_mm"], title="Two bones")
    found = words(tmp_path / "boxes.svg")
    assert [found.count(word) for word in ("Femur", "Left tibia", "2D", "3D", "Two bones")] == [2, 2, 1, 1, 1]


def test_improvement_counts_better_and_worse(tmp_path):
    plot_improvement(tmp_path / "gain.svg", FIRST, SECOND, names=("3 cases", "40 cases"), title="More cases")
    said = " ".join(words(tmp_path / "gain.svg"))
    assert "Femur, +0.2667 ± 0.2754 (2 better, 1 worse)" in said
    assert "40 cases over 3 cases; positive: 40 cases is better; 2 cases without both values are left out" in said
    assert "Dice, 3 cases" in said
    plot_improvement(tmp_path / "gain.svg", FIRST, SECOND, "hd95_mm", against="mean")
    said = " ".join(words(tmp_path / "gain.svg"))
    assert "Femur, +2.67 ± 2.75 mm (2 better, 1 worse)" in said
    assert "HD95 (mm), mean of both" in said


def test_training_curves(tmp_path):
    plot_training(tmp_path / "one.svg", {"femora": log(5, ("femur", "left_tibia", "patella"))})
    found = words(tmp_path / "one.svg")
    assert {"Loss", "Learning rate", "training", "validation", "femur", "left tibia", "patella"} <= set(found)
    assert "femora: 5 epochs in 50 s" in found
    plot_training(tmp_path / "many.svg", {f"run {n}": log(n) for n in range(3, 10, 3)}, title="Three")
    found = words(tmp_path / "many.svg")
    assert {"run 3: 3 epochs in 30 s", "run 9: 9 epochs in 2 min", "Three"} <= set(found)
    assert "femur" not in found


def test_curve_by_training_cases(tmp_path):
    curves = {"2d": {3: [0.5, 0.6], 20: [0.8, math.nan]}, "3d_fullres": {3: [0.7], 20: [0.9, 0.95]}}
    plot_curve(tmp_path / "curve.svg", curves, published={"Ekman et al. 2025": {3: (0.92, 0.08), 40: (0.94, None)}})
    found = words(tmp_path / "curve.svg")
    assert {"2d", "3d_fullres", "Ekman et al. 2025", "3", "20", "40", "training cases"} <= set(found)
    assert any("1 failed or undefined values are left out" in word for word in found)
    plot_curve(tmp_path / "curve.png", {"2d": {4: [1.0]}}, "hd95_mm", label="patients")


def test_bars_of_a_study(tmp_path):
    table = {"2D, small": {"dice": 0.99, "hours": 2.0}, "3D, small": {"dice": 0.9917, "hours": None}}
    groups = {name: name[:2] for name in table}
    others = {"spread": {"2D, small": {"dice": 0.001}}, "published": {"3D, small": {"dice": 0.99172}}}
    plot_bars(tmp_path / "bars.svg", table, {"dice": "Dice", "hours": "Training (h)"}, groups=groups, **others)
    found = words(tmp_path / "bars.svg")
    assert {"2D, small", "3D, small", "Training (h)", "0.9900", "0.9917", "2", "none", "published", "2D"} <= set(found)
    cells = {f"cell {n}": {"slices.dice": 0.9 + n / 1000, "peak_vram_gib": n, "a": n, "b": n} for n in range(22)}
    plot_bars(tmp_path / "many.png", cells, ["slices.dice", "peak_vram_gib", "a", "b"])


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda p: plot_cases(p, {}), UsageError, "no scores to draw"),
        (lambda p: plot_cases(p, {"2D": FIRST}, []), UsageError, "no metric was named"),
        (lambda p: plot_cases(p, {"2D": FIRST}, "area"), UsageError, "2D: the scores hold no metric 'area'"),
        (lambda p: plot_boxes(p, {"2D": FIRST}, ["dice"], "tibia"), UsageError, "2D: .* known are femur"),
        (lambda p: plot_boxes(p.with_suffix(".jpg"), {"2D": FIRST}, ["dice"]), UsageError, r"expected one of \.png"),
        (
            lambda p: plot_improvement(p, FIRST, HIGH),
            UsageError,
            "share no case .* femur_1, femur_2, femur_3; and a, b",
        ),
        (lambda p: plot_training(p, {}), UsageError, "no training to draw"),
        (lambda p: plot_training(p, {"a": p.parent / "none.txt"}), OSError, "cannot read"),
        (lambda p: plot_curve(p, {"2d": {3: [math.nan]}}), UsageError, "no value to draw"),
        (lambda p: plot_bars(p, {}, ["dice"]), UsageError, "nothing to draw"),
        (lambda p: plot_bars(p, {"a": {}}, []), UsageError, "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_leaves_no_file(tmp_path, draw, error, message):
    with pytest.raises(error, match=message):
        draw(tmp_path / "plot.png")
    assert list(tmp_path.iterdir()) == []
    assert issubclass(error, OSError) or issubclass(error, UsageError | DataError)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_dots_stand_beside_each_other(count):
    places = scatter_x(np.full(count, 0.5), 3.0, 0.2)
    assert len(np.unique(places)) == count
    assert np.abs(places - 3.0).max() <= 0.2 + 1e-9
