import pytest

from tests.nnunet_ext.stage1.networks import HU, NUMBERS, save_model


@pytest.fixture
def bones_model(tmp_path):
    """Folder of a tri-planar model that knows the bones by their HU."""
    labels = {"background": 0, **NUMBERS}
    return save_model(tmp_path / "model", labels, HU, dims=2, spacing=2, trainer="nnUNetTrainer", patch=80)
