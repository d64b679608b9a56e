"""A picture of CT, predicted classes and fragments side by side, on the grid of the model."""

from __future__ import annotations

from pathlib import Path

from label_gen.scheme import LabelScheme
from nnunet_ext.picture import draw_picture
from nnunet_ext.segmentation.frames import resampled
from nnunet_ext.volumes import Volume

__all__ = ["draw_slices"]


def draw_slices(
    path: str | Path, ct: Volume, classes: Volume, fragments: Volume, *, scheme: LabelScheme, title: str
) -> None:
    """Draw slices of a case.

    Args:
        path: The picture, ending in `.png`.
        ct: The CT.
        classes: ABBC classes on the model's grid.
        fragments: Fragments, on any grid.
        scheme: Their numbers.
        title: Heading.

    Raises:
        VolumeFileError: The picture cannot be written.
    """
    grid = classes.grid
    draw_picture(
        path,
        resampled(fragments.array, fragments.grid, grid, order=0),
        classes.array,
        grid.spacing_mm,
        scheme=scheme,
        ct=resampled(ct.array, ct.grid, grid, order=1),
        title=title,
    )
