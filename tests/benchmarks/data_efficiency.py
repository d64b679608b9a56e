"""How Dice grows with the number of training cases: tri-planar, stock 2d and stock 3d_fullres, for equal time.

    python -m tests.benchmarks.data_efficiency [--minutes 5] [--cases 3 5 10 20] [--folder DIR]

The seed's data-efficiency study (Ekman 2025, Table 6) scaled to a machine without a GPU: virtual patients at 2 mm with
ABBC classes, small networks (8 features in the first stage), one thread and the same processor time of training for
each mode. Training sets are nested; the test cases are the same for all. A finished run is not repeated.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

MODES = {"triplanar": "TimedTriPlanar", "2d": "TimedStock", "3d_fullres": "TimedStock"}
NAME = "Dataset700_VirtualPelvis"
PLANS = "StudyPlans"
TEST_CASES = 4
BATCH = {"2d": 8, "triplanar": 8, "3d_fullres": 2}
PATCH_3D = (64, 64, 64)


def prepare(folder, cases, spacing_mm):
    """Make the dataset with one fold per number of training cases."""
    from label_gen import generate_abbc
    from label_gen.phantom import make_phantom
    from nnunet_ext.volumes import Volume, write_volume

    raw = folder / "raw" / NAME
    if (raw / "dataset.json").is_file():
        return
    names = {"train": [f"train{i:02d}" for i in range(max(cases))], "val": [f"test{i:02d}" for i in range(TEST_CASES)]}
    for kind, offset in (("train", 0), ("val", 1000)):
        for number, name in enumerate(names[kind]):
            patient = make_phantom(offset + number, (spacing_mm,) * 3)
            classes = generate_abbc(patient.labels, patient.spacing_mm, scheme=patient.scheme).abbc
            for array, file in (
                (patient.ct, f"imagesTr/{name}_0000"),
                (classes, f"labelsTr/{name}"),
                (patient.labels, f"fragmentsTr/{name}"),
                (patient.anatomy, f"anatomyTr/{name}"),
            ):
                write_volume(Volume(array, patient.spacing_mm, patient.origin_mm), raw / f"{file}.nii.gz")
    splits = [{"train": names["train"][:count], "val": names["val"]} for count in cases]
    (raw / "splits_final.json").write_text(json.dumps(splits))
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "boundary": 1, "core": 2, "border": 3},
        "numTraining": max(cases) + TEST_CASES,
        "file_ending": ".nii.gz",
        "abbc": {"task": "abbc", "scheme": "pengwin2024"},
    }
    (raw / "dataset.json").write_text(json.dumps(content))


def plan(folder):
    """Plan with small networks and preprocess the three configurations."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    from nnunet_ext.planning.planners import _SettablePlanner
    from nnunet_ext.planning.run import plan_and_preprocess
    from nnunet_ext.planning.settings import PlanSettings

    class SmallPlanner(_SettablePlanner, ExperimentPlanner):
        default_plans_name = "SmallPlans"

    file = folder / "preprocessed" / NAME / f"{PLANS}.json"
    if file.is_file():
        return
    settings = PlanSettings(patch_size=(128,), base_features=8)
    plan_and_preprocess([700], planner="TriPlanarPlanner", settings=settings, preprocess=False, progress=False)
    os.environ["nnUNet_n_proc_DA"] = "1"  # noqa: SIM112  # nnU-Net's planner fails with 0
    small = SmallPlanner(700, settings=PlanSettings(patch_size=PATCH_3D, base_features=8)).plan_experiment()
    os.environ["nnUNet_n_proc_DA"] = "0"  # noqa: SIM112
    plans = json.loads((file.parent / "TriPlanarPlans.json").read_text())
    plans["configurations"]["3d_fullres"] = small["configurations"]["3d_fullres"]
    plans["plans_name"] = PLANS
    for mode, size in BATCH.items():
        plans["configurations"][mode]["batch_size"] = size
        plans["configurations"][mode]["data_identifier"] = f"{PLANS}_{mode}"
    file.write_text(json.dumps(plans))
    api.preprocess([700], PLANS, tuple(MODES), [2, 2, 2], show_progress_bar=False)


def train(mode, fold, minutes):
    """Train one mode on one fold in this process and validate it."""
    import torch

    from tests.benchmarks import timed_training

    torch.set_num_threads(1)
    folder = Path(os.environ["nnUNet_preprocessed"]) / NAME  # noqa: SIM112
    plans = {**json.loads((folder / f"{PLANS}.json").read_text()), "continue_training": False}
    dataset_json = json.loads((folder / "dataset.json").read_text())
    trainer = getattr(timed_training, MODES[mode])(plans, mode, fold, dataset_json, torch.device("cpu"))
    trainer.seconds = 60.0 * minutes
    trainer.run_training()
    trainer.perform_actual_validation()
    (Path(trainer.output_folder) / "done.json").write_text(json.dumps({"steps": trainer.steps, "minutes": minutes}))


def figures(folder, mode, fold):
    """Return the Dice of bone and of the classes over the test cases, and the number of steps."""
    from nnunet_ext.volumes import read_labels

    place = folder / "results" / NAME / f"{MODES[mode]}__{PLANS}__{mode}" / f"fold_{fold}"
    bone = []
    for case in sorted((place / "validation").glob("test*.nii.gz")):
        found = read_labels(case).array > 0
        true = read_labels(folder / "raw" / NAME / "labelsTr" / case.name).array > 0
        bone.append(2 * np.count_nonzero(found & true) / (np.count_nonzero(found) + np.count_nonzero(true)))
    mean = json.loads((place / "validation" / "summary.json").read_text())["mean"]
    return {
        "bone": float(np.mean(bone)),
        "bone_sd": float(np.std(bone)),
        **{name: mean[str(number)]["Dice"] for number, name in enumerate(("boundary", "core", "border"), 1)},
        **json.loads((place / "done.json").read_text()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, nargs="+", default=[3, 5, 10, 20])
    parser.add_argument("--minutes", type=float, default=5.0, help="processor time of each training")
    parser.add_argument("--spacing", type=float, default=2.0, help="edge of the voxels, mm")
    parser.add_argument("--folder", type=Path, default=Path("data_efficiency"))
    parser.add_argument("--jobs", type=int, default=2, help="trainings at the same time, one thread each")
    parser.add_argument("--train", nargs=2, metavar=("MODE", "FOLD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder.absolute()
    os.environ |= {
        **{f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")},
        "nnUNet_n_proc_DA": "0",
        "nnUNet_def_n_proc": "1",
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if options.train:
        train(options.train[0], int(options.train[1]), options.minutes)
        return
    prepare(folder, options.cases, options.spacing)
    plan(folder)
    wanted = [(mode, fold) for fold in range(len(options.cases)) for mode in MODES]
    waiting, running = [], []
    for mode, fold in wanted:
        place = folder / "results" / NAME / f"{MODES[mode]}__{PLANS}__{mode}" / f"fold_{fold}"
        if not (place / "done.json").is_file():
            waiting.append((mode, fold))
    while waiting or running:
        while waiting and len(running) < options.jobs:
            mode, fold = waiting.pop(0)
            command = [sys.executable, "-m", "tests.benchmarks.data_efficiency", "--train", mode, str(fold)]
            command += ["--minutes", str(options.minutes), "--folder", str(folder)]
            log = (folder / f"{mode}_{fold}.log").open("w")
            running.append((mode, fold, subprocess.Popen(command, stdout=log, stderr=log)))
        ended = [entry for entry in running if entry[2].poll() is not None]
        if not ended:
            time.sleep(1)
            continue
        mode, fold, process = ended[0]
        running.remove(ended[0])
        if process.returncode != 0:
            raise SystemExit(f"training {mode}, fold {fold} failed: see {folder.name}/{mode}_{fold}.log")
        print(f"{mode}, {options.cases[fold]} cases: done", file=sys.stderr, flush=True)
    print(f"| training cases | mode | steps | bone Dice | boundary | core | border |\n|{'---|' * 7}")
    for fold, count in enumerate(options.cases):
        for mode in MODES:
            f = figures(folder, mode, fold)
            print(
                f"| {count} | {mode} | {f['steps']} | {f['bone']:.3f} ± {f['bone_sd']:.3f} | {f['boundary']:.3f} "
                f"| {f['core']:.3f} | {f['border']:.3f} |"
            )


if __name__ == "__main__":
    main()
