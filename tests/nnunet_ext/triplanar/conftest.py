import pytest
import torch

from nnunet_ext.triplanar.networks import TriPlanarResEncUNet, TriPlanarUNet


def settings(residual=False, channels=1, classes=3, stages=2, features=4):
    """Return the arguments of a small 2D U-Net."""
    conv_counts = {"n_blocks_per_stage": 1} if residual else {"n_conv_per_stage": 1}
    return {
        "input_channels": channels,
        "n_stages": stages,
        "features_per_stage": [features * 2**stage for stage in range(stages)],
        "conv_op": torch.nn.Conv2d,
        "kernel_sizes": 3,
        "strides": [1] + [2] * (stages - 1),
        "num_classes": classes,
        "n_conv_per_stage_decoder": 1,
        "conv_bias": True,
        "norm_op": torch.nn.InstanceNorm2d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": torch.nn.LeakyReLU,
        **conv_counts,
    }


@pytest.fixture
def arguments():
    """Arguments of a small 2D U-Net."""
    return settings


@pytest.fixture
def network():
    """Make a small tri-planar network, ready for prediction, with weights that depend on the seed."""

    def make(residual=False, planes=None, regions=False, seed=0, **options):
        torch.manual_seed(seed)
        cls = TriPlanarResEncUNet if residual else TriPlanarUNet
        made = cls(planes=planes, regions=regions, **settings(residual, **options))
        with torch.no_grad():  # weights at random are nearly symmetric in effect; make the outputs differ clearly
            for weight in made.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
        return made.eval()

    return make
