"""A limit of threads that the user sets is kept, although nnU-Net's command takes every core."""

import pytest
import torch

from nnunet_ext.training.threads import keep_thread_limit


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("said", "taken"), [("1", 1), ("2", 2), (" 2,1", 2), ("", 3), ("0", 3), ("-1", 3), ("many", 3), (None, 3)]
)
def test_the_variable_counts(said, taken):
    assert keep_thread_limit({} if said is None else {"OMP_NUM_THREADS": said}) == taken
    assert torch.get_num_threads() == taken
