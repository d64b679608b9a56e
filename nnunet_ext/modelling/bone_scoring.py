"""How good the bones model is: Dice of each bone, and whether left and right are told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError
from nnunet_ext.modelling.prediction import (
    Prediction,
    find_bones_measured,
    predict_measured,
    read_costs,
    sum_up_costs,
)
from nnunet_ext.modelling.trial_cases import TrialCase, find_trial_cases
from nnunet_ext.models import find_model

__all__ = ["score_bones", "score_bones_model"]

SWAPPED = 0.5
"""A side counts as swapped where more than this share of a bone was found as its twin."""


def score_bones(
    found: NDArray[Any], true: NDArray[Any], numbers: Mapping[str, tuple[int, int]], twins: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Compare predicted bones with true ones.

    Args:
        found: Predicted numbers (z, y, x).
        true: True numbers (z, y, x).
        numbers: For each bone its number in `found` and in `true`.
        twins: Names of bones that are each other's mirror image.

    Returns:
        `dice` by bone for those that are there; `surplus`, the names of those that were found where none is; `as_twin`,
        the share of each sided bone that was found as its twin; `swapped`, the names of those for which this is more
        than half.
    """
    dice: dict[str, float] = {}
    surplus = []
    for name, (predicted, real) in numbers.items():
        is_found, is_true = found == predicted, true == real
        if count := np.count_nonzero(is_true):
            dice[name] = float(2 * np.count_nonzero(is_found & is_true) / (np.count_nonzero(is_found) + count))
        elif is_found.any():
            surplus.append(name)
    as_twin: dict[str, float] = {}
    for one, other in [pair for twin in twins for pair in (twin, twin[::-1])]:
        is_true = true == numbers[one][1]
        if count := np.count_nonzero(is_true):
            as_twin[one] = float(np.count_nonzero(found[is_true] == numbers[other][0]) / count)
    swapped = [name for name, part in as_twin.items() if part > SWAPPED]
    return {"dice": dice, "surplus": surplus, "as_twin": as_twin, "swapped": swapped}


def score_bones_model(
    model: str | Path,
    cases: str | Path | Sequence[TrialCase],
    output: str | Path,
    *,
    scheme: str | Path = "pengwin2024",
    prediction: Prediction = Prediction(),  # noqa: B008, frozen
    network_alone: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Find the bones of cases by `abbc-segment-bones`, and compare them with the true ones.

    Writes into the output `predicted/`, `costs.json` and `scores.json`. Finished cases are not predicted again.

    Args:
        model: Model folder, or the name of one that comes with the package.
        cases: Folder of the cases (`find_trial_cases`), or some of them.
        output: The folder to write to.
        scheme: Its anatomy table numbers the true bones.
        prediction: How to predict.
        network_alone: Take what `abbc-predict` finds, which also takes volumes that are no whole CT.
        say: Called with a line about each step.

    Returns:
        What `scores.json` holds: `settings`, `cases` as `score_bones` returns, `summary` with mean and smallest Dice by
        bone, the number of swapped sides and the cases in which no pelvis was found (they count with a Dice of 0),
        `costs`.

    Raises:
        UsageError: There are no such cases, or an option makes no sense.
        FractureError: A case or the model cannot be read.
    """
    from nnunet_ext.atomic import write_json
    from nnunet_ext.manifest import without_paths
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.stage1 import BONES
    from nnunet_ext.training.folders import read_json
    from nnunet_ext.training.sides import find_twins
    from nnunet_ext.volumes import check_same_grid, read_labels

    output, loaded = Path(output), load_scheme(scheme)
    folder = find_model(model)
    labels = read_json(folder / "dataset.json", "it belongs to the model; copy it again")["labels"]
    known = labels if network_alone else {name: BONES[name] for name in labels if name in BONES}
    numbers = {name: (int(number), loaded.anatomy[name]) for name, number in known.items() if name in loaded.anatomy}
    names = {number: name for name, (number, _) in numbers.items()}
    twins = [(names[one], names[other]) for one, other in find_twins({name: n for name, (n, _) in numbers.items()})]
    chosen = find_trial_cases(cases) if isinstance(cases, (str, Path)) else tuple(cases)
    costs = read_costs(output)
    scores: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for case in chosen:
        predicted, true = output / "predicted", read_labels(case.anatomy)
        if case.name not in costs or not list(predicted.glob(f"{case.name}.*")):
            say(f"finding the bones of {case.name}")
            find = predict_measured if network_alone else find_bones_measured
            try:
                costs[case.name] = asdict(find(folder, case, predicted, prediction))
            except DataError as error:  # what is found is no pelvis: nothing is what a user gets
                refused[case.name] = without_paths(str(error))
                scores[case.name] = score_bones(np.zeros_like(true.array), true.array, numbers, twins)
                continue
            write_json(output / "costs.json", costs)
        (file,) = predicted.glob(f"{case.name}.*")
        found = read_labels(file)
        check_same_grid(found.grid, true.grid, str(file), str(case.anatomy))
        scores[case.name] = score_bones(found.array, true.array, numbers, twins)
    content = {
        "settings": {**asdict(prediction), "network_alone": network_alone, "cases": [case.name for case in chosen]},
        "summary": {**_summary(scores, tuple(numbers)), "refused": refused},
        "cases": scores,
        "costs": {"cases": costs, "summary": sum_up_costs(costs)},
    }
    write_json(output / "scores.json", content)
    return content


def _summary(scores: Mapping[str, Mapping[str, Any]], bones: Sequence[str]) -> dict[str, Any]:
    dice = {}
    for bone in bones:
        values = [score["dice"][bone] for score in scores.values() if bone in score["dice"]]
        if values:
            dice[bone] = {"mean": mean(values), "min": min(values), "cases": len(values)}
    shares = [share for score in scores.values() for share in score["as_twin"].values()]
    return {
        "cases": len(scores),
        "dice": dice,
        "surplus": dict(Counter(name for score in scores.values() for name in score["surplus"])),
        "swapped": sum(len(score["swapped"]) for score in scores.values()),
        "largest_share_found_as_twin": max(shares, default=0.0),
    }
