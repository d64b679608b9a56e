import pytest
import torch

from tests.nnunet_ext.segmentation.phantom import draw_ct, save_model


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Folder of a model that reads the phantom's HU."""
    return save_model(tmp_path_factory.mktemp("model") / "phantom")


@pytest.fixture(scope="session")
def drawn():
    """CT of the phantom and its bones, 1 mm, LPS."""
    return draw_ct()
