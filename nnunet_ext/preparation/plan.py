"""What a run is going to make: the tasks, the datasets and their folders, and the room they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from label_gen.scheme import LabelScheme
from nnunet_ext import __version__
from nnunet_ext.preparation.layout import SourceCase
from nnunet_ext.preparation.raw_dataset import choose_ending, claim_folder, estimate_bytes
from nnunet_ext.preparation.targets import Target, bones_of_group, labels_of_task
from nnunet_ext.recipes import Recipe, parse_classes
from nnunet_ext.training.folders import check_free_space

__all__ = ["about_dataset", "check_room", "choose_tasks", "plan_targets", "with_classes"]

_SUFFIXES = {"abbc": "_ABBC", "anatomy": "_Anatomy", "semantic": ""}


def choose_tasks(recipe: Recipe, task: str | None, ids: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Return the tasks of a run, each with the ID of its dataset.

    Args:
        recipe: The recipe.
        task: `abbc`, `anatomy`, `both`, `semantic`, or None for the recipe's first.
        ids: One ID; for `both` also two.

    Raises:
        UsageError: The recipe has no such task, or the number of IDs does not fit.
    """
    tasks = ("abbc", "anatomy") if task == "both" else (task or recipe.tasks[0],)
    if missing := [name for name in tasks if name not in recipe.tasks]:
        raise UsageError(
            f"recipe '{recipe.name}' makes no dataset for the task {missing[0]}; it makes "
            f"{', '.join(recipe.tasks)} (--task)"
        )
    if task == "both" and len(ids) == 1:
        ids = (ids[0], ids[0] + 1)
    if len(ids) != len(tasks) or len(set(ids)) != len(ids):
        raise UsageError(
            f"{len(tasks)} dataset of its own ID is made per task; got the IDs {', '.join(map(str, ids))} (-d)"
        )
    return tuple(zip(tasks, ids, strict=True))


def with_classes(recipe: Recipe, classes: Mapping[str, Sequence[int]] | Sequence[str] | None, task: str) -> Recipe:
    """Return a recipe with the classes that were given instead of its own.

    Args:
        recipe: The recipe.
        classes: Numbers by name, or texts as `parse_classes` reads them.
        task: The task.

    Raises:
        UsageError: There are none and the task needs some, or they do not go with the task, or make no sense.
    """
    if classes is not None and task != "semantic":
        raise UsageError(f"classes belong to the task semantic; this one is {task} (--classes, --task)")
    if classes is not None:
        words = classes
        if isinstance(classes, Mapping):
            words = [f"{name}={','.join(map(str, numbers))}" for name, numbers in classes.items()]
        recipe = replace(recipe, classes=parse_classes(tuple(words)))
    if task == "semantic" and not recipe.classes:
        raise UsageError("the task semantic needs the names of the classes: --classes bone, or --classes bone=1 eyes=2")
    return recipe if task == "semantic" else replace(recipe, classes={})


def plan_targets(
    raw: Path,
    recipe: Recipe,
    tasks: Sequence[tuple[str, int]],
    images: Iterable[Path],
    *,
    name: str | None,
    group: str | None,
    scheme: LabelScheme | None,
    has_anatomy: bool = False,
) -> tuple[Target, ...]:
    """Return the datasets of a run, after checking that their folders are free or were made alike.

    Args:
        raw: nnUNet_raw.
        recipe: The recipe.
        tasks: The tasks with their IDs.
        images: The image files.
        name: Name of the dataset, or None for the recipe's.
        group: The group of bones, or None.
        scheme: The label scheme, or None for `semantic`.
        has_anatomy: The source has volumes of whole bones.

    Raises:
        UsageError: A folder is taken, or the group does not exist.
    """
    targets = []
    images = tuple(images)
    for task, number in tasks:
        chosen, bones = ("", ()) if scheme is None else bones_of_group(scheme, recipe.groups, task, group, has_anatomy)
        if scheme is None and group is not None:
            raise UsageError("groups of bones belong to the tasks abbc and anatomy (--group)")
        full = (name or recipe.dataset_name) + (_SUFFIXES[task] if name is None or len(tasks) > 1 else "")
        target = Target(raw, task, "", labels_of_task(task, bones, recipe.classes), bones, chosen)
        folder = claim_folder(raw, number, full, about_dataset(target, recipe, scheme))
        targets.append(replace(target, folder=folder, ending=choose_ending(folder, images)))
    return tuple(targets)


def about_dataset(target: Target, recipe: Recipe, scheme: LabelScheme | None) -> dict[str, Any]:
    """Return what stands under `abbc` in dataset.json: how the dataset was made.

    Args:
        target: The dataset.
        recipe: The recipe.
        scheme: The label scheme, or None for `semantic`.
    """
    about: dict[str, Any] = {"task": target.task, "recipe": recipe.name, "version": __version__}
    if scheme is not None:
        return {**about, "scheme": scheme.name, "bones": list(target.bones)}
    return {**about, "classes": {key: list(numbers) for key, numbers in recipe.classes.items()}}


def check_room(
    cases: Iterable[SourceCase], parts: Mapping[str, str], targets: Sequence[Target], transfer: str, overwrite: bool
) -> None:
    """Check, before any work, that no dataset is its own source, and that there is enough disk.

    Args:
        cases: The cases to be made.
        parts: `Tr` or `Ts` of each.
        targets: The datasets.
        transfer: How images get there.
        overwrite: Finished cases are made again.

    Raises:
        UsageError: An image lies in a dataset that is to be made.
        VolumeFileError: There is too little disk.
    """
    needed = count = 0
    for case in cases:
        if case.problem or case.labels is None:
            continue
        count += 1
        for target in targets:
            if target.folder.resolve() in case.image.resolve().parents:
                raise UsageError(
                    f"'{case.image}' lies in the dataset that is to be made, '{target.folder.name}'; choose "
                    "another ID (-d)"
                )
            if overwrite or not (target.is_complete(case.name, "Tr") or target.is_complete(case.name, "Ts")):
                needed += estimate_bytes(case.image, case.labels, target, transfer)
    check_free_space("nnUNet_raw", needed, f"the files of {count} cases")
