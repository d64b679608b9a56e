import pytest

from tests.nnunet_ext.segmentation.phantom import draw_ct, save_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Folder of a model that reads the phantom's HU."""
    return save_model(tmp_path_factory.mktemp("model") / "phantom")


@pytest.fixture(scope="session")
def drawn():
    """CT of the phantom and its bones, 1 mm, LPS."""
    return draw_ct()
