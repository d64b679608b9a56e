"""The making of the models from nothing: the list of the stages, which are skipped where they are finished."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.modelling import steps
from nnunet_ext.modelling.card import write_card
from nnunet_ext.modelling.packing import ship_model
from nnunet_ext.modelling.profile import load_profile
from nnunet_ext.modelling.stages import Stages
from nnunet_ext.modelling.workshop import DATASETS, Workshop

__all__ = ["STAGES", "Anatomies", "find_anatomies", "make_models"]

STAGES = (
    "simulate-training",
    "simulate-test",
    "prepare",
    "plan-bones",
    "plan-abbc",
    "train-bones",
    "train-abbc",
    "pack",
    "test-bones",
    "test-abbc",
    "test-real",
    "cost",
    "card",
)
"""The stages in their order."""

GROWING = ("phantom_cases", "anatomy_cases", "phantom_test_cases", "anatomy_test_cases")


_BEFORE = {
    "prepare": ["simulate-training"],
    **{f"plan-{model}": ["prepare"] for model in DATASETS},
    **{f"train-{model}": [f"plan-{model}"] for model in DATASETS},
    **{f"test-{model}": ["pack", "simulate-test"] for model in DATASETS},
    "test-real": ["pack"],
    "cost": ["pack"],
    "card": ["pack"],
}
"""The stages whose results a stage uses; `pack` takes what is trained."""


@dataclass(frozen=True)
class Anatomies:
    """Label volumes of whole bones, by name.

    Attributes:
        training: Those to train on.
        test: Those that are only tested on.
    """

    training: Mapping[str, Path]
    test: Mapping[str, Path]


def find_anatomies(sources: Sequence[str | Path], test: Sequence[str]) -> Anatomies:
    """Find given anatomies, and part those for testing.

    Args:
        sources: Label volumes, or folders of them.
        test: Names of those only for testing, or patterns like `hra_*`.

    Returns:
        The anatomies.

    Raises:
        UsageError: A source holds none, two have one name, or a test name fits none.
    """
    from nnunet_ext.cases import find_cases

    found: dict[str, Path] = {}
    for source in sources:
        for case in find_cases(source):
            if case.name in found:
                raise UsageError(f"two anatomies are called '{case.name}'; rename one (--anatomies)")
            found[case.name] = case.path
    for pattern in test:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise UsageError(
                f"no anatomy is called '{pattern}'; there are {', '.join(found) or 'none'} (--test-anatomies)"
            )
    is_test = {name: any(fnmatchcase(name, pattern) for pattern in test) for name in found}
    return Anatomies(
        {name: path for name, path in found.items() if not is_test[name]},
        {name: path for name, path in found.items() if is_test[name]},
    )


def make_models(
    output: str | Path,
    *,
    profile: str | Path = "cpu",
    changes: Sequence[str] = (),
    anatomies: Sequence[str | Path] = (),
    test_anatomies: Sequence[str] = (),
    real: str | Path | None = None,
    training_cases: str | Path | None = None,
    test_cases: str | Path | None = None,
    compare: Sequence[str | Path] = (),
    stages: Sequence[str] | None = None,
    redo: Sequence[str] = (),
    ship: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Simulate cases, train both networks on them, pack, test and describe them.

    Everything lies in the output: `cases/`, `nnunet/`, `packed/bones` and `packed/abbc` (nnU-Net model folders),
    `scores/`, `logs/`, `records/STAGE.json` and `MODEL_CARD.md`. The same call goes on where it was interrupted, and
    does nothing where all is done. A stage that was made with other settings is an error, unless it is named by `redo`
    or the settings only grew (epochs, numbers of cases).

    Args:
        output: The folder.
        profile: `cpu`, `gpu`, or a file of your own.
        changes: Changes to it, `abbc.epochs=50` say.
        anatomies: Label volumes of whole bones, or folders of them, to simulate fractures in beside parametric pelves.
        test_anatomies: Names or patterns of those that are only tested on.
        real: Folder of real fractured pelves, bones cut out of their CT (`NAME_bone_ct`, `NAME_labels`); without it
            the stage `test-real` is left out.
        training_cases: Folder of simulated cases to train on, instead of simulating them.
        test_cases: Folder of simulated cases to test on, instead of simulating them.
        compare: Other folders that this function made, whose settings and scores go into the card's table.
        stages: Only these; all if None.
        redo: Stages to be done anew.
        ship: Folder in which the package looks for its models; packed models and card are put there at the end.
        say: Called with a line about each step.

    Returns:
        The results of the stages that were done or finished before.

    Raises:
        UsageError: A stage or setting is unknown, or a stage was made otherwise.
        FractureError: A stage failed.
    """
    for name in (*(stages or ()), *redo):
        if name not in STAGES:
            raise UsageError(f"there is no stage '{name}'; there are {', '.join(STAGES)} (--stage, --redo)")
    shop = Workshop(Path(output).absolute(), load_profile(profile, changes))
    bones = find_anatomies(anatomies, test_anatomies)
    wanted = [name for name in STAGES if stages is None or name in stages]
    if real is None:
        wanted = [name for name in wanted if name != "test-real"]
    line = Stages(shop.folder, redo=redo, say=say)
    results: dict[str, Any] = {}
    settings = _settings_of_stages(shop, bones, training_cases, test_cases, compare)

    given = {"training": (training_cases, bones.training), "test": (test_cases, bones.test)}
    for name in wanted:
        trained = [stage for stage in ("train-bones", "train-abbc") if stage in wanted or line.result(stage)]
        after = trained if name == "pack" else _BEFORE.get(name, [])

        def work(anew: bool, name: str = name) -> Mapping[str, Any]:
            stage, _, what = name.partition("-")
            if stage == "simulate":
                folder, own = given[what]
                return steps.simulate(shop, what, own, anew, say) if folder is None else _take_cases(shop, what, folder)
            if stage == "card":
                return write_card(shop, line.record, [Path(folder) for folder in compare])
            if stage == "cost":
                return steps.measure_cost(shop, say)
            if name == "test-real":
                return steps.try_real(shop, Path(str(real)), anew, say)
            if stage == "test":
                return steps.try_model(shop, what, anew, say)
            if stage in ("plan", "train"):
                return (steps.plan if stage == "plan" else steps.train)(shop, what, anew)
            return steps.prepare(shop, anew) if stage == "prepare" else steps.pack(shop)

        may_grow = GROWING if name.startswith("simulate") else ("epochs",) if name.startswith("train") else ()
        is_cheap = not name.startswith(("simulate", "train"))
        results[name] = line.run(name, settings[name], work, after=after, may_grow=may_grow, is_cheap=is_cheap)
    if ship is not None:
        for model in DATASETS:
            if shop.packed(model).is_dir():
                ship_model(shop.packed(model), model, ship)
        shutil.rmtree(Path(ship) / "pictures", ignore_errors=True)
        for file in (shop.folder / "MODEL_CARD.md", *sorted((shop.folder / "pictures").glob("*.png"))):
            target = Path(ship) / file.relative_to(shop.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        say("the models are where the package looks for them")
    return results


def _settings_of_stages(
    shop: Workshop,
    bones: Anatomies,
    training_cases: str | Path | None,
    test_cases: str | Path | None,
    compare: Sequence[str | Path],
) -> dict[str, dict[str, Any]]:
    """Return what each stage depends on, beside the results of others."""
    profile = shop.profile
    cases = asdict(profile.simulation) | {"scheme": profile.scheme}
    ways = ("closed", "opened", "displaced", "impacted", "cracks", "chips", "kernel", "scheme")
    parts: dict[str, tuple[tuple[str, ...], str | Path | None, Mapping[str, Path]]] = {
        "training": (("seed", "phantom_cases", "anatomy_cases", "spacing_mm"), training_cases, bones.training),
        "test": (("test_seed", *GROWING[2:], "test_spacing_mm"), test_cases, bones.test),
    }
    settings: dict[str, dict[str, Any]] = {}
    for kind, (names, given, own) in parts.items():
        settings[f"simulate-{kind}"] = (
            {key: cases[key] for key in (*names, *ways)} | {"anatomies": sorted(own)}
            if given is None
            else {"given": Path(given).name}
        )
    planned = ("spacing_mm", "patch_size", "batch_size", "base_features", "most_blocks")
    labelled = ("mode", "border_mm")
    trained = (
        "epochs", "iterations", "val_iterations", "optimizer", "initial_lr", "augmentation", "border_weight",
        "border_share", "initial_weights",
    )  # fmt: skip
    settings["prepare"] = {key: asdict(profile.abbc)[key] for key in labelled} | {"scheme": profile.scheme}
    test = profile.test
    predicted = {"mirroring": test.mirroring, "step_size": test.step_size, "device": profile.device}
    for model, own_settings in (("bones", asdict(profile.bones)), ("abbc", asdict(profile.abbc))):
        settings[f"plan-{model}"] = {key: own_settings[key] for key in planned if key in own_settings}
        settings[f"plan-{model}"] |= {"validation_cases": profile.simulation.validation_cases}
        settings[f"train-{model}"] = {key: own_settings[key] for key in trained if key in own_settings}
        settings[f"test-{model}"] = predicted
    settings["cost"] = {**predicted, "spacings_mm": profile.test.cost_spacings_mm}
    settings["pack"] = asdict(profile.packing)
    settings["test-real"] = settings["test-abbc"]
    settings["card"] = {"profile": profile.to_dict(), "compare": [Path(folder).name for folder in compare]}
    return settings


def _take_cases(shop: Workshop, kind: str, source: str | Path) -> dict[str, Any]:
    """Use the cases of another folder: a link stands where they would be."""
    from nnunet_ext.modelling.trial_cases import find_trial_cases

    names = [case.name for case in find_trial_cases(source)]
    target = shop.cases(kind)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        raise UsageError(f"'{target}' holds simulated cases already; remove it, or choose another folder (-o)")
    target.symlink_to(Path(source).absolute())
    return {"cases": names, "failed": [], "anatomies": []}
