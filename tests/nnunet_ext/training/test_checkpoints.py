import copy
import json
import math
import os
import pickle
import resource
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from label_gen.errors import DataError, UsageError, VolumeFileError
from nnunet_ext.training.checkpoint_mirror import CheckpointMirror, open_mirror
from nnunet_ext.training.checkpoint_saving import remove_half_written, save_checkpoint_file
from nnunet_ext.training.checkpoints import (
    BEST,
    CHECKPOINT_VERSION,
    FINAL,
    LATEST,
    PREVIOUS,
    fallbacks,
    find_intact,
    safe_load_checkpoint,
)
from nnunet_ext.training.settings import TrainingSettings
from tests.nnunet_ext.training.tiny import DATASET, environment_of, tiny_description, tiny_plans


def content(epoch=1, *, start=100.0, value=0.0):
    """A checkpoint of no network."""
    keys = ("mean_fg_dice", "ema_fg_dice", "train_losses", "val_losses", "lrs", "epoch_end_timestamps")
    log = {key: [np.float64(0.5)] * epoch for key in keys}
    log |= {"epoch_start_timestamps": [start] * epoch, "dice_per_class_or_region": [[np.float32(0.25)]] * epoch}
    return {
        "network_weights": {"w": torch.full((50, 50), float(value))},
        "optimizer_state": {},
        "grad_scaler_state": None,
        "logging": log,
        "_best_ema": np.float64(0.5),
        "current_epoch": epoch,
        "init_args": {"device": torch.device("cpu"), "fold": 0},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "empty":
        data = data[:0]
    elif how == "truncated":
        data = data[: len(data) // 2]
    elif how == "flipped":
        data[len(data) // 2] ^= 1  # in the weights, where torch itself would not notice
    path.write_bytes(data)


# ---------------------------------------------------------------------------------------------------- files


def test_saved_checkpoint_is_plain_and_the_one_before_is_kept(tmp_path):
    latest, previous = tmp_path / LATEST, tmp_path / PREVIOUS
    for epoch in (1, 2, 3):
        save_checkpoint_file(content(epoch), latest)
        assert torch.load(latest, weights_only=True)["current_epoch"] == epoch  # no allow-list needed
        assert previous.exists() == (epoch > 1)
    assert safe_load_checkpoint(previous)["current_epoch"] == 2
    assert sorted(os.listdir(tmp_path)) == [LATEST, PREVIOUS]
    save_checkpoint_file(content(4), latest, keep_previous=False)
    assert safe_load_checkpoint(previous)["current_epoch"] == 2
    save_checkpoint_file(content(4), tmp_path / BEST)
    save_checkpoint_file(content(5), tmp_path / BEST)
    assert sorted(os.listdir(tmp_path)) == [BEST, LATEST, PREVIOUS]


def test_the_one_before_is_kept_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    for epoch in (1, 2):
        save_checkpoint_file(content(epoch), tmp_path / LATEST)
    assert safe_load_checkpoint(tmp_path / LATEST)["current_epoch"] == 2
    assert safe_load_checkpoint(tmp_path / PREVIOUS)["current_epoch"] == 1


def test_stock_checkpoint_with_numpy_numbers_is_read(tmp_path):
    checkpoint = content(2)
    checkpoint["logging"]["train_losses"] = [np.float32(1), np.float64(2)]
    checkpoint["init_args"]["numbers"] = [np.int64(3), np.bool_(True), np.float16(0.5)]
    torch.save(checkpoint, tmp_path / FINAL)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / FINAL, weights_only=True)
    read = safe_load_checkpoint(tmp_path / FINAL)
    assert read["logging"] == checkpoint["logging"]
    assert read["init_args"]["numbers"] == [3, True, 0.5]
    with pytest.raises(pickle.UnpicklingError):  # the allow-list is gone afterwards
        torch.load(tmp_path / FINAL, weights_only=True)


class Numpy1Pickler(pickle._Pickler):
    """Write NumPy's function under the name that NumPy 1 gave it."""

    def save_global(self, obj, name=None):
        if getattr(obj, "__module__", "") == "numpy._core.multiarray":
            self.write(b"cnumpy.core.multiarray\n" + obj.__name__.encode() + b"\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)


def test_checkpoint_of_numpy_1_is_read(tmp_path):
    module = type("module", (), {"Pickler": Numpy1Pickler, "dumps": pickle.dumps})
    torch.save(content(2), tmp_path / FINAL, pickle_module=module)
    assert b"numpy.core.multiarray" in (tmp_path / FINAL).read_bytes()
    assert safe_load_checkpoint(tmp_path / FINAL)["_best_ema"] == 0.5


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**content(), "extra": Evil()}, tmp_path / FINAL)
    with pytest.raises(VolumeFileError, match="damaged or no checkpoint"):
        safe_load_checkpoint(tmp_path / FINAL)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("how", "text"), [("empty", "it is empty"), ("truncated", "not a zip file"), ("flipped", "wrong checksum in")]
)
def test_damage_is_found_and_named(tmp_path, how, text):
    save_checkpoint_file(content(), tmp_path / LATEST)
    damage(tmp_path / LATEST, how)
    with pytest.raises(VolumeFileError, match=f"checkpoint_latest.pth' is damaged.*{text}"):
        safe_load_checkpoint(tmp_path / LATEST)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(VolumeFileError, match=r"cannot read '.*none.pth': No such file"):
        safe_load_checkpoint(tmp_path / "none.pth")
    torch.save([1], tmp_path / "a.pth")
    with pytest.raises(VolumeFileError, match="it holds a list"):
        safe_load_checkpoint(tmp_path / "a.pth")
    checkpoint = content()
    del checkpoint["optimizer_state"], checkpoint["logging"]
    torch.save(checkpoint, tmp_path / "a.pth")
    with pytest.raises(VolumeFileError, match="it lacks optimizer_state, logging"):
        safe_load_checkpoint(tmp_path / "a.pth")


def test_newer_version_is_an_error_not_a_reason_to_fall_back(tmp_path):
    newer = {"trainer": "x", "checkpoint_version": CHECKPOINT_VERSION + 1, "package_version": "9.0"}
    save_checkpoint_file({"abbc": newer}, tmp_path / LATEST)  # its other keys may have other names
    save_checkpoint_file(content(), tmp_path / BEST)
    with pytest.raises(DataError, match=r"version 2 and was written by nnunet-abbc 9\.0.*pip install --upgrade"):
        find_intact(fallbacks(tmp_path / LATEST), warn=print)


def test_fallbacks_run_in_order_and_loudly(tmp_path):
    for epoch, name in enumerate((BEST, PREVIOUS, LATEST, FINAL), 1):
        save_checkpoint_file(content(epoch), tmp_path / name, keep_previous=False)
    said = []
    for epochs_left, name in ((4, FINAL), (3, LATEST), (2, PREVIOUS), (1, BEST)):
        path, checkpoint = find_intact(fallbacks(tmp_path / FINAL), warn=said.append)
        assert (path.name, checkpoint["current_epoch"]) == (name, epochs_left)
        assert all(name in said[-1] for _ in said[:1])
        damage(tmp_path / name, "flipped")
    assert any("checkpoint_final.pth' is damaged: wrong checksum" in text for text in said)
    with pytest.raises(
        VolumeFileError, match=r"no usable checkpoint.*final.*latest.*previous.*best.*mirror.*without --c"
    ):
        find_intact(fallbacks(tmp_path / FINAL), warn=said.append)
    assert fallbacks(tmp_path / "other.pth") == (tmp_path / "other.pth",)


def test_checkpoint_of_a_training_begun_later_is_preferred(tmp_path):
    save_checkpoint_file(content(6, start=100), tmp_path / FINAL)
    save_checkpoint_file(content(1, start=900), tmp_path / BEST)
    os.utime(tmp_path / FINAL, (1, 1))
    said = []
    assert find_intact(fallbacks(tmp_path / FINAL), warn=said.append)[0].name == FINAL
    assert find_intact(fallbacks(tmp_path / FINAL), warn=said.append, newest_run=True)[0].name == BEST
    assert "of an earlier training" in said[0]
    save_checkpoint_file(content(5, start=100), tmp_path / BEST)  # same training, file copied later
    assert find_intact(fallbacks(tmp_path / FINAL), warn=said.append, newest_run=True)[0].name == FINAL


def test_a_finished_training_made_longer_goes_on_from_its_newest_save(tmp_path):
    save_checkpoint_file(content(6), tmp_path / FINAL)
    save_checkpoint_file(content(9), tmp_path / LATEST)
    os.utime(tmp_path / FINAL, (1, 1))
    said = []
    assert find_intact(fallbacks(tmp_path / FINAL), warn=said.append, newest_run=True)[0].name == LATEST
    assert "more epochs" in said[0]
    assert find_intact(fallbacks(tmp_path / FINAL), warn=said.append)[0].name == FINAL


def test_the_best_checkpoint_is_taken_where_the_previous_one_is_older(tmp_path):
    save_checkpoint_file(content(1), tmp_path / LATEST)
    save_checkpoint_file(content(2), tmp_path / LATEST)  # the first one is the previous one now
    save_checkpoint_file(content(2), tmp_path / BEST)
    os.utime(tmp_path / PREVIOUS, (1, 1))
    (tmp_path / LATEST).write_bytes(b"torn")
    said = []
    path, checkpoint = find_intact(fallbacks(tmp_path / LATEST), warn=said.append, newest_run=True)
    assert (path.name, checkpoint["current_epoch"]) == (BEST, 2)
    assert said[-1] == f"Taking '{BEST}' instead (2 epochs)."


@contextmanager
def files_of_at_most(size):
    """Let no file grow beyond a size, as on a full disk.

    Not for a whole test: what pytest prints may go to a longer file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_leaves_the_old_checkpoints(tmp_path):
    for epoch in (1, 2):
        save_checkpoint_file(content(epoch), tmp_path / LATEST)
    complaint = r"cannot save '.*checkpoint_latest.pth': File too large; \d+ MB are free"
    with pytest.raises(VolumeFileError, match=complaint), files_of_at_most(5000):
        save_checkpoint_file(content(3), tmp_path / LATEST)
    assert safe_load_checkpoint(tmp_path / LATEST)["current_epoch"] == 2
    assert safe_load_checkpoint(tmp_path / PREVIOUS)["current_epoch"] == 1
    assert sorted(os.listdir(tmp_path)) == [LATEST, PREVIOUS]


def test_half_written_files_are_removed(tmp_path):
    (tmp_path / f".0123abcd.tmp.{LATEST}").write_bytes(b"half")
    (tmp_path / f".second.tmp.{PREVIOUS}").write_bytes(b"whole")
    save_checkpoint_file(content(), tmp_path / BEST)
    remove_half_written(tmp_path)
    assert os.listdir(tmp_path) == [BEST]


# --------------------------------------------------------------------------------------------------- mirror


def test_mirror_copies_and_removes(tmp_path):
    mirror = CheckpointMirror(str(tmp_path / "m"), "D/T")
    (tmp_path / "a.pth").write_bytes(b"one")
    mirror.copy_file(tmp_path / "a.pth", "fold_0/a.pth")
    mirror.copy_text(tmp_path / "a.pth", "a.txt")
    mirror.copy_text(tmp_path / "none", "none.txt")
    assert mirror.wait(10) == ()
    assert (tmp_path / "m/D/T/fold_0/a.pth").read_bytes() == b"one"
    assert sorted(os.listdir(tmp_path / "m/D/T")) == ["a.txt", "fold_0"]
    mirror.remove("fold_0/a.pth")
    assert mirror.wait(10) == ()
    assert os.listdir(tmp_path / "m/D/T/fold_0") == []
    assert mirror.messages() == []


@pytest.mark.parametrize("url", ["memory://here/there", "file://{}/m"])
def test_mirror_may_be_a_url(tmp_path, url):
    url = url.format(tmp_path)
    mirror = CheckpointMirror(url, "D")
    for text in (b"one", b"two"):
        (tmp_path / "a.pth").write_bytes(text)
        mirror.copy_file(tmp_path / "a.pth", "a.pth")
        assert mirror.wait(10) == ()
        with fsspec.open(f"{url}/D/a.pth") as stream:
            assert stream.read() == text
    assert [Path(name).name for name in mirror._system.ls(mirror.root, detail=False)] == ["a.pth"]


def test_mirror_is_slow_but_saving_is_not_and_only_the_newest_is_copied(tmp_path, monkeypatch):
    mirror = CheckpointMirror(str(tmp_path / "m"), "D")
    gate, copied = threading.Event(), []

    def put(source, target):
        gate.wait(10)
        copied.append(Path(source).read_bytes())
        Path(target).write_bytes(copied[-1])

    monkeypatch.setattr(mirror._system, "put_file", put)
    for number in range(5):
        (tmp_path / "new").write_bytes(b"%d" % number)
        os.replace(tmp_path / "new", tmp_path / "a.pth")
        started = time.monotonic()
        mirror.copy_file(tmp_path / "a.pth", "a.pth")
        assert time.monotonic() - started < 1
    assert mirror.wait(0.05) == ("a.pth",)
    gate.set()
    assert mirror.wait(10) == ()
    assert len(copied) <= 2
    assert (tmp_path / "m/D/a.pth").read_bytes() == b"4"


def test_mirror_failure_is_told_and_tried_again(tmp_path, monkeypatch):
    mirror = CheckpointMirror(str(tmp_path / "m"), "D")
    put, broken = mirror._system.put_file, [True]

    def put_or_fail(source, target):
        put(source, target)
        if broken[0]:
            Path(target).write_bytes(b"ha")
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(mirror._system, "put_file", put_or_fail)
    (tmp_path / "a.pth").write_bytes(b"half or whole")
    mirror.copy_file(tmp_path / "a.pth", "final")
    mirror.remove("latest")
    (tmp_path / "m/D").mkdir(exist_ok=True)
    (tmp_path / "m/D/latest").write_bytes(b"old")
    assert mirror.wait(10) == ("final", "latest")
    assert "cannot mirror final to" in mirror.messages()[0]
    assert mirror.messages() == []
    assert "final" not in os.listdir(tmp_path / "m/D")
    assert "latest" in os.listdir(tmp_path / "m/D")  # goes only when the final one is there
    broken[0] = False
    mirror.copy_text(tmp_path / "a.pth", "b.txt")
    assert mirror.wait(10) == ()
    assert sorted(os.listdir(tmp_path / "m/D")) == ["b.txt", "final"]


def test_mirror_notices_half_a_file(tmp_path, monkeypatch):
    mirror = CheckpointMirror(str(tmp_path / "m"), "D")
    monkeypatch.setattr(mirror._system, "put_file", lambda source, target: Path(target).write_bytes(b"h"))
    (tmp_path / "a.pth").write_bytes(b"half or whole")
    mirror.copy_file(tmp_path / "a.pth", "a.pth")
    assert mirror.wait(10) == ("a.pth",)
    assert "1 bytes arrived of 13" in mirror.messages()[0]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("nonsense://x/y", "'nonsense://x/y', which fsspec cannot open: Protocol not known: nonsense"),
        ("s3://user:secret@bucket/x", r"'s3://\*\*\*@bucket/x', but Install s3fs.*: pip install s3fs"),
        ("/proc/nowhere", "which cannot be written to"),
    ],
)
def test_wrong_mirror_is_an_error_at_once(target, text, monkeypatch):
    def not_there(*_, **__):
        raise ImportError("Install s3fs to access S3")

    if target.startswith("s3"):
        monkeypatch.setattr(fsspec.core, "url_to_fs", not_there)
    with pytest.raises(UsageError, match=text) as caught:
        open_mirror(target)
    assert "secret" not in str(caught.value)


# -------------------------------------------------------------------------------------------------- trainer


@pytest.fixture
def new_trainer(tmp_path, monkeypatch):
    """Make a trainer of ours on hand-made plans; no data."""
    pytest.importorskip("nnunetv2")
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_ext.trainers.resilience import ResilientCheckpoints

    class nnUNetTrainerTiny(ResilientCheckpoints, nnUNetTrainer):  # noqa: N801
        settings = TrainingSettings(checkpoint_minutes=1000)

    for name, value in environment_of(tmp_path).items():
        if name.startswith("nnUNet_"):
            monkeypatch.setenv(name, value)
    cases = tmp_path / "nnUNet_preprocessed" / DATASET / "nnUNetPlans_2d"
    cases.mkdir(parents=True)
    (cases / "case_00.b2nd").touch()
    torch.set_num_threads(1)

    def make(*, resume=False, fold=0, plans=None, stock=False, settings=None, labels=None):
        description = tiny_description()
        if labels:
            description["labels"] = labels
        kind = nnUNetTrainer if stock else nnUNetTrainerTiny
        plans = {**(plans or tiny_plans()), "continue_training": resume}
        trainer = kind(plans, "2d", fold, description, torch.device("cpu"))
        trainer.num_epochs, trainer.logger.plot_progress_png = 6, lambda folder: None
        if settings:
            trainer.settings = settings
        trainer.initialize()
        return trainer

    return make


def run_epochs(trainer, number, dice=0.5):
    """Go through epochs as nnU-Net's run_training does, without data."""
    for _ in range(number):
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        batch = torch.zeros(2, 1, 16, 16)
        loss = sum(output.square().mean() for output in trainer.network(batch))
        trainer.optimizer.zero_grad()
        loss.backward()
        trainer.optimizer.step()
        trainer.on_train_epoch_end([{"loss": loss.detach().numpy()}])
        tp = np.array([dice, dice])
        trainer.on_validation_epoch_end([{"loss": np.float32(1), "tp_hard": tp, "fp_hard": 1 - tp, "fn_hard": 1 - tp}])
        trainer.on_epoch_end()


def folder_of(trainer):
    return Path(trainer.output_folder)


def log_of(trainer):
    return (Path(trainer.log_file)).read_text()


def assert_equal(trainer, other):
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name])
    states = trainer.optimizer.state_dict()["state"], other.optimizer.state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(s["momentum_buffer"], states[1][k]["momentum_buffer"]) for k, s in states[0].items())
    assert trainer.logger.get_checkpoint() == other.logger.get_checkpoint()
    assert (trainer.current_epoch, trainer._best_ema) == (other.current_epoch, other._best_ema)


def test_trainer_saves_nnunets_keys_and_ours_and_goes_on(new_trainer):
    trainer = new_trainer()
    trainer.save_every = 2
    run_epochs(trainer, 2)
    assert trainer.save_every == 2
    assert sorted(p.name for p in folder_of(trainer).glob("*.pth")) == [BEST, LATEST]
    checkpoint = torch.load(folder_of(trainer) / BEST, weights_only=True)
    stock = new_trainer(stock=True)
    stock.logger.load_checkpoint(trainer.logger.get_checkpoint())
    stock.save_checkpoint(str(folder_of(stock) / FINAL))
    expected = torch.load(folder_of(stock) / FINAL, weights_only=False)
    assert checkpoint.keys() == {*expected, "abbc"}
    assert checkpoint["trainer_name"] == "nnUNetTrainer"
    assert checkpoint["abbc"]["trainer"] == "nnUNetTrainerTiny"
    assert checkpoint["abbc"]["checkpoint_version"] == CHECKPOINT_VERSION

    again = new_trainer(resume=True)
    again.save_every = 2
    again.load_checkpoint(str(folder_of(trainer) / LATEST))
    assert_equal(trainer, again)
    assert again.inference_allowed_mirroring_axes == trainer.inference_allowed_mirroring_axes
    run_epochs(again, 4, dice=0.4)
    assert {len(entries) for entries in again.logger.get_checkpoint().values()} == {6}
    assert again.logger.get_value("lrs", None) == [0.01 * (1 - epoch / 6) ** 0.9 for epoch in range(6)]
    assert safe_load_checkpoint(folder_of(trainer) / LATEST)["current_epoch"] == 4  # epoch 6 is saved as the final one
    assert safe_load_checkpoint(folder_of(trainer) / PREVIOUS)["current_epoch"] == 2
    again.on_train_end()
    assert sorted(p.name for p in folder_of(trainer).glob("*.pth")) == [BEST, FINAL]
    assert safe_load_checkpoint(folder_of(trainer) / FINAL)["current_epoch"] == 6


def test_latest_knows_the_best_of_its_own_epoch(new_trainer):
    trainer = new_trainer()
    trainer.save_every = 1
    run_epochs(trainer, 2, dice=0.7)
    best = safe_load_checkpoint(folder_of(trainer) / BEST)["_best_ema"]
    assert safe_load_checkpoint(folder_of(trainer) / LATEST)["_best_ema"] == best


def test_latest_is_saved_by_the_clock(new_trainer):
    trainer = new_trainer(settings=TrainingSettings(checkpoint_minutes=3))
    run_epochs(trainer, 1)
    assert not (folder_of(trainer) / LATEST).exists()
    trainer._last_save -= 200
    run_epochs(trainer, 1)
    run_epochs(trainer, 1)
    checkpoint = safe_load_checkpoint(folder_of(trainer) / LATEST)
    assert checkpoint["current_epoch"] == 2
    assert {len(entries) for entries in checkpoint["logging"].values()} == {2}


@pytest.mark.parametrize("as_dict", [False, True])
def test_stock_checkpoint_is_continued(new_trainer, as_dict):
    stock = new_trainer(stock=True)
    run_epochs(stock, 2)
    stock.current_epoch -= 1
    path = folder_of(stock) / LATEST
    stock.save_checkpoint(str(path))
    stock.current_epoch += 1
    trainer = new_trainer()
    trainer.load_checkpoint(torch.load(path, weights_only=False) if as_dict else str(path))
    assert_equal(stock, trainer)
    assert "was trained by nnUNetTrainer, not by nnUNetTrainerTiny" in log_of(trainer)


def test_weights_with_names_of_wrappers_are_loaded(new_trainer):
    trainer = new_trainer()
    run_epochs(trainer, 1)
    checkpoint = safe_load_checkpoint(folder_of(trainer) / BEST)
    weights = checkpoint["network_weights"]
    checkpoint["network_weights"] = {f"module._orig_mod.{name}": value for name, value in weights.items()}
    other = new_trainer()
    other.network = torch.compile(other.network)  # compiles at the first call only
    other.load_checkpoint(checkpoint)
    assert all(torch.equal(value, weights[name]) for name, value in other.network._orig_mod.state_dict().items())
    other.save_checkpoint(str(folder_of(other) / FINAL))
    assert safe_load_checkpoint(folder_of(other) / FINAL)["network_weights"].keys() == weights.keys()


def test_network_in_ddp_is_saved_and_loaded(new_trainer):
    trainer = new_trainer()
    run_epochs(trainer, 1)
    other = new_trainer()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        other.network, other.is_ddp = torch.nn.parallel.DistributedDataParallel(other.network), True
        other.load_checkpoint(str(folder_of(trainer) / BEST))
        other.save_checkpoint(str(folder_of(other) / FINAL))
    finally:
        torch.distributed.destroy_process_group()
    weights = [safe_load_checkpoint(folder_of(trainer) / name)["network_weights"] for name in (BEST, FINAL)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_damaged_latest_falls_back_loudly_and_never_replaces_the_good_one(new_trainer, capfd):
    trainer = new_trainer(settings=TrainingSettings(checkpoint_minutes=0))
    run_epochs(trainer, 3)
    damage(folder_of(trainer) / LATEST, "flipped")
    again = new_trainer(resume=True, settings=TrainingSettings(checkpoint_minutes=0))
    again.load_checkpoint(str(folder_of(trainer) / LATEST))
    assert again.current_epoch == 2
    for text in (log_of(again), capfd.readouterr().err):
        assert "checkpoint_latest.pth' is damaged: wrong checksum" in text
        assert "Taking 'checkpoint_previous.pth' instead (2 epochs)" in text
    run_epochs(again, 1)
    assert safe_load_checkpoint(folder_of(again) / LATEST)["current_epoch"] == 3
    assert safe_load_checkpoint(folder_of(again) / PREVIOUS)["current_epoch"] == 2  # not the damaged one
    run_epochs(again, 1)
    assert safe_load_checkpoint(folder_of(again) / PREVIOUS)["current_epoch"] == 3


def test_missing_latest_is_mended_from_the_previous(new_trainer):
    trainer = new_trainer(settings=TrainingSettings(checkpoint_minutes=0))
    run_epochs(trainer, 2)
    (folder_of(trainer) / LATEST).unlink()
    new_trainer()
    assert not (folder_of(trainer) / LATEST).exists()
    again = new_trainer(resume=True)
    assert safe_load_checkpoint(folder_of(trainer) / LATEST)["current_epoch"] == 1
    assert "is missing; going on from 'checkpoint_previous.pth'" in log_of(again)


def other_plans(what):
    plans = copy.deepcopy(tiny_plans())
    if what == "network":
        plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 9]
    elif what == "stages":
        arguments = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
        arguments |= {"n_stages": 4, "n_conv_per_stage": [1] * 4, "n_conv_per_stage_decoder": [1] * 3}
        for key, value in (("features_per_stage", 8), ("kernel_sizes", [3, 3]), ("strides", [2, 2])):
            arguments[key] = [*arguments[key], value]
    return plans


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"plans": other_plans("network")}, r"weights \S+ of shape \(8,.*this one has shape \(9,"),
        ({"plans": other_plans("stages")}, r"it has no weights \S+; this one has such weights"),
        ({"fold": 1}, "it has fold 0; this one has fold 1"),
        ({"labels": {"background": 0, "core": 1, "boundary": 2}}, "it has labels .*this one has labels"),
    ],
)
def test_checkpoint_of_another_training_is_an_error(new_trainer, arguments, text):
    trainer = new_trainer()
    run_epochs(trainer, 1)
    other = new_trainer(**arguments)
    before = json.dumps(other.logger.get_checkpoint())
    with pytest.raises(DataError, match=f"belongs to another training: .*{text}.*without --c"):
        other.load_checkpoint(str(folder_of(trainer) / BEST))
    assert (json.dumps(other.logger.get_checkpoint()), other.current_epoch) == (before, 0)


@pytest.mark.parametrize(("key", "value"), [("dataset_name", "Dataset992_Other"), ("configuration", "3d_fullres")])
def test_checkpoint_of_another_dataset_or_configuration_is_an_error(new_trainer, key, value):
    trainer = new_trainer()
    run_epochs(trainer, 1)
    checkpoint = safe_load_checkpoint(folder_of(trainer) / BEST)
    checkpoint["init_args"]["plans" if key == "dataset_name" else "configuration"] = (
        {**checkpoint["init_args"]["plans"], key: value} if key == "dataset_name" else value
    )
    with pytest.raises(DataError, match=f"it has .* {value}; this one has"):
        new_trainer().load_checkpoint(checkpoint)


def test_checkpoint_of_another_optimizer_is_an_error(new_trainer):
    trainer = new_trainer()
    run_epochs(trainer, 1)
    other = new_trainer()
    other.optimizer = torch.optim.Adam(other.network.parameters())
    with pytest.raises(DataError, match="the state of another optimizer; this one has Adam"):
        other.load_checkpoint(str(folder_of(trainer) / BEST))


def test_full_disk_does_not_stop_the_training_but_its_end(new_trainer, capfd):
    trainer = new_trainer(settings=TrainingSettings(checkpoint_minutes=0))
    run_epochs(trainer, 2, dice=0.9)
    with files_of_at_most(20_000):
        run_epochs(trainer, 1, dice=0.1)
    assert "cannot save" in capfd.readouterr().err
    assert "File too large" in log_of(trainer)
    assert safe_load_checkpoint(folder_of(trainer) / LATEST)["current_epoch"] == 2
    complaint = r"checkpoint_final.pth': File too large.*make space.*--c"
    with pytest.raises(VolumeFileError, match=complaint), files_of_at_most(20_000):
        trainer.on_train_end()
    assert safe_load_checkpoint(folder_of(trainer) / LATEST)["current_epoch"] == 2


def test_full_disk_does_not_stop_the_plot(new_trainer):
    trainer = new_trainer()

    def fail(folder):
        raise OSError(28, "No space left on device")

    trainer._plot, trainer._last_plot = fail, -math.inf
    trainer.logger.plot_progress_png = trainer._plot_if_due
    run_epochs(trainer, 1)
    assert "cannot write 'progress.png'" in log_of(trainer)
    assert trainer.current_epoch == 1


def test_the_plot_is_drawn_once_a_minute_and_at_the_end(new_trainer, monkeypatch):
    trainer, drawn, now = new_trainer(), [], [1000.0]
    monkeypatch.setattr("nnunet_ext.trainers.resilience.time.monotonic", lambda: now[0])
    trainer._plot, trainer._last_plot = lambda folder: drawn.append(trainer.current_epoch), now[0]
    trainer.logger.plot_progress_png = trainer._plot_if_due
    for _ in range(6):
        run_epochs(trainer, 1)
        now[0] += 25.0
    assert drawn == [3, 5]


def test_only_the_first_rank_saves(new_trainer):
    trainer = new_trainer()
    trainer.local_rank = 1
    run_epochs(trainer, 1)
    assert list(folder_of(trainer).glob("*.pth")) == []


def test_nothing_is_saved_when_checkpoints_are_off(new_trainer):
    trainer = new_trainer(settings=TrainingSettings(checkpoint_minutes=0))
    trainer.disable_checkpointing = True
    run_epochs(trainer, 1)
    assert list(folder_of(trainer).glob("*.pth")) == []
    assert "checkpointing is disabled" in log_of(trainer)


@pytest.fixture
def quick_start(monkeypatch):
    """Leave out what nnU-Net does at the start of a training with data."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)


def test_trainer_mirrors_while_training(new_trainer, quick_start, tmp_path):
    mirror = tmp_path / "mirror"
    settings = TrainingSettings(checkpoint_minutes=0, checkpoint_mirror=str(mirror))
    trainer = new_trainer(settings=settings)
    trainer.on_train_start()
    (folder_of(trainer).parent / "plans.json").write_text("{}")
    run_epochs(trainer, 3)
    assert trainer._mirror.wait(10) == ()
    place = mirror / DATASET / "nnUNetTrainerTiny__nnUNetPlans__2d"
    assert safe_load_checkpoint(place / "fold_0" / LATEST)["current_epoch"] == 3
    assert (place / "plans.json").exists()
    assert (place / "fold_0" / Path(trainer.log_file).name).exists()
    trainer.on_train_end()
    assert sorted(p.name for p in (place / "fold_0").glob("*.pth")) == [BEST, FINAL]
    assert f"The mirror {mirror} is complete" in log_of(trainer)


def test_broken_mirror_is_told_and_training_goes_on(new_trainer, quick_start, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("nnunet_ext.trainers.resilience._WAIT_FOR_MIRROR_S", 0.2)
    settings = TrainingSettings(checkpoint_minutes=0, checkpoint_mirror=str(tmp_path / "mirror"))
    trainer = new_trainer(settings=settings)
    trainer.on_train_start()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer._mirror._system, "put_file", fail)
    run_epochs(trainer, 2)
    trainer._mirror.wait(10)
    run_epochs(trainer, 1)
    assert "cannot mirror fold_0/checkpoint_latest.pth" in log_of(trainer)
    trainer.on_train_end()
    err = capfd.readouterr().err
    assert "No space left on device" in err
    assert "is not complete" in err
    assert safe_load_checkpoint(folder_of(trainer) / FINAL)["current_epoch"] == 3


def test_mirror_onto_the_results_is_an_error(new_trainer, quick_start, tmp_path):
    settings = TrainingSettings(checkpoint_mirror=str(tmp_path / "nnUNet_results"))
    with pytest.raises(UsageError, match="nnUNet_results itself"):
        new_trainer(settings=settings).on_train_start()


def test_starting_anew_over_an_earlier_training_is_told_and_not_mixed(new_trainer, quick_start):
    first = new_trainer(settings=TrainingSettings(checkpoint_minutes=0))
    run_epochs(first, 3)
    anew = new_trainer(settings=TrainingSettings(checkpoint_minutes=0))
    anew.on_train_start()
    assert "holds an earlier training" in log_of(anew)
    run_epochs(anew, 1)
    assert sorted(p.name for p in folder_of(anew).glob("*.pth")) == [BEST, LATEST]
    assert safe_load_checkpoint(folder_of(anew) / LATEST)["current_epoch"] == 1


def test_kill_before_the_first_latest_of_a_new_training_does_not_revive_the_old_one(new_trainer, quick_start):
    first = new_trainer()
    run_epochs(first, 3)
    first.on_train_end()
    os.utime(folder_of(first) / FINAL, (1, 1))
    anew = new_trainer()
    anew.on_train_start()
    run_epochs(anew, 1, dice=0.9)
    again = new_trainer(resume=True)
    again.load_checkpoint(str(folder_of(first) / FINAL))
    assert again.current_epoch == 1


def test_published_models_need_no_state_of_the_optimizer(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    content = {"network_weights": {"w": torch.ones(2)}, "init_args": {"configuration": "2d"}, "trainer_name": "x"}
    torch.save(content, path)
    assert torch.equal(safe_load_checkpoint(path, to_train=False)["network_weights"]["w"], torch.ones(2))
    with pytest.raises(VolumeFileError, match="it lacks optimizer_state"):
        safe_load_checkpoint(path)
