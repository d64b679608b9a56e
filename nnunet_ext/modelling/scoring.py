"""How good the ABBC model is: fragments recovered with the true anatomy, in several ways, from one prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError
from nnunet_ext.modelling.prediction import Prediction, read_costs, sum_up_costs
from nnunet_ext.modelling.trial_cases import TrialCase, find_trial_cases
from nnunet_ext.models import find_model

if TYPE_CHECKING:
    from label_gen.scheme import LabelScheme
    from nnunet_ext.segmentation.work import Work

__all__ = ["VARIANTS", "Recovery", "score_abbc_model"]

FIGURES = ("fragment_iou", "fragment_dice", "fragment_hd95_mm", "fragment_assd_mm", "recall", "precision", "f1")
COUNTS = ("merge_errors", "split_errors", "reference_fragments", "prediction_fragments")
"""What of the scores of `abbc-evaluate` is repeated in the summary: means, and sums."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """A way to turn a prediction into fragments.

    Attributes:
        probabilities: Recover from probabilities, not from the classes alone.
        healing: Cut and join fragments by their border.
        exact: The true bones are exact: fragments fill them, and do not have the outlines that the network draws.
    """

    probabilities: bool = True
    healing: bool = True
    exact: bool = True


VARIANTS: Mapping[str, Recovery] = {
    "default": Recovery(),
    "hard classes": Recovery(probabilities=False),
    "no healing": Recovery(healing=False),
    "outlines of the network": Recovery(exact=False),
}
"""The recoveries that are compared."""


def score_abbc_model(
    model: str | Path,
    cases: str | Path | Sequence[TrialCase],
    output: str | Path,
    *,
    variants: Mapping[str, Recovery] = VARIANTS,
    scheme: str | Path = "pengwin2024",
    prediction: Prediction = Prediction(),  # noqa: B008, frozen
    workers: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Find the fragments of cases with the true bones, as `abbc-segment --exact-bones` does, and score them.

    Writes into the output `predicted/` (classes, on the model's grid), `fragments/VARIANT/`, `evaluation/VARIANT.json`,
    `costs.json` and `scores.json`. Finished cases are not done again.

    Args:
        model: Model folder, or the name of one that comes with the package.
        cases: Folder of the cases (`find_trial_cases`), or some of them.
        output: The folder to write to.
        variants: Recoveries by name, all from one prediction.
        scheme: Scheme of the fragment numbers, and of the numbers of the true bones.
        prediction: How to predict.
        workers: Cases scored at the same time.
        say: Called with a line about each step.

    Returns:
        What `scores.json` holds: `settings`, `variants` with the `summary` of each and figures of `cases`, `costs` of
        prediction and all recoveries together.

    Raises:
        UsageError: There are no such cases, or an option makes no sense.
        FractureError: A case cannot be predicted or recovered.
    """
    from nnunet_ext.atomic import write_json
    from nnunet_ext.commands.evaluate import evaluate
    from nnunet_ext.modelling.measuring import measured
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.volumes import write_volume

    output, loaded = Path(output), load_scheme(scheme)
    chosen = find_trial_cases(cases) if isinstance(cases, (str, Path)) else tuple(cases)
    costs: dict[str, Any] = read_costs(output)
    for case in chosen:
        targets = {name: output / "fragments" / _plain(name) / f"{case.name}.nii.gz" for name in variants}
        if all(target.is_file() for target in targets.values()):
            continue
        say(f"predicting {case.name}")
        with measured() as cost:
            work = _predict(model, case, scheme, prediction)
            outlined = {True: work, False: replace(work, limits=None)}
            found: dict[Recovery, NDArray[Any]] = {}
            for name, way in variants.items():
                recovery = replace(way, exact=True)  # outlines are drawn after it
                if recovery not in found:
                    found[recovery] = _recover(work, recovery, loaded)
                own = outlined[way.exact]
                write_volume(own.whole(own.on_ct(found[recovery])), targets[name])
            classes = work.probabilities.argmax(0).astype(np.uint8)
            write_volume(work.bones.like(classes), output / "predicted" / f"{case.name}.nii.gz")
        costs[case.name] = asdict(cost())
        write_json(output / "costs.json", costs)
    content: dict[str, Any] = {
        "settings": {**asdict(prediction), "scheme": str(scheme), "cases": [case.name for case in chosen]},
        "variants": {},
        "costs": {"cases": costs, "summary": sum_up_costs(costs)},
    }
    truth = _link_all([case.labels for case in chosen], output / "truth")
    for name, way in variants.items():
        say(f"scoring '{name}'")
        place = output / "evaluation" / f"{_plain(name)}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        scores = evaluate(output / "fragments" / _plain(name), truth, place, scheme=scheme, workers=workers)
        for failed in scores.batch.failed:
            raise DataError(f"case {failed.name} could not be scored ({name}): {failed.error}")
        of_cases = {case: entry["case"] for case, entry in scores.content["cases"].items()}
        content["variants"][name] = {"recovery": asdict(way), "summary": _summary(of_cases), "cases": of_cases}
    write_json(output / "scores.json", content)
    return content


def _predict(model: str | Path, case: TrialCase, scheme: str | Path, prediction: Prediction) -> Work:
    """Return what a case is recovered from, its bones known exactly."""
    from label_gen.grid import bounding_box
    from nnunet_ext.segmentation.frames import model_grid
    from nnunet_ext.segmentation.model import load_model
    from nnunet_ext.segmentation.settings import Settings
    from nnunet_ext.segmentation.work import make_work
    from nnunet_ext.volumes import check_same_grid, read_labels, read_volume

    settings = Settings(
        model=find_model(model),
        scheme=scheme,
        device=prediction.device,
        folds=(0,),
        checkpoint=prediction.checkpoint,
        step_size=prediction.step_size,
        mirroring=prediction.mirroring,
    )
    loaded = load_model(settings)
    ct, bones = read_volume(case.image), read_labels(case.anatomy)
    check_same_grid(ct.grid, bones.grid, str(case.image), str(case.anatomy))
    box = bounding_box(bones.array)
    if box is None:
        raise DataError(f"case {case.name} has no bones; leave it out")
    grid = model_grid(ct.grid, box, loaded.spacing_mm(ct.grid), settings.margin_mm)
    return make_work(ct, bones, loaded, grid).within(bones)


def _recover(work: Work, way: Recovery, scheme: LabelScheme) -> NDArray[Any]:
    """Return the fragments on the model's grid, recovered in one of the ways."""
    from postproc.recover import recover_fragments
    from postproc.thresholds import DEFAULT_THRESHOLDS, WITHOUT_HEALING

    abbc = work.probabilities if way.probabilities else work.probabilities.argmax(0).astype(np.uint8)
    thresholds = DEFAULT_THRESHOLDS if way.healing else WITHOUT_HEALING
    found = recover_fragments(
        abbc, work.bones.spacing_mm, anatomy=work.bones.array, scheme=scheme, thresholds=thresholds
    )
    return found.labels


def _summary(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean, median and smallest of the figures of all cases, and sums of the counts."""
    summary: dict[str, Any] = {"cases": len(cases)}
    for figure in FIGURES:
        values = [case[figure] for case in cases.values() if case.get(figure) is not None]
        if values:
            summary[figure] = {"mean": mean(values), "median": median(values), "min": min(values), "max": max(values)}
    return summary | {count: sum(case.get(count) or 0 for case in cases.values()) for count in COUNTS}


def _plain(name: str) -> str:
    return name.replace(",", "").replace(" ", "_")


def _link_all(files: Sequence[Path], folder: Path) -> Path:
    """Link files into a folder that holds nothing else."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file.absolute())
    return folder
