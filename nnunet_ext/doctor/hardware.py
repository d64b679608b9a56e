"""The machine: GPU and its memory, main memory, shared memory, open files."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from pathlib import Path

from nnunet_ext.doctor.findings import Finding, error, ok, warning
from nnunet_ext.training.folders import say_bytes

__all__ = ["check_device", "check_memory", "check_open_files", "check_shared_memory", "memory_bytes", "worker_count"]

GPU_BYTES = 9e9
"""nnU-Net's standard plans and its preset M ask for a GPU of 10 GB or so; sold as 10 GB, a little less is usable."""
MEMORY_BYTES = 15e9
"""nnU-Net preprocesses large CTs in four processes; with less than 16 GB that may end in a killed process."""
SHARED_BYTES = 2e9
"""Batches on their way from the workers lie in shared memory. Docker gives 64 MB, too little for any real patch."""
LEAST_SHARED_BYTES = 128e6
OPEN_FILES = 1024
NVIDIA = Path("/dev/nvidia0")


def check_device(device: str | None = None) -> list[Finding]:
    """Check what training runs on.

    Args:
        device: `cuda`, `mps` or `cpu`; None takes the best that there is.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    has_mps = torch.backends.mps.is_available()
    if device == "cuda" and not has_cuda:
        return [error("GPU", _why_no_cuda(torch.version.cuda), "mend that, or train with -device cpu (slow)")]
    if device == "mps" and not has_mps:
        return [error("GPU", "torch finds no Apple GPU (MPS)", "train with -device cpu (slow)")]
    if has_cuda and device in (None, "cuda"):
        return [_check_gpu(number) for number in range(torch.cuda.device_count())]
    if has_mps and device in (None, "mps"):
        torch.zeros(1, device="mps").add_(1)
        return [ok("GPU", "Apple GPU (MPS); train with -device mps")]
    text = "training on CPU is slow: days instead of hours" + (
        "" if device else f"; {_why_no_cuda(torch.version.cuda)}"
    )
    return [warning("GPU", text, "use a machine with a GPU, or train small networks with nnUNetv2_train -device cpu")]


def _why_no_cuda(built_for: str | None) -> str:
    has_card = NVIDIA.exists() or shutil.which("nvidia-smi") is not None
    if built_for is None:
        return "this torch is built for the CPU only" + (", though the machine has an NVIDIA GPU" if has_card else "")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all GPUs"
    if has_card:
        return f"torch (for CUDA {built_for}) cannot use the NVIDIA GPU; its driver is too old, most often"
    return "torch finds no NVIDIA GPU"


def _check_gpu(number: int) -> Finding:
    import torch

    properties = torch.cuda.get_device_properties(number)
    name = f"GPU {number}"
    try:
        with torch.device("cuda", number):
            torch.nn.functional.conv3d(torch.ones(1, 1, 4, 4, 4), torch.ones(1, 1, 3, 3, 3)).sum().item()
        free, total = torch.cuda.mem_get_info(number)
    except RuntimeError as problem:
        text = f"{properties.name} cannot compute with torch {torch.__version__}: {str(problem).splitlines()[0]}"
        return error(name, text, "install a torch for this GPU and its driver, or hide it by CUDA_VISIBLE_DEVICES")
    text = f"{properties.name}, {say_bytes(total)}, {say_bytes(free)} free, CUDA {torch.version.cuda}"
    if total < GPU_BYTES:
        return warning(name, f"{text}: little for 3D training", "plan for less: -gpu_memory_target GB when planning")
    if free < total / 2:
        return warning(name, f"{text}: other programs use it", "end them, or choose another GPU: CUDA_VISIBLE_DEVICES")
    return ok(name, text)


def memory_bytes() -> int:
    """Return the main memory that processes here may use: of the machine, or of the container if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def check_memory() -> Finding:
    """Check the size of the main memory."""
    size = memory_bytes()
    text = f"{say_bytes(size)}, {os.cpu_count()} processor cores"
    if size < MEMORY_BYTES:
        cure = "use fewer processes: -np 1 when preprocessing, export nnUNet_n_proc_DA=2 for training"
        return warning("memory", f"{text}; large CTs may not fit", cure)
    return ok("memory", text)


def worker_count() -> int | None:
    """Return how many processes nnU-Net makes batches with, by its own rule; None if the variable is no number."""
    text = os.environ.get("nnUNet_n_proc_DA", "12")  # noqa: SIM112  # nnU-Net's spelling
    return min(int(text), os.cpu_count() or 1) if text.isascii() and text.isdigit() else None


def check_shared_memory(folder: str = "/dev/shm") -> Finding:
    """Check the shared memory, through which the workers hand over batches.

    Args:
        folder: Where the system has it.
    """
    if not Path(folder).is_dir():
        return ok("shared memory", f"{sys.platform} needs no {folder}")
    if worker_count() == 0:
        return ok("shared memory", "not used: nnUNet_n_proc_DA is 0")
    usage = shutil.disk_usage(folder)
    text = f"{say_bytes(usage.free)} of {say_bytes(usage.total)} free in {folder}"
    cure = "enlarge it (docker run --shm-size=8g or --ipc=host), or export nnUNet_n_proc_DA=0 (slow)"
    if usage.free < LEAST_SHARED_BYTES:
        return error("shared memory", f"{text}: training would end in a bus error", cure)
    if usage.free < SHARED_BYTES:
        return warning("shared memory", f"{text}: may be too little for large patches", cure)
    return ok("shared memory", text)


def check_open_files() -> Finding:
    """Check how many files a process may hold open; each batch on its way takes some."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return ok("open files", "no limit")
    if limit < OPEN_FILES:
        return warning("open files", f"a process may open {limit} files; workers need more", "ulimit -n 65536")
    return ok("open files", f"a process may open {limit}")
