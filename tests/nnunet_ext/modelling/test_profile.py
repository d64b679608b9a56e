"""Profiles of the making of models: those that ship, changes to them, and what is refused."""

import pytest

from label_gen.errors import UsageError
from nnunet_ext.modelling.profile import load_profile
from nnunet_ext.package_data import data_folder


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_profiles_that_ship(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.simulation.closed > profile.simulation.opened  # closed fractures in the majority
    assert profile.to_dict()["abbc"]["border_weight"] == profile.abbc.border_weight


def test_changes():
    changes = ["abbc.epochs=7", "simulation.closed = 0", "simulation.kernel=soft", "device=cuda", 'abbc.mode="literal"']
    profile = load_profile("cpu", changes)
    assert (profile.abbc.epochs, profile.simulation.closed, profile.simulation.kernel) == (7, 0.0, "soft")
    assert (profile.device, profile.abbc.mode) == ("cuda", "literal")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("abbc.epoch=3", r"no setting 'abbc.epoch=3' in 'cpu.toml'; give SECTION.KEY=VALUE"),
        ("abbc=3", "no setting 'abbc=3'"),
        ("abbc.epochs", "no setting 'abbc.epochs'"),
        ("abbc.epochs=long", "'epochs' must be of type int; got: 'long'"),
        ("abbc.epochs=0", "abbc.epochs must be above 0; got: 0"),
        ("test.cost_spacings_mm=1", "'cost_spacings_mm' must be of type list of numbers; got: 1"),
        ("bones.batch_size=-1", "bones.batch_size must be above 0"),
        ("simulation.phantom_cases=-1", "simulation.phantom_cases must be 0 or more"),
        ("simulation.validation_cases=500", "500 validation cases are wanted of"),
        ("simulation.test_seed=1003", r"the seeds of training \(from 1000\) and test \(from 1003\) meet"),
    ],
)
def test_nonsense_is_refused(change, said):
    with pytest.raises(UsageError, match=said):
        load_profile("cpu", [change])


def test_a_file_of_ones_own(tmp_path):
    text = (data_folder("training") / "cpu.toml").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    own.write_text(text.replace("step_size = 0.75\n", ""))
    with pytest.raises(UsageError, match=r"section 'test' of 'own.toml' lacks the setting 'step_size'"):
        load_profile(own)
    own.write_text(text + "\n[more]\n")
    with pytest.raises(UsageError, match=r"'own.toml' has an unknown setting 'more'; there are name"):
        load_profile(own)
    with pytest.raises(UsageError, match="unknown training profile 'tpu'"):
        load_profile("tpu")
