"""Fragment scores of nnU-Net's final validation: Dice of the classes says little about merged and lost fragments."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.cases import split_suffix

__all__ = ["SUMMARY", "FragmentValidation", "score_fragments"]

SUMMARY = "fragment_scores.json"
"""Name of the file beside nnU-Net's `summary.json`."""


@dataclass(frozen=True)
class FragmentValidation:
    """What came of the recovery of the validation cases.

    Attributes:
        mean: Mean scores over the cases, named as `abbc-evaluate` names them.
        remarks: What a reader of the scores has to know, and cases that failed.
    """

    mean: Mapping[str, Any]
    remarks: tuple[str, ...]


def score_fragments(
    validation: str | Path, preprocessed: str | Path, dataset_json: Mapping[str, Any], *, workers: int = 1
) -> FragmentValidation:
    """Recover the fragments of validated cases and compare them with the true ones.

    True fragments and bones are those that `abbc-prepare-dataset` put into the dataset. Without true fragments those
    that the true classes recover to take their place; without bones all bone is one region.

    Args:
        validation: nnU-Net's folder `validation` of a fold; gets `fragments/` and `fragment_scores.json`.
        preprocessed: The dataset's folder in `nnUNet_preprocessed`.
        dataset_json: Of the dataset.
        workers: Cases run at the same time.

    Returns:
        The scores.

    Raises:
        FractureError: Nothing could be recovered or scored.
    """
    from nnunet_ext.commands.evaluate import evaluate
    from nnunet_ext.commands.recover_instances import recover_instances

    validation, preprocessed = Path(validation), Path(preprocessed)
    remarks = []
    anatomy = preprocessed / "anatomy"
    bones = anatomy if anatomy.is_dir() else None
    own_scheme = preprocessed / "scheme.toml"
    named = str(own_scheme) if own_scheme.is_file() else str(dataset_json.get("abbc", {}).get("scheme", "free"))
    scheme = named if bones else "free"
    if bones is None:
        remarks.append("the dataset has no bones (anatomyTr): fragments of all bones are told apart by borders alone")
    (validation / "dataset.json").write_text(json.dumps(dict(dataset_json), indent=1), encoding="utf-8")
    found = validation / "fragments"
    with tempfile.TemporaryDirectory(dir=validation) as scratch:
        classes = _select(preprocessed / "gt_segmentations", validation, Path(scratch) / "classes")
        options: dict[str, Any] = {"anatomy": bones, "scheme": scheme, "workers": workers, "overwrite": True}
        predicted = _select(validation, classes, Path(scratch) / "predicted")
        shutil.copy(validation / "dataset.json", predicted)
        batch = recover_instances(predicted, found, **options)
        truth = preprocessed / "fragments"
        if truth.is_dir():
            reference = _select(truth, classes, Path(scratch) / "truth")
        else:
            remarks.append("the dataset has no fragments (fragmentsTr): scored against those of the true classes")
            shutil.copy(validation / "dataset.json", classes)
            reference = Path(scratch) / "truth"
            recover_instances(classes, reference, **options)
        scores = evaluate(found, reference, validation / SUMMARY, scheme=scheme, workers=workers)
    remarks += [f"case {result.name}: {result.error}" for result in (*batch.failed, *scores.batch.failed)]
    mean = {name: figures["mean"] for name, figures in scores.content["summary"]["case"].items()}
    return FragmentValidation(mean, tuple(remarks))


def _select(source: Path, wanted: Path, target: Path) -> Path:
    """Link those volumes of a folder that have a partner of the same name in another, into a third."""
    target.mkdir()
    names = {split_suffix(path.name)[0] for path in wanted.iterdir() if path.is_file() and split_suffix(path.name)[1]}
    for path in source.iterdir():
        name, suffix = split_suffix(path.name)
        if suffix and suffix != ".npz" and name in names:
            (target / path.name).symlink_to(path.absolute())
    return target
