"""A training killed at random moments, with damaged files, ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nnunet_ext.training.checkpoints import BEST, FINAL, LATEST, PREVIOUS, safe_load_checkpoint
from tests.nnunet_ext.training.tiny import DATASET, make_tiny

EPOCHS = 6

TRAINER = f"""
import time
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunet_ext.trainers.resilience import ResilientCheckpoints
from nnunet_ext.training.settings import TrainingSettings

class nnUNetTrainerKilled(ResilientCheckpoints, nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.settings = TrainingSettings.from_environment()
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = {EPOCHS}, 2, 1

    def train_step(self, batch):
        time.sleep(0.3)  # leave time to be killed
        return super().train_step(batch)
"""

DRIVER = """
import sys
import torch
from nnunetv2.run.run_training import run_training
if __name__ == "__main__":
    torch.set_num_threads(1)
    resume = "--c" in sys.argv
    run_training("991", "2d", 0, "nnUNetTrainerKilled", continue_training=resume, device=torch.device("cpu"))
"""


def start(folder, environment, *arguments):
    command = [sys.executable, str(folder / "driver.py"), *arguments]
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def kill_after_save(process, latest, wait_s, limit_s=240):
    """Kill a training some time after it has saved its latest checkpoint anew."""
    before, end = latest.stat().st_mtime_ns if latest.exists() else 0, time.monotonic() + limit_s
    while not (latest.exists() and latest.stat().st_mtime_ns > before):
        assert process.poll() is None, (latest.parents[5] / "output.txt").read_text()[-3000:]
        assert time.monotonic() < end, "no checkpoint was saved"
        time.sleep(0.05)
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def furthest(fold, names):
    """Return the checkpoint with the most epochs, the first of equals, and how many: the best may be the last saved."""
    epochs = {name: safe_load_checkpoint(fold / name)["current_epoch"] for name in names if (fold / name).exists()}
    return max(epochs.items(), key=lambda item: item[1])


@pytest.mark.slow
def test_killed_training_ends_as_if_nothing_had_happened(tmp_path):
    environment = make_tiny(tmp_path)
    external = tmp_path / "trainers"
    external.mkdir()
    (external / "killed.py").write_text(TRAINER)
    (tmp_path / "driver.py").write_text(DRIVER)
    environment |= {"nnUNet_extTrainer": str(external), "nnUNet_def_n_proc": "1"}
    environment |= {"ABBC_CHECKPOINT_MINUTES": "0.0001", "ABBC_CHECKPOINT_MIRROR": str(tmp_path / "mirror")}
    model = Path(environment["nnUNet_results"]) / DATASET / "nnUNetTrainerKilled__nnUNetPlans__2d"
    fold = model / "fold_0"
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown if the test fails
    rng = random.Random(seed)

    kill_after_save(start(tmp_path, environment), fold / LATEST, rng.uniform(0, 1.5))
    _, reached = furthest(fold, (LATEST, PREVIOUS, BEST))

    process = start(tmp_path, environment, "--c")
    kill_after_save(process, fold / LATEST, rng.uniform(0, 1.5))
    assert f"Epoch {reached}" in (tmp_path / "output.txt").read_text()
    taken, reached = furthest(fold, (PREVIOUS, BEST))
    with (fold / LATEST).open("rb+") as stream:
        stream.truncate(1000)

    process = start(tmp_path, environment, "--c")
    process.wait(300)
    output = (tmp_path / "output.txt").read_text()
    assert process.returncode == 0, output[-3000:]
    assert f"Taking '{taken}' instead ({reached} epochs)" in output
    assert f"Epoch {reached}" in output
    assert f"Epoch {reached - 1}\n" not in output.replace(" \n", "\n")

    assert sorted(path.name for path in fold.glob("*.pth")) == [BEST, FINAL]
    assert not [path for path in fold.iterdir() if path.name.startswith(".")]
    checkpoint = safe_load_checkpoint(fold / FINAL)
    log = checkpoint["logging"]
    assert checkpoint["current_epoch"] == EPOCHS
    assert {key: len(entries) for key, entries in log.items()} == dict.fromkeys(log, EPOCHS)
    moments = [t for pair in zip(log["epoch_start_timestamps"], log["epoch_end_timestamps"], strict=True) for t in pair]
    assert moments == sorted(moments)
    assert log["lrs"] == pytest.approx([0.01 * (1 - epoch / EPOCHS) ** 0.9 for epoch in range(EPOCHS)])
    assert (fold / "validation" / "summary.json").exists()

    mirrored = tmp_path / "mirror" / DATASET / model.name
    for name in (f"fold_0/{FINAL}", f"fold_0/{BEST}", "plans.json", "dataset.json"):
        assert (mirrored / name).read_bytes() == (model / name).read_bytes()
    assert not (mirrored / "fold_0" / LATEST).exists()

    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(mirrored), (0,))  # as nnUNetv2_predict does, no variable set
    assert predictor.trainer_name == "nnUNetTrainer"
