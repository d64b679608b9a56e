"""`abbc-prepare-dataset`: images and labels of a source to nnU-Net raw datasets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nnunet_ext.commands._cli import DONE, add_batch_options, make_parser, report_case, run_command, sum_up
from nnunet_ext.commands.generate_labels import MODES

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult

__all__ = ["describe_recipes", "main", "prepare_dataset"]

PROG = "abbc-prepare-dataset"
TASKS = ("abbc", "anatomy", "both", "semantic")
TRANSFERS = ("link", "copy", "symlink")
ORIENTATIONS = ("reorient", "refuse")


def prepare_dataset(
    recipe: str | Path,
    source: str | Path,
    dataset_id: int | Sequence[int],
    *,
    task: Literal["abbc", "anatomy", "both", "semantic"] | None = None,
    cohort: str | None = None,
    group: str | None = None,
    name: str | None = None,
    scheme: str | Path | None = None,
    classes: Mapping[str, Sequence[int]] | Sequence[str] | None = None,
    images: str | None = None,
    labels: str | None = None,
    patient: str | None = None,
    cases: Sequence[str] = (),
    number: int | None = None,
    test: Sequence[str] = (),
    folds: int = 5,
    seed: int = 0,
    transfer: Literal["link", "copy", "symlink"] = "link",
    orientation: Literal["reorient", "refuse"] = "reorient",
    mode: Literal["default", "literal"] = "default",
    border: float | None = None,
    workers: int = 1,
    overwrite: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Make nnU-Net raw datasets of a source.

    Writes into `$nnUNet_raw/DatasetXXX_Name`: `imagesTr`, `labelsTr`, for the ABBC task `fragmentsTr` and `anatomyTr`,
    the same with `Ts` for test cases, `dataset.json`, `splits_final.json` by patient, and the manifest
    `abbc-prepare-dataset.json`. A dataset holds the cases that are finished, those of earlier runs included.

    Args:
        recipe: Name of a recipe, or a `.toml` file.
        source: The folder of the source.
        dataset_id: ID of the dataset. For `both`, ID of the ABBC dataset (that of the anatomy is the next), or the two.
        task: `abbc`, `anatomy`, `both`, or `semantic` for labels as they are; the recipe's first if None.
        cohort: One of the recipe's cohorts.
        group: One of the recipe's groups of bones, where cases are labelled in part.
        name: Name of the dataset; the recipe's if None.
        scheme: Label scheme, by name or file, instead of the recipe's.
        classes: For `semantic`: classes instead of the recipe's, as numbers by name, or as texts like `bone=1,255`.
        images: Folder or pattern of the images below the source, instead of the recipe's.
        labels: The same of the labels.
        patient: Regular expression with a group `(?P<patient>...)` for whole case names, instead of the recipe's.
        cases: Only these cases, or text files that name them.
        number: At most so many training cases; fewer are always among more.
        test: Cases set apart as `imagesTs` and `labelsTs`, or text files that name them.
        folds: Folds of the cross-validation; fewer are made where there are fewer patients.
        seed: Of the folds, and of the order for `number`.
        transfer: How images that can stay as they are get there: hard link (a copy where that is impossible), copy or
            symbolic link.
        orientation: Turn volumes whose axes are not LPS, or refuse them.
        mode: Mode of the ABBC classes, as of `abbc-generate-labels`.
        border: Width of their border in mm on each side of a contact, where the mode is `default`.
        workers: Cases run at the same time, in processes of their own; 0 or 1 for one after the other in this one.
        overwrite: Redo finished cases instead of skipping them.
        on_result: Called with the result of each case as it comes.
        progress: Show a bar on stderr if that is a terminal.

    Returns:
        What came of each case; see `nnunet_ext.preparation.case.prepare_case` for the details.

    Raises:
        UsageError: An option makes no sense, nothing usable was found, nnUNet_raw is not set, or the ID is taken.
        SchemeError: The label scheme does not exist or is wrong.
        VolumeFileError: The source cannot be read, or there is too little disk.
    """
    from label_gen.errors import UsageError
    from label_gen.settings import GenerationSettings
    from nnunet_ext.batch import Task, run_batch
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.preparation.case import Making, prepare_case
    from nnunet_ext.preparation.layout import find_source_cases, layouts_of_options
    from nnunet_ext.preparation.plan import about_dataset, check_room, choose_tasks, plan_targets, with_classes
    from nnunet_ext.preparation.raw_dataset import finish_dataset
    from nnunet_ext.preparation.splits import check_folds, patients_of, read_names, select_cases
    from nnunet_ext.preparation.summary import describe_dataset, describe_run, known_details
    from nnunet_ext.preparation.transfer import transfer as copy_file
    from nnunet_ext.recipes import load_recipe, parse_patient
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.training.folders import nnunet_folder
    from nnunet_ext.training.splits import few

    for option, value, known in (("transfer", transfer, TRANSFERS), ("orientation", orientation, ORIENTATIONS)):
        if value not in known:
            raise UsageError(f"unknown {option} '{value}'; choose one of {', '.join(known)} (--{option})")
    if mode not in MODES:
        raise UsageError(f"unknown mode '{mode}'; choose one of {', '.join(MODES)} (--mode)")
    GenerationSettings.for_mode(mode, border)
    check_folds(folds)
    plan = load_recipe(recipe, cohort=cohort)
    tasks = choose_tasks(plan, task, (dataset_id,) if isinstance(dataset_id, int) else tuple(dataset_id))
    plan = with_classes(plan, classes, tasks[0][0])
    if (images is None) != (labels is None):
        raise UsageError("images and labels are given together or not at all (--images, --labels)")
    if images is not None and labels is not None:
        plan = replace(plan, layouts=layouts_of_options(images, labels))
    if patient is not None:
        plan = replace(plan, patient=parse_patient(patient))
    if scheme is not None and plan.classes:
        raise UsageError("a label scheme belongs to the tasks abbc and anatomy (--scheme, --task)")
    loaded = None if plan.classes else load_scheme(scheme or plan.scheme)
    raw = nnunet_folder("nnUNet_raw", may_be_missing=True, writable=True)

    found = find_source_cases(source, plan.layouts, without=raw)
    patients, unread = patients_of((case.name for case in found.cases), plan.patient)
    parts = select_cases(
        patients, cases=read_names(cases, "--cases"), number=number, test=read_names(test, "--test"), seed=seed
    )
    chosen = [case for case in found.cases if case.name in parts]
    targets = plan_targets(
        raw,
        plan,
        tasks,
        (case.image for case in chosen),
        name=name,
        group=group,
        scheme=loaded,
        has_anatomy=bool(found.layout.anatomy),
    )
    check_room(chosen, parts, targets, transfer, overwrite)
    manifests = [target.folder / f"{PROG}.json" for target in targets]
    settings = {
        "recipe": plan.name,
        "scheme": loaded.name if loaded else None,
        "classes": {key: list(numbers) for key, numbers in plan.classes.items()},
        "orientation": orientation,
        "mode": mode,
        "border_mm": border,
    }
    manifest = Manifest(manifests[0], PROG, settings, seed)

    before = known_details(manifests[0])
    making = Making(targets, loaded, plan.classes, transfer, orientation, overwrite, mode, border)
    jobs: list[Task] = []
    moved: list[str] = []
    for case in chosen:
        part = parts[case.name]
        outputs: list[Path] = []
        for target in targets:
            if not case.problem and target.settle(case.name, part):
                moved.append(case.name)
            if target.folder.name not in before.get(case.name, {}).get("left_out", ()):
                outputs += target.files(case.name, part)
        arguments = {"case": case.name, "part": part, "image": case.image, "labels": case.labels, "making": making}
        arguments["anatomy"] = case.anatomy
        jobs.append(Task(case.name, tuple(outputs), arguments, case.problem))
    notes = list(found.notes)
    if moved:
        notes.append(f"moved between training and testing: {few(dict.fromkeys(moved))}")
    if unread:
        notes.append(
            f"no patient could be read from the names of {few(unread)}: each counts as a patient of its own; if they "
            "share patients, say how they are named (--patient)"
        )
    batch = run_batch(
        prepare_case,
        jobs,
        workers=workers,
        overwrite=overwrite,
        manifest=manifest,
        on_result=on_result,
        progress=progress,
        notes=notes,
    )

    details = {case.name: before.get(case.name, {}) for case in batch.results if case.status == "skipped"}
    details |= {case.name: case.details for case in batch.results if case.status == "done"}
    after = list(describe_run(details, targets, plan))
    train = [case for case, part in parts.items() if part == "Tr"]
    own_scheme = Path(scheme) if scheme is not None and Path(scheme).suffix == ".toml" else None
    for target, path in zip(targets, manifests, strict=True):
        about = about_dataset(target, plan, loaded)
        n_folds = finish_dataset(target, plan, about, patients, train, folds=folds, seed=seed, scheme_file=own_scheme)
        after.append(describe_dataset(target, train, n_folds))
        if path != manifests[0] and target.folder.is_dir():
            copy_file(manifests[0], path, "copy")
    return replace(batch, notes=(*batch.notes, *after))


def describe_recipes() -> str:
    """Return the recipes that come with the project, one per line, with their tasks, cohorts and groups."""
    from nnunet_ext.recipes import list_recipes, load_recipe

    lines = []
    for name in list_recipes():
        recipe = load_recipe(name)
        lines.append(f"{name:<15}{recipe.description}")
        lines.append(f"{'':<15}--task {', '.join(recipe.tasks)}")
        for option, values in (("cohort", recipe.cohorts), ("group", recipe.groups)):
            if values:
                lines.append(f"{'':<15}--{option} {', '.join(values)}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, "Make nnU-Net datasets in nnUNet_raw of the images and labels of a source.")
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="name of a recipe (see --list), or a .toml file")
    add("source", nargs="?", metavar="SOURCE", help="folder of the source")
    add("-d", "--dataset-id", type=int, nargs="+", metavar="ID", help="ID of the dataset; two for --task both")
    add("--list", action="store_true", help="list the recipes")
    add("--task", choices=TASKS, help="what the dataset is for; the recipe's first task if not given")
    add("--cohort", help="cohort of the recipe")
    add("--group", help="group of bones of the recipe, where cases are labelled in part")
    add("--name", help="name of the dataset; the recipe's if not given")
    add("--images", metavar="PLACE", help="folder or pattern of the images in SOURCE; {case} stands for the name")
    add("--labels", metavar="PLACE", help="folder or pattern of the labels in SOURCE")
    add("--classes", nargs="+", metavar="NAME", help="classes of --task semantic: NAME, NAME=3 or NAME=1,255")
    add("--patient", metavar="REGEX", help="finds (?P<patient>...) in case names; patients are not split by folds")
    add("--cases", nargs="+", metavar="CASE", help="only these cases, or a file with one name per line")
    add("-n", "--number", type=int, metavar="N", help="at most N training cases; fewer are always among more")
    add("--test", nargs="+", metavar="CASE", help="cases set apart for testing, or a file that names them")
    add("--folds", type=int, default=5, metavar="N", help="folds of the cross-validation")
    add("--seed", type=int, default=0, metavar="N", help="of the folds and of -n")
    add("--transfer", choices=TRANSFERS, default="link", help="how images get there; a hard link becomes a copy where "
        "it is impossible")  # fmt: skip
    add("--orientation", choices=ORIENTATIONS, default="reorient", help="volumes whose axes are not LPS")
    add("--mode", choices=MODES, default="default", help="of the ABBC classes, see abbc-generate-labels")
    add("--border", type=float, metavar="MM", help="width of the border on each side of a contact (0.7)")
    add_batch_options(parser)
    parser.set_defaults(scheme=None)
    options = parser.parse_args(argv)
    if not options.list:
        absent = {"RECIPE": options.recipe, "SOURCE": options.source, "-d/--dataset-id": options.dataset_id}
        if missing := [key for key, value in absent.items() if value is None]:
            parser.error(f"the following arguments are required: {', '.join(missing)}")

    def work() -> int:
        if options.list:
            print(describe_recipes())
            return DONE
        values = {key: value for key, value in vars(options).items() if key not in ("list", "verbose")}
        values |= {key: values[key] or () for key in ("cases", "test")}
        batch = prepare_dataset(
            **values, on_result=lambda result: report_case(PROG, result, options.verbose), progress=True
        )
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
