"""Names of devices."""

import pytest

from label_gen.errors import UsageError
from nnunet_ext.devices import choose_device


def test_names_of_devices():
    assert str(choose_device("cpu")) == "cpu"
    assert str(choose_device("auto")).partition(":")[0] in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("wrong", ["gpu", "cuda:x", "cpu:1", "cuda:77", ""])
def test_other_names_are_refused(wrong):
    with pytest.raises(UsageError, match="--device"):
        choose_device(wrong)
