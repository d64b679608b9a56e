"""The settings of one making of the models: a TOML file that comes with the project, and changes to it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from label_gen.errors import UsageError

__all__ = [
    "AbbcSettings",
    "BonesSettings",
    "PackSettings",
    "Profile",
    "SimulationPlan",
    "TrialSettings",
    "load_profile",
]

KIND = "training"
"""The folder of profiles in `datasets/`."""


@dataclass(frozen=True, kw_only=True)
class SimulationPlan:
    """Which cases are simulated; weights, numbers and kernel as of `abbc-simulate-fractures`.

    Attributes:
        seed: Of the first training case. Parametric and given anatomies count from it separately.
        test_seed: Of the first test case.
        phantom_cases: Training cases of parametric pelves.
        anatomy_cases: Training cases of given anatomies; parametric ones where none is given.
        validation_cases: Of the training cases, how many the training is watched with.
        phantom_test_cases: Test cases of parametric pelves.
        anatomy_test_cases: Test cases of given anatomies that are not trained on; parametric ones where none is given.
        spacing_mm: Edge of the voxels of training cases.
        test_spacing_mm: Edge of the voxels of test cases.
        closed: Weight of closed fractures.
        opened: Weight of opened ones.
        displaced: Weight of displaced ones.
        impacted: Weight of impacted ones.
        cracks: Mean number of incomplete cracks in a broken bone.
        chips: Mean number of chips in a broken bone.
        kernel: Reconstruction kernel.
    """

    seed: int
    test_seed: int
    phantom_cases: int
    anatomy_cases: int
    validation_cases: int
    phantom_test_cases: int
    anatomy_test_cases: int
    spacing_mm: float
    test_spacing_mm: float
    closed: float
    opened: float
    displaced: float
    impacted: float
    cracks: float
    chips: float
    kernel: str

    def __post_init__(self) -> None:
        _check_positive(self, "simulation", "spacing_mm", "test_spacing_mm", "validation_cases")
        _check_positive(
            self, "simulation", "seed", "test_seed", "phantom_cases", "anatomy_cases", "phantom_test_cases",
            "anatomy_test_cases", may_be_zero=True,
        )  # fmt: skip
        trained = self.phantom_cases + self.anatomy_cases
        if self.validation_cases >= trained:
            raise UsageError(
                f"{self.validation_cases} validation cases are wanted of {trained} training cases; at least one must "
                "be left to train on (simulation.validation_cases)"
            )
        if self.seed <= self.test_seed < self.seed + trained:
            raise UsageError(
                f"the seeds of training (from {self.seed}) and test (from {self.test_seed}) meet; set "
                "simulation.test_seed far above simulation.seed"
            )


@dataclass(frozen=True, kw_only=True)
class BonesSettings:
    """The network of whole bones, a tri-planar one.

    Attributes:
        spacing_mm: Edge of the voxels it sees.
        patch_size: Edge of its patches, pixels.
        batch_size: Patches in a step.
        base_features: Feature maps of the first stage.
        epochs: Length of the training.
        iterations: Steps in an epoch.
        val_iterations: Steps of the validation after each epoch.
        optimizer: `sgd` or `adamw`.
        initial_lr: Learning rate of the first epoch.
        augmentation: `full` or `light`.
        initial_weights: What the training begins with: a model that ships, a model folder or a checkpoint of the same
            network; random weights if empty.
    """

    spacing_mm: float
    patch_size: int
    batch_size: int
    base_features: int
    epochs: int
    iterations: int
    val_iterations: int
    optimizer: str
    initial_lr: float
    augmentation: str
    initial_weights: str

    def __post_init__(self) -> None:
        section = "abbc" if isinstance(self, AbbcSettings) else "bones"
        _check_positive(self, section, *(item.name for item in fields(BonesSettings) if item.type != "str"))
        for key, words in (("optimizer", ("sgd", "adamw")), ("augmentation", ("full", "light"))):
            if getattr(self, key) not in words:
                raise UsageError(f"{section}.{key} must be {' or '.join(words)}; got: {getattr(self, key)}")


@dataclass(frozen=True, kw_only=True)
class AbbcSettings(BonesSettings):
    """The network of the ABBC classes, a 3D one with a residual encoder, and what it has beside the other.

    Attributes:
        mode: Mode of the ABBC classes, `default` or `literal`.
        border_mm: Width of their border on each side of a contact, where the mode is `default`.
        most_blocks: Largest number of residual blocks in a stage of the encoder.
        border_weight: Weight of border in the cross entropy.
        border_share: Share of foreground patches that are centred on border.
    """

    mode: str
    border_mm: float
    most_blocks: int
    border_weight: float
    border_share: float


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """How the models are tested.

    Attributes:
        mirroring: Average predictions over mirror images.
        step_size: Distance of windows in parts of their size.
        cost_spacings_mm: Edges of the voxels at which time and memory of the inference are measured.
    """

    mirroring: bool
    step_size: float
    cost_spacings_mm: list[float]


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """How the models are packed.

    Attributes:
        half: Store weights in half precision.
    """

    half: bool


@dataclass(frozen=True, kw_only=True)
class Profile:
    """All settings of one making of the models.

    Attributes:
        name: Its name.
        description: One sentence.
        scheme: Label scheme of the fragments.
        device: Where to train and predict.
        loaders: Processes that prepare patches (`nnUNet_n_proc_DA`).
        workers: Cases that are simulated or prepared at the same time.
        simulation: The cases.
        bones: The first network.
        abbc: The second.
        test: The tests.
        packing: The packing.
    """

    name: str
    description: str
    scheme: str
    device: str
    loaders: int
    workers: int
    simulation: SimulationPlan
    bones: BonesSettings
    abbc: AbbcSettings
    test: TrialSettings
    packing: PackSettings

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain types, as in the file; of the paths of weights only the last part."""
        told = asdict(self)
        for section in ("bones", "abbc"):
            told[section]["initial_weights"] = Path(told[section]["initial_weights"]).name
        return told


def load_profile(name: str | Path, changes: Sequence[str] = ()) -> Profile:
    """Read a profile, and change single settings of it.

    Args:
        name: `cpu`, `gpu`, or a file ending in `.toml`.
        changes: Texts like `abbc.epochs=50`, values as in TOML; words need no quotes.

    Returns:
        The profile.

    Raises:
        UsageError: There is no such profile, a setting is missing, unknown or of another kind, or makes no sense.
    """
    from nnunet_ext.package_data import read_table

    file, table = read_table(name, kind=KIND, noun="training profile", error=UsageError)
    for text in changes:
        path, separator, value = text.partition("=")
        section, dot, key = path.strip().rpartition(".")
        place = table.get(section) if dot else table
        if not separator or not isinstance(place, dict) or key not in place or isinstance(place[key], dict):
            raise UsageError(f"no setting '{text}' in '{file}'; give SECTION.KEY=VALUE, abbc.epochs=50 say (--set)")
        place[key] = _value(value.strip())
    made = _filled(Profile, table, file, "")
    assert isinstance(made, Profile)
    return made


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _filled(kind: Any, table: Any, file: str, section: str) -> Any:
    """Return a dataclass filled with a table of the same keys and kinds."""
    known = [item.name for item in fields(kind)]
    where = f"section '{section}' of '{file}'" if section else f"'{file}'"
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} is no table; expected the settings {', '.join(known)}")
    if strange := sorted(set(table) - set(known)):
        raise UsageError(f"{where} has an unknown setting '{strange[0]}'; there are {', '.join(known)}")
    if missing := [name for name in known if name not in table]:
        raise UsageError(f"{where} lacks the setting '{missing[0]}'; copy it from the profile 'cpu'")
    hints, values = get_type_hints(kind), {}
    for name in known:
        expected, value = hints[name], table[name]
        if is_dataclass(expected):
            values[name] = _filled(expected, value, file, name)
        elif expected is float and type(value) is int:
            values[name] = float(value)
        elif expected == list[float] and isinstance(value, list) and all(type(v) in (int, float) for v in value):
            values[name] = [float(v) for v in value]
        elif type(value) is expected:
            values[name] = value
        else:
            raise UsageError(f"{where}: '{name}' must be of type {_called(expected)}; got: {value!r}")
    return kind(**values)


def _called(expected: Any) -> str:
    return "list of numbers" if expected == list[float] else str(expected.__name__)


def _check_positive(settings: Any, section: str, *names: str, may_be_zero: bool = False) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (value >= 0 if may_be_zero else value > 0):
            raise UsageError(f"{section}.{name} must be {'0 or more' if may_be_zero else 'above 0'}; got: {value}")
