"""Logs as nnU-Net 2.8 writes them: read whole, over resumptions, damaged, and the same out of a checkpoint."""

import json
import math

import numpy as np
import pytest

from label_gen.errors import DataError, VolumeFileError
from nnunet_ext.evaluation.training_logs import read_training_log

STAMP = "2026-11-21 17:03:16.279361: "
HEAD = (
    "\n#####\nPlease cite the following paper when using nnU-Net:\n#####\n \n"
    + STAMP
    + "Using splits from existing file \n"
)


def epoch(number, *, dice="[np.float32(0.5), np.float32(0.7)]", seconds=10.0, loss=-0.5, lr=0.01, is_done=True):
    lines = [
        " ",
        f"Epoch {number} ",
        f"Current learning rate: {lr} ",
        f"train_loss {loss} ",
        f"val_loss {loss + 0.25} ",
    ]
    lines += [f"Pseudo dice {dice} "] + ([f"Epoch time: {seconds} s "] if is_done else [])
    return "".join(f"{STAMP}{line}\n" for line in lines)


def write(folder, name, *epochs):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"training_log_2026_11_21_{name}.txt").write_text(HEAD + "".join(epochs) + "Training done.\n")
    return folder


def test_values_of_every_epoch(tmp_path):
    folder = write(tmp_path / "fold_0", "17_03_15", epoch(0, lr="3e-05"), epoch(1, dice="[0.5, nan]", loss=math.nan))
    log = read_training_log(folder)
    assert log.epochs == (0, 1)
    assert log.train_loss[0] == -0.5
    assert math.isnan(log.train_loss[1])
    assert log.val_loss[0] == -0.25
    assert log.class_dice[0] == (0.5, 0.7)
    assert log.pseudo_dice == (pytest.approx(0.6), 0.5)
    assert log.average_dice == (pytest.approx(0.6), pytest.approx(0.59))
    assert log.seconds == (10.0, 10.0)
    assert log.learning_rate == (3e-05, 0.01)
    assert log.classes == ()
    assert read_training_log(next(folder.iterdir())).learning_rate == log.learning_rate


def test_resumptions(tmp_path):
    folder = write(tmp_path / "fold_0", "10_00_00", *(epoch(n, loss=-1) for n in range(5)), epoch(5, is_done=False))
    write(folder, "11_00_00", epoch(3, loss=-2), epoch(4, is_done=False))
    log = read_training_log(folder)
    assert (log.epochs, log.train_loss) == ((0, 1, 2, 3), (-1, -1, -1, -2))
    write(folder, "12_00_00")  # a validation alone has no epochs
    assert read_training_log(folder) == log
    write(folder, "13_00_00", epoch(0, loss=-3))  # started anew
    assert read_training_log(folder).train_loss == (-3,)


def test_classes_are_named_in_the_order_of_their_numbers(tmp_path):
    folder = write(tmp_path / "fold_0", "10_00_00", epoch(0))
    labels = {"background": 0, "tibia": 2, "femur": 1, "ignore": 3}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert read_training_log(folder).classes == ("femur", "tibia")
    (tmp_path / "dataset.json").write_text("{")
    assert read_training_log(folder).classes == ()


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(VolumeFileError, match="holds no training_log"):
        read_training_log(tmp_path)
    with pytest.raises(VolumeFileError, match="cannot read"):
        read_training_log(tmp_path / "training_log_2026.txt")
    with pytest.raises(DataError, match="holds no finished epoch"):
        read_training_log(write(tmp_path / "fold_1", "10_00_00", epoch(0, is_done=False)))


def test_checkpoint_says_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    logged = {
        "mean_fg_dice": [0.6, 0.5],
        "ema_fg_dice": [0.6, 0.59],
        "dice_per_class_or_region": [[0.5, 0.7], [0.5, math.nan]],
        "train_losses": [-0.5, -0.5],
        "val_losses": [-0.25, -0.25],
        "lrs": [0.01, 0.01],
        "epoch_start_timestamps": [0.0, 20.0],
        "epoch_end_timestamps": [10.0, 30.0],
    }
    checkpoint = {"network_weights": {}, "init_args": {}, "trainer_name": "nnUNetTrainer", "logging": logged}
    torch.save(checkpoint, tmp_path / "checkpoint_final.pth")
    log = read_training_log(tmp_path)
    folder = write(tmp_path / "fold_0", "10_00_00", epoch(0), epoch(1, dice="[np.float32(0.5), np.float32(nan)]"))
    same = read_training_log(folder)
    for name in ("epochs", "train_loss", "val_loss", "pseudo_dice", "average_dice", "seconds", "learning_rate"):
        np.testing.assert_allclose(getattr(log, name), getattr(same, name), rtol=1e-12)
    np.testing.assert_array_equal(log.class_dice, same.class_dice)
    torch.save({**checkpoint, "logging": {}}, tmp_path / "checkpoint_final.pth")
    with pytest.raises(DataError, match="no finished epoch"):
        read_training_log(tmp_path / "checkpoint_final.pth")
