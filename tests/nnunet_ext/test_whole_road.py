"""From a source to scores with the commands that a user types, for ABBC in 3D and for the tri-planar mode."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from label_gen.phantom import make_phantom
from nnunet_ext.volumes import Volume, read_labels, write_volume

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
DATASET = "Dataset801_PENGWIN2024_ABBC"
MODELS = {"3d_fullres": "ABBCPlansM", "triplanar": "TriPlanarPlans"}
STEPS = {"3d_fullres": "3", "triplanar": "20"}
TRAINERS = {"3d_fullres": "nnUNetTrainerABBC_2epochs", "triplanar": "nnUNetTrainerTriPlanar_2epochs"}
WORKERS = {"3d_fullres": "0", "triplanar": "1"}  # nnU-Net predicts in its own process, or in workers
FIELD_OF_VIEW = (144.0, 118.0, 144.0)


class Road:
    """A folder with everything in it, and the environment that a user has after `eval "$(abbc-env)"`."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if name != "nnUNet_extTrainer"}
        self.environment |= {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "nnUNet_raw": str(folder / "raw"),
            "nnUNet_preprocessed": str(folder / "preprocessed"),
            "nnUNet_results": str(folder / "results"),
            "nnUNet_n_proc_DA": "0",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "2",
        }
        for name in ("raw", "preprocessed", "results"):
            (folder / name).mkdir()

    def run(self, line, **variables):
        """Run a line of shell as a user would; return what it printed."""
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, cwd=self.folder, env={**self.environment, **variables}
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def model(self, configuration):
        name = f"{TRAINERS[configuration]}__{MODELS[configuration]}__{configuration}"
        return self.folder / "results" / DATASET / name


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """Source, dataset, plans and trained models of both modes."""
    road = Road(tmp_path_factory.mktemp("road"))
    source = road.folder / "PENGWIN"
    for number in range(1, 5):
        patient = make_phantom(number, (3.0, 3.0, 3.0), field_of_view_mm=FIELD_OF_VIEW)
        for folder, array in (("images", patient.ct), ("labels", patient.labels)):
            volume = Volume(array, patient.spacing_mm, patient.origin_mm)
            write_volume(volume, source / folder / f"{number:03d}.mha")
    road.run("abbc-prepare-dataset pengwin2024 PENGWIN -d 801 --task abbc --test 004 --folds 3")
    small = "-base_features 4 -np 1 -npfp 1 -fingerprint_voxels 100000 --no_pbar"
    road.run(f"abbc-plan-and-preprocess -d 801 -pl ABBCPlannerM -patch_size 48 40 48 -batch_size 2 {small}")
    road.run(f"abbc-plan-and-preprocess -d 801 -pl TriPlanarPlanner -patch_size 48 -batch_size 4 {small}")
    for configuration, plans in MODELS.items():
        short = {"ABBC_ITERATIONS": STEPS[configuration], "ABBC_VAL_ITERATIONS": "1"}
        road.run(
            f'eval "$(abbc-env)" && nnUNetv2_train 801 {configuration} 0 -tr {TRAINERS[configuration]} -p {plans} '
            "-device cpu --npz",
            **short,
        )
    return road


def arguments(configuration):
    return f"-d 801 -c {configuration} -p {MODELS[configuration]} -tr {TRAINERS[configuration]} -f 0 -device cpu"


def test_trained_folder_is_what_nnunet_leaves(road):
    for configuration in MODELS:
        fold = road.model(configuration) / "fold_0"
        assert (fold / "checkpoint_final.pth").is_file()
        assert not [*fold.glob("*latest*"), *fold.glob("*previous*")]
        validation = fold / "validation"
        (case,) = json.loads((road.folder / "preprocessed" / DATASET / "splits_final.json").read_text())[0]["val"]
        assert (validation / f"{case}.mha").is_file()
        scores = json.loads((validation / "fragment_scores.json").read_text())
        assert scores["cases"][case]["status"] == "done"
        assert scores["settings"]["scheme"] == "pengwin2024"
        assert read_labels(validation / "fragments" / f"{case}.nii.gz").array.max() <= 30
        (log,) = fold.glob("training_log*.txt")
        assert "Mean validation fragment_iou" in log.read_text()


@pytest.mark.parametrize("configuration", MODELS)
def test_predict_recover_and_evaluate(road, configuration):
    out, workers = f"predicted_{configuration}", WORKERS[configuration]
    road.run(
        f"nnUNetv2_predict -i raw/{DATASET}/imagesTs -o {out} {arguments(configuration)} -npp {workers} -nps {workers} "
        f"--save_probabilities && abbc-recover-instances -i {out} -a raw/{DATASET}/anatomyTs -o {out}_fragments && "
        f"abbc-evaluate -p {out}_fragments -r raw/{DATASET}/fragmentsTs -o {out}_scores.json"
    )
    scores = json.loads((road.folder / f"{out}_scores.json").read_text())
    assert scores["cases"]["004"]["status"] == "done"
    truth = read_labels(road.folder / "raw" / DATASET / "fragmentsTs" / "004.mha")
    assert read_labels(road.folder / f"{out}_fragments" / "004.nii.gz").grid == truth.grid


def test_model_folder_predicts_without_any_variable(road):
    bare = {name: value for name, value in road.environment.items() if not name.lower().startswith("nnunet")}
    command = f"nnUNetv2_predict_from_modelfolder -i raw/{DATASET}/imagesTs -o bare -m {road.model('triplanar')}"
    command += " -f 0 -device cpu -npp 1 -nps 1"
    subprocess.run(["bash", "-c", command], check=True, capture_output=True, cwd=road.folder, env=bare)
    assert (road.folder / "bare" / "004.mha").is_file()


def test_own_predictor_agrees_with_the_stock_one(road):
    road.run(
        f"abbc-predict -i raw/{DATASET}/imagesTs -o own {arguments('triplanar')} -npp 0 -nps 0 --save_probabilities"
    )
    own = read_labels(road.folder / "own" / "004.mha").array
    stock = read_labels(road.folder / "predicted_triplanar" / "004.mha").array
    # A network trained for 40 steps is undecided in many places, and its mirror images disagree; with a trained one
    # test_predictor.py demands fewer than 1 voxel in 10,000. Here the two must be of one mind where that is made up.
    archives = [np.load(road.folder / f / "004.npz")["probabilities"] for f in ("own", "predicted_triplanar")]
    assert np.abs(archives[0] - archives[1]).mean() < 0.03
    second, first = np.sort(archives[0], axis=0)[-2:]
    decided = first - second > 0.2
    assert decided.mean() > 0.02
    assert np.mean(own[decided] != stock[decided]) < 1e-3


def test_ensemble(road):
    folders = " ".join(f"predicted_{configuration}" for configuration in MODELS)
    road.run(f"nnUNetv2_ensemble -i {folders} -o ensemble -np 1")
    assert (road.folder / "ensemble" / "004.mha").is_file()


def test_both_modes_compete_for_the_best_configuration(road):
    """One trainer and one plan hold both: what `nnUNetv2_find_best_configuration` compares by itself."""
    road.run(
        "nnUNetv2_preprocess -d 801 -plans_name TriPlanarPlans -c 3d_fullres -np 1 && "
        'eval "$(abbc-env)" && nnUNetv2_train 801 3d_fullres 0 -tr nnUNetTrainerTriPlanar_2epochs -p TriPlanarPlans '
        "-device cpu --npz",
        ABBC_ITERATIONS="1",
        ABBC_VAL_ITERATIONS="1",
    )
    text = road.run(
        "nnUNetv2_find_best_configuration 801 -p TriPlanarPlans -c triplanar 3d_fullres -f 0 -np 1 "
        "-tr nnUNetTrainerTriPlanar_2epochs"
    )
    assert "*Best*" in text
    assert "ensemble___nnUNetTrainerTriPlanar_2epochs__TriPlanarPlans__triplanar___" in text


def test_export_and_install(road):
    road.run(
        f"nnUNetv2_export_model_to_zip -d 801 -o model.zip -c triplanar -tr {TRAINERS['triplanar']} "
        "-p TriPlanarPlans -f 0"
    )
    elsewhere = {"nnUNet_results": str(road.folder / "installed")}
    road.run("mkdir installed && nnUNetv2_install_pretrained_model_from_zip model.zip", **elsewhere)
    road.run(f"nnUNetv2_predict -i raw/{DATASET}/imagesTs -o again {arguments('triplanar')} -npp 0 -nps 0", **elsewhere)
    first, again = (read_labels(road.folder / f / "004.mha").array for f in ("predicted_triplanar", "again"))
    assert np.array_equal(first, again)


def test_doctor_finds_nothing_that_would_stop_training(road):
    text = road.run('eval "$(abbc-env)" && abbc-doctor -d 801 -p TriPlanarPlans -c triplanar -device cpu --json')
    findings = json.loads(text)["findings"]
    assert [finding for finding in findings if finding["status"] == "error"] == []
    assert shutil.which("abbc-doctor", path=road.environment["PATH"])
