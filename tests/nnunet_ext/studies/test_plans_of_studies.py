"""Configurations that differ in size from the planned ones."""

import pytest

from label_gen.errors import DataError
from nnunet_ext.studies.plans import resized
from nnunet_ext.studies.study import Cell
from nnunet_ext.training.preflight import resolve_configuration
from tests.nnunet_ext.training.tiny import triplanar_plans


def cell(configuration, **sizes):
    return Cell(name="c", configuration=configuration, planner="ExperimentPlanner", **sizes)


def test_another_batch_size_inherits_all_else():
    plans = triplanar_plans()
    made = cell("2d", batch_size=372)
    assert made.configuration_name == "2d_batch372"
    plans["configurations"]["2d_batch372"] = resized(made, plans["configurations"]["2d"])
    assert plans["configurations"]["2d_batch372"] == {"inherits_from": "2d", "batch_size": 372}
    whole = resolve_configuration(plans, "2d_batch372")
    assert (whole["batch_size"], whole["patch_size"], whole["data_identifier"]) == (372, [16, 16], "nnUNetPlans_2d")


@pytest.mark.parametrize(("configuration", "axes"), [("2d", 2), ("3d_fullres", 3), ("triplanar", 3)])
def test_a_smaller_patch_takes_stages_away(configuration, axes):
    base = triplanar_plans()["configurations"][configuration]
    made = resized(cell(configuration, patch_size=8, base_features=2, most_blocks=1), base)
    network = made["architecture"]["arch_kwargs"]
    assert made["patch_size"] == [8] * axes
    assert (network["n_stages"], network["features_per_stage"]) == (2, [2, 4])
    assert [len(network[key]) for key in ("kernel_sizes", "strides", "n_conv_per_stage")] == [2, 2, 2]
    assert network["n_conv_per_stage_decoder"] == [1]
    assert ("planes" in network) == (configuration == "triplanar")
    assert base["architecture"]["arch_kwargs"]["n_stages"] == 3
    same = resized(cell(configuration, patch_size=32), base)["architecture"]["arch_kwargs"]
    assert same == base["architecture"]["arch_kwargs"]


def test_a_patch_too_small():
    with pytest.raises(DataError, match="a patch of 4 is too small for two stages"):
        resized(cell("2d", patch_size=4), triplanar_plans()["configurations"]["2d"])
