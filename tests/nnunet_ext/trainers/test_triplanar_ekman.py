"""The trainer of Ekman et al. 2025: optimiser, schedule, clipping, loss, pipeline, and steps on real loaders."""

import copy

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from torch import nn

from nnunet_ext.augmentation.brightness import Brightness
from nnunet_ext.augmentation.oblique_slab import ObliqueSlab
from nnunet_ext.augmentation.table import EkmanTable
from nnunet_ext.augmentation.white_noise import WhiteNoise
from nnunet_ext.trainers.triplanar_ekman import DropScheduler, clip_each_gradient, nnUNetTrainerTriPlanarEkman
from nnunet_ext.triplanar.loader import TakeSlice
from tests.nnunet_ext.training.tiny import triplanar_plans

DATASET = "Dataset993_Ekman"
PATCH = 16
DESCRIPTION = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "boundary": 1, "core": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def make_plans(*, mirroring=True, mask=False):
    plans = {**triplanar_plans(mirroring=mirroring), "dataset_name": DATASET}
    plans["configurations"]["triplanar"] |= {"batch_size": 4, "use_mask_for_norm": [mask]}
    intensities = {"max": 2000.0, "mean": 300.0, "median": 300.0, "min": -900.0, "std": 250.0}
    intensities |= {"percentile_00_5": -100.0, "percentile_99_5": 1400.0}
    plans["foreground_intensity_properties_per_channel"] = {"0": intensities}
    return plans


@pytest.fixture
def make_trainer(tmp_path, monkeypatch):
    for room in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{room}", str(tmp_path / room))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_compile", "0")
    monkeypatch.setattr("nnunet_ext.trainers.base.check_training", lambda *args, **kwargs: None)

    def make(trainer=nnUNetTrainerTriPlanarEkman, *, description=DESCRIPTION, **options):
        return trainer(make_plans(**options), "triplanar", 0, copy.deepcopy(description), torch.device("cpu"))

    return make


def with_network(trainer):
    trainer.network = trainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, 3, trainer.enable_deep_supervision
    )
    trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()
    trainer.loss = trainer._build_loss()
    return trainer


def test_numbers_of_table_2(make_trainer):
    trainer = with_network(make_trainer())
    assert (trainer.num_epochs, trainer.initial_lr, trainer.weight_decay) == (100, 1e-3, 1e-4)
    assert trainer.enable_deep_supervision is False
    assert (trainer.thick_share, trainer.thickness) == (0.25, 12)
    assert type(trainer.optimizer) is torch.optim.Adam
    (group,) = trainer.optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-4)
    assert trainer.network.decoder.deep_supervision is False


def test_environment_and_subclasses_override(make_trainer, monkeypatch):
    class Other(nnUNetTrainerTriPlanarEkman):
        table = EkmanTable(p_rotation_3d=0.5)
        epochs = 30
        learning_rate = 5e-3
        drop_period = 2
        drop_factor = 0.5

    monkeypatch.setenv("ABBC_EPOCHS", "7")
    trainer = with_network(make_trainer(Other))
    assert (trainer.num_epochs, trainer.initial_lr, trainer.thick_share) == (7, 5e-3, 0.5)
    trainer.lr_scheduler.step(3)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-3)
    monkeypatch.setenv("ABBC_INITIAL_LR", "0.02")
    assert with_network(make_trainer(Other)).optimizer.param_groups[0]["lr"] == 0.02


EXPECTED = {0: 1e-3, 4: 1e-3, 5: 0.85e-3, 9: 0.85e-3, 10: 0.7225e-3, 99: 1e-3 * 0.85**19}


def test_schedule_also_after_resuming(make_trainer):
    trainer = with_network(make_trainer())
    for epoch, rate in EXPECTED.items():
        trainer.lr_scheduler.step(epoch)
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(rate)
        assert trainer.lr_scheduler.get_last_lr() == [pytest.approx(rate)]
    state = copy.deepcopy(trainer.optimizer.state_dict())  # what a checkpoint keeps, here with the rate of epoch 99
    resumed = with_network(make_trainer())
    resumed.optimizer.load_state_dict(state)
    resumed.current_epoch = 10
    resumed.on_train_epoch_start()
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(EXPECTED[10])


def test_schedule_counts_where_nobody_names_the_epoch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=9.0)
    schedule = DropScheduler(optimizer, initial_lr=1.0, period=2, factor=0.5)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(4):
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1, 1, 0.5, 0.5, 0.25]


def test_each_gradient_is_clipped_by_its_own_norm():
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(4)]
    for parameter, values in zip(parameters, ([3.0, 4.0], [0.3, 0.4], [0.0, 0.0]), strict=False):
        parameter.grad = torch.tensor(values)
    clip_each_gradient(parameters, 1.0)
    torch.testing.assert_close(parameters[0].grad, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(parameters[1].grad, torch.tensor([0.3, 0.4]))
    assert parameters[2].grad.tolist() == [0, 0]
    assert parameters[3].grad is None


def test_optimizer_clips_before_it_steps(make_trainer):
    trainer = with_network(make_trainer())
    for parameter in trainer.network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 50.0)
    trainer.optimizer.step()
    for parameter in trainer.network.parameters():
        if parameter.requires_grad:
            assert parameter.grad.norm().item() == pytest.approx(1, rel=1e-4)
    # Adam keeps a tenth of the gradient it saw: the clipped one, plus L2.
    first = next(iter(trainer.optimizer.state.values()))["exp_avg"]
    assert first.norm().item() == pytest.approx(0.1, rel=0.05)


def test_gradients_are_clipped_after_unscaling(make_trainer):
    trainer = with_network(make_trainer())
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    logits = trainer.network(torch.rand(2, 1, PATCH, PATCH))
    scaler.scale(1e-3 * logits.square().mean()).backward()
    scaled = [weight.grad.clone() for weight in trainer.optimizer.param_groups[0]["params"]]
    assert max(gradient.norm() for gradient in scaled) > 1
    scaler.step(trainer.optimizer)
    for weight, before in zip(trainer.optimizer.param_groups[0]["params"], scaled, strict=True):
        torch.testing.assert_close(weight.grad, before / 65536)  # all small: none is clipped for being scaled


def test_every_trainable_weight_gets_a_gradient(make_trainer):
    trainer = with_network(make_trainer())
    frozen = [name for name, weight in trainer.network.named_parameters() if not weight.requires_grad]
    assert frozen == ["decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"]
    target = torch.randint(0, 3, (2, 1, PATCH, PATCH), dtype=torch.int16)
    assert np.isfinite(trainer.train_step({"data": torch.rand(2, 1, PATCH, PATCH), "target": target})["loss"])
    assert all(weight.grad is not None for weight in trainer.network.parameters() if weight.requires_grad)


def test_loss_is_cross_entropy_alone(make_trainer):
    loss = make_trainer()._build_loss()
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
    torch.testing.assert_close(loss(logits, target), nn.functional.cross_entropy(logits, target[:, 0]))


def test_loss_leaves_ignored_pixels_out(make_trainer):
    labels = {**DESCRIPTION["labels"], "ignore": 3}
    loss = make_trainer(description={**DESCRIPTION, "labels": labels})._build_loss()
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 4, (2, 1, 8, 8))
    expected = nn.functional.cross_entropy(logits, target[:, 0], ignore_index=3)
    torch.testing.assert_close(loss(logits, target), expected)
    assert float(loss(logits, torch.full_like(target, 3))) == 0


def test_loss_of_regions_is_binary_cross_entropy(make_trainer):
    labels = {"background": 0, "bone": [1, 2], "core": 2}
    loss = make_trainer(description={**DESCRIPTION, "labels": labels, "regions_class_order": [1, 2]})._build_loss()
    logits, target = torch.randn(2, 2, 8, 8), torch.randint(0, 2, (2, 2, 8, 8)).bool()
    expected = nn.functional.binary_cross_entropy_with_logits(logits, target.float())
    torch.testing.assert_close(loss(logits, target), expected)


def pipeline_of(trainer):
    rotation, dummy_2d, edge, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    masks = trainer.configuration_manager.use_mask_for_norm
    augment = trainer.get_training_transforms(
        trainer.training_patch(), rotation, None, axes, dummy_2d, use_mask_for_norm=masks
    )
    return edge, augment.transforms


def test_pipeline_uses_the_units_of_the_plans(make_trainer):
    _, transforms = pipeline_of(make_trainer())
    inner = [getattr(transform, "transform", transform) for transform in transforms]
    (brightness,) = [transform for transform in inner if isinstance(transform, Brightness)]
    (noise,) = [transform for transform in inner if isinstance(transform, WhiteNoise)]
    assert brightness.hu_scale == (1 / 250,)
    assert noise.intensity_range == (6.0,)


@pytest.mark.parametrize("mirroring", [True, False])
def test_mirroring_and_transposing_come_and_go_together(make_trainer, mirroring):
    trainer = make_trainer(mirroring=mirroring)
    _, transforms = pipeline_of(trainer)
    found = [type(t) for t in transforms if isinstance(t, (MirrorTransform, TransposeAxesTransform))]
    assert found == ([MirrorTransform, TransposeAxesTransform] if mirroring else [])
    assert trainer.inference_allowed_mirroring_axes == ((0, 1, 2) if mirroring else None)


def test_labels_with_sides_are_not_mirrored(make_trainer):
    labels = {"background": 0, "left_hip": 1, "right_hip": 2}
    _, transforms = pipeline_of(make_trainer(description={**DESCRIPTION, "labels": labels}))
    assert not [t for t in transforms if isinstance(t, (MirrorTransform, TransposeAxesTransform))]


def test_slices_are_cut_after_the_global_rotation(make_trainer):
    trainer = make_trainer()
    names = [type(t).__name__ for t in trainer.first_transforms(training=True)]
    assert names == ["SeedTorch", "ObliqueSlab", "TakeSlice"]
    assert [type(t) for t in trainer.first_transforms(training=False)] == [TakeSlice]
    oblique = trainer.slice_transforms()[0]
    assert isinstance(oblique, ObliqueSlab)
    assert oblique.planes == trainer.planes


def test_margin_fills_patches_that_are_scaled_down(make_trainer):
    edge, _ = pipeline_of(make_trainer())
    assert edge == [23, 23]  # 16 / 0.7


def test_masked_channels_stay_zero_outside(make_trainer):
    _, transforms = pipeline_of(make_trainer(mask=True))
    (mask,) = [transform for transform in transforms if isinstance(transform, MaskImageTransform)]
    assert transforms.index(mask) == len(transforms) - 2  # after all noise, before the targets are made


def write_cases(folder):
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        labels = np.zeros((1, 40, 40, 40), np.int8)
        labels[0, 8:32, 8:32, 8:32] = 1
        labels[0, 12:28, 12:28, 12:28] = 2
        image = (labels + random.normal(0, 0.2, labels.shape)).astype(np.float32)
        locations = {label: np.argwhere(labels == label)[::50] for label in (1, 2)}
        blocks, chunks = comp_blosc2_params(image.shape, (PATCH,) * 3)
        storage = {"blocks": blocks, "chunks": chunks, "blocks_seg": blocks, "chunks_seg": chunks}
        nnUNetDatasetBlosc2.save_case(image, labels, {"class_locations": locations}, str(folder / name), **storage)
    (folder.parent / "splits_final.json").write_text('[{"train": ["a"], "val": ["b"]}]')


def test_steps_on_the_real_loaders(make_trainer, tmp_path):
    torch.manual_seed(0)
    np.random.seed(0)
    write_cases(tmp_path / "preprocessed" / DATASET / "TriPlanarPlans_triplanar")
    trainer = make_trainer()
    trainer.initialize()
    training, validation = trainer.get_dataloaders()
    losses = []
    for _ in range(8):
        batch = next(training)
        assert batch["data"].shape == batch["target"].shape == (4, 1, PATCH, PATCH)
        assert batch["target"].min() >= 0
        losses.append(float(trainer.train_step(batch)["loss"]))
    assert np.isfinite(losses).all()
    assert next(validation)["data"].shape == (4, 1, PATCH, PATCH)
