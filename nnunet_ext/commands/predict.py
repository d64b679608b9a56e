"""`abbc-predict`: prediction by trained models, under nnU-Net's flags; tri-planar ones in a way of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.commands._cli import make_parser, report_case, run_command, sum_up

if TYPE_CHECKING:
    from nnunet_ext.batch import BatchResult, CaseResult, Task
    from nnunet_ext.triplanar.predictor import TriPlanarPredictor

__all__ = ["main", "predict"]

PROG = "abbc-predict"
DEVICES = ("cuda", "cpu", "mps")
FOLDS = ("0", "1", "2", "3", "4")

DESCRIPTION = """Predict a folder of images (CASE_0000.nii.gz, ...) with a trained model, as nnUNetv2_predict and
nnUNetv2_predict_from_modelfolder do. Models of the tri-planar mode take each stack of slices once and average
probabilities; all others are predicted by nnU-Net's own code."""


def predict(
    images: str | Path,
    output: str | Path,
    *,
    model: str | Path | None = None,
    dataset: int | str | None = None,
    plans: str = "nnUNetPlans",
    trainer: str = "nnUNetTrainer",
    configuration: str | None = None,
    folds: Sequence[int | str] = FOLDS,
    checkpoint: str = "checkpoint_final.pth",
    step_size: float = 0.5,
    mirroring: bool = True,
    save_probabilities: bool = False,
    continue_prediction: bool = False,
    preprocessing_processes: int = 3,
    export_processes: int = 3,
    previous_stage: str | Path | None = None,
    num_parts: int = 1,
    part_id: int = 0,
    device: str = "cuda",
    results_on_device: bool = True,
    verbose: bool = False,
    on_result: Callable[[CaseResult], None] | None = None,
    progress: bool = False,
) -> BatchResult:
    """Predict a folder of images with a trained model.

    Writes into the output what nnU-Net does, and the manifest `abbc-predict.json`. A case that cannot be read does not
    stop the others.

    Args:
        images: Folder with `CASE_0000`, `CASE_0001` ... of the file type that the model was trained with.
        output: Folder for the segmentations `CASE`; made if missing.
        model: Folder of the model, or name of one that comes with the package: `bones` or `abbc`, fold 0. Without it,
            dataset, plans, trainer and configuration say which of `nnUNet_results`.
        dataset: Number or name of the dataset.
        plans: Name of the plans.
        trainer: Class name of the trainer.
        configuration: Name of the configuration.
        folds: Folds to average, or `all`.
        checkpoint: File name of the checkpoint.
        step_size: Distance of windows in parts of their size, above 0 and at most 1.
        mirroring: Average over mirror images, if the model allows it.
        save_probabilities: Write `CASE.npz` and `CASE.pkl` too.
        continue_prediction: Skip finished cases.
        preprocessing_processes: Processes that preprocess; with `export_processes` 0 too, all is done in this one.
        export_processes: Processes that resample and write.
        previous_stage: Folder with predictions of the previous stage, for a cascade.
        num_parts: Number of calls that share the cases.
        part_id: Which of these calls this is, counted from 0.
        device: `cuda`, `cpu` or `mps`.
        results_on_device: Collect results on a CUDA device; where its memory does not do, they go to the CPU anyway.
        verbose: Print more.
        on_result: Called with the result of each case.
        progress: Show bars on stderr if that is a terminal.

    Returns:
        What came of each case.

    Raises:
        UsageError: There is no such model, fold, checkpoint, device or image, or an option makes no sense.
        VolumeFileError: A file of the model is damaged, or the output cannot be written.
        DataError: The parts of the model do not belong together, or are newer than this program.
    """
    from label_gen.errors import UsageError
    from nnunet_ext.atomic import check_writable
    from nnunet_ext.batch import run_batch
    from nnunet_ext.cases import check_output, check_part
    from nnunet_ext.manifest import Manifest
    from nnunet_ext.models import model_folder, ships
    from nnunet_ext.triplanar.images import find_tasks

    if not 0 < step_size <= 1:
        raise UsageError(f"the step size must be above 0 and at most 1; got: {step_size} (-step_size)")
    check_part(part_id, num_parts)
    if model is not None and ships(model):
        folder = model_folder(str(model))
        folds = (0,) if tuple(folds) == FOLDS else folds
    else:
        folder = Path(model) if model is not None else _find_model(dataset, trainer, plans, configuration)
    check_output(output, images, folder)
    predictor = _load(folder, folds, checkpoint, device, step_size, mirroring, results_on_device, verbose, progress)
    stage = predictor.configuration_manager.previous_stage_name
    if stage is not None and previous_stage is None:
        raise UsageError(f"the model continues the predictions of '{stage}'; give them (-prev_stage_predictions)")
    tasks, notes = find_tasks(Path(images), Path(output), predictor, save_probabilities, continue_prediction)
    tasks = tasks[part_id::num_parts]
    manifest_path = Path(output) / f"{PROG}.json"
    check_writable(manifest_path)

    common: dict[str, Any] = {"save_probabilities": save_probabilities, "overwrite": True}
    common["folder_with_segs_from_prev_stage"] = None if previous_stage is None else str(previous_stage)
    to_do = [task for task in tasks if not task.outputs and not task.problem]
    finished: set[str] = set()
    if to_do and preprocessing_processes + export_processes > 0:
        processes = max(preprocessing_processes, 1), max(export_processes, 1)
        finished, problem = _predict_together(predictor, to_do, common, processes)
        notes += [problem] if problem else []

    def predict_case(files: list[str], target: str, **_: Any) -> Mapping[str, Any]:
        if target not in finished:
            predictor.predict_from_files_sequential([files], [target], **common)
        return {}

    settings: dict[str, Any] = {"model": folder.name, "folds": [str(fold) for fold in folds], "checkpoint": checkpoint}
    settings |= {"step_size": step_size, "mirroring": mirroring, "device": device}
    return run_batch(
        predict_case, tasks, manifest=Manifest(manifest_path, PROG, settings), on_result=on_result, notes=notes
    )


def _find_model(dataset: int | str | None, trainer: str, plans: str, configuration: str | None) -> Path:
    from label_gen.errors import UsageError
    from nnunet_ext.training.folders import find_dataset, nnunet_folder

    if dataset is None or configuration is None:
        raise UsageError("say which model: -m MODEL_FOLDER, or -d DATASET and -c CONFIGURATION")
    results = nnunet_folder("nnUNet_results")
    name = find_dataset(dataset)
    folder = results / name / f"{trainer}__{plans}__{configuration}"
    if folder.is_dir():
        return folder
    models = [path.name.split("__") for path in sorted((results / name).glob("*__*__*"))]
    flags = "; ".join("-tr {} -p {} -c {}".format(*parts) for parts in models if len(parts) == 3)
    there = f"models of this dataset: {flags}" if flags else "there is no model of this dataset; train one first"
    raise UsageError(f"there is no model '{folder.name}' in '{results / name}'; {there}")


def _load(
    folder: Path,
    folds: Sequence[int | str],
    checkpoint: str,
    device: str,
    step_size: float,
    mirroring: bool,
    results_on_device: bool,
    verbose: bool,
    progress: bool,
) -> TriPlanarPredictor:
    import torch

    from label_gen.errors import UsageError
    from nnunet_ext.triplanar.predictor import TriPlanarPredictor

    if device not in DEVICES:
        raise UsageError(f"the device is one of {', '.join(DEVICES)}; got: {device} (-device)")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no CUDA device; predict on the processor by -device cpu, or run abbc-doctor")
    if device == "mps" and not torch.backends.mps.is_available():
        raise UsageError("torch finds no MPS device; predict on the processor by -device cpu")
    predictor = TriPlanarPredictor(
        tile_step_size=step_size,
        use_mirroring=mirroring,
        perform_everything_on_device=results_on_device and device == "cuda",
        device=torch.device(device),
        verbose=verbose,
        verbose_preprocessing=verbose,
        allow_tqdm=progress and sys.stderr.isatty(),
    )
    predictor.initialize_from_trained_model_folder(folder, folds, checkpoint)
    return predictor


def _predict_together(
    predictor: TriPlanarPredictor, tasks: Sequence[Task], common: Mapping[str, Any], processes: tuple[int, int]
) -> tuple[set[str], str]:
    """Predict with worker processes; return the targets that are finished, and what went wrong if anything did."""
    from nnunet_ext.triplanar.images import is_intact

    def stamps() -> dict[str, int]:
        paths = {task.arguments["target"]: task.arguments["result"] for task in tasks}
        return {target: path.stat().st_mtime_ns for target, path in paths.items() if path.exists()}

    before, problem = stamps(), ""
    try:
        predictor.predict_from_files(
            [task.arguments["files"] for task in tasks],
            [task.arguments["target"] for task in tasks],
            num_processes_preprocessing=processes[0],
            num_processes_segmentation_export=processes[1],
            **common,
        )
    except Exception as error:  # the others are predicted one by one, and the bad case tells its reason there
        problem = f"worker processes failed ({error}); what was left was predicted one by one"
    finished = {target for target, stamp in stamps().items() if stamp != before.get(target)}
    results = {task.arguments["target"]: task.arguments["result"] for task in tasks}
    return {target for target in finished if is_intact(results[target])}, problem


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0 done, 1 bad data, 2 wrong usage.
    """
    parser = make_parser(PROG, DESCRIPTION)
    add = parser.add_argument
    add("-i", required=True, metavar="IMAGES", help="folder of images, CASE_0000 and so on")
    add("-o", required=True, metavar="OUT", help="folder for the segmentations")
    add("-m", metavar="MODEL", help="bones or abbc, which come with the package, or a model folder; or -d -p -tr -c")
    add("-d", metavar="DATASET", help="number or name of the dataset")
    add("-p", default="nnUNetPlans", metavar="PLANS", help="name of the plans")
    add("-tr", default="nnUNetTrainer", metavar="TRAINER", help="class name of the trainer")
    add("-c", metavar="CONFIG", help="configuration")
    add("-f", nargs="+", default=list(FOLDS), metavar="FOLD", help="folds to average, or all")
    add("-step_size", type=float, default=0.5, metavar="STEP", help="distance of windows in parts of their size")
    add("--disable_tta", action="store_true", help="do not average over mirror images: faster, a little worse")
    add("--save_probabilities", action="store_true", help="write CASE.npz too, for ensembles and abbc commands")
    add("--continue_prediction", "--c", action="store_true", help="skip finished cases")
    add("-chk", default="checkpoint_final.pth", metavar="FILE", help="file name of the checkpoint")
    add("-npp", type=int, default=3, metavar="N", help="processes that preprocess; -npp 0 -nps 0 uses none at all")
    add("-nps", type=int, default=3, metavar="N", help="processes that resample and write")
    add("-prev_stage_predictions", metavar="DIR", help="predictions of the previous stage, for a cascade")
    add("-num_parts", type=int, default=1, metavar="N", help="number of calls that share the cases")
    add("-part_id", type=int, default=0, metavar="K", help="which of these calls this is, from 0")
    add("-device", choices=DEVICES, default="cuda", help="CUDA_VISIBLE_DEVICES says which GPU")
    add("--disable_progress_bar", action="store_true", help="no progress bars")
    add("--not_on_device", action="store_true", help="collect results in the processor's memory, not the GPU's")
    options = parser.parse_args(argv)

    def work() -> int:
        batch = predict(
            options.i,
            options.o,
            model=options.m,
            dataset=options.d,
            plans=options.p,
            trainer=options.tr,
            configuration=options.c,
            folds=options.f,
            checkpoint=options.chk,
            step_size=options.step_size,
            mirroring=not options.disable_tta,
            save_probabilities=options.save_probabilities,
            continue_prediction=options.continue_prediction,
            preprocessing_processes=options.npp,
            export_processes=options.nps,
            previous_stage=options.prev_stage_predictions,
            num_parts=options.num_parts,
            part_id=options.part_id,
            device=options.device,
            results_on_device=not options.not_on_device,
            verbose=options.verbose,
            on_result=lambda result: report_case(PROG, result, options.verbose),
            progress=not options.disable_progress_bar,
        )
        return sum_up(PROG, batch)

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
