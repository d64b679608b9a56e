"""What each of our trainers changes about nnU-Net's, on plans without data."""

import pickle

import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from label_gen.errors import SchemeError, UsageError
from nnunet_ext.ext_trainers import abbc_trainers
from nnunet_ext.trainers import lengths
from nnunet_ext.trainers.abbc import nnUNetTrainerABBC
from nnunet_ext.trainers.bones import nnUNetTrainerBones
from nnunet_ext.trainers.triplanar import nnUNetTrainerTriPlanar
from nnunet_ext.trainers.triplanar_ekman import nnUNetTrainerTriPlanarEkman
from nnunet_ext.training.sides import MirrorSides
from nnunet_ext.triplanar.loader import TakeSlice
from tests.nnunet_ext.training.tiny import need_no_data, triplanar_plans
from tests.nnunet_ext.triplanar.test_slab_loader import Cases

ABBC_LABELS = {"background": 0, "core": 1, "border": 2, "boundary": 3}
BONES = {"background": 0, "sacrum": 1, "left_hip": 2, "right_hip": 3}
TRAINERS = [nnUNetTrainerABBC, nnUNetTrainerBones, nnUNetTrainerTriPlanar, nnUNetTrainerTriPlanarEkman]


@pytest.fixture
def make(tmp_path, monkeypatch):
    need_no_data(monkeypatch, tmp_path)
    monkeypatch.setenv("nnUNet_compile", "0")

    def make(trainer, labels=ABBC_LABELS, configuration="3d_fullres", transpose_forward=(0, 1, 2), mirroring=True):
        description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".mha"}
        plans = {**triplanar_plans(mirroring=mirroring), "transpose_forward": list(transpose_forward)}
        return trainer(plans, configuration, 0, description, torch.device("cpu"))

    return make


def test_border_counts_more_in_the_cross_entropy(make, monkeypatch):
    trainer = make(nnUNetTrainerABBC)
    trainer.initialize()
    assert trainer.loss.loss.ce.weight.tolist() == [1, 1, 5, 1]  # border is class 2 of this dataset
    assert (trainer.focus_class, trainer.focus_share) == (2, 0.5)
    monkeypatch.setenv("ABBC_BORDER_WEIGHT", "12")
    monkeypatch.setenv("ABBC_BORDER_SHARE", "0")
    trainer = make(nnUNetTrainerABBC)
    assert trainer._build_loss().loss.ce.weight.tolist() == [1, 1, 12, 1]
    assert trainer.focus_share == 0.0


def test_weighted_loss_is_dice_plus_weighted_cross_entropy(make):
    trainer = make(nnUNetTrainerABBC)
    loss = trainer._build_loss().loss
    logits = torch.randn(2, 4, 8, 8, 8)
    target = torch.randint(0, 4, (2, 1, 8, 8, 8))
    entropy = torch.nn.functional.cross_entropy(logits, target[:, 0], torch.tensor([1.0, 1.0, 5.0, 1.0]))
    torch.testing.assert_close(loss(logits, target), loss.dc(logits, target) + entropy)


def test_abbc_classes_are_mirrored_along_every_axis(make):
    trainer = make(nnUNetTrainerABBC)
    *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert axes == trainer.inference_allowed_mirroring_axes == (0, 1, 2)
    assert not [t for t in trainer.first_transforms(training=True) if isinstance(t, MirrorSides)]


@pytest.mark.parametrize(("transposition", "axis"), [((0, 1, 2), 2), ((2, 0, 1), 0), ((1, 2, 0), 1)])
def test_bones_swap_sides(make, transposition, axis):
    trainer = make(nnUNetTrainerBones, BONES, transpose_forward=transposition)
    *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    others = tuple(a for a in range(3) if a != axis)
    assert axes == trainer.inference_allowed_mirroring_axes == others
    (mirror,) = [t for t in trainer.first_transforms(training=True) if isinstance(t, MirrorSides)]
    assert (mirror.axis, mirror.twins) == (axis, ((2, 3),))
    assert trainer.first_transforms(training=False) == []


@pytest.mark.parametrize(("labels", "mirrored"), [(ABBC_LABELS, True), (BONES, False)])
def test_slices_are_mirrored_unless_labels_have_sides(make, labels, mirrored):
    trainer = make(nnUNetTrainerTriPlanar, labels, "triplanar")
    rotation, dummy, edge, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert axes == ((0, 1) if mirrored else None)
    assert trainer.inference_allowed_mirroring_axes == ((0, 1, 2) if mirrored else None)
    assert len(edge) == 2
    pipeline = trainer.get_training_transforms([16, 16], rotation, None, axes, dummy)
    assert any(isinstance(t, MirrorTransform) for t in pipeline.transforms) == mirrored
    assert isinstance(trainer.first_transforms(training=False)[0], TakeSlice)


def test_plans_can_forbid_mirroring(make):
    trainer = make(nnUNetTrainerTriPlanar, configuration="triplanar", mirroring=False)
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert trainer.inference_allowed_mirroring_axes is None


@pytest.mark.parametrize("configuration", ["3d_fullres", "2d"])
def test_triplanar_trainer_trains_stock_configurations_as_the_stock_trainer_does(make, configuration):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    ours, stock = (make(trainer, configuration=configuration) for trainer in (nnUNetTrainerTriPlanar, nnUNetTrainer))
    method = "configure_rotation_dummyDA_mirroring_and_inital_patch_size"
    assert str(getattr(ours, method)()) == str(getattr(stock, method)())
    assert ours.training_patch() == ours.configuration_manager.patch_size
    same = ("num_epochs", "initial_lr", "weight_decay", "oversample_foreground_percent", "num_iterations_per_epoch")
    assert [getattr(ours, name) for name in same] == [getattr(stock, name) for name in same]


def test_wrong_datasets_and_configurations_are_refused_before_a_folder_is_made(make, tmp_path):
    with pytest.raises(SchemeError, match="abbc-prepare-dataset"):
        make(nnUNetTrainerABBC, BONES)
    with pytest.raises(SchemeError, match=r"left and right only; got background, core.*--task anatomy"):
        make(nnUNetTrainerBones)
    with pytest.raises(UsageError, match="'3d_fullres' is not tri-planar; plan one with"):
        make(nnUNetTrainerTriPlanarEkman)
    assert not (tmp_path / "results").exists()


def test_environment_sets_the_length(make, monkeypatch):
    for name, value in (("EPOCHS", "3"), ("INITIAL_LR", "0.5"), ("ITERATIONS", "4"), ("VAL_ITERATIONS", "2")):
        monkeypatch.setenv(f"ABBC_{name}", value)
    trainer = make(nnUNetTrainerABBC)
    found = (trainer.num_epochs, trainer.initial_lr)
    assert (*found, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == (3, 0.5, 4, 2)
    assert make(lengths.nnUNetTrainerABBC_7epochs).num_epochs == 7


@pytest.mark.parametrize("trainer", TRAINERS)
def test_length_in_the_name(trainer):
    long = getattr(abbc_trainers, f"{trainer.__name__}_250epochs")
    assert issubclass(long, trainer)
    assert (long.__name__, long.epochs_in_name) == (f"{trainer.__name__}_250epochs", 250)
    assert getattr(lengths, long.__name__) is long
    for wrong in ("0epochs", "epochs", "-1epochs", "5days"):
        assert not hasattr(abbc_trainers, f"{trainer.__name__}_{wrong}")
    assert not hasattr(abbc_trainers, "nnUNetTrainer_250epochs")


@pytest.mark.parametrize(
    ("trainer", "labels", "configuration"),
    [
        (nnUNetTrainerABBC, ABBC_LABELS, "3d_fullres"),
        (nnUNetTrainerABBC, ABBC_LABELS, "triplanar"),
        (nnUNetTrainerBones, BONES, "3d_fullres"),
        (nnUNetTrainerTriPlanarEkman, ABBC_LABELS, "triplanar"),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
# batchgenerators' own thread may still read from a worker while `_finish` ends it, and complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_loaders_work_in_spawned_processes(make, monkeypatch, trainer, labels, configuration, workers):
    made = make(trainer, labels, configuration)
    made.batch_size = 2
    rotation, dummy, edge, axes = made.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    augment = made.get_training_transforms(made.training_patch(), rotation, None, axes, dummy)
    transforms = ComposeTransforms([*made.first_transforms(training=True), augment])
    # What a spawned worker gets is the pickled loader; what a forked one gets, its memory.
    loader = made.make_loader(Cases(), edge, transforms)
    loader = pickle.loads(pickle.dumps(loader)) if workers == 0 else loader
    batches = made._start(loader, workers, 1)
    batch = next(batches)
    assert batch["data"].shape == (2, 1, *made.training_patch())
    assert batch["target"].shape == batch["data"].shape
    if workers:
        batches._finish()


HEAVY = {"SpatialTransform", "SimulateLowResolutionTransform", "GaussianBlurTransform"}


@pytest.mark.parametrize(
    ("trainer", "labels", "configuration"),
    [(nnUNetTrainerABBC, ABBC_LABELS, "3d_fullres"), (nnUNetTrainerBones, BONES, "triplanar")],
)
@pytest.mark.parametrize("augmentation", ["full", "light"])
def test_light_augmentation_reads_no_margin_and_interpolates_nothing(
    make, monkeypatch, trainer, labels, configuration, augmentation
):
    monkeypatch.setenv("ABBC_AUGMENTATION", augmentation)
    made = make(trainer, labels, configuration)
    loaders = []
    monkeypatch.setattr(made, "_start", lambda loader, workers, cached: loaders.append(loader))
    monkeypatch.setattr(made, "get_tr_and_val_datasets", lambda: (Cases(), Cases()))
    made.batch_size, made.dataset_class = 2, object
    made.get_dataloaders()
    training = loaders[0]
    inner = training.transforms.transforms[-1].transforms
    used = {type(getattr(t, "transform", t)).__name__ for t in inner}
    assert used & HEAVY == (HEAVY if augmentation == "full" else set())
    assert {"GaussianNoiseTransform", "ContrastTransform", "GammaTransform"} <= used
    batch = next(training)
    assert batch["data"].shape == (2, 1, *made.training_patch())
    if augmentation == "light":
        assert max(training.patch_size) == max(made.training_patch())
    else:
        assert max(training.patch_size) > max(made.training_patch())


def test_trainer_with_augmentations_of_its_own_has_no_light_form(make, monkeypatch, tmp_path):
    monkeypatch.setenv("ABBC_AUGMENTATION", "light")
    with pytest.raises(UsageError, match="of which there is no light form; unset ABBC_AUGMENTATION"):
        make(nnUNetTrainerTriPlanarEkman, configuration="triplanar")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("trainer", [nnUNetTrainerABBC, nnUNetTrainerTriPlanar])
def test_optimiser_is_a_setting(make, monkeypatch, trainer):
    monkeypatch.setenv("ABBC_OPTIMIZER", "adamw")
    monkeypatch.setenv("ABBC_INITIAL_LR", "0.001")
    monkeypatch.setenv("ABBC_EPOCHS", "10")
    made = make(trainer, configuration="3d_fullres" if trainer is nnUNetTrainerABBC else "triplanar")
    made.network = torch.nn.Linear(2, 1)
    optimizer, schedule = made.configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    rates = []
    for epoch in (0, 5):
        schedule.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-3 * 0.5**0.9])
    monkeypatch.delenv("ABBC_OPTIMIZER")
    made = make(trainer, configuration="3d_fullres" if trainer is nnUNetTrainerABBC else "triplanar")
    made.network = torch.nn.Linear(2, 1)
    assert isinstance(made.configure_optimizers()[0], torch.optim.SGD)


def test_trainer_with_an_optimiser_of_its_own_takes_no_other(make, monkeypatch):
    monkeypatch.setenv("ABBC_OPTIMIZER", "adamw")
    with pytest.raises(UsageError, match="has an optimiser of its own; unset ABBC_OPTIMIZER"):
        make(nnUNetTrainerTriPlanarEkman, configuration="triplanar")


def test_final_validation_can_be_left_out(make, monkeypatch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    called = []
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", lambda *_: called.append("validation"))
    monkeypatch.setattr("nnunet_ext.training.fragments.score_fragments", lambda *_: called.append("fragments"))
    make(nnUNetTrainerBones, BONES).perform_actual_validation()
    assert called == ["validation"]
    monkeypatch.setenv("ABBC_FINAL_VALIDATION", "off")
    trainer = make(nnUNetTrainerABBC)
    trainer.perform_actual_validation()
    assert called == ["validation"]
    with open(trainer.log_file) as log:
        assert "run the same command with --val" in log.read()
