"""Settings of a training from environment variables."""

import pytest

from label_gen.errors import UsageError
from nnunet_ext.training.settings import VARIABLES, TrainingSettings


def test_defaults_leave_everything_to_the_trainer():
    settings = TrainingSettings.from_environment({"PATH": "x", "ABBC_EPOCHS": " "})
    assert settings == TrainingSettings()
    assert (settings.epochs, settings.checkpoint_minutes, settings.checkpoint_mirror) == (None, 5.0, None)


def test_all_are_read():
    values = ["7", "0.02", "AdamW", "10", "3", "0", "12.5", "Light", "off", "abbc", "none", "0", "s3://bucket/x"]
    settings = TrainingSettings.from_environment(dict(zip(VARIABLES.values(), values, strict=True)))
    expected = (7, 0.02, "adamw", 10, 3, 0.0, 12.5, "light", "off", "abbc", "none", 0.0, "s3://bucket/x")
    assert tuple(getattr(settings, name) for name in VARIABLES) == expected


def test_password_of_a_mirror_is_not_shown():
    assert "secret" not in repr(TrainingSettings(checkpoint_mirror="sftp://me:secret@host/x"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ABBC_EPOCHS", "0", "whole number from 1; got: '0'"),
        ("ABBC_EPOCHS", "2.5", "whole number from 1"),
        ("ABBC_INITIAL_LR", "0", "number above 0"),
        ("ABBC_INITIAL_LR", "nan", "number above 0"),
        ("ABBC_INITIAL_LR", "inf", "number above 0"),
        ("ABBC_BORDER_SHARE", "1.5", "number from 0 to 1; got: '1.5'"),
        ("ABBC_BORDER_WEIGHT", "-1", "number above 0"),
        ("ABBC_AUGMENTATION", "some", "ABBC_AUGMENTATION must be full or light; got: 'some'"),
        ("ABBC_OPTIMIZER", "adam", "ABBC_OPTIMIZER must be sgd or adamw; got: 'adam'"),
        ("ABBC_EPOCH", "3", "unknown environment variable ABBC_EPOCH; there are ABBC_EPOCHS"),
    ],
)
def test_nonsense_is_refused(name, value, said):
    with pytest.raises(UsageError, match=said):
        TrainingSettings.from_environment({name: value})
