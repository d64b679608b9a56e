"""The benchmark of surface metrics measures the same thing on both sides."""

import pytest

from tests.benchmarks.structure_metrics import CASES, SIDES, make_masks, measure, table


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    return folder, make_masks(folder, 32)


@pytest.mark.parametrize("case", CASES)
def test_both_sides_agree(masks, case):
    folder, dice = masks
    rows = {side: measure(side, case, folder, 1) for side in SIDES}
    for side in ("simpleitk-box", "surfaces", "volume"):
        for name in ("asd_mm", "hd95_mm"):
            assert rows[side]["figures"][name] == pytest.approx(rows["simpleitk"]["figures"][name], abs=1e-4)
    assert rows["volume"]["figures"]["dice"] == pytest.approx(dice[case])
    assert rows["triangles"]["figures"]["abs_surface_p95_mm"] == rows["volume"]["figures"]["abs_surface_p95_mm"]
    for row in rows.values():
        row["peak_mb"] = max(row["peak_mb"], 1.0)
        row["seconds"] = max(row["seconds"], 1e-3)
    lines = table(dict.fromkeys(CASES, rows), dice)
    assert len(lines) == len(CASES) * (2 + len(SIDES))
    assert lines[2].split()[:4] == ["SimpleITK,", "ASD", "and", "HD95"]


def test_predictions_are_as_good_as_they_are_called(masks):
    _, dice = masks
    assert dice["close"] > dice["rough"] > dice["far"]
