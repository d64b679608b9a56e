"""What each stage of the making of the models does: simulate, prepare, plan, train, pack, test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from label_gen.errors import DataError
from nnunet_ext.atomic import write_json
from nnunet_ext.modelling.prediction import Prediction
from nnunet_ext.modelling.profile import AbbcSettings
from nnunet_ext.modelling.workshop import DATASETS, Workshop

__all__ = ["measure_cost", "pack", "plan", "prepare", "simulate", "train", "try_model", "try_real"]

Say = Callable[[str], None]

MOST_FAILED = 0.1
"""More simulated cases than this share may not fail."""

FINGERPRINT_VOXELS = "10000000"
"""Drawn for the statistics of intensities; nnU-Net draws ten times as many, in ten times the time, to no other end."""


def simulate(shop: Workshop, kind: str, anatomies: Mapping[str, Path], anew: bool, say: Say) -> dict[str, Any]:
    """Simulate the training or the test cases.

    Args:
        shop: The folder.
        kind: `training` or `test`.
        anatomies: Label volumes of given anatomies, by name.
        anew: Remove what is there.
        say: Called with a line about each step.

    Returns:
        Names of the cases, and those that failed.

    Raises:
        DataError: Too many cases failed.
        FractureError: The simulator refuses something.
    """
    from nnunet_ext.commands.simulate_fractures import simulate_fractures_to_files

    settings, output = shop.profile.simulation, shop.cases(kind)
    is_training = kind == "training"
    place = _link_anatomies(anatomies, shop.folder / "anatomies" / kind)
    if anew:
        shutil.rmtree(output, ignore_errors=True)
    phantoms, given = (
        (settings.phantom_cases, settings.anatomy_cases)
        if is_training
        else (settings.phantom_test_cases, settings.anatomy_test_cases)
    )
    if place is None:
        phantoms, given = phantoms + given, 0
    names: list[str] = []
    failed: dict[str, str] = {}
    for number, anatomy in ((phantoms, None), (given, place)):
        if not number:
            continue
        say(f"simulating {number} cases of {'parametric pelves' if anatomy is None else 'given anatomies'}")
        made = simulate_fractures_to_files(
            output,
            number,
            anatomy=anatomy,
            phantom=anatomy is None,
            seed=settings.seed if is_training else settings.test_seed,
            spacing_mm=(settings.spacing_mm if is_training else settings.test_spacing_mm,),
            scheme=shop.profile.scheme,
            closed=settings.closed,
            opened=settings.opened,
            displaced=settings.displaced,
            impacted=settings.impacted,
            cracks=settings.cracks,
            chips=settings.chips,
            kernel=settings.kernel,
            workers=shop.profile.workers,
            progress=True,
        )
        names += [result.name for result in made.batch.results if result.status != "failed"]
        failed |= {result.name: result.error for result in made.batch.failed}
    if len(failed) > MOST_FAILED * (len(names) + len(failed)):
        first = next(iter(failed))
        raise DataError(f"{len(failed)} of the simulated cases failed, {first} since: {failed[first]}")
    return {"cases": sorted(names), "failed": sorted(failed), "anatomies": sorted(anatomies)}


def _link_anatomies(anatomies: Mapping[str, Path], folder: Path) -> Path | None:
    """Link label volumes into a folder; None if there are none."""
    shutil.rmtree(folder, ignore_errors=True)
    if not anatomies:
        return None
    folder.mkdir(parents=True)
    for file in anatomies.values():
        (folder / file.name).symlink_to(file.absolute())
    return folder


def prepare(shop: Workshop, anew: bool) -> dict[str, Any]:
    """Make nnU-Net's two raw datasets of the training cases.

    Args:
        shop: The folder.
        anew: Remove what is there.

    Returns:
        The names of the training cases.

    Raises:
        DataError: It failed.
    """
    if anew:
        for _, dataset in DATASETS.values():
            shutil.rmtree(shop.nnunet("raw") / dataset, ignore_errors=True)
    settings = shop.profile.abbc
    arguments: list[str | Path] = ["simulated", shop.cases("training"), "--task", "both"]
    arguments += ["-d", *(str(number) for number, _ in DATASETS.values()), "--scheme", shop.profile.scheme]
    arguments += ["--mode", settings.mode, "--folds", "2", "--workers", str(shop.profile.workers)]
    arguments += ["--border", str(settings.border_mm)] if settings.mode == "default" else []
    shop.run("prepare", "nnunet_ext.commands.prepare_dataset", arguments, shop.environment())
    return {"cases": _cases_of(shop, "abbc")}


def _cases_of(shop: Workshop, model: str) -> list[str]:
    """Return the names of the training cases in a raw dataset."""
    folder = shop.nnunet("raw") / DATASETS[model][1] / "imagesTr"
    return sorted(path.name.rsplit("_0000", 1)[0] for path in folder.iterdir() if "_0000." in path.name)


def plan(shop: Workshop, model: str, anew: bool) -> dict[str, Any]:
    """Plan and preprocess, and say which cases the training is watched with: parametric ones, the last by name.

    Args:
        shop: The folder.
        model: `bones` or `abbc`.
        anew: Remove what is there.

    Returns:
        What the plans say: `spacing`, `patch_size`, `batch_size`, `network`, and the names of the validation cases.

    Raises:
        DataError: It failed.
    """
    settings = shop.profile.abbc if model == "abbc" else shop.profile.bones
    number, dataset = DATASETS[model]
    place = shop.nnunet("preprocessed") / dataset
    if anew:
        shutil.rmtree(place, ignore_errors=True)
    processes = str(shop.profile.workers)
    arguments = ["-d", str(number), "-np", processes, "-npfp", processes, "--no_pbar", "--clean"]
    arguments += ["-patch_size", str(settings.patch_size), "-batch_size", str(settings.batch_size)]
    arguments += ["-base_features", str(settings.base_features), "-fingerprint_voxels", FINGERPRINT_VOXELS]
    if isinstance(settings, AbbcSettings):
        arguments += ["-pl", "ABBCPlannerM", "-most_blocks", str(settings.most_blocks)]
        arguments += ["-overwrite_target_spacing", *[str(settings.spacing_mm)] * 3]
    else:
        arguments += ["-pl", "TriPlanarPlanner", "-spacing", str(settings.spacing_mm)]
    module = "nnunet_ext.commands.plan_and_preprocess"
    shop.run(f"plan-{model}", module, arguments, shop.environment(nnUNet_n_proc_DA=max(1, shop.profile.loaders)))
    cases = _cases_of(shop, model)
    watched = sorted(cases, key=lambda name: (name.startswith("phantom_"), name))
    watched = sorted(watched[-shop.profile.simulation.validation_cases :])
    splits = [{"train": [name for name in cases if name not in watched], "val": watched}]
    (place / "splits_final.json").write_text(json.dumps(splits, indent=1), encoding="utf-8")
    _, plans, configuration = shop.trained(model).name.split("__")
    found = json.loads((place / f"{plans}.json").read_text(encoding="utf-8"))["configurations"][configuration]
    network = found["architecture"]
    return {
        **{key: found[key] for key in ("spacing", "patch_size", "batch_size")},
        "network": network["network_class_name"].rsplit(".", 1)[-1],
        "features": network["arch_kwargs"]["features_per_stage"],
        "validation_cases": watched,
        "training_cases": len(cases) - len(watched),
    }


def train(shop: Workshop, model: str, anew: bool) -> dict[str, Any]:
    """Train a network by nnU-Net's own command, from the newest checkpoint if there is one.

    Args:
        shop: The folder.
        model: `bones` or `abbc`.
        anew: Remove what is there.

    Returns:
        Epochs, steps, seconds in epochs, and the losses and Dice of each epoch.

    Raises:
        DataError: It failed.
    """
    from nnunet_ext.training.checkpoints import FILE_NAMES, FINAL, safe_load_checkpoint

    settings, folder = shop.profile.abbc if model == "abbc" else shop.profile.bones, shop.trained(model)
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    variables: dict[str, object] = {
        "ABBC_EPOCHS": settings.epochs,
        "ABBC_ITERATIONS": settings.iterations,
        "ABBC_VAL_ITERATIONS": settings.val_iterations,
        "ABBC_OPTIMIZER": settings.optimizer,
        "ABBC_INITIAL_LR": settings.initial_lr,
        "ABBC_AUGMENTATION": settings.augmentation,
        "ABBC_FINAL_VALIDATION": "off",
        "ABBC_INITIAL_WEIGHTS": settings.initial_weights,
    }
    if isinstance(settings, AbbcSettings):
        variables |= {"ABBC_BORDER_WEIGHT": settings.border_weight, "ABBC_BORDER_SHARE": settings.border_share}
    going_on = ["--c"] if any((folder / "fold_0" / name).is_file() for name in FILE_NAMES) else []
    arguments = [*shop.training_arguments(model), *going_on]
    shop.run(f"train-{model}", "nnunetv2.run.run_training", arguments, shop.environment(**variables))
    log = safe_load_checkpoint(folder / "fold_0" / FINAL, to_train=False)["logging"]
    spent = sum(e - s for s, e in zip(log["epoch_start_timestamps"], log["epoch_end_timestamps"], strict=False))
    epochs = len(log["train_losses"])
    curves = ("train_losses", "val_losses", "ema_fg_dice")
    return {
        "epochs": epochs,
        "steps": epochs * settings.iterations,
        "patches": epochs * settings.iterations * settings.batch_size,
        "seconds_in_epochs": round(float(spent), 1),
        "curves": {key: [round(float(value), 4) for value in log[key]] for key in curves},
    }


def pack(shop: Workshop) -> dict[str, Any]:
    """Pack those of the models that are trained.

    Args:
        shop: The folder.

    Returns:
        For each model its `files` with their checksums, its `bytes` and number of `parameters`.

    Raises:
        FractureError: A file cannot be read or written.
    """
    from nnunet_ext.modelling.packing import count_weights, pack_model
    from nnunet_ext.training.checkpoints import FINAL

    made = {}
    for model in DATASETS:
        if (shop.trained(model) / "fold_0" / FINAL).is_file():
            folder = shop.packed(model)
            sums = pack_model(shop.trained(model), folder, half=shop.profile.packing.half, overwrite=True)
            size = sum((folder / file).stat().st_size for file in sums)
            made[model] = {"files": sums, "bytes": size, "parameters": count_weights(folder / "fold_0" / FINAL)}
    return made


def try_model(
    shop: Workshop, model: str, anew: bool, say: Say, *, kind: str = "test", scheme: str | None = None
) -> dict[str, Any]:
    """Score a packed model.

    Args:
        shop: The folder.
        model: `bones` or `abbc`.
        anew: Remove what is there.
        say: Called with a line about each step.
        kind: Folder of the cases.
        scheme: Their scheme; that of the profile if None.

    Returns:
        What `score_bones_model` or `score_abbc_model` returns.

    Raises:
        FractureError: A case cannot be predicted, recovered or scored.
    """
    from nnunet_ext.modelling.bone_scoring import score_bones_model
    from nnunet_ext.modelling.scoring import score_abbc_model

    output = shop.folder / "scores" / f"{kind}-{model}"
    if anew:
        shutil.rmtree(output, ignore_errors=True)
    prediction = _prediction(shop)
    scheme = scheme or shop.profile.scheme
    packed, cases = shop.packed(model), shop.cases(kind)
    if model == "bones":
        return score_bones_model(
            packed, cases, output, scheme=scheme, prediction=prediction, network_alone=kind == "real", say=say
        )
    return score_abbc_model(
        packed, cases, output, scheme=scheme, prediction=prediction, workers=shop.profile.workers, say=say
    )


def _prediction(shop: Workshop) -> Prediction:
    test = shop.profile.test
    return Prediction(device=shop.profile.device, mirroring=test.mirroring, step_size=test.step_size)


def measure_cost(shop: Workshop, say: Say) -> dict[str, Any]:
    """Measure what both packed models take.

    Args:
        shop: The folder.
        say: Called with a line about each step.

    Returns:
        What `measure_inference` returns; no `runs` where a model is missing.

    Raises:
        FractureError: The case cannot be made, predicted or recovered.
    """
    from nnunet_ext.modelling.inference_cost import measure_inference

    if not all(shop.packed(model).is_dir() for model in DATASETS):
        return {"runs": []}
    return measure_inference(
        shop.packed("bones"), shop.packed("abbc"), shop.cases("cost"), prediction=_prediction(shop),
        spacings_mm=shop.profile.test.cost_spacings_mm, scheme=shop.profile.scheme, say=say,
    )  # fmt: skip


def try_real(shop: Workshop, source: Path, anew: bool, say: Say) -> dict[str, Any]:
    """Score the models on the real fractured pelves that come as bones cut out of their CT.

    Args:
        shop: The folder.
        source: Folder of the pelves.
        anew: Remove what is there.
        say: Called with a line about each step.

    Returns:
        For each packed model what `try_model` returns, and `outside_hu`, what was written outside of the bones.

    Raises:
        FractureError: A case cannot be read, predicted, recovered or scored.
    """
    from nnunet_ext.modelling.trial_cases import SOFT_TISSUE_HU, prepare_fracsegnet

    prepare_fracsegnet(source, shop.cases("real"))
    found: dict[str, Any] = {"outside_hu": SOFT_TISSUE_HU}
    for model in DATASETS:
        if shop.packed(model).is_dir():
            found[model] = try_model(shop, model, anew, say, kind="real", scheme="pengwin2024")
    write_json(shop.folder / "scores" / "real.json", found)
    return found
