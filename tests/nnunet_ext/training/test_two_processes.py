"""Two processes on the CPU (gloo) train our networks on our loaders with our losses, and stay equal."""

import pytest

from tests.nnunet_ext.training.tiny import run_python

WORKER = """
import sys
import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch.nn.parallel import DistributedDataParallel

from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from nnunet_ext.augmentation.seeding import SeedTorch
from nnunet_ext.triplanar.loader import SlabLoader, TakeSlice
from nnunet_ext.triplanar.networks import TriPlanarResEncUNet, TriPlanarUNet
from nnunet_ext.triplanar.planes import ORIENTATIONS
from tests.nnunet_ext.triplanar.test_slab_loader import LABELS, PLANES, Cases


def work(rank, port, queue):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for network_class, blocks in ((TriPlanarUNet, "n_conv_per_stage"), (TriPlanarResEncUNet, "n_blocks_per_stage")):
        torch.manual_seed(rank)  # different weights: the group has to make them equal
        network = network_class(
            input_channels=1, num_classes=4, n_stages=3, features_per_stage=[4, 8, 8], conv_op=torch.nn.Conv2d,
            kernel_sizes=3, strides=[1, 2, 2], n_conv_per_stage_decoder=1, conv_bias=True,
            norm_op=torch.nn.InstanceNorm2d, norm_op_kwargs={"affine": True}, nonlin=torch.nn.LeakyReLU,
            deep_supervision=True, **{blocks: 1},
        )
        network = DistributedDataParallel(network)
        entropy = {"weight": torch.tensor([1.0, 1.0, 1.0, 5.0])}
        dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": True}
        loss = DeepSupervisionWrapper(
            DC_and_CE_loss(dice, entropy, dice_class=MemoryEfficientSoftDiceLoss), [2 / 3, 1 / 3]
        )
        optimizer = torch.optim.SGD(network.parameters(), 0.01)
        np.random.seed(rank)
        loader = SingleThreadedAugmenter(SlabLoader(
            Cases(), 2, 12, 8, LABELS, planes=PLANES, focus_class=3, focus_share=0.5, oversample_foreground_percent=0.5,
            transforms=ComposeTransforms([
                SeedTorch(), TakeSlice(PLANES),
                DownsampleSegForDSTransform([[1.0, 1.0], [0.5, 0.5]]),
            ]),
        ), None)
        losses = []
        for _ in range(4):
            batch = next(loader)
            optimizer.zero_grad()
            data = torch.nn.functional.interpolate(batch["data"] / 1e4, size=12)
            target = [torch.nn.functional.interpolate(t.float(), size=s).clamp(0, 3)
                      for t, s in zip(batch["target"], (12, 6))]
            found = loss(network(data), target)
            found.backward()
            optimizer.step()
            losses.append(float(found.detach()))
        weights = torch.cat([p.detach().flatten() for p in network.parameters()])
        network.eval()
        with torch.no_grad():  # final validation predicts volumes through the wrapper
            volume = network(torch.linspace(0, 1, 12**3).view(1, 1, 12, 12, 12))
        queue.put((network_class.__name__, rank, losses, weights.numpy(), float(volume.sum())))
    dist.destroy_process_group()


if __name__ == "__main__":
    import socket
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    processes = [context.Process(target=work, args=(rank, port, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    found = [queue.get() for _ in range(4)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for name in ("TriPlanarUNet", "TriPlanarResEncUNet"):
        (a, b) = sorted((f for f in found if f[0] == name), key=lambda f: f[1])
        assert np.array_equal(a[3], b[3]), "the weights differ"
        assert a[2] != b[2], "both processes saw the same patches"
        assert all(np.isfinite(a[2] + b[2]))
        assert a[4] == b[4]
        print("agree", name)
"""


@pytest.mark.slow
def test_two_processes_agree(tmp_path, environment):
    script = tmp_path / "group.py"
    script.write_text(WORKER)
    said = run_python([str(script)], environment)
    assert [line for line in said.splitlines() if "agree" in line] == [
        "agree TriPlanarUNet",
        "agree TriPlanarResEncUNet",
    ]
