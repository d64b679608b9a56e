"""How many threads a network on a processor takes."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

__all__ = ["keep_thread_limit"]

VARIABLE = "OMP_NUM_THREADS"


def keep_thread_limit(environment: Mapping[str, str] = os.environ) -> int:
    """Take as many threads as OMP_NUM_THREADS says, if it says anything.

    `nnUNetv2_train -device cpu` takes every core, whatever the variable says. Trainings side by side then wait for each
    other's threads.

    Args:
        environment: Environment variables. Of a list, `4,2`, the first number counts.

    Returns:
        The number of threads that torch takes now.

    Source: measured here, a 2D and a 3D training side by side on two cores: epochs of 107 s with two threads each took
    50 s with one.
    """
    first = environment.get(VARIABLE, "").partition(",")[0].strip()
    if first.isdecimal() and int(first) > 0:
        torch.set_num_threads(int(first))
    return torch.get_num_threads()
