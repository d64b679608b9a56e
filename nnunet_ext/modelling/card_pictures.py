"""Pictures of the test cases in which a model did worst: CT, true fragments and found ones, for the model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_ext.modelling.workshop import Workshop

__all__ = ["draw_worst"]


def draw_worst(shop: Workshop, scores: Mapping[str, Any], *, number: int = 2) -> dict[str, str]:
    """Draw the worst cases, each with its predicted classes and the fragments recovered by default.

    Args:
        shop: The folder; pictures go into `pictures/`.
        scores: What `score_abbc_model` returns; empty for no pictures.
        number: How many.

    Returns:
        Captions by file, relative to the folder.

    Raises:
        FractureError: A volume cannot be read, or a picture not be written.
    """
    from nnunet_ext.modelling.trial_cases import find_trial_cases
    from nnunet_ext.schemes import load_scheme
    from nnunet_ext.segmentation.slices import draw_slices
    from nnunet_ext.volumes import read_labels, read_volume

    for old in (shop.folder / "pictures").glob("worst_*.png"):
        old.unlink()
    if not scores:
        return {}
    cases = scores["variants"]["default"]["cases"]
    worst = sorted(cases, key=lambda name: cases[name]["fragment_iou"])[:number]
    place, scheme = shop.folder / "scores" / "test-abbc", load_scheme(shop.profile.scheme)
    made = {}
    for rank, case in enumerate((case for case in find_trial_cases(shop.cases("test")) if case.name in worst), 1):
        fragments = place / "fragments" / "default" / f"{case.name}.nii.gz"
        classes = place / "predicted" / f"{case.name}.nii.gz"
        if not fragments.is_file() or not classes.is_file():
            continue
        file = Path("pictures") / f"worst_{rank}.png"
        score = cases[case.name]
        caption = (
            f"{case.name}: IoU {score['fragment_iou']:.3f}, {score['merge_errors']} merged, {score['split_errors']} "
            f"split; {score['reference_fragments']} fragments are true, {score['prediction_fragments']} were found"
        )
        draw_slices(
            shop.folder / file,
            read_volume(case.image),
            read_labels(classes),
            read_labels(fragments),
            scheme=scheme,
            title=caption,
        )
        made[file.as_posix()] = caption
    return made
