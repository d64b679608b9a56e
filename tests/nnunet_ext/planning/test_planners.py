"""Our planners on a dataset that consists of its fingerprint."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK

from label_gen.errors import UsageError
from nnunet_ext.commands import plan_and_preprocess as command
from nnunet_ext.planning import run
from nnunet_ext.planning.planners import PLANNERS, ABBCPlannerM, TriPlanarPlanner
from nnunet_ext.planning.settings import PlanSettings

NAME = "Dataset990_Plan"


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Make a dataset of three cases with 0.8 mm in plane and slices of 1, 2 and 0.5 mm."""
    for room in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{room}", str(tmp_path / room))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    raw, preprocessed = tmp_path / "raw" / NAME, tmp_path / "preprocessed" / NAME
    preprocessed.mkdir(parents=True)
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for case in "abc":
        image = SimpleITK.GetImageFromArray(np.zeros((4, 4, 4), np.uint8))
        SimpleITK.WriteImage(image, str(raw / "imagesTr" / f"{case}_0000.mha"))
        SimpleITK.WriteImage(image, str(raw / "labelsTr" / f"{case}.mha"))
    labels = {"background": 0, "boundary": 1, "core": 2, "border": 3}
    description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 3, "file_ending": ".mha"}
    (raw / "dataset.json").write_text(json.dumps(description))
    values = {"max": 1.0, "mean": 0.0, "median": 0.0, "min": 0.0, "percentile_00_5": 0.0, "percentile_99_5": 1.0}
    fingerprint = {
        "spacings": [[1.0, 0.8, 0.8], [2.0, 0.8, 0.8], [0.5, 0.8, 0.8]],
        "shapes_after_crop": [[100, 120, 140], [50, 120, 140], [200, 120, 140]],
        "foreground_intensity_properties_per_channel": {"0": {**values, "std": 1.0}},
        "median_relative_size_after_cropping": 1.0,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return tmp_path


def plan(planner, **settings):
    with run._at_least_one_thread():
        return planner(990, settings=PlanSettings(**settings)).plan_experiment()["configurations"]


def test_triplanar_configuration(dataset):
    plans = plan(TriPlanarPlanner, patch_size=(32,), base_features=4)
    assert {"2d", "3d_fullres", "triplanar"} <= set(plans)
    found = plans["triplanar"]
    assert (found["patch_size"], found["spacing"]) == ([32] * 3, [0.8] * 3)
    assert found["median_image_size_in_voxels"] == [125.0, 120.0, 140.0]
    assert 30 <= found["batch_size"] <= 100
    assert found["data_identifier"] == "TriPlanarPlans_triplanar"
    architecture = found["architecture"]
    assert architecture["network_class_name"] == "nnunet_ext.triplanar.networks.TriPlanarUNet"
    arguments = architecture["arch_kwargs"]
    assert list(arguments["features_per_stage"]) == [4, 8, 16, 32]
    assert arguments["conv_op"].endswith("Conv2d")
    assert arguments["planes"] == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    assert arguments["regions"] is False
    assert found["triplanar"] == {"orientations": ["axial", "coronal", "sagittal"], "mirroring": True}
    saved = json.loads((dataset / "preprocessed" / NAME / "TriPlanarPlans.json").read_text())
    assert saved["configurations"]["triplanar"]["patch_size"] == [32] * 3
    # The data of nnU-Net's own configurations are shared with nnU-Net's own plans.
    assert plans["3d_fullres"]["data_identifier"] == "nnUNetPlans_3d_fullres"


def test_triplanar_settings(dataset):
    found = plan(
        TriPlanarPlanner, patch_size=(32,), base_features=4, batch_size=7, network="resenc", spacing="finest",
        orientations=("sagittal", "coronal"), mirroring=False,
    )["triplanar"]  # fmt: skip
    assert found["batch_size"] == 7
    assert found["spacing"] == [0.5] * 3
    assert found["architecture"]["network_class_name"] == "nnunet_ext.triplanar.networks.TriPlanarResEncUNet"
    assert "n_blocks_per_stage" in found["architecture"]["arch_kwargs"]
    assert found["architecture"]["arch_kwargs"]["planes"] == [[2, 0, 1], [1, 2, 0]]
    assert found["triplanar"] == {"orientations": ["sagittal", "coronal"], "mirroring": False}


def test_subset_of_orientations_wants_axial_stacks(dataset):
    path = dataset / "raw" / NAME / "imagesTr" / "b_0000.mha"
    image = SimpleITK.ReadImage(str(path))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    SimpleITK.WriteImage(image, str(path))
    with pytest.raises(UsageError, match=r"b_0000\.mha of Dataset990_Plan is no axial stack"):
        plan(TriPlanarPlanner, patch_size=(32,), orientations=("sagittal", "coronal"))
    plan(TriPlanarPlanner, patch_size=(32,), base_features=4)


def test_abbc_plans_are_nnunets_presets(dataset):
    from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
        nnUNetPlannerResEncM,
    )

    with run._at_least_one_thread():
        stock = nnUNetPlannerResEncM(990).plan_experiment()["configurations"]["3d_fullres"]
    ours = plan(ABBCPlannerM)["3d_fullres"]
    differing = {key for key in stock if json.dumps(stock[key], default=str) != json.dumps(ours[key], default=str)}
    assert differing <= {"batch_dice"}
    assert ours["batch_dice"] is True
    assert (dataset / "preprocessed" / NAME / "ABBCPlansM.json").is_file()


def test_abbc_settings(dataset):
    found = plan(ABBCPlannerM, patch_size=(32, 48, 32), batch_size=3, base_features=4, most_blocks=2)["3d_fullres"]
    assert (list(found["patch_size"]), found["batch_size"]) == ([32, 48, 32], 3)
    assert found["architecture"]["arch_kwargs"]["features_per_stage"][0] == 4
    assert list(found["architecture"]["arch_kwargs"]["n_blocks_per_stage"]) == [1, 2, 2, 2]


def test_patch_that_does_not_fit(dataset):
    with pytest.raises(UsageError, match=r"patch of 30x30x30 does not fit.*nearest that does is 32x32x32"):
        plan(ABBCPlannerM, patch_size=(30,))


def test_data_at_another_spacing_have_a_folder_of_their_own(dataset):
    with run._at_least_one_thread():
        planner = ABBCPlannerM(
            990, settings=PlanSettings(patch_size=(32,), base_features=4), overwrite_target_spacing=[1.0, 1.0, 1.0]
        )
        found = planner.plan_experiment()["configurations"]["3d_fullres"]
    assert found["data_identifier"] == "ABBCPlansM_3d_fullres"


def test_planner_names():
    assert set(PLANNERS) == set(run.DEFAULT_CONFIGURATIONS)
    assert run._find_planner("ExperimentPlanner", PlanSettings()).__name__ == "ExperimentPlanner"
    with pytest.raises(UsageError, match="there is no planner 'Nobody'; ours are ABBCPlannerM"):
        run._find_planner("Nobody", None)
    with pytest.raises(UsageError, match=r"can be set for ABBCPlannerM.*not for ExperimentPlanner"):
        run._find_planner("ExperimentPlanner", PlanSettings(batch_size=2))


def test_fingerprint_extractors(monkeypatch):
    monkeypatch.setattr(run, "_find_in_nnunet", lambda name: SimpleNamespace if name == "Mine" else None)
    assert run._find_extractor("Mine", None)(num_processes=2) == SimpleNamespace(num_processes=2)
    assert run._find_extractor("Mine", 20_000)() == SimpleNamespace(num_foreground_voxels_for_intensitystats=20_000)
    with pytest.raises(UsageError, match=r"9999 voxels tell too little .*; draw 10000 or more \(-fingerprint_voxels"):
        run._find_extractor("Mine", 9999)
    with pytest.raises(UsageError, match=r"nnU-Net has no fingerprint extractor 'Yours' \(-fpe\)"):
        run._find_extractor("Yours", None)


def test_processes_and_configurations_must_fit(dataset):
    with pytest.raises(UsageError, match=r"got 2 \(-np\)"):
        run.plan_and_preprocess([990], planner="ABBCPlannerM", processes=[1, 1])
    with pytest.raises(UsageError, match="dataset 990 have no configuration 3d_wrong; got 2d"):
        run.plan_and_preprocess(
            [990], planner="ABBCPlannerM", configurations=["3d_wrong"], progress=False, preprocess=False,
            settings=PlanSettings(patch_size=(32,), base_features=4),
        )  # fmt: skip


def test_workers_stay_zero(dataset, monkeypatch):
    with run._at_least_one_thread():
        import os

        assert os.environ["nnUNet_n_proc_DA"] == "1"  # noqa: SIM112
    assert os.environ["nnUNet_n_proc_DA"] == "0"  # noqa: SIM112


def test_companions_are_copied_once(dataset):
    raw, preprocessed = dataset / "raw" / NAME, dataset / "preprocessed" / NAME
    (raw / "fragmentsTr").mkdir()
    (raw / "fragmentsTr" / "a.mha").write_text("first")
    (raw / "scheme.toml").write_text("name = 'mine'")
    run._copy_companions(990)
    copied = preprocessed / "fragments" / "a.mha"
    assert copied.read_text() == "first"
    assert (preprocessed / "scheme.toml").is_file()
    assert not (preprocessed / "anatomy").exists()
    copied.write_text("kept")
    run._copy_companions(990)
    assert copied.read_text() == "kept"


def test_command_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert command.main(["-d", "77"]) == 2
    assert "no dataset number 77" in capsys.readouterr().err
    monkeypatch.delenv("nnUNet_raw")
    assert command.main(["-d", "77"]) == 2
    assert "nnUNet_raw" in capsys.readouterr().err
    assert command.main(["-d", "77", "-orientations", "oblique"]) == 2
    assert "got: oblique" in capsys.readouterr().err
